//! What is listed and what is not, by windows and by how earlier listings ended.

use std::sync::Arc;

use super::super::index::Check;
use super::*;
use crate::api::StoreKind;
use crate::domain::description::What;
use crate::domain::path::RemotePath;
use crate::store::fake::FakeStore;
use crate::store::{PathKey, StoreClient};

const HOUR: Duration = Duration::from_secs(3600);

fn due(path: &str) -> Due {
    due_for("team", path, HOUR)
}

fn due_for(identity: &str, path: &str, window: Duration) -> Due {
    let client: Arc<dyn StoreClient> = Arc::new(FakeStore::new().with_identity(identity));
    let key = PathKey { server: "fake".into(), mount: "kv".into(), path: path.into() };
    let path = RemotePath::parse(Some("secret"), path).unwrap();
    let source = Source { client, kind: StoreKind::SecretStore, key, path, version: None, what: What::Data };
    Due { site: source.site(), logins: vec![Check { source, failing: false }], window, asked: None }
}

/// What is followed: each path once an hour unless it says otherwise.
fn each_hour(paths: &[&str]) -> Vec<(Arc<str>, Duration)> {
    paths.iter().map(|path| ((*path).into(), HOUR)).collect()
}

fn below(paths: &[(Arc<str>, Duration)], tree: &Tree) -> Vec<(Arc<str>, Duration)> {
    let mut paths = paths.to_vec();
    paths.retain(|(path, _)| path.starts_with(&tree.top));
    paths
}

