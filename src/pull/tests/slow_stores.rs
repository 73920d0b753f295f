//! A resource that reads many stores that are slow to answer, or never do.

use tokio::time::Instant;

use super::*;
use crate::feed::ReadError;
use crate::pull::earlier;
use crate::pull::observe::{Located, ObserveError, Past};
use crate::store::StoreError;
use crate::store::fake::Operation;

const MINUTE: Duration = Duration::from_secs(60);
const STORES: usize = 1000;

/// A resource that reads one path of each of so many stores, which answer so late.
fn reading(stores: usize, late: impl Fn(usize) -> (Operation, Duration)) -> (Desired, OpenStores) {
    let entry = |number: usize| {
        let store = json!({ "storeRef": { "name": format!("s-{number:04}"), "kind": "SecretStore" } });
        json!({ "secretKey": format!("k-{number}"), "remoteRef": { "key": "secret/db" }, "sourceRef": store })
    };
    let desired = desired(spec_with("/data", (0..stores).map(entry).collect()));
    let open = |(number, wanted): (usize, &crate::pull::wanted::Wanted)| {
        let store = FakeStore::new().with_identity(&number.to_string()).with_address(&format!("https://s-{number:04}"));
        let (operation, pause) = late(number);
        store.slow(operation, pause);
        (observe::store_of(&desired, &wanted.from), Arc::new(store) as Arc<dyn StoreClient>)
    };
    let opened = desired.entries.iter().enumerate().map(open).collect();
    (desired, opened)
}

fn is_late<T>(outcome: Result<T, ObserveError>) -> bool {
    let Err(error) = outcome else { return false };
    assert!(!error.is_throttled() && error.to_string().contains("answers slowly"), "{error}");
    matches!(error, ObserveError::Read { cause: ReadError::Store(StoreError::Late { .. }), .. })
}

#[tokio::test(start_paused = true)]
async fn many_stores_that_never_answer_hold_a_turn_for_a_minute() {
    let hangs = |_| (Operation::PathKey, Duration::from_secs(1_000_000));
    for stores in [1, STORES] {
        let (desired, opened) = reading(stores, hangs);
        let began = Instant::now();
        assert!(is_late(observe::locate(&desired, &opened).await));
        assert_eq!(began.elapsed(), MINUTE);
        // What the target holds is judged as far as it is known.
        let began = Instant::now();
        let located = earlier::locate(&desired, &opened).await;
        assert!(located.len() == stores && located.into_iter().all(is_late));
        assert_eq!(began.elapsed(), MINUTE);
    }
}

#[tokio::test(start_paused = true)]
async fn many_stores_that_are_slow_are_asked_several_at_a_time_and_one_that_hangs_hides_no_other() {
    let (desired, opened) = reading(40, |_| (Operation::PathKey, Duration::from_secs(10)));
    let began = Instant::now();
    let located = observe::locate(&desired, &opened).await.unwrap();
    assert!(began.elapsed() <= MINUTE, "{:?}", began.elapsed());
    let addresses: Vec<String> = located.iter().map(|located| located.site().address.to_string()).collect();
    assert!(addresses.len() == 40 && addresses.is_sorted(), "{addresses:?}");
    let hangs = |number| (Operation::PathKey, if number == 3 { 100 * MINUTE } else { Duration::from_secs(1) });
    let (desired, opened) = reading(40, hangs);
    let located = earlier::locate(&desired, &opened).await;
    let lost = located.iter().enumerate().filter(|(_, located)| located.is_err());
    assert_eq!(lost.map(|(number, _)| number).collect::<Vec<_>>(), [3]);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_takes_longer_than_a_minute_fails_and_says_which_store_is_slow() {
    let hangs = |number| (Operation::Read, if number == 1 { 100 * MINUTE } else { Duration::ZERO });
    let (desired, opened) = reading(3, hangs);
    let (feed, name) = (Feed::new(), Name::new("team", "db"));
    let located: Vec<Located> = observe::locate(&desired, &opened).await.unwrap();
    observe::subscribe(&feed, &name, &located, Follow::Never);
    let began = Instant::now();
    let error = observe::read(&feed, &name, &located, Freshness::Shared, Past::default(), observe::deadline())
        .await
        .err()
        .unwrap();
    assert_eq!(began.elapsed(), MINUTE);
    assert!(error.to_string().starts_with("SecretStore/s-0001: https://s-0001 answers slowly"), "{error}");
    assert!(is_late::<()>(Err(error)));
}
