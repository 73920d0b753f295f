//! A model of pushes: random sequences of edits, faults, stops and races over whole reconciles, and
//! what must hold after each move.
//!
//! `make model CASES=10000` runs as many sequences as you like. One that fails is shrunk, and its
//! seed is kept in `proptest-regressions/`. The tests below repeat such sequences by name.

mod laws;
mod losses;
mod moves;
mod objects;
mod process;
mod shelf;
mod sources;
mod turn;
mod world;

use proptest::prelude::*;

use crate::domain::earlier_versions::EarlierVersions;
use crate::model_cases::config;
use moves::{By, LABELLED, Move, Policy, Standing, Stop, Wish, hands, moves, rename};
use world::World;

/// Makes the moves one after the other, and then lets it be calm.
fn play(moves: &[Move]) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime can be built").block_on(async {
        let mut world = World::new();
        for (step, what) in moves.iter().enumerate() {
            world.make(what).await;
            laws::hold(&mut world).map_err(|broken| format!("after move {step}, {what:?}: {broken}"))?;
        }
        world.calm().await?;
        laws::converged(&world).map_err(|broken| format!("once it is calm: {broken}"))?;
        world.refreshed().await?;
        laws::converged(&world).map_err(|broken| format!("after a refresh: {broken}"))?;
        world.stays_silent().await
    })
}

proptest! {
    #![proptest_config(config(100, 10))]

    #[test]
    fn model_nothing_is_lost_stale_or_orphaned(moves in moves()) {
        play(&moves).map_err(TestCaseError::fail)?;
    }
}

/// A PushSecret has pushed, and another one wants all that it has. Whatever happens then, the
/// values stay. Once it is calm, the other one owns them if the first was deleted.
fn play_rename(first: Wish, second: Wish, moves: &[Move]) -> Result<(), String> {
    play_standing([apply(0, first), turn(0), apply(1, second)], moves)
}

/// After these starts, what is filled stays filled: after each move, once it is calm, and for good.
fn play_standing(starts: impl IntoIterator<Item = Move>, moves: &[Move]) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.expect("a runtime can be built").block_on(async {
        let mut world = World::new();
        for start in starts {
            world.make(&start).await;
        }
        let held = laws::filled(&world);
        for (step, what) in moves.iter().enumerate() {
            world.make(what).await;
            laws::hold(&mut world)
                .and_then(|()| laws::stand(&world, &held))
                .map_err(|broken| format!("after move {step}, {what:?}: {broken}"))?;
        }
        world.calm().await?;
        laws::stand(&world, &held)
            .and_then(|()| laws::converged(&world))
            .and_then(|()| laws::one_owner(&world, &held))?;
        world.refreshed().await?;
        laws::stand(&world, &held)?;
        world.stays_silent().await
    })
}

proptest! {
    #![proptest_config(config(100, 10))]

    #[test]
    fn model_a_rename_leaves_no_path_without_its_value((first, second, moves) in rename()) {
        play_rename(first, second, &moves).map_err(TestCaseError::fail)?;
    }
}

/// Two PushSecrets select their sources by labels, and each has one. Whatever label a source gets, one
/// of them wants it, so its value stays. Once it is calm, the one whose label it has owns it.
fn play_hands(wish: Wish, moves: &[Move]) -> Result<(), String> {
    let labels = [0, 1].map(|path| Move::Relabel { path, to: path });
    play_standing(labels.into_iter().chain([apply(0, wish), apply(1, wish), turn(0), turn(1)]), moves)
}

proptest! {
    #![proptest_config(config(100, 10))]

    #[test]
    fn model_a_source_that_changes_hands_leaves_no_path_without_its_value((wish, moves) in hands()) {
        play_hands(wish, &moves).map_err(TestCaseError::fail)?;
    }
}

