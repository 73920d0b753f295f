//! The protocol against the store in memory: races, other writers, erased claims, and a stop at
//! every request.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::FutureExt;
use parking_lot::Mutex;
use tokio::time::Instant as Moment;

use crate::cluster::ClusterError;
use crate::cluster::in_memory::ApiServer;
use crate::domain::claim::{self, Owner};
use crate::domain::earlier_versions::EarlierVersions;
use crate::domain::path::RemotePath;
use crate::domain::remote::{EntryState, RemoteData, RemoteValue};
use crate::push::custom_metadata::MetadataGoal;
use crate::push::entry::{Access, Applied, Applier, ApplyError, Owners, Recorder, Sight, Wrote};
use crate::push::intents::{Intents, STALE_AFTER};
use crate::push::offers::Offers;
use crate::push::refusal::{Left, Refusal};
use crate::push::step::{Existing, Foreign, Goal, Removals};
use crate::store::fake::{Counting, FakeStore, Fault, Operation};
use crate::store::{PathKey, Site, StoreError};

/// The cluster as far as claims ask after it: the UIDs of the PushSecrets that exist.
pub(super) struct Living(pub BTreeSet<String>);

#[async_trait]
impl Owners for Living {
    async fn exists(&self, owner: &Owner) -> Result<bool, ClusterError> {
        Ok(self.0.contains(&owner.uid))
    }

    async fn listed(&self, _owner: &Owner, _path: &RemotePath) -> Result<BTreeSet<String>, ClusterError> {
        Ok(BTreeSet::new())
    }
}

/// Nobody leaves anything to anybody.
pub(super) fn no_offers() -> Offers {
    Offers::new(Box::new(ApiServer::default()), Box::new(drop))
}

/// A ledger in memory that notes how many mutations the store had seen when it was asked.
struct Book(FakeStore, Mutex<Vec<(BTreeSet<String>, usize)>>);

#[async_trait]
impl Recorder for Book {
    async fn ensure(&self, properties: &BTreeSet<String>, _sight: Sight) -> Result<(), ClusterError> {
        self.1.lock().push((properties.clone(), self.0.mutations()));
        Ok(())
    }
}

fn book(store: &FakeStore) -> Book {
    Book(store.clone(), Mutex::default())
}

pub(super) fn owner(uid: &str) -> Owner {
    Owner { uid: uid.into(), cluster: "here".into(), namespace: "db".into(), name: format!("push-{uid}") }
}

pub(super) fn path() -> RemotePath {
    RemotePath::parse(Some("secret"), "platform-data/postgres/temporal").unwrap()
}

/// Where that is, on the fake's server.
pub(super) fn site() -> Site {
    let place = PathKey {
        server: "fake".into(),
        mount: "secret of fake".into(),
        path: "platform-data/postgres/temporal".into(),
    };
    Site { place, address: "fake".into() }
}

pub(super) fn data(entries: &[(&str, &str)]) -> RemoteData {
    entries.iter().map(|(property, text)| ((*property).to_owned(), RemoteValue::text(text))).collect()
}

pub(super) fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

pub(super) fn set(entries: &[(&str, &str)]) -> Goal {
    Goal { set: data(entries), ..Goal::default() }
}

fn with_metadata(goal: Goal, entries: &[(&str, &str)]) -> Goal {
    let set = entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Goal { custom_metadata: MetadataGoal { set, ..MetadataGoal::default() }, ..goal }
}

pub(super) fn remove(properties: &[&str]) -> Goal {
    Goal { remove: names(properties), ..Goal::default() }
}

pub(super) async fn push(store: &FakeStore, uid: &str, goal: &Goal) -> Result<Applied, ApplyError> {
    push_among(store, uid, goal, &["a", "b"]).await
}

/// One reconcile of one path by a PushSecret with this UID, in a cluster where these exist.
pub(super) async fn push_among(
    store: &FakeStore,
    uid: &str,
    goal: &Goal,
    living: &[&str],
) -> Result<Applied, ApplyError> {
    let (me, owners, intents, path) = (owner(uid), Living(names(living)), Intents::default(), path());
    let access = Access { client: store, path: &path, site: &site(), ledger: &book(store), announce: &|_version| {} };
    let offers = no_offers();
    let applier = applier(&me, &owners, &intents, &offers);
    applier.converge(&access, goal, Removals::Now).await
}

