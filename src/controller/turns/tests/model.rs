//! A model of the lines of one queue: random objects that come, end, go and change, stores that
//! become slow or lead elsewhere, and what must hold after each move.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::super::lines::{Lines, Note, RESERVED, What};
use super::{load, own_store};
use crate::domain::object_name::Name;
use crate::model_cases::config;
use crate::store::Load;

const OBJECTS: usize = 14;
const STORES: usize = 6;

#[derive(Clone, Debug)]
enum Move {
    /// A reconcile begins, for whatever reason.
    Come { object: usize },
    /// A woken object comes; the others come later, or never.
    Answer { woken: usize },
    /// A reconcile ends.
    End { turn: usize },
    /// The object is deleted, and perhaps created again.
    Delete { object: usize },
    /// An object is deleted after it was woken, before it comes.
    DeleteWoken { woken: usize },
    /// The object is edited.
    Use { object: usize, stores: BTreeSet<usize> },
    /// The store becomes slow, or quick.
    Pace { store: usize, slow: bool },
    /// The store is edited; without a server, it is deleted.
    Lead { store: usize, server: String },
    /// Time passes, and the timer of the queue rings or is late.
    Wait { millis: u64, rings: bool },
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let object = 0..OBJECTS;
    let stores = proptest::collection::btree_set(0..STORES, 0..3);
    let server = prop_oneof![Just(""), Just("https://one"), Just("https://else")].prop_map(str::to_owned);
    let one = prop_oneof![
        8 => object.clone().prop_map(|object| Move::Come { object }),
        5 => any::<usize>().prop_map(|woken| Move::Answer { woken }),
        5 => any::<usize>().prop_map(|turn| Move::End { turn }),
        1 => object.clone().prop_map(|object| Move::Delete { object }),
        1 => any::<usize>().prop_map(|woken| Move::DeleteWoken { woken }),
        2 => (object, stores).prop_map(|(object, stores)| Move::Use { object, stores }),
        2 => (0..STORES, any::<bool>()).prop_map(|(store, slow)| Move::Pace { store, slow }),
        1 => (0..STORES, server).prop_map(|(store, server)| Move::Lead { store, server }),
        1 => (1..1500_u64, any::<bool>()).prop_map(|(millis, rings)| Move::Wait { millis, rings }),
    ];
    proptest::collection::vec(one, 1..120)
}

/// An object that has a turn or waits, with what it used when it last asked.
#[derive(Clone)]
struct Asked {
    age: u64,
    loads: Vec<Load>,
}

struct World {
    half: usize,
    lines: Lines,
    now: Instant,
    stores: Vec<Load>,
    uses: Vec<BTreeSet<usize>>,
    /// The stores as the lines were last told, and which of them had a turn that ended since then.
    heard: HashMap<String, Load>,
    proven: HashSet<String>,
    ages: u64,
    under_way: BTreeMap<usize, (u64, Asked)>,
    waiting: BTreeMap<usize, Asked>,
    /// Of those that wait, who has a turn reserved, until when.
    reserved: BTreeMap<usize, Instant>,
    /// Who was told to come and has not come yet.
    told: BTreeSet<usize>,
}

fn name(object: usize) -> Name {
    Name::new("ns", object.to_string())
}

fn object(name: &Name) -> usize {
    name.name.parse().expect("objects are numbered")
}

impl World {
    fn new(half: usize) -> Self {
        let beside = Load { server: "https://one".into(), ..load("beside", false) };
        let own = |store| own_store("theirs", store, false);
        let stores = vec![load("one", false), beside, load("two", false), load("three", true), own("4"), own("5")];
        World {
            half,
            lines: Lines::new(half),
            now: Instant::now(),
            uses: (0..OBJECTS).map(|object| BTreeSet::from([object % STORES])).collect(),
            stores,
            heard: HashMap::new(),
            proven: HashSet::new(),
            ages: 0,
            under_way: BTreeMap::new(),
            waiting: BTreeMap::new(),
            reserved: BTreeMap::new(),
            told: BTreeSet::new(),
        }
    }

