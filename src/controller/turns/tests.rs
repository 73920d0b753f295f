//! Who runs, who waits and who is woken, in the stories that taught it.

mod model;

use std::collections::VecDeque;
use std::time::Duration;

use futures::{FutureExt, Stream, StreamExt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, advance, sleep, timeout};

use super::lines::RESERVED;
use super::*;
use crate::api::StoreKind;
use crate::store::StoreName;

const HALF: u16 = 8;

fn name(name: &str) -> Name {
    Name::new("ns", name)
}

fn load(store: &str, slow: bool) -> Load {
    Load { store: StoreName::cluster(store), server: format!("https://{store}"), slow }
}

fn take(turns: &Turns, number: usize, load: &Load) -> Option<Turn> {
    turns.take(&name(&format!("{}-{number}", load.store.name)), std::slice::from_ref(load))
}

/// The turns of a queue in which a turn of each of these stores has ended.
fn known(half: u16, loads: &[Load]) -> Turns {
    let turns = Turns::new("ExternalSecret", half);
    for load in loads {
        assert!(turns.take(&name("first"), std::slice::from_ref(load)).is_some());
    }
    turns
}

/// Another store of the server that `store` leads to.
fn beside(other: &str, store: &str, slow: bool) -> Load {
    Load { server: format!("https://{store}"), ..load(other, slow) }
}

fn own_store(namespace: &str, store: &str, slow: bool) -> Load {
    let name = StoreName::referred(namespace, StoreKind::SecretStore, store);
    Load { store: name, server: format!("https://{store}.{namespace}"), slow }
}

/// How many of many objects get a turn of each of these stores, kept in `held`. The others go.
fn taken(turns: &Turns, loads: &[Load], held: &mut Vec<Turn>) -> Vec<usize> {
    let mut counts = Vec::new();
    for load in loads {
        let before = held.len();
        held.extend((0..20).filter_map(|number| take(turns, number, load)));
        (0..20).for_each(|number| turns.forget(&name(&format!("{}-{number}", load.store.name))));
        counts.push(held.len() - before);
    }
    counts
}

/// Everybody who is woken now.
fn all_woken(woken: &mut (impl Stream<Item = Name> + Unpin)) -> Vec<String> {
    std::iter::from_fn(|| woken.next().now_or_never().flatten()).map(|name| name.name.to_string()).collect()
}

#[test]
fn one_server_gets_half_of_the_slots_and_a_slow_store_a_few() {
    let other = Load { server: "https://slow".into(), ..load("other", false) };
    let turns = known(HALF, &[load("one", false), load("slow", true), other.clone()]);
    assert_eq!(turns.slots(), 2 * HALF);
    let prompt: Vec<_> = (0..50).filter_map(|number| take(&turns, number, &load("one", false))).collect();
    assert_eq!(prompt.len(), 8);
    let slow: Vec<_> = (0..50).filter_map(|number| take(&turns, number, &load("slow", true))).collect();
    assert_eq!(slow.len(), 2);
    // Stores of one address fail together, and one that is slow leaves the rest to the others.
    let others: Vec<_> = (0..50).filter_map(|number| take(&turns, number, &other)).collect();
    assert_eq!(others.len(), 6);
    let storeless: Vec<_> = (0..50).filter_map(|number| turns.take(&name(&number.to_string()), &[])).collect();
    assert_eq!(storeless.len(), 8);
    drop((prompt, slow, others, storeless));
    assert!(take(&turns, 8, &load("one", false)).is_some());
}

#[tokio::test]
async fn who_is_parked_is_woken_in_turn_and_who_is_gone_is_not() {
    let turns = known(1, &[]);
    let mut woken = Box::pin(turns.woken());
    let store = load("one", false);
    let first = take(&turns, 0, &store).unwrap();
    for number in [1, 2, 2, 3, 4] {
        assert!(take(&turns, number, &store).is_none());
    }
    turns.forget(&name("one-1"));
    drop(first);
    assert_eq!(all_woken(&mut woken), ["one-2"]);
    drop(take(&turns, 2, &store).unwrap());
    assert_eq!(all_woken(&mut woken), ["one-3"]);
    // It went before it came. Its turn goes to the next, and who is new waits behind.
    assert!(take(&turns, 5, &store).is_none());
    turns.forget(&name("one-3"));
    assert_eq!(all_woken(&mut woken), ["one-4"]);
}