pub(super) fn texts(store: &FakeStore) -> BTreeMap<String, String> {
    let entry = store.peek(&path());
    let render = |value: &RemoteValue| value.rendered().expose_utf8().unwrap().to_owned();
    entry.data().map(|data| data.iter().map(|(p, v)| (p.clone(), render(v))).collect()).unwrap_or_default()
}

pub(super) fn expect(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(p, v)| ((*p).to_owned(), (*v).to_owned())).collect()
}

pub(super) fn metadata_keys(store: &FakeStore) -> Vec<String> {
    store.peek(&path()).custom_metadata.into_keys().collect()
}

pub(super) fn marked() -> claim::CustomMetadata {
    claim::CustomMetadata::from([(claim::MARKER.to_owned(), claim::MARKER_VALUE.to_owned())])
}

#[tokio::test]
async fn a_first_push_claims_and_writes_one_version() {
    let store = FakeStore::new();
    let applied = push(&store, "a", &set(&[("username", "u"), ("password", "p")])).await.unwrap();
    assert_eq!((applied.settled.version, applied.wrote), (Some(1), Wrote::Version));
    assert_eq!(texts(&store), expect(&[("username", "u"), ("password", "p")]));
    assert_eq!(metadata_keys(&store), ["claim.waypost.io/password", "claim.waypost.io/username", "managed-by"]);
}

#[tokio::test]
async fn properties_of_any_number_of_owners_that_are_gone_are_taken_over() {
    let store = FakeStore::new();
    let properties: Vec<String> = (0..30).map(|number| format!("p{number}")).collect();
    for property in &properties {
        push(&store, &format!("gone-{property}"), &set(&[(property, "theirs")])).await.unwrap();
    }
    let ours: Vec<(&str, &str)> = properties.iter().map(|property| (property.as_str(), "ours")).collect();
    push(&store, "a", &set(&ours)).await.unwrap();
    assert_eq!(texts(&store), expect(&ours));
}

#[tokio::test]
async fn where_changes_of_metadata_are_counted_a_claim_is_one_request() {
    let operations = async |counting, entry: Option<&str>| {
        let store = FakeStore::new().with_counting(counting);
        if let Some(theirs) = entry {
            push(&store, "b", &set(&[(theirs, "x")])).await.unwrap();
        }
        let before = store.requests().len();
        push(&store, "a", &with_metadata(set(&[("password", "p")]), &[("team", "x")])).await.unwrap();
        assert!(metadata_keys(&store).starts_with(&["claim.waypost.io/password".to_owned()]));
        store.requests()[before..].iter().map(|request| request.operation).collect::<Vec<_>>()
    };
    use Operation::{CreateEntry, ExchangeMetadata, PatchMetadata, Read, Write};
    for (entry, counted, uncounted) in [
        (None, vec![Read, ExchangeMetadata, Write], vec![Read, CreateEntry, PatchMetadata, Read, Write, PatchMetadata]),
        (Some("username"), vec![Read, ExchangeMetadata, Write], vec![Read, PatchMetadata, Read, Write, PatchMetadata]),
    ] {
        assert_eq!(operations(Counting::Offered, entry).await, counted);
        assert_eq!(operations(Counting::Refused, entry).await, uncounted);
    }
}

#[tokio::test]
async fn a_claim_at_once_gives_way_to_an_intent_and_to_a_claim_that_came_between() {
    for theirs in [
        claim::intend(&marked(), ["password"], &owner("b"), &claim::Inquiry::default()),
        claim::confirm(["password"], &owner("b")),
    ] {
        let store = FakeStore::new().with_counting(Counting::Offered);
        store.before_each(move |store, request| {
            if request.operation == Operation::ExchangeMetadata {
                let theirs = theirs.clone().into_iter().filter_map(|(key, value)| Some((key, value?)));
                store.put_metadata(&path(), marked().into_iter().chain(theirs).collect());
            }
            None
        });
        let refused = push(&store, "a", &set(&[("password", "a")])).await.unwrap_err();
        assert!(matches!(refused, ApplyError::Contested { .. } | ApplyError::Refused { .. }), "{refused}");
        assert!(!metadata_keys(&store).iter().any(|key| store.peek(&path()).custom_metadata[key].contains("push-a")));
        assert_eq!(store.count(Operation::Write), 0);
    }
}