    fn make(&mut self, what: &Move) -> Result<(), String> {
        match what {
            Move::Come { object } => self.come(*object),
            Move::Answer { woken } => self.who_was_told(*woken).map_or(Ok(()), |object| self.come(object)),
            Move::End { turn } => self.end(*turn),
            Move::Delete { object } => self.delete(*object),
            Move::DeleteWoken { woken } => self.who_was_told(*woken).map_or(Ok(()), |object| self.delete(object)),
            Move::Use { object, stores } => {
                self.uses[*object].clone_from(stores);
                Ok(())
            }
            Move::Pace { store, slow } => {
                self.stores[*store].slow = *slow;
                Ok(())
            }
            Move::Lead { store, server } => {
                self.stores[*store].server.clone_from(server);
                Ok(())
            }
            Move::Wait { millis, rings } => {
                self.now += Duration::from_millis(*millis);
                let notes = if *rings { self.lines.expire(self.now) } else { Vec::new() };
                self.check(notes, None)
            }
        }
    }

    fn who_was_told(&self, woken: usize) -> Option<usize> {
        self.told.iter().nth(woken % self.told.len().max(1)).copied()
    }

    fn delete(&mut self, object: usize) -> Result<(), String> {
        let notes = self.lines.forget(&name(object), self.now);
        self.waiting.remove(&object);
        self.reserved.remove(&object);
        self.told.remove(&object);
        self.check(notes, None)
    }

    fn come(&mut self, object: usize) -> Result<(), String> {
        if self.under_way.contains_key(&object) {
            return Ok(());
        }
        self.told.remove(&object);
        let loads: Vec<Load> = self.uses[object].iter().map(|store| self.stores[*store].clone()).collect();
        for load in &loads {
            let store = load.store.to_string();
            let before = self.heard.insert(store.clone(), load.clone());
            if before.is_some_and(|before| before.server != load.server) {
                self.proven.remove(&store);
            }
        }
        let was_asked = self.waiting.remove(&object);
        let was_reserved = self.reserved.remove(&object).is_some();
        let as_before =
            was_asked.as_ref().is_some_and(|asked| asked.loads.iter().map(place).eq(loads.iter().map(place)));
        self.ages += 1;
        let asked = Asked { age: was_asked.map_or(self.ages, |asked| asked.age), loads };
        let (number, notes) = self.lines.take(&name(object), &asked.loads, self.now);
        match number {
            // Meanwhile a store may have been found slow, so that too many run already.
            None if was_reserved && as_before && self.could_run(&asked, |_| true) => {
                return Err(format!("{object} came, and the turn that was reserved for it was not there"));
            }
            None => drop(self.waiting.insert(object, asked)),
            // What was reserved was given when it was reserved, not now.
            Some(number) => drop(self.under_way.insert(object, (number, asked))),
        }
        let given = number.filter(|_| !(was_reserved && as_before)).map(|_| object);
        self.check(notes.into_iter().filter(|note| note.what != What::Parked).collect(), given)?;
        if number.is_some() {
            self.has_room(&self.under_way[&object].1)?;
        }
        Ok(())
    }

    fn end(&mut self, turn: usize) -> Result<(), String> {
        let Some(object) = self.under_way.keys().nth(turn % self.under_way.len().max(1)).copied() else {
            return Ok(());
        };
        let Some((number, asked)) = self.under_way.remove(&object) else { return Ok(()) };
        for load in &asked.loads {
            let store = load.store.to_string();
            if self.heard[&store].server == load.server {
                self.proven.insert(store);
            }
        }
        let notes = self.lines.end(number, self.now);
        self.check(notes, None)
    }

    /// What the lines did in one call, and whether it was right: who was woken, and `given` a turn.
    fn check(&mut self, notes: Vec<Note>, given: Option<usize>) -> Result<(), String> {
        let mut batch: Vec<Asked> = given.iter().map(|object| self.under_way[object].1.clone()).collect();
        for note in notes {
            let object = object(&note.name);
            match note.what {
                What::Parked => return Err(format!("{object} is parked without having come")),
                What::Expired => match self.reserved.remove(&object) {
                    // It is not waited for until it comes.
                    Some(until) if until <= self.now => {}
                    other => return Err(format!("{object} expired, and had {other:?}")),
                },
                What::Woken => {
                    let asked = self.waiting.get(&object).ok_or(format!("{object} is woken and does not wait"))?;
                    batch.push(asked.clone());
                    self.told.insert(object);
                    if self.reserved.insert(object, self.now + RESERVED).is_some() {
                        return Err(format!("{object} is woken twice"));
                    }
                }
            }
        }
        for asked in &batch {
            self.has_room(asked)?;
        }
        self.is_fair(&batch)
    }

