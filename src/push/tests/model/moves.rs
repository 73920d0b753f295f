//! What can happen to PushSecrets, their sources, their stores and the controller.

use proptest::collection::vec;
use proptest::prelude::*;

use crate::domain::earlier_versions::EarlierVersions;

/// PushSecrets, sources, and servers.
pub const PUSHES: usize = 2;
pub const SOURCES: usize = 2;
/// As [`Wish::source`]: all sources with the PushSecret's label, each named in the path of its own.
pub const LABELLED: usize = SOURCES;
pub const SERVERS: [&str; 2] = ["first.example", "second.example"];
/// Places to which a store can lead: a server and a mount.
pub const SITES: [(usize, &str); 3] = [(0, "secret"), (1, "secret"), (0, "other")];
/// The names of stores, and to which place each leads before it is edited.
pub const NAMES: [(&str, usize); 3] = [("one", 0), ("two", 1), ("alias", 0)];
pub const PATHS: [&str; 2] = ["platform-data/postgres/temporal", "platform-data/redis/temporal"];
pub const PROPERTIES: [&str; 2] = ["username", "password"];

/// What a spec asks for.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// By bits, which of [`NAMES`]; at least one.
    pub stores: u8,
    /// By bits, which properties of which paths; at least one.
    pub spots: u8,
    /// Which source, or [`LABELLED`].
    pub source: usize,
    pub policy: Policy,
    pub earlier: EarlierVersions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    None,
    Delete,
}

/// How a server answers, and what is wrong with the stores that lead there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    Up,
    /// There is no such store.
    Absent,
    /// It does not serve the namespace.
    Refused,
    /// Its credential cannot be read for a while: the API server does not answer.
    Broken,
    /// It takes requests and does nothing.
    Hanging,
    /// It refuses every request.
    Down,
    /// It carries every other request out and loses the reply.
    Lossy,
    /// It answers late.
    Slow,
}

impl Standing {
    /// Whether a store's object is at fault: its repair is an edit, which everybody is told of.
    pub fn is_of_stores(self) -> bool {
        match self {
            Standing::Absent | Standing::Refused => true,
            Standing::Up | Standing::Broken | Standing::Hanging | Standing::Down | Standing::Lossy | Standing::Slow => {
                false
            }
        }
    }
}

/// Which process does something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The one that leads.
    Leader,
    /// One that led before, and does not know yet that another one does. It remembers what it knew.
    Former,
}

/// How a reconcile is cut off after so many polls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It panics, and its process remembers what it knew.
    Panics(u16),
    /// Its process ends, and the next one knows nothing.
    Exits(u16),
}

/// One thing that happens.
#[derive(Clone, Debug)]
pub enum Move {
    /// A PushSecret is created or edited.
    Apply { push: usize, wish: Wish },
    /// It is deleted.
    Delete { push: usize },
    /// A source is created, gets a new value, or is deleted.
    Source { source: usize, there: bool },
    /// The same for a source amid a reconcile, after so many requests to stores.
    Amid { push: usize, source: usize, there: bool, after: usize },
    /// The source that is named in this path gets another PushSecret's label. Everybody has answered
    /// the label that it had.
    Relabel { path: usize, to: usize },
    /// Somebody replaces the custom metadata of a path, by the mark alone or by none.
    Erase { site: usize, path: usize, mark: bool },
    /// The API server fails so many next writes of PushSecrets: it refuses them, or their replies are
    /// lost.
    Unwritten { count: usize, is_made: bool },
    /// A server changes.
    Store { server: usize, standing: Standing },
    /// A store is edited to lead elsewhere, and its sessions from before are kept or not.
    Edit { name: usize, site: usize, session: bool },
    /// The same, and the new leader's watch shows a store as it once was.
    Lag { name: usize, site: usize },
    /// Its watch has caught up.
    Told,
    /// The PushSecret is reconciled, as a cache has it: so many versions behind. Our own last status
    /// may be one of them, although [`crate::controller::written`] knows it.
    Turn { push: usize, by: By, behind: usize, stop: Option<Stop> },
    /// Two reconciles at once. The second begins after so many polls of the first, which stands still
    /// until then if it is another process's.
    Both { turns: [(usize, By); 2], after: u16 },
    /// Whoever was woken is reconciled.
    Woken { by: By },
    /// A server that calls itself like the first one gets all that stands there, as if restored
    /// from its snapshot, and a PushSecret that wants everything is reconciled with it.
    Forge,
    /// The process that leads ends, and another one leads.
    Restart,
    /// Another process leads, and the one that led goes on for a while.
    TakeOver,
    /// Time passes.
    Wait { seconds: u64 },
    /// The clock on the wall is set.
    Clock { minutes: i64 },
}

fn wish() -> impl Strategy<Value = Wish> {
    use EarlierVersions::{Destroy, Keep, Purge};
    let policy = prop_oneof![3 => Just(Policy::Delete), 1 => Just(Policy::None)];
    let earlier = prop_oneof![3 => Just(Keep), 1 => Just(Destroy), 1 => Just(Purge)];
    (1..8_u8, 1..16_u8, 0..SOURCES, policy, earlier).prop_map(|(stores, spots, source, policy, earlier)| Wish {
        stores,
        spots,
        source,
        policy,
        earlier,
    })
}

fn standing() -> impl Strategy<Value = Standing> {
    use Standing::{Absent, Broken, Down, Hanging, Lossy, Refused, Slow, Up};
    prop_oneof![4 => Just(Up), 1 => Just(Absent), 1 => Just(Refused), 1 => Just(Broken), 1 => Just(Hanging), 1 => Just(Down), 1 => Just(Lossy), 1 => Just(Slow)]
}

fn turn() -> impl Strategy<Value = Move> {
    turn_of(by())
}