#[tokio::test]
async fn what_is_kept_if_it_is_there_is_not_claimed_before_it_is_written() {
    let store = FakeStore::new().with_counting(Counting::Offered);
    let keep = Goal { existing: Existing::Keep, ..set(&[("password", "a")]) };
    store.before_each(|store, request| {
        if request.operation == Operation::Write && store.peek(&path()).cas() == 0 {
            store.put(&path(), data(&[("password", "theirs")]));
        }
        None
    });
    let applied = push(&store, "a", &keep).await.unwrap();
    assert_eq!((applied.settled.kept, metadata_keys(&store)), (names(&["password"]), vec!["managed-by".to_owned()]));
}

#[tokio::test]
async fn a_change_costs_one_read_and_one_write_and_silence_one_read() {
    let store = FakeStore::new();
    push(&store, "a", &set(&[("password", "1")])).await.unwrap();
    let before = store.requests().len();
    push(&store, "a", &set(&[("password", "2")])).await.unwrap();
    assert_eq!(store.requests().len() - before, 2);
    let (before, mutations) = (store.requests().len(), store.mutations());
    push(&store, "a", &set(&[("password", "2")])).await.unwrap();
    assert_eq!((store.requests().len() - before, store.mutations() - mutations), (1, 0));
    assert_eq!(store.peek(&path()).cas(), 2);
}

#[tokio::test]
async fn metadata_comes_with_the_claims_and_costs_neither_a_version_nor_a_second_look() {
    let store = FakeStore::new();
    let goal = |team: &str| with_metadata(set(&[("password", "1")]), &[("team", team)]);
    push(&store, "a", &goal("x")).await.unwrap();
    assert_eq!(metadata_keys(&store), ["claim.waypost.io/password", "managed-by", "team"]);
    push(&store, "a", &goal("y")).await.unwrap();
    assert_eq!((store.peek(&path()).cas(), &*store.peek(&path()).custom_metadata["team"]), (1, "y"));
    let mutations = store.mutations();
    push(&store, "a", &goal("y")).await.unwrap();
    assert_eq!(store.mutations(), mutations);
    // Whoever owns nothing there sets no custom metadata either.
    push(&store, "b", &with_metadata(set(&[("password", "2")]), &[("team", "z")])).await.unwrap_err();
    assert_eq!(store.mutations(), mutations);
    let gone = Goal {
        custom_metadata: MetadataGoal { remove: names(&["team"]), ..MetadataGoal::default() },
        ..remove(&["password"])
    };
    push(&store, "a", &gone).await.unwrap();
    assert_eq!(metadata_keys(&store), ["managed-by"]);
}