/// Both are Ready when a source passes to the other one, and back.
#[test]
fn model_a_source_passes_to_one_that_is_ready() {
    let (relabel, woken) = (|path, to| Move::Relabel { path, to }, Move::Woken { by: By::Leader });
    for order in [[0, 1], [1, 0]] {
        let turns = order.map(turn);
        let to_second = [vec![relabel(0, 1)], turns.to_vec(), vec![woken.clone()]].concat();
        let back = [vec![relabel(0, 0)], turns.to_vec()].concat();
        let all = [vec![relabel(1, 0)], turns.to_vec(), vec![Move::Restart, relabel(1, 1)], turns.to_vec()].concat();
        for moves in [to_second.clone(), [to_second, back].concat(), all] {
            let labelled = Wish { source: LABELLED, ..wish(0b011, 0b1111) };
            if let Err(broken) = play_hands(labelled, &moves) {
                panic!("{broken}\n{moves:#?}");
            }
        }
    }
}

/// The store hangs for longer than anybody is waited for, and each wants what the other one has.
#[test]
fn model_two_that_exchange_their_sources_while_the_store_hangs_get_them() {
    let relabel = |path, to| Move::Relabel { path, to };
    let hangs = Move::Store { server: 0, standing: Standing::Hanging };
    for stop in [None, Some(Stop::Panics(3))] {
        let last = Move::Turn { push: 0, by: By::Leader, behind: 0, stop };
        let moves = [hangs.clone(), relabel(0, 1), relabel(1, 0), turn(1), turn(0), last];
        if let Err(broken) = play_hands(Wish { source: LABELLED, ..wish(0b100, 0b0001) }, &moves) {
            panic!("{broken}\n{moves:#?}");
        }
    }
}

/// Both want what the first one leaves: one at the server, and one at another that calls itself the
/// same.
#[test]
fn model_a_server_that_calls_itself_the_same_takes_nothing_from_a_rename() {
    let (delete, woken, forge) = (Move::Delete { push: 0 }, Move::Woken { by: By::Leader }, Move::Forge);
    for moves in [
        vec![turn(1), forge.clone(), delete.clone(), turn(0), forge.clone(), turn(0), woken.clone()],
        vec![delete.clone(), turn(0), forge.clone(), turn(0), turn(1), turn(0)],
        vec![forge.clone(), delete, turn(0), forge.clone(), woken, forge, turn(0), turn(0)],
    ] {
        if let Err(broken) = play_rename(wish(0b001, 0b1111), wish(0b001, 0b1111), &moves) {
            panic!("{broken}\n{moves:#?}");
        }
    }
}

fn wish(stores: u8, spots: u8) -> Wish {
    Wish { stores, spots, source: 0, policy: Policy::Delete, earlier: EarlierVersions::Keep }
}

fn apply(push: usize, wish: Wish) -> Move {
    Move::Apply { push, wish }
}

fn turn(push: usize) -> Move {
    behind(push, 0)
}

fn behind(push: usize, behind: usize) -> Move {
    Move::Turn { push, by: By::Leader, behind, stop: None }
}

fn stopped(push: usize, stop: Stop) -> Move {
    Move::Turn { push, by: By::Leader, behind: 0, stop: Some(stop) }
}

/// A PushSecret that has pushed everything to both stores.
fn pushed() -> Vec<Move> {
    vec![apply(0, wish(0b011, 0b1111)), turn(0)]
}

fn then(more: Vec<Move>) {
    let moves = [pushed(), more].concat();
    if let Err(broken) = play(&moves) {
        panic!("{broken}\n{moves:#?}");
    }
}

#[test]
fn model_an_edit_to_a_store_that_cannot_be_had_keeps_what_stands_elsewhere() {
    for standing in [Standing::Absent, Standing::Refused, Standing::Broken, Standing::Hanging] {
        then(vec![
            apply(0, wish(0b001, 0b1111)),
            turn(0),
            Move::Store { server: 1, standing },
            apply(0, wish(0b010, 0b1111)),
            turn(0),
            turn(0),
        ]);
    }
}

/// Nobody is told when it can be opened again.
#[test]
fn model_a_store_that_is_left_while_it_cannot_be_opened_is_cleaned() {
    then(vec![Move::Store { server: 1, standing: Standing::Broken }, apply(0, wish(0b001, 0b1111)), turn(0)]);
}