#[test]
fn an_object_of_two_stores_holds_a_turn_of_each_or_none() {
    let both = [load("one", false), load("two", false)];
    let turns = known(1, &both);
    let one = take(&turns, 0, &both[0]).unwrap();
    assert!(turns.take(&name("both"), &both).is_none());
    let two = take(&turns, 0, &both[1]).unwrap();
    drop((one, two));
    let held = turns.take(&name("both"), &both).unwrap();
    assert!(take(&turns, 1, &both[0]).is_none() && take(&turns, 1, &both[1]).is_none());
    drop(held);
    assert!(take(&turns, 1, &both[0]).is_some());
}

/// A queue with its slots: 50 objects of a store that answers after 14 s, or never, and one of
/// another behind them.
#[tokio::test(start_paused = true)]
async fn fifty_objects_of_a_store_that_hangs_delay_no_other() {
    for answers_after in [Duration::from_secs(14), Duration::from_secs(24 * 3600)] {
        let turns = Arc::new(known(HALF, &[load("slow", false), load("other", false)]));
        let slots = Arc::new(Semaphore::new(turns.slots().into()));
        let began = Instant::now();
        let work = |number: usize, store: &'static str, takes: Duration| {
            let (turns, slots) = (turns.clone(), slots.clone());
            tokio::spawn(async move {
                let _slot = slots.acquire_owned().await.unwrap();
                let turn = take(&turns, number, &load(store, false));
                if turn.is_some() {
                    sleep(takes).await;
                }
            })
        };
        for number in 0..50 {
            work(number, "slow", answers_after);
        }
        work(0, "other", Duration::ZERO).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    }
}