    /// Whether what was given to this object was there to be given.
    fn has_room(&self, asked: &Asked) -> Result<(), String> {
        let held = self.held(|_| true);
        let over = self.shares(&asked.loads).into_iter().find(|(holder, share)| held[holder] > *share);
        over.map_or(Ok(()), |(holder, share)| Err(format!("{holder} has {} of {share}", held[&holder])))
    }

    /// Nobody who is parked could run, but for what younger ones were given just now.
    fn is_fair(&self, batch: &[Asked]) -> Result<(), String> {
        for (object, asked) in self.parked() {
            let younger: HashSet<u64> = batch.iter().map(|asked| asked.age).filter(|age| *age > asked.age).collect();
            if self.could_run(asked, |age| !younger.contains(&age)) {
                return Err(format!("{object} is parked and could run; {} younger ones got a turn", younger.len()));
            }
        }
        Ok(())
    }

    /// Whether all its holders have room, beside those of the ages that count.
    fn could_run(&self, asked: &Asked, counts: impl Fn(u64) -> bool) -> bool {
        let (held, shares) = (self.held(counts), self.shares(&asked.loads));
        shares.iter().all(|(holder, share)| held.get(holder).copied().unwrap_or(0) < *share)
    }

    /// Who waits and was not told to come.
    fn parked(&self) -> impl Iterator<Item = (usize, &Asked)> {
        self.waiting.iter().map(|(object, asked)| (*object, asked)).filter(|(object, _)| !self.told.contains(object))
    }

    /// What those hold who have a turn or a reservation.
    fn held(&self, counts: impl Fn(u64) -> bool) -> HashMap<String, usize> {
        let under_way = self.under_way.values().map(|(_, asked)| asked);
        let reserved = self.reserved.keys().filter_map(|object| self.waiting.get(object));
        let mut held = HashMap::new();
        for asked in under_way.chain(reserved).filter(|asked| counts(asked.age)) {
            for holder in self.shares(&asked.loads).into_keys() {
                *held.entry(holder).or_default() += 1;
            }
        }
        held
    }

    /// What the documentation says of shares.
    fn shares(&self, loads: &[Load]) -> BTreeMap<String, usize> {
        let few = (self.half / 4).max(1);
        let mut shares = BTreeMap::new();
        for load in loads {
            let store = load.store.to_string();
            let known = &self.heard[&store];
            let slow = known.slow && !known.server.is_empty();
            let unproven = slow || !known.server.is_empty() && !self.proven.contains(&store);
            shares.insert(format!("server {}", load.server), self.half);
            shares.extend(load.store.namespace.iter().map(|namespace| (format!("namespace {namespace}"), self.half)));
            shares.extend(slow.then(|| ("slow".to_owned(), (self.half - few).max(1))));
            if unproven {
                shares.insert("unproven".to_owned(), self.half);
                shares.insert(format!("unproven at {}", load.server), (self.half - few).max(1));
                shares.extend(load.store.namespace.iter().map(|namespace| (format!("unproven in {namespace}"), few)));
            }
            shares.insert(store, if unproven { few } else { self.half });
        }
        if shares.is_empty() { BTreeMap::from([("nothing".to_owned(), self.half)]) } else { shares }
    }

    /// Everything ends, and whoever is woken comes: nobody is left.
    fn calm(&mut self) -> Result<(), String> {
        for _ in 0..4 * OBJECTS {
            while !self.under_way.is_empty() {
                self.end(0)?;
            }
            if let Some(object) = self.told.first().copied() {
                self.come(object)?;
            }
        }
        match self.waiting.keys().next() {
            Some(object) => Err(format!("{object} waits although nothing runs")),
            None if !self.lines.nobody_waits() => Err("something is kept of those that do not wait".to_owned()),
            None => Ok(()),
        }
    }
}

fn place(load: &Load) -> (String, &str) {
    (load.store.to_string(), &load.server)
}

fn play(half: usize, moves: &[Move]) -> Result<(), String> {
    let mut world = World::new(half);
    for (step, what) in moves.iter().enumerate() {
        world.make(what).map_err(|broken| format!("at move {step}, {what:?}: {broken}"))?;
    }
    world.calm().map_err(|broken| format!("once it is calm: {broken}"))
}

proptest! {
    #![proptest_config(config(200, 32))]

    #[test]
    fn model_no_share_is_exceeded_and_nobody_waits_who_could_run(half in 1..10_usize, moves in moves()) {
        play(half, &moves).map_err(TestCaseError::fail)?;
    }
}