/// Its last word is said before it goes, wherever a reconcile is cut off.
#[test]
fn model_what_is_released_says_what_it_leaves_wherever_it_is_stopped() {
    for (polls, standing) in (0..40).flat_map(|polls| [Standing::Absent, Standing::Refused].map(|one| (polls, one))) {
        let stop = if polls % 2 == 0 { Stop::Panics(polls) } else { Stop::Exits(polls) };
        let gone = vec![Move::Store { server: 0, standing }, Move::Delete { push: 0 }, turn(0)];
        let late = vec![Move::Wait { seconds: 700 }, stopped(0, stop), stopped(0, stop), turn(0)];
        then([gone, late].concat());
    }
}

#[test]
fn model_a_policy_edited_to_delete_holds_for_what_was_pushed_before() {
    let kept = Wish { policy: Policy::None, ..wish(0b001, 0b0011) };
    then(vec![
        apply(1, kept),
        turn(1),
        apply(0, kept),
        turn(0),
        apply(0, wish(0b001, 0b0011)),
        turn(0),
        Move::Delete { push: 0 },
        turn(0),
    ]);
}

#[test]
fn model_a_leader_with_an_old_copy_pushes_nothing_that_no_ledger_lists() {
    then(vec![
        Move::Source { source: 0, there: false },
        turn(0),
        Move::Source { source: 0, there: true },
        behind(0, 1),
        behind(0, 2),
        Move::Delete { push: 0 },
        turn(0),
        behind(0, 3),
    ]);
}

#[test]
fn model_a_store_that_hangs_loses_no_line() {
    then(vec![Move::Store { server: 0, standing: Standing::Hanging }, apply(0, wish(0b011, 0b0101)), turn(0), turn(0)]);
}

/// A source is replaced while its removal is under way: what was not removed yet stays.
#[test]
fn model_a_source_that_comes_back_amid_a_reconcile_keeps_what_it_had() {
    let (gone, slow) =
        (Move::Source { source: 0, there: false }, |server| Move::Store { server, standing: Standing::Slow });
    for after in 0..25 {
        then(vec![slow(0), slow(1), gone.clone(), Move::Amid { push: 0, source: 0, there: true, after }]);
    }
}

#[test]
fn model_erased_claims_and_a_rival_orphan_nothing() {
    for mark in [true, false] {
        then(vec![
            Move::Erase { site: 0, path: 0, mark },
            apply(1, wish(0b001, 0b0001)),
            turn(1),
            turn(0),
            apply(0, wish(0b001, 0b1000)),
            turn(0),
            Move::Delete { push: 0 },
            turn(0),
        ]);
    }
}

#[test]
fn model_a_stop_anywhere_is_repaired() {
    for polls in 0..120 {
        let stop = if polls % 2 == 0 { Stop::Panics(polls) } else { Stop::Exits(polls) };
        then(vec![apply(0, wish(0b001, 0b0110)), stopped(0, stop), Move::Delete { push: 0 }, stopped(0, stop)]);
    }
}

#[test]
fn model_a_clock_that_is_wrong_lets_nothing_go() {
    for minutes in [-10, 10] {
        then(vec![
            Move::Store { server: 0, standing: Standing::Absent },
            Move::Clock { minutes },
            Move::Delete { push: 0 },
            turn(0),
            Move::Clock { minutes: -minutes },
            turn(0),
        ]);
    }
}

/// A store leads elsewhere and back, whatever becomes of the servers meanwhile, with sessions from
/// before or without.
#[test]
fn model_a_store_that_is_edited_in_place_orphans_nothing_unsaid() {
    for session in [true, false] {
        for (site, standing) in [(1, Standing::Up), (1, Standing::Down), (2, Standing::Up), (2, Standing::Lossy)] {
            let edit = |site| Move::Edit { name: 0, site, session };
            let one = || vec![apply(0, wish(0b001, 0b0111)), turn(0)];
            let away = vec![Move::Store { server: 1, standing }, edit(site), turn(0), turn(0)];
            let back = vec![edit(0), turn(0)];
            then([one(), away.clone()].concat());
            then([one(), away.clone(), back].concat());
            then([one(), away.clone(), vec![Move::Delete { push: 0 }, turn(0)]].concat());
            then([one(), away, vec![apply(0, wish(0b010, 0b1001)), turn(0), behind(0, 2)]].concat());
        }
    }
}

