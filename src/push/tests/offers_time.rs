//! How long an offer holds a removal: as long as nothing but those who are asked holds it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::asking::owner_of;
use super::bench::{Bench, TEMPORAL, at, both};
use super::protocol::site;

use crate::push::offers::{Asking, Patience, Waiter};
use crate::store::Site;

const MOST: Duration = Duration::from_secs(600);

/// What an owner finds at the end of a reconcile.
#[derive(Clone, Copy)]
enum End {
    /// The offer is all that holds the removal.
    Held,
    /// Its own writes failed, or it did not come so far.
    Postponed,
    /// It was cut off.
    CutOff,
}

/// An owner that offers a property, and somebody who never answers.
struct Offered {
    bench: Bench,
    now: Instant,
}

impl Offered {
    fn new() -> Self {
        let bench = Bench::new();
        bench.apply("new", both());
        Offered { bench, now: Instant::now() }
    }

    /// Time passes, and then its owner is reconciled in no time.
    async fn after(&mut self, seconds: u64, end: End) {
        self.turn([seconds, 0], end).await;
    }

    /// Time passes, and then its owner is reconciled, which takes a while.
    async fn turn(&mut self, [before, within]: [u64; 2], end: End) {
        self.now += Duration::from_secs(before);
        let began = self.patience();
        let (me, offers, key) = (owner_of("old"), &self.bench.offers, (site(), "username".to_owned()));
        offers.begin(&me, 1).await;
        offers.open(&me, Asking::from([(key.clone(), self.waiters())]), &|_, _| false);
        let held: BTreeSet<(Site, String)> = match end {
            End::Held => BTreeSet::from([key]),
            End::Postponed => BTreeSet::new(),
            End::CutOff => return,
        };
        self.now += Duration::from_secs(within);
        offers.count(&me, &held, began, self.now);
    }

    fn waiters(&self) -> Vec<Waiter> {
        self.bench.offers.search(&owner_of("old"), self.patience()).waiters(&site(), &at(TEMPORAL), "username")
    }

    fn patience(&self) -> Patience {
        Patience { now: self.now, most: MOST }
    }

    /// For how long the owner waits if nothing else holds the removal from now on.
    fn left(&self) -> u64 {
        let waits = |seconds: &u64| {
            let later = Patience { now: self.now + Duration::from_secs(*seconds), most: MOST };
            let asked = self.bench.offers.search(&owner_of("old"), later).waiters(&site(), &at(TEMPORAL), "username");
            asked.is_empty()
        };
        (0..=600).find(waits).unwrap_or(u64::MAX)
    }
}

#[tokio::test]
async fn an_offer_waits_as_long_as_nothing_else_holds_the_removal() {
    use End::{CutOff, Held, Postponed};
    let stories: [(&[(u64, End)], u64); 8] = [
        (&[(0, Held)], 600),
        (&[(0, Held), (60, Held), (60, Held)], 480),
        // It could not have removed anything yet.
        (&[(0, Postponed), (900, Postponed), (0, Held)], 600),
        // The time neither passes nor begins again.
        (&[(0, Held), (100, Held), (60, Postponed), (900, Postponed), (60, Held)], 500),
        (&[(0, Held), (100, Held), (60, CutOff), (900, CutOff), (60, Held)], 500),
        // It began while the offer was all that held it, and did not come to its end.
        (&[(0, Held), (0, CutOff), (900, Held)], 600),
        (&[(0, Held), (600, Held)], 0),
        // What is over stays over, although the removal fails.
        (&[(0, Held), (700, Postponed), (0, Postponed)], 0),
    ];
    for (number, (story, left)) in stories.into_iter().enumerate() {
        let mut offered = Offered::new();
        for (seconds, end) in story {
            offered.after(*seconds, *end).await;
        }
        assert_eq!(offered.left(), left, "story {number}");
    }
}

#[tokio::test]
async fn one_that_nobody_is_asked_about_has_its_whole_time_left() {
    let mut offered = Offered::new();
    offered.after(0, End::Held).await;
    // All have declined, and the removal fails for long; then somebody else wants it.
    let key = (site(), "username".to_owned());
    for _ in 0..20 {
        offered.now += Duration::from_secs(60);
        offered.bench.offers.begin(&owner_of("old"), 1).await;
        offered.bench.offers.open(&owner_of("old"), BTreeMap::from([(key.clone(), Vec::new())]), &|_, _| false);
        offered.bench.offers.count(&owner_of("old"), &BTreeSet::new(), offered.patience(), offered.now);
    }
    offered.after(0, End::Held).await;
    assert_eq!(offered.left(), 600);
}

#[tokio::test]
async fn an_owner_whose_own_requests_take_long_has_not_waited_meanwhile() {
    let mut offered = Offered::new();
    offered.after(0, End::Held).await;
    offered.turn([590, 100], End::Postponed).await;
    offered.after(0, End::Held).await;
    assert_eq!(offered.left(), 600, "of the time before it, nobody knows");
}