#[tokio::test]
async fn metadata_for_which_there_is_no_room_is_refused_before_anything_is_written() {
    let store = FakeStore::new();
    let many: Vec<(String, String)> = (0..63).map(|number| (format!("label-{number}"), String::new())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let refused = push(&store, "a", &with_metadata(set(&[("password", "1")]), &many)).await.unwrap_err();
    let crowded = Refusal::TooManyClaims { claims: 1, keys: 65, others: Vec::new() };
    assert_eq!(refused, ApplyError::Refused { refusal: crowded, taken: BTreeSet::new() });
    assert_eq!(store.mutations(), 0);
}

#[tokio::test]
async fn the_first_owner_wins_and_the_second_is_told_who() {
    let store = FakeStore::new();
    push(&store, "b", &set(&[("password", "b")])).await.unwrap();
    let mutations = store.mutations();
    let refused = push(&store, "a", &set(&[("password", "a"), ("username", "a")])).await.unwrap_err();
    let conflict =
        Refusal::Conflict { property: "password".into(), owner: owner("b"), key: "claim.waypost.io/password".into() };
    assert_eq!(refused, ApplyError::Refused { refusal: conflict, taken: names(&["password"]) });
    assert!(refused.to_string().contains("PushSecret db/push-b of cluster here"));
    assert_eq!(store.mutations(), mutations);
    assert_eq!(texts(&store), expect(&[("password", "b")]));
}

#[tokio::test]
async fn two_owners_share_a_path() {
    let store = FakeStore::new();
    push(&store, "a", &set(&[("username", "u")])).await.unwrap();
    push(&store, "b", &set(&[("password", "p")])).await.unwrap();
    push(&store, "a", &set(&[("username", "v")])).await.unwrap();
    assert_eq!(texts(&store), expect(&[("username", "v"), ("password", "p")]));
    push(&store, "a", &remove(&["username", "password"])).await.unwrap();
    assert_eq!(texts(&store), expect(&[("password", "p")]));
}

#[tokio::test]
async fn the_claim_of_an_owner_that_is_gone_is_taken_over() {
    let store = FakeStore::new();
    push(&store, "b", &set(&[("password", "b")])).await.unwrap();
    push_among(&store, "a", &set(&[("password", "a")]), &["a"]).await.unwrap();
    assert_eq!(texts(&store), expect(&[("password", "a")]));
    assert!(push(&store, "b", &set(&[("password", "b")])).await.is_err());
}

#[tokio::test]
async fn a_path_of_somebody_else_is_left_alone_unless_adopted() {
    let store = FakeStore::new();
    store.put(&path(), data(&[("password", "theirs")]));
    let refused = push(&store, "a", &set(&[("password", "a")])).await.unwrap_err();
    assert!(matches!(refused, ApplyError::Refused { refusal: Refusal::NotManaged { .. }, .. }));
    assert_eq!(store.mutations(), 0);
    let adopting = Goal { foreign: Foreign::Adopt, ..set(&[("username", "a")]) };
    push(&store, "a", &adopting).await.unwrap();
    assert_eq!(texts(&store), expect(&[("password", "theirs"), ("username", "a")]));
}

#[tokio::test]
async fn an_erased_claim_is_made_again_and_never_by_two() {
    let store = FakeStore::new();
    push(&store, "a", &set(&[("password", "a")])).await.unwrap();
    store.put_metadata(&path(), marked());
    let applied = push(&store, "a", &set(&[("password", "a")])).await.unwrap();
    assert_eq!(applied.wrote, Wrote::Nothing);
    assert!(push(&store, "b", &set(&[("password", "b")])).await.is_err());
    store.put_metadata(&path(), marked());
    push(&store, "a", &remove(&["password"])).await.unwrap();
    assert!(matches!(store.peek(&path()).state, EntryState::Deleted { version: 2 }));
}

#[tokio::test]
async fn existing_properties_are_kept_and_never_deleted_when_asked() {
    let store = FakeStore::new();
    store.put(&path(), data(&[("password", "theirs")]));
    store.put_metadata(&path(), marked());
    let keep = |entries: &[(&str, &str)]| Goal { existing: Existing::Keep, ..set(entries) };
    let applied = push(&store, "a", &keep(&[("password", "a"), ("username", "a")])).await.unwrap();
    assert_eq!((applied.settled.owned, applied.settled.kept), (names(&["username"]), names(&["password"])));
    push(&store, "a", &keep(&[("password", "a2"), ("username", "a2")])).await.unwrap();
    assert_eq!(texts(&store), expect(&[("password", "theirs"), ("username", "a")]));
    let gone = Goal { existing: Existing::Keep, ..remove(&["password", "username"]) };
    push(&store, "a", &gone).await.unwrap();
    assert_eq!(texts(&store), expect(&[("password", "theirs")]));
}

/// It announced a property and stopped. Whether the value is its own, nothing shows.
#[tokio::test]
async fn what_may_have_existed_before_an_announced_write_is_kept() {
    for (existing, left) in
        [(Existing::Keep, Some(Left::Existing)), (Existing::Claimed, Some(Left::Unclaimed)), (Existing::Replace, None)]
    {
        let store = FakeStore::new();
        announced(&store, &[(owner("a"), "password".to_owned())]);
        store.put(&path(), data(&[("password", "theirs")]));
        let applied = push(&store, "a", &Goal { existing, ..remove(&["password"]) }).await.unwrap();
        assert_eq!(texts(&store).contains_key("password"), left.is_some());
        assert_eq!(applied.settled.left.get("password"), left.as_ref());
        assert_eq!(metadata_keys(&store), [claim::MARKER]);
    }
}

#[tokio::test]
async fn the_last_property_goes_with_its_version_and_claims() {
    let store = FakeStore::new();
    push(&store, "a", &set(&[("password", "a")])).await.unwrap();
    push(&store, "a", &remove(&["password"])).await.unwrap();
    assert!(matches!(store.peek(&path()).state, EntryState::Deleted { version: 2 }));
    assert_eq!(metadata_keys(&store), ["managed-by"]);
    push(&store, "b", &set(&[("password", "b")])).await.unwrap();
    assert_eq!(store.peek(&path()).cas(), 3);
}

#[tokio::test]
async fn a_released_property_stays_and_is_free() {
    let store = FakeStore::new();
    push(&store, "a", &set(&[("password", "a")])).await.unwrap();
    push(&store, "a", &Goal { release: names(&["password"]), ..Goal::default() }).await.unwrap();
    assert_eq!(texts(&store), expect(&[("password", "a")]));
    push(&store, "b", &set(&[("password", "b")])).await.unwrap();
}

#[tokio::test]
async fn a_sibling_written_between_read_and_write_survives() {
    let store = FakeStore::new();
    push(&store, "a", &set(&[("password", "1")])).await.unwrap();
    let person = AtomicUsize::new(0);
    store.before_each(move |store, request| {
        if request.operation == Operation::Write && person.fetch_add(1, Ordering::Relaxed) < 2 {
            let mut theirs = data(&[("note", "theirs")]);
            theirs.extend(store.peek(&path()).data().unwrap().iter().map(|(p, v)| (p.clone(), v.duplicate())));
            store.put(&path(), theirs);
        }
        None
    });
    push(&store, "a", &set(&[("password", "2")])).await.unwrap();
    assert_eq!(texts(&store), expect(&[("password", "2"), ("note", "theirs")]));
}

#[tokio::test]
async fn what_is_pushed_stands_in_the_ledger_before_the_first_mutation() {
    let (store, me, owners, intents) = (FakeStore::new(), owner("a"), Living(names(&["a"])), Intents::default());
    let (path, book) = (path(), book(&store));
    let access = Access { client: &store, path: &path, site: &site(), ledger: &book, announce: &|_version| {} };
    let offers = no_offers();
    let applier = applier(&me, &owners, &intents, &offers);
    applier.converge(&access, &set(&[("username", "u"), ("password", "p")]), Removals::Now).await.unwrap();
    assert_eq!(book.1.lock()[0], (names(&["username", "password"]), 0));
}

/// Before request `k` of one racer the other runs as far as it can, for every `k`, in both roles.
#[tokio::test]
async fn two_racers_for_one_property_have_one_winner_wherever_they_cross() {
    use Counting::{Offered, Refused};
    let sights = [[Refused, Refused], [Offered, Offered], [Offered, Refused], [Refused, Offered]];
    let roles = [("a", "b"), ("b", "a")];
    for ((first, second), sight) in roles.into_iter().flat_map(|roles| sights.map(|sight| (roles, sight))) {
        for crossing in 0..8 {
            let at = format!("{first} crossed by {second} at {crossing}, {sight:?}");
            let store = FakeStore::new().with_counting(sight[0]);
            let outcome: Arc<Mutex<Option<bool>>> = Arc::default();
            let mut seen = 0;
            store.before_each({
                let (outcome, crossing_store) =
                    (outcome.clone(), store.with_identity("crossing").with_counting(sight[1]));
                move |_, request| {
                    seen += usize::from(request.identity.0.as_ref() == "fake");
                    if seen == crossing + 1 && outcome.lock().is_none() {
                        // Where it would pause, it counts as stopped, and its intent stays.
                        let goal = set(&[("password", second)]);
                        let other = push(&crossing_store, second, &goal).now_or_never();
                        *outcome.lock() = Some(matches!(other, Some(Ok(_))));
                    }
                    None
                }
            });
            let won = push(&store, first, &set(&[("password", first)])).await.is_ok();
            let other_won = outcome.lock().unwrap_or(false);
            assert!(!(won && other_won), "{at}: both won");
            let mut owners = Vec::new();
            for uid in [first, second, first, second] {
                if push(&store, uid, &set(&[("password", uid)])).await.is_ok() {
                    owners.push(uid);
                }
            }
            owners.dedup();
            assert_eq!(owners.len(), 1, "{at}: one and only one owns it");
            assert!(!won || owners == [first], "{at}: it was told that it won");
            assert!(!other_won || owners == [second], "{at}: the other was told that it won");
            assert_eq!(texts(&store), expect(&[("password", owners[0])]), "{at}");
        }
    }
}

/// A process that stops before request `k`, or after it was carried out, for every `k`: the next
/// one ends where an undisturbed one would, with no version more than the sources and the lost
/// replies account for.
#[tokio::test]
async fn a_stop_at_any_request_is_repaired_by_the_next_reconcile() {
    let down = || StoreError::Standby { server: "fake".into() };
    let faults: [fn(StoreError) -> Fault; 2] = [Fault::Refuse, Fault::LoseReply];
    for (fault, counting) in
        faults.into_iter().flat_map(|fault| [Counting::Refused, Counting::Offered].map(|c| (fault, c)))
    {
        for stop in 0..24 {
            let store = FakeStore::new().with_counting(counting);
            let seen = AtomicUsize::new(0);
            store.before_each(move |_, _| (seen.fetch_add(1, Ordering::Relaxed) == stop).then(|| fault(down())));
            let goals = [
                set(&[("username", "u"), ("password", "1")]),
                set(&[("username", "u"), ("password", "2")]),
                Goal { remove: names(&["username"]), ..set(&[("password", "2")]) },
                remove(&["password"]),
            ];
            let states = [
                expect(&[("username", "u"), ("password", "1")]),
                expect(&[("username", "u"), ("password", "2")]),
                expect(&[("password", "2")]),
                expect(&[]),
            ];
            for (goal, state) in goals.iter().zip(&states) {
                if push(&store, "a", goal).await.is_err() {
                    push(&store, "a", goal).await.unwrap();
                }
                assert_eq!(&texts(&store), state, "stopped at {stop}");
            }
            let entry = store.peek(&path());
            assert!(matches!(entry.state, EntryState::Deleted { version: 4 }), "stopped at {stop}");
            assert_eq!(metadata_keys(&store), ["managed-by"], "stopped at {stop}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_intent_that_stands_still_is_swept_after_a_minute() {
    let (store, intents, began) = (FakeStore::new(), Intents::default(), Instant::now());
    announced(&store, &[(stranger(), "password".into())]);
    let goal = set(&[("password", "p")]);
    let waiting = push_at(&store, &goal, &intents, began).await;
    assert_eq!(waiting.err(), Some(ApplyError::Contested { by: stranger() }));
    assert_eq!(store.mutations(), 0);
    push_at(&store, &goal, &intents, began + STALE_AFTER).await.unwrap();
    assert_eq!(metadata_keys(&store), ["claim.waypost.io/password", "managed-by"]);
}

/// A claimant of another cluster.
fn stranger() -> Owner {
    Owner { cluster: "elsewhere".into(), ..owner("0") }
}

/// Adds an intent on each of these properties.
pub(super) fn announced(store: &FakeStore, intents: &[(Owner, String)]) {
    let mut metadata = store.peek(&path()).custom_metadata;
    for (by, property) in intents {
        let changes = claim::intend(&metadata, [property.as_str()], by, &claim::Inquiry::default());
        metadata.extend(changes.into_iter().filter_map(|(key, value)| Some((key, value?))));
    }
    store.put_metadata(&path(), metadata);
}

/// A reconcile that begins now.
pub(super) fn applier<'a>(me: &'a Owner, owners: &'a Living, intents: &'a Intents, offers: &'a Offers) -> Applier<'a> {
    Applier { me, owners, intents, offers, now: Instant::now(), began: Moment::now() }
}

/// One reconcile by `a` at this time, in a cluster where nobody else exists.
async fn push_at(store: &FakeStore, goal: &Goal, intents: &Intents, now: Instant) -> Result<Applied, ApplyError> {
    push_late(store, goal, intents, now, Duration::ZERO).await
}

/// The same, if so much time passes before it comes to this entry.
async fn push_late(
    store: &FakeStore,
    goal: &Goal,
    intents: &Intents,
    now: Instant,
    late: Duration,
) -> Result<Applied, ApplyError> {
    let (me, owners, path) = (owner("a"), Living(names(&["a"])), path());
    let access = Access { client: store, path: &path, site: &site(), ledger: &book(store), announce: &|_version| {} };
    let applier = Applier { me: &me, owners: &owners, intents, offers: &no_offers(), now, began: Moment::now() };
    tokio::time::advance(late).await;
    applier.converge(&access, goal, Removals::Now).await
}

/// A claimant dies between its announcement and its write, whatever it announced.
#[tokio::test(start_paused = true)]
async fn all_intents_of_a_claimant_that_died_are_over_after_one_minute() {
    let purge = || Goal { earlier: EarlierVersions::Purge, ..remove(&["password"]) };
    let kinds = [(Existing::Replace, false), (Existing::Keep, false), (Existing::Replace, true)];
    for ((existing, purges), many) in kinds.into_iter().flat_map(|kind| [1, 2, 25, 28].map(|many| (kind, many))) {
        let case = format!("{many} intents, {existing:?}, purges: {purges}");
        let (store, intents, began) = (FakeStore::new(), Intents::default(), Instant::now());
        let properties: Vec<String> = (0..many).map(|number| format!("p{number}")).collect();
        if purges {
            push(&store, "a", &set(&[("password", "p")])).await.unwrap();
        }
        let theirs: Vec<_> = properties.iter().map(|property| (stranger(), property.clone())).collect();
        announced(&store, &theirs);
        let wanted: Vec<_> = properties.iter().map(|property| (property.as_str(), "ours")).collect();
        let goal = if purges { purge() } else { Goal { existing, ..set(&wanted) } };
        for tried in [Duration::ZERO, STALE_AFTER - Duration::from_secs(1)] {
            let waiting = push_at(&store, &goal, &intents, began + tried).await;
            assert_eq!(waiting.err(), Some(ApplyError::Contested { by: stranger() }), "{case}");
        }
        push_at(&store, &goal, &intents, began + STALE_AFTER).await.unwrap_or_else(|error| panic!("{case}: {error}"));
        let expected = if purges { expect(&[]) } else { expect(&wanted) };
        assert_eq!(texts(&store), expected, "{case}");
        assert!(!metadata_keys(&store).iter().any(|key| key.starts_with("intent.")), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_intent_is_no_older_than_the_read_that_showed_it_first() {
    let (store, intents, began) = (FakeStore::new(), Intents::default(), Instant::now());
    announced(&store, &[(stranger(), "password".to_owned())]);
    let (goal, late) = (set(&[("password", "ours")]), Duration::from_secs(50));
    let waiting = push_late(&store, &goal, &intents, began, late).await;
    assert_eq!(waiting.err(), Some(ApplyError::Contested { by: stranger() }));
    let waiting = push_at(&store, &goal, &intents, began + STALE_AFTER).await;
    assert_eq!(waiting.err(), Some(ApplyError::Contested { by: stranger() }));
    push_late(&store, &goal, &intents, began + STALE_AFTER, late + Duration::from_secs(2)).await.unwrap();
    assert_eq!(texts(&store), expect(&[("password", "ours")]));
}

#[tokio::test(start_paused = true)]
async fn intents_of_any_number_of_owners_that_are_gone_hold_nobody_up() {
    let store = FakeStore::new();
    let gone: Vec<_> = (0..28).map(|number| (owner(&format!("gone{number}")), format!("p{number}"))).collect();
    announced(&store, &gone);
    let ours: Vec<_> = gone.iter().map(|(_, property)| (property.as_str(), "ours")).collect();
    push_at(&store, &set(&ours), &Intents::default(), Instant::now()).await.unwrap();
    assert_eq!(texts(&store), expect(&ours));
}