/// A leader has followed an edit; the next one's watch does not show it yet.
#[test]
fn model_a_leader_that_sees_a_store_as_it_was_moves_nothing_back() {
    for (site, lag) in [(1, 0), (2, 0), (1, 2)] {
        let edit = Move::Edit { name: 0, site, session: true };
        let one = vec![apply(0, wish(0b001, 0b0111)), turn(0), edit, turn(0)];
        let lags = vec![Move::Lag { name: 0, site: lag }, turn(0), turn(0)];
        then([one.clone(), lags.clone()].concat());
        then([one.clone(), lags.clone(), vec![Move::Delete { push: 0 }, turn(0), turn(0)]].concat());
        // The same store, but nothing was pushed through it yet.
        let other = vec![apply(0, wish(0b010, 0b0111)), turn(0), Move::Edit { name: 0, site, session: false }];
        then([other, lags, vec![apply(0, wish(0b001, 0b0111)), turn(0), turn(0)]].concat());
    }
}

#[test]
fn model_a_stop_anywhere_after_a_store_was_edited_is_repaired() {
    for polls in (0..120).step_by(2) {
        let site = 1 + usize::from(polls % 4 == 0);
        let stop = if polls % 8 < 4 { Stop::Panics(polls) } else { Stop::Exits(polls) };
        then(vec![
            apply(0, wish(0b001, 0b0110)),
            turn(0),
            Move::Edit { name: 0, site, session: true },
            stopped(0, stop),
            Move::Edit { name: 0, site: 0, session: true },
            stopped(0, stop),
        ]);
    }
}

/// Two leaders reconcile one PushSecret each, and neither knows what the other one remembers.
#[test]
fn model_what_passes_between_two_leaders_comes_right() {
    let (by, delete) = (|push, by| Move::Turn { push, by, behind: 0, stop: None }, Move::Delete { push: 0 });
    for (owners, takers) in [(By::Leader, By::Former), (By::Former, By::Leader)] {
        for moves in [
            vec![delete.clone(), by(0, owners), by(1, takers)],
            vec![by(1, takers), delete.clone(), by(0, owners), by(1, takers), by(0, owners)],
            vec![by(1, takers), delete.clone(), by(0, owners), Move::TakeOver, by(1, takers), by(0, owners)],
        ] {
            if let Err(broken) = play_rename(wish(0b001, 0b1111), wish(0b001, 0b1111), &moves) {
                panic!("{broken}\n{moves:#?}");
            }
        }
    }
    // The former leader believes that nobody wants it, and removes it while the leader lets it be
    // taken.
    let later = Wish { source: 1, ..wish(0b011, 0b1110) };
    let source = |there| Move::Source { source: 1, there };
    for after in 0..40 {
        let turns = [(0, By::Former), (1, By::Leader)];
        for leaves in [delete.clone(), apply(0, wish(0b001, 0b0001))] {
            then(vec![
                apply(0, wish(0b001, 0b1111)),
                turn(0),
                apply(1, Wish { stores: 0b010, ..later }),
                turn(1),
                source(false),
                apply(1, later),
                leaves,
                by(0, By::Former),
                by(1, By::Former),
                source(true),
                by(0, By::Leader),
                Move::Both { turns, after },
            ]);
        }
    }
}

/// Random cases that failed once, as their moves were.
#[test]
fn model_what_failed_once_holds() {
    for moves in [
        vec![apply(1, wish(3, 7)), apply(0, wish(3, 8)), turn(1), apply(1, wish(4, 1))],
        vec![
            Move::Lag { name: 0, site: 1 },
            apply(0, wish(5, 1)),
            turn(0),
            Move::Edit { name: 2, site: 1, session: true },
            turn(0),
        ],
        vec![
            apply(1, wish(3, 8)),
            turn(1),
            apply(0, wish(3, 13)),
            apply(1, wish(1, 7)),
            Move::Erase { site: 0, path: 0, mark: false },
        ],
    ] {
        if let Err(broken) = play(&moves) {
            panic!("{broken}\n{moves:#?}");
        }
    }
}