#[tokio::test]
async fn who_waits_for_a_slow_store_keeps_no_turn_of_the_server_from_others() {
    let (quick, slow) = (load("one", false), beside("slow", "one", true));
    let turns = known(HALF, &[quick.clone(), slow.clone()]);
    let mut woken = Box::pin(turns.woken());
    let mut slow_ones: Vec<_> = (0..2).map(|number| take(&turns, number, &slow).unwrap()).collect();
    let mut quick_ones: Vec<_> = (0..6).map(|number| take(&turns, number, &quick).unwrap()).collect();
    assert!((2..8).all(|number| take(&turns, number, &slow).is_none()));
    assert!((6..8).all(|number| take(&turns, number, &quick).is_none()));
    quick_ones.pop();
    assert_eq!(all_woken(&mut woken), ["one-6"]);
    let _seventh = take(&turns, 6, &quick).unwrap();
    // The turn of a slow object is one of both.
    slow_ones.pop();
    assert_eq!(all_woken(&mut woken), ["slow-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_its_object_does_not_take_goes_to_the_next() {
    let store = load("one", false);
    let turns = known(1, std::slice::from_ref(&store));
    let mut woken = Box::pin(turns.woken());
    let first = take(&turns, 0, &store).unwrap();
    assert!((1..5).all(|number| take(&turns, number, &store).is_none()));
    drop(first);
    assert_eq!(all_woken(&mut woken), ["one-1"]);
    // It is deleted before it comes.
    turns.forget(&name("one-1"));
    assert_eq!(all_woken(&mut woken), ["one-2"]);
    // It uses another store by now.
    let elsewhere = turns.take(&name("one-2"), &[load("two", false)]);
    assert!(elsewhere.is_some());
    assert_eq!(all_woken(&mut woken), ["one-3"]);
    // It does not come at all, and nobody else asks.
    let asked = Instant::now();
    assert_eq!(timeout(10 * RESERVED, woken.next()).await, Ok(Some(name("one-4"))));
    assert_eq!(asked.elapsed(), RESERVED);
    // It comes late, and is still older than who is new.
    assert!(take(&turns, 5, &store).is_none() && take(&turns, 3, &store).is_none());
    drop(take(&turns, 4, &store).unwrap());
    assert_eq!(all_woken(&mut woken), ["one-3"]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_nobody_came_for_is_free_for_who_asks() {
    let store = load("one", false);
    let turns = known(1, std::slice::from_ref(&store));
    let first = take(&turns, 0, &store).unwrap();
    assert!(take(&turns, 1, &store).is_none());
    drop(first);
    assert!(take(&turns, 2, &store).is_none(), "the turn is kept for who was woken");
    turns.forget(&name("one-2"));
    advance(RESERVED).await;
    assert!(take(&turns, 2, &store).is_some());
}

#[tokio::test]
async fn who_is_new_waits_behind_who_is_parked_and_who_waits_again_keeps_its_age() {
    let store = load("one", false);
    let turns = known(HALF, std::slice::from_ref(&store));
    let mut woken = Box::pin(turns.woken());
    let mut held: Vec<_> = (0..8).map(|number| take(&turns, number, &store).unwrap()).collect();
    assert!((8..11).all(|number| take(&turns, number, &store).is_none()));
    held.pop();
    assert_eq!(all_woken(&mut woken), ["one-8"]);
    assert!(take(&turns, 11, &store).is_none(), "one that is new took the turn of one that was woken");
    // It is woken, and meanwhile the store became slow: it waits, before all others.
    let slow = load("one", true);
    assert!(take(&turns, 8, &slow).is_none());
    held.truncate(1);
    assert_eq!(all_woken(&mut woken), ["one-8"]);
    held.push(take(&turns, 8, &slow).unwrap());
    // It is quick again, and says so: there is room for all others, in their order.
    held.push(take(&turns, 9, &store).unwrap());
    assert_eq!(all_woken(&mut woken), ["one-10", "one-11"]);
}

#[tokio::test]
async fn who_waits_for_a_store_that_is_quick_again_waits_for_no_slow_one() {
    let (slow, quick) = (load("one", true), load("one", false));
    let others = ["1", "2", "3"].map(|store| load(store, true));
    let turns = known(HALF, &[others.as_slice(), std::slice::from_ref(&slow)].concat());
    let mut woken = Box::pin(turns.woken());
    let mut held = Vec::new();
    assert_eq!(taken(&turns, &others, &mut held), [2, 2, 2]);
    assert!((0..3).all(|number| take(&turns, number, &slow).is_none()), "slow stores have all their turns");
    turns.heed(&quick);
    assert_eq!(all_woken(&mut woken), ["one-0", "one-1", "one-2"]);
}

#[test]
fn slow_stores_together_leave_half_of_the_slots_to_others_and_some_to_new_ones() {
    let slow: Vec<_> = ["1", "2", "3", "4", "5", "6", "7", "8"].map(|store| load(store, true)).into();
    let quick = [load("quick", false)];
    let turns = known(HALF, &[slow.as_slice(), &quick].concat());
    let mut held = Vec::new();
    assert_eq!(taken(&turns, &slow, &mut held), [2, 2, 2, 0, 0, 0, 0, 0]);
    assert_eq!(taken(&turns, &[load("new", false), load("newer", false)], &mut held), [2, 0]);
    assert_eq!(taken(&turns, &quick, &mut held), [8]);
    drop(held);
    // A queue of two slots has one for each.
    let turns = known(1, &[slow.as_slice(), &quick].concat());
    let mut held = Vec::new();
    assert_eq!(taken(&turns, &slow[..2], &mut held), [1, 0]);
    assert_eq!(taken(&turns, &quick, &mut held), [1]);
}

#[test]
fn a_store_that_no_turn_of_has_ended_counts_as_slow() {
    let turns = known(HALF, &[load("known", false)]);
    let new = ["1", "2", "3", "4", "5"].map(|store| load(store, false));
    let mut held = Vec::new();
    assert_eq!(taken(&turns, &new, &mut held), [2, 2, 2, 2, 0]);
    assert_eq!(taken(&turns, &[load("known", false)], &mut held), [8]);
    drop(held);
    let mut held = Vec::new();
    assert_eq!(taken(&turns, &new[..1], &mut held), [8], "a turn of it has ended");
    drop(held);
    // Another address is another server, and one that is not known gets no requests.
    let moved = Load { server: "https://moved".into(), ..new[0].clone() };
    let absent = Load { server: String::new(), ..load("absent", false) };
    assert_eq!(taken(&turns, &[moved, absent], &mut Vec::new()), [2, 8]);
}

#[test]
fn a_server_that_swallows_connections_keeps_no_turn_of_new_stores_elsewhere() {
    let turns = known(HALF, &[]);
    let theirs =
        |namespace: &str, store: &str| Load { server: "https://hole".into(), ..own_store(namespace, store, false) };
    let ours = own_store("ours", "vault", false);
    let (mut held, mut counts) = (Vec::new(), Vec::new());
    for namespace in ["1", "2", "3", "4", "5"] {
        counts.extend(taken(&turns, &[theirs(namespace, "a"), theirs(namespace, "b")], &mut held));
    }
    assert_eq!(counts, [2, 0, 2, 0, 2, 0, 0, 0, 0, 0]);
    assert_eq!(taken(&turns, std::slice::from_ref(&ours), &mut held), [2]);
    held.clear();
    // Some of its stores are known to be slow by now, and count with those that are not known yet.
    let slow = Load { slow: true, ..theirs("1", "a") };
    assert_eq!(taken(&turns, &[slow, theirs("6", "a"), theirs("7", "a"), theirs("8", "a")], &mut held), [2, 2, 2, 0]);
    assert_eq!(taken(&turns, &[Load { server: "https://else".into(), ..ours }], &mut held), [2]);
}

#[test]
fn a_tenant_with_any_number_of_servers_leaves_new_stores_of_others_their_turns() {
    let turns = known(HALF, &[]);
    let mut held = Vec::new();
    let theirs = ["1", "2", "3", "4"].map(|server| own_store("theirs", server, false));
    assert_eq!(taken(&turns, &theirs, &mut held), [2, 0, 0, 0]);
    let ours = ["a", "b", "c"].map(|namespace| own_store(namespace, "vault", false));
    assert_eq!(taken(&turns, &ours, &mut held), [2, 2, 2]);
}

/// What an end of a turn costs at most, in nodes of the tree of lines, while `count` objects wait.
fn most_looks_of_an_end(count: usize, loads: fn(usize) -> Vec<Load>) -> usize {
    let (mut lines, now) = (Lines::new(usize::from(HALF)), Instant::now());
    // Whatever becomes known of a store that all of them use concerns all of them.
    let shared = lines.take(&name("first"), &[load("shared", false)], now).0.unwrap();
    assert_eq!(lines.end(shared, now), []);
    let mut turns = VecDeque::new();
    for number in 0..count {
        turns.extend(lines.take(&name(&number.to_string()), &loads(number), now).0);
    }
    assert!(turns.len() <= 2 * usize::from(HALF));
    let mut most = 0;
    for _ in 0..40 {
        let before = lines.looks();
        let woken = lines.end(turns.pop_front().unwrap(), now);
        most = most.max(lines.looks() - before);
        for note in woken {
            let number = note.name.name.parse().unwrap();
            turns.extend(lines.take(&note.name, &loads(number), now).0);
        }
    }
    most
}

#[test]
fn the_end_of_a_turn_costs_the_same_however_many_stores_wait() {
    fn own(number: usize) -> Load {
        own_store(&number.to_string(), "vault", false)
    }
    fn at(server: usize, number: usize) -> Load {
        Load { server: format!("https://{server}"), ..own(number) }
    }
    type Loads = fn(usize) -> Vec<Load>;
    let cases: [(&str, Loads); 5] = [
        ("new stores of one server", |number| vec![at(0, number)]),
        ("new stores of two servers", |number| vec![at(number % 2, number)]),
        ("a server each, some of them slow", |number| vec![Load { slow: number % 3 == 0, ..own(number) }]),
        ("slow stores of two servers", |number| vec![Load { slow: true, ..at(number % 2, number) }]),
        ("two stores each", |number| vec![at(0, number), load("shared", false)]),
    ];
    for (what, loads) in cases {
        let (few, many) = (most_looks_of_an_end(100, loads), most_looks_of_an_end(5000, loads));
        assert!(many <= few, "{what}: {few} nodes with 100 objects, {many} with 5000");
        assert!(many <= 60, "{what}: {many} nodes");
    }
}

#[test]
fn the_stores_of_one_namespace_hold_half_of_the_slots() {
    let theirs = [own_store("theirs", "1", false), own_store("theirs", "2", false)];
    let ours = [own_store("ours", "1", false)];
    let turns = known(HALF, &[theirs.as_slice(), &ours].concat());
    let mut held = Vec::new();
    assert_eq!(taken(&turns, &theirs, &mut held), [8, 0]);
    assert_eq!(taken(&turns, &ours, &mut held), [8]);
}

#[test]
fn the_log_says_which_holder_had_no_room() {
    let (mut lines, now) = (Lines::new(1), Instant::now());
    let store = [load("one", true)];
    let (first, notes) = lines.take(&name("first"), &store, now);
    assert_eq!(notes, []);
    let note = |what, name: &str| [Note { what, name: Name::new("ns", name), holder: "server https://one".into() }];
    assert_eq!(lines.take(&name("second"), &store, now), (None, note(What::Parked, "second").into()));
    assert_eq!(lines.end(first.unwrap(), now), note(What::Woken, "second"));
    assert_eq!(lines.expire(now), []);
    assert_eq!(lines.expire(now + RESERVED), note(What::Expired, "second"));
}

#[test]
fn a_crowd_that_had_its_turns_leaves_no_room_behind() {
    let (mut lines, now) = (Lines::new(1), Instant::now());
    let (store, crowd) = ([load("one", false)], (0..500).map(|number| name(&number.to_string())));
    let mut running = lines.take(&name("first"), &store, now).0;
    assert!(crowd.clone().all(|name| lines.take(&name, &store, now).0.is_none()));
    assert!(lines.room() >= 500);
    for name in crowd {
        lines.end(running.take().unwrap(), now);
        running = lines.take(&name, &store, now).0;
    }
    assert_eq!(lines.room(), 0);
}