fn turn_of(by: impl Strategy<Value = By>) -> impl Strategy<Value = Move> {
    let (panics, exits) = ((0..150_u16).prop_map(Stop::Panics), (0..150_u16).prop_map(Stop::Exits));
    let stop = prop_oneof![8 => Just(None), 1 => panics.prop_map(Some), 1 => exits.prop_map(Some)];
    let behind = prop_oneof![4 => Just(0_usize), 1 => 1..4_usize];
    (0..PUSHES, by, behind, stop).prop_map(|(push, by, behind, stop)| Move::Turn { push, by, behind, stop })
}

fn both() -> impl Strategy<Value = Move> {
    let turns = [(0..PUSHES, by()), (0..PUSHES, by())];
    (turns, 0..60_u16).prop_map(|(turns, after)| Move::Both { turns, after })
}

fn amid() -> impl Strategy<Value = Move> {
    let source = (0..SOURCES, prop::bool::weighted(0.7));
    (0..PUSHES, source, 0..25_usize).prop_map(|(push, (source, there), after)| Move::Amid {
        push,
        source,
        there,
        after,
    })
}

fn unwritten() -> impl Strategy<Value = Move> {
    (1..4_usize, any::<bool>()).prop_map(|(count, is_made)| Move::Unwritten { count, is_made })
}

fn by() -> impl Strategy<Value = By> {
    prop_oneof![3 => Just(By::Leader), 1 => Just(By::Former)]
}

fn one() -> impl Strategy<Value = Move> {
    prop_oneof![
        4 => (0..PUSHES, wish()).prop_map(|(push, wish)| Move::Apply { push, wish }),
        1 => (0..PUSHES).prop_map(|push| Move::Delete { push }),
        2 => (0..SOURCES, prop::bool::weighted(0.7)).prop_map(|(source, there)| Move::Source { source, there }),
        1 => (0..SITES.len(), 0..PATHS.len(), any::<bool>()).prop_map(|(site, path, mark)| Move::Erase { site, path, mark }),
        1 => unwritten(),
        2 => (0..SERVERS.len(), standing()).prop_map(|(server, standing)| Move::Store { server, standing }),
        2 => (0..NAMES.len(), 0..SITES.len(), any::<bool>()).prop_map(|(name, site, session)| Move::Edit { name, site, session }),
        1 => (0..NAMES.len(), 0..SITES.len()).prop_map(|(name, site)| Move::Lag { name, site }),
        1 => Just(Move::Told),
        12 => turn(),
        3 => both(),
        3 => amid(),
        3 => by().prop_map(|by| Move::Woken { by }),
        1 => Just(Move::Restart),
        1 => Just(Move::TakeOver),
        1 => prop_oneof![Just(1), Just(30), Just(61), Just(700)].prop_map(|seconds| Move::Wait { seconds }),
        1 => prop_oneof![Just(-10), Just(10)].prop_map(|minutes| Move::Clock { minutes }),
    ]
}

/// What may happen around a rename, and takes no value away: the second PushSecret asks for all
/// that the first one has, and more.
pub fn rename() -> impl Strategy<Value = (Wish, Wish, Vec<Move>)> {
    use Standing::{Broken, Down, Hanging, Lossy, Up};
    let more = (wish(), wish()).prop_map(|(first, more)| {
        let policy = Policy::Delete;
        let first = Wish { policy, ..first };
        (first, Wish { stores: first.stores | more.stores, spots: first.spots | more.spots, ..more })
    });
    let standing = prop_oneof![3 => Just(Up), 1 => Just(Broken), 1 => Just(Hanging), 1 => Just(Down), 1 => Just(Lossy)];
    let one = prop_oneof![
        12 => turn(),
        4 => by().prop_map(|by| Move::Woken { by }),
        3 => Just(Move::Forge),
        3 => Just(Move::Delete { push: 0 }),
        1 => unwritten(),
        2 => (0..SERVERS.len(), standing).prop_map(|(server, standing)| Move::Store { server, standing }),
        1 => (0..SOURCES).prop_map(|source| Move::Source { source, there: true }),
        1 => Just(Move::Restart),
        1 => Just(Move::TakeOver),
        1 => prop_oneof![Just(1), Just(61)].prop_map(|seconds| Move::Wait { seconds }),
    ];
    (more, vec(one, 1..25)).prop_map(|((first, second), moves)| (first, second, moves))
}

/// What may happen while sources pass from one PushSecret to another by their labels, and takes no
/// value away: both want the same of each source that they have.
pub fn hands() -> impl Strategy<Value = (Wish, Vec<Move>)> {
    use Standing::{Broken, Down, Hanging, Lossy, Slow, Up};
    let wish = wish().prop_map(|wish| Wish { source: LABELLED, policy: Policy::Delete, ..wish });
    let standing = prop_oneof![4 => Just(Up), 1 => Just(Broken), 1 => Just(Hanging), 1 => Just(Down), 1 => Just(Lossy), 1 => Just(Slow)];
    let one = prop_oneof![
        10 => turn_of(Just(By::Leader)),
        4 => Just(Move::Woken { by: By::Leader }),
        5 => (0..PATHS.len(), 0..PUSHES).prop_map(|(path, to)| Move::Relabel { path, to }),
        1 => unwritten(),
        2 => (0..SERVERS.len(), standing).prop_map(|(server, standing)| Move::Store { server, standing }),
        1 => Just(Move::Restart),
        1 => prop_oneof![Just(1), Just(61)].prop_map(|seconds| Move::Wait { seconds }),
    ];
    (wish, vec(one, 1..25))
}

/// A whole sequence.
pub fn moves() -> impl Strategy<Value = Vec<Move>> {
    vec(one(), 1..30)
}