/// The folders that are listed and the paths that are checked alone, as text.
fn planned(listings: &Listings, due: Vec<Due>, now: Instant, followed: &[(Arc<str>, Duration)]) -> [Vec<String>; 2] {
    let plan = listings.plan(due, now, |tree| below(followed, tree));
    let folders = plan.listings.iter().map(|listing| listing.folder.path.clone());
    let alone = plan.alone.iter().map(|path| path.site.place.path.to_string());
    [folders.collect(), alone.collect()]
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

const FIVE: [&str; 5] = ["data/pg/a", "data/pg/b", "data/pg/c", "data/redis/a", "config/pg/a"];

#[test]
fn one_due_path_brings_the_listing_of_all_that_is_followed_around_it() {
    let (listings, now) = (Listings::default(), Instant::now());
    let plan = planned(&listings, vec![due("data/pg/b")], now, &each_hour(&FIVE));
    assert_eq!(plan, [texts(&["data"]), vec![]]);
    let plan = planned(&listings, vec![due("data/pg/b")], now, &each_hour(&FIVE[..3]));
    assert_eq!(plan, [texts(&["data/pg"]), vec![]]);
}

#[test]
fn the_due_paths_of_a_folder_are_one_listing_and_one_of_them_is_checked_alone_as_well() {
    let due = FIVE.iter().map(|path| due(path)).collect();
    let plan = Listings::default().plan(due, Instant::now(), |tree| below(&each_hour(&FIVE), tree));
    let [listing] = &plan.listings[..] else { panic!("one listing") };
    assert_eq!((&*listing.sample.site.place.path, listing.others.len()), ("data/pg/a", 3));
    assert_eq!(listing.limit, 4 * 8 * 1024);
    let alone: Vec<_> = plan.alone.iter().map(|path| &*path.site.place.path).collect();
    assert_eq!(alone, ["config/pg/a"], "it is the only one in its folder");
}

#[test]
fn fewer_than_three_saved_checks_are_made_one_by_one() {
    let (listings, now) = (Listings::default(), Instant::now());
    let two = ["data/pg/a", "data/pg/b"];
    let plan = planned(&listings, two.map(due).into(), now, &each_hour(&two));
    assert_eq!(plan, [vec![], texts(&two)]);
    // Two paths each minute and many each hour: a listing each minute would save little more than
    // two checks.
    let minute = HOUR / 60;
    let mut followed = each_hour(&["data/pg/c", "data/pg/d", "data/pg/e"]);
    followed.extend(two.map(|path| (path.into(), minute)));
    let busy = || two.map(|path| due_for("team", path, minute)).into();
    assert_eq!(planned(&listings, busy(), now, &followed), [vec![], texts(&two)]);
    followed.push(("data/pg/f".into(), minute));
    assert_eq!(planned(&listings, busy(), now, &followed), [texts(&["data/pg"]), vec![]]);
}

#[test]
fn logins_are_listed_for_apart_and_a_failing_one_not_at_all() {
    let followed = each_hour(&FIVE);
    let mut failing = due("data/pg/a");
    failing.logins[0].failing = true;
    let paths = vec![due("data/pg/b"), due_for("other", "data/pg/b", HOUR), failing, due("entry")];
    let plan = Listings::default().plan(paths, Instant::now(), |tree| below(&followed, tree));
    let who: Vec<_> = plan.listings.iter().map(|listing| &*listing.folder.tree.identity.0).collect();
    assert_eq!(who, ["other", "team"]);
    let alone: Vec<_> = plan.alone.iter().map(|path| &*path.site.place.path).collect();
    assert_eq!(alone, ["data/pg/a", "entry"], "an entry beside the folders is in none");
}

#[test]
fn a_refusal_counts_for_the_whole_tree_and_for_an_hour() {
    let (mut listings, now) = (Listings::default(), Instant::now());
    let followed = each_hour(&FIVE);
    let tried = listings.plan(vec![due("data/pg/a")], now, |tree| below(&followed, tree));
    listings.refused(&tried.listings[0].folder, now);
    let plan = |at: Instant| planned(&listings, vec![due("data/redis/a")], at, &followed);
    assert_eq!(plan(now + HOUR / 2), [vec![], texts(&["data/redis/a"])]);
    assert_eq!(plan(now + HOUR), [texts(&["data"]), vec![]]);
    let other = planned(&listings, vec![due_for("other", "data/pg/a", HOUR)], now, &followed);
    assert_eq!(other, [texts(&["data"]), vec![]]);
}

#[test]
fn a_failure_counts_for_a_minute() {
    let (mut listings, now) = (Listings::default(), Instant::now());
    let followed = each_hour(&FIVE);
    let tried = listings.plan(vec![due("data/pg/a")], now, |tree| below(&followed, tree));
    listings.failed(&tried.listings[0].folder, now);
    let plan = |seconds| planned(&listings, vec![due("data/pg/a")], now + Duration::from_secs(seconds), &followed);
    assert_eq!(plan(59), [vec![], texts(&["data/pg/a"])]);
    assert_eq!(plan(60), [texts(&["data"]), vec![]]);
}

#[test]
fn of_a_folder_that_is_too_large_each_folder_is_tried() {
    let (mut listings, now) = (Listings::default(), Instant::now());
    let paths = ["data/pg/a", "data/pg/b", "data/pg/c", "data/top", "data/redis/a", "data/redis/x/b", "data/redis/x/c"];
    let followed = each_hour(&paths);
    let all = || paths.map(due).into();
    let tried = listings.plan(all(), now, |tree| below(&followed, tree));
    let Listing { folder, limit, .. } = &tried.listings[0];
    listings.too_large(folder, *limit, now);
    assert_eq!(planned(&listings, all(), now, &followed), [texts(&["data/pg", "data/redis"]), texts(&["data/top"])]);
    assert_eq!(planned(&listings, all(), now + HOUR, &followed)[0], ["data"]);
    // Twice as many checks to save are worth a listing of twice the size.
    let more: Vec<String> = (0..7).map(|more| format!("data/mysql/{more}")).collect();
    let followed = each_hour(&paths.into_iter().chain(more.iter().map(String::as_str)).collect::<Vec<_>>());
    assert_eq!(planned(&listings, all(), now, &followed)[0], ["data"]);
}

#[test]
fn the_common_folder_ends_at_a_slash() {
    let folder = |paths: &[&str]| common_folder(&each_hour(paths)).map(str::to_owned);
    assert_eq!(folder(&["a/bc/x", "a/bd/y"]), Some("a".to_owned()));
    assert_eq!(folder(&["a/b/x", "a/b/y/z"]), Some("a/b".to_owned()));
    assert_eq!(folder(&["a/b", "a/b/c"]), Some("a".to_owned()));
    assert_eq!(folder(&["ab/x", "a/x"]), None);
    assert_eq!(folder(&["a"]), None);
    assert_eq!(folder(&[]), None);
}
