//! What stops, what passes, and what opens the latch again, on a clock that the tests set.

use super::*;

const HOUR: Duration = SHORTEST_WINDOW;
const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// One store's targets and the present time.
struct Stand {
    losses: Losses,
    store: StoreName,
    allowance: Option<String>,
    now: Instant,
}

impl Stand {
    fn with(targets: usize) -> Self {
        let stand = Stand {
            losses: Losses::default(),
            store: StoreName::cluster("vault"),
            allowance: None,
            // Far enough from the beginning of the clock for a past.
            now: Instant::now() + 100 * HOUR,
        };
        (0..targets).for_each(|number| stand.enrol(number, HOUR / 2, Past::Nothing));
        stand
    }

    /// The watch delivers one, and its reconcile opens the store.
    fn enrol(&self, number: usize, interval: Duration, past: Past) {
        self.sees(&target(number), interval, past);
        self.opens(&target(number), Reads::Yes);
    }

    fn sees(&self, name: &Name, interval: Duration, past: Past) {
        let roll = (Member { interval, has_target: true }, BTreeSet::from([self.store.clone()]));
        self.losses.enrol(name, Some(roll), |_| past, |_| self.allowance.clone(), self.now);
    }

    fn opens(&self, name: &Name, reads: Reads) {
        self.losses.opened(name, |store| if *store == self.store { reads } else { Reads::No });
    }

    fn finds(&self, number: usize, absence: Absence) -> Result<(), Halt> {
        let absences = BTreeMap::from([(self.store.clone(), absence)]);
        self.losses.judge(&target(number), &absences, |_| self.allowance.clone(), self.now)
    }

    fn loses(&self, number: usize) -> Result<(), Halt> {
        self.finds(number, Absence::Loss)
    }

    /// Finds losses, looks around, and carries out what may be.
    fn all_lose(&mut self, numbers: impl Iterator<Item = usize> + Clone) -> Vec<usize> {
        numbers.clone().for_each(|number| drop(self.loses(number)));
        self.now += LOOK_AROUND;
        let gone: Vec<usize> = numbers.filter(|number| self.loses(*number).is_ok()).collect();
        gone.iter().for_each(|number| self.losses.carried_out(&target(*number), self.now));
        gone
    }

    fn blocked(&self, losing: usize, all: usize) -> Result<(), Halt> {
        Err(Halt::Blocked(vec![Blocked { store: self.store.clone(), losing, all }]))
    }
}

fn target(number: usize) -> Name {
    Name::new("team", format!("target-{number:03}"))
}

fn stranger(number: usize) -> Name {
    Name::new("stranger", format!("target-{number:03}"))
}

#[test]
fn a_few_go_after_a_look_around_and_many_at_once_do_not_even_begin() {
    let mut stand = Stand::with(10);
    assert_eq!(stand.loses(0), Err(Halt::LookAround(LOOK_AROUND)));
    stand.now += SECOND;
    assert_eq!(stand.loses(0), Err(Halt::LookAround(LOOK_AROUND - SECOND)));
    assert!(stand.losses.awaits(&target(0)));
    assert_eq!(stand.all_lose(0..5), [0, 1, 2, 3, 4]);
    assert!(!stand.losses.awaits(&target(0)));

    let mut stand = Stand::with(10);
    assert!(stand.all_lose(0..6).is_empty());
    assert_eq!(stand.loses(0), stand.blocked(6, 10));
}

#[test]
fn both_the_number_and_the_share_must_be_over_the_bound() {
    assert_eq!(Stand::with(100).all_lose(0..20).len(), 20);
    assert!(Stand::with(100).all_lose(0..21).is_empty());
    assert_eq!(Stand::with(5).all_lose(0..5).len(), 5);
}

#[test]
fn losses_found_one_by_one_add_up_over_the_window() {
    let mut stand = Stand::with(10);
    for number in 0..5 {
        assert_eq!(stand.all_lose(number..number + 1).len(), 1);
        stand.now += HOUR / 12;
    }
    assert_eq!(stand.loses(5), stand.blocked(6, 10));
    // Time alone opens nothing.
    stand.now += 10 * HOUR;
    assert!(matches!(stand.loses(5), Err(Halt::Blocked(_))));

    let mut stand = Stand::with(10);
    assert_eq!(stand.all_lose(0..5).len(), 5);
    stand.now += HOUR;
    assert_eq!(stand.all_lose(5..10).len(), 5);
}

#[test]
fn the_window_is_the_longest_refresh_interval() {
    let mut stand = Stand::with(9);
    stand.enrol(9, 24 * HOUR, Past::Nothing);
    assert_eq!(stand.all_lose(0..5).len(), 5);
    stand.now += 23 * HOUR;
    assert_eq!(stand.loses(5), stand.blocked(6, 10));
}

#[test]
fn the_latch_opens_when_the_last_missing_value_is_back() {
    let mut stand = Stand::with(10);
    stand.all_lose(0..8);
    for number in 0..7 {
        assert_eq!(stand.finds(number, Absence::Nothing), Ok(()));
        assert!(matches!(stand.loses(7), Err(Halt::Blocked(_))));
    }
    assert_eq!(stand.finds(7, Absence::Nothing), Ok(()));
    assert_eq!(stand.all_lose(8..9), [8]);
}

#[test]
fn whoever_is_deleted_or_edited_holds_nobody_up() {
    let mut stand = Stand::with(10);
    stand.all_lose(0..6);
    (0..5).for_each(|number| stand.losses.forget(&target(number)));
    // Another deletionPolicy.
    stand.losses.enrol(&target(5), None, |_| Past::Nothing, |_| None, stand.now);
    assert_eq!(stand.all_lose(6..7), [6]);
}

#[test]
fn a_new_value_of_the_annotation_lets_through_what_waits_and_nothing_later() {
    let mut stand = Stand::with(10);
    stand.allowance = Some("old".into());
    stand.all_lose(0..6);
    assert!(matches!(stand.loses(0), Err(Halt::Blocked(_))), "it was there when the latch closed");
    stand.allowance = Some("new".into());
    assert_eq!(stand.all_lose(0..6), [0, 1, 2, 3, 4, 5]);
    // The count begins anew, and the same value counts once.
    stand.enrol(10, HOUR, Past::Nothing);
    stand.enrol(11, HOUR, Past::Nothing);
    assert!(stand.all_lose(6..12).is_empty());
    stand.allowance = None;
    assert!(stand.all_lose(6..12).is_empty());
    stand.allowance = Some("new".into());
    assert_eq!(stand.all_lose(6..12).len(), 6);
}

#[test]
fn stores_do_not_share_a_latch() {
    let mut stand = Stand::with(10);
    stand.all_lose(0..6);
    stand.store = StoreName::cluster("other");
    (0..10).for_each(|number| stand.enrol(number + 20, HOUR, Past::Nothing));
    assert_eq!(stand.all_lose(20..22), [20, 21]);
    // Who reads from both waits for the one that is closed.
    let absences =
        BTreeMap::from([(StoreName::cluster("other"), Absence::Loss), (StoreName::cluster("vault"), Absence::Loss)]);
    let halt = stand.losses.judge(&target(9), &absences, |_| None, stand.now);
    assert!(matches!(halt, Err(Halt::Blocked(by)) if by.len() == 1 && by[0].store.name == "vault"));
}

#[test]
fn a_restart_neither_opens_the_latch_nor_begins_the_count_anew() {
    let mut stand = Stand::with(8);
    stand.enrol(8, HOUR, Past::Held);
    stand.enrol(9, HOUR, Past::Nothing);
    assert!(stand.all_lose(0..1).is_empty(), "one was held, so the latch is closed");

    let mut stand = Stand::with(0);
    (0..5).for_each(|number| stand.enrol(number, HOUR, Past::Lost { ago: HOUR / 2 }));
    (5..10).for_each(|number| stand.enrol(number, HOUR, Past::Nothing));
    assert!(stand.all_lose(5..6).is_empty(), "five went before the restart");
    stand.finds(5, Absence::Nothing).unwrap();
    stand.now += HOUR / 2;
    assert_eq!(stand.all_lose(5..6), [5]);
    // What status says later is our own word.
    stand.enrol(6, HOUR, Past::Held);
    assert_eq!(stand.all_lose(7..8), [7]);
}

#[test]
fn the_message_counts_names_the_store_and_gives_the_command() {
    let blocked = |store| Blocked { store, losing: 6, all: 10 }.to_string();
    let message = blocked(StoreName::cluster("vault"));
    for part in [
        "6 of 10 targets",
        "ClusterSecretStore vault",
        "kubectl annotate clustersecretstore vault waypost.io/allow-mass-deletion=\"$(date +%s)\" --overwrite",
    ] {
        assert!(message.contains(part), "{message}");
    }
    let message = blocked(StoreName::referred("team", StoreKind::SecretStore, "vault"));
    assert!(message.contains("kubectl annotate -n team secretstore vault waypost.io/"), "{message}");
}

/// A hold is recorded in the message alone: it names each store whose latch is closed, and no other.
#[test]
fn a_message_names_each_store_that_blocks_and_no_other() {
    let own = StoreName::referred("team", StoreKind::SecretStore, "vault");
    let names = [StoreName::cluster("vault"), own, StoreName::cluster("vault-b"), StoreName::cluster("b")];
    for by in 0..16 {
        let chosen = |at: usize| by >> at & 1 == 1;
        let blocked = |store: &StoreName| Blocked { store: store.clone(), losing: 6, all: 10 };
        let all = names.iter().enumerate().filter(|(at, _)| chosen(*at)).map(|(_, store)| blocked(store));
        let message = Halt::Blocked(all.collect()).to_string();
        for (at, store) in names.iter().enumerate() {
            assert_eq!(Blocked::is_named(&message, store), chosen(at), "{store}: {message}");
        }
    }
}

/// A spec may name any store, and its status is about another one.
#[test]
fn i4_who_may_not_read_a_store_neither_closes_its_latch_nor_widens_its_bound() {
    let decade = 3650 * DAY;
    for reads in [None, Some(Reads::No), Some(Reads::Unknown)] {
        let mut stand = Stand::with(10);
        let (ours, theirs) = (stand.store.clone(), StoreName::cluster("theirs"));
        for name in (0..100).map(stranger) {
            stand.store = theirs.clone();
            stand.sees(&name, HOUR, Past::Nothing);
            stand.opens(&name, Reads::Yes);
            // It is edited, and its status is as it was.
            stand.store = ours.clone();
            stand.sees(&name, decade, Past::Held);
            reads.into_iter().for_each(|reads| stand.opens(&name, reads));
        }
        assert_eq!(stand.all_lose(0..5), [0, 1, 2, 3, 4], "{reads:?}: the latch is open");
        assert_eq!(stand.loses(5), stand.blocked(6, 10), "{reads:?}: a hundred strangers count for nothing");
        stand.finds(5, Absence::Nothing).unwrap();
        stand.now += HOUR;
        assert_eq!(stand.all_lose(5..6), [5], "{reads:?}: and their interval does not");
    }
}

/// After a restart the watch has shown everything before the first reconcile. What has not been
/// reconciled since may be a stranger.
#[test]
fn i4_a_stranger_that_was_there_before_a_restart_counts_for_nothing_once_it_is_reconciled() {
    for reads in [Reads::No, Reads::Unknown] {
        let stand = Stand::with(10);
        (0..100).map(stranger).for_each(|name| stand.sees(&name, HOUR, Past::Nothing));
        (0..6).for_each(|number| assert!(matches!(stand.loses(number), Err(Halt::LookAround(_)))));
        (0..100).map(stranger).for_each(|name| stand.opens(&name, reads));
        assert_eq!(stand.loses(0), stand.blocked(6, 10), "{reads:?}");
    }
    // What an earlier process recorded of this store goes as well, if the store is opened no longer.
    let mut stand = Stand::with(10);
    stand.sees(&stranger(0), HOUR, Past::Held);
    (1..7).for_each(|number| stand.sees(&stranger(number), HOUR, Past::Lost { ago: HOUR / 2 }));
    assert_eq!(stand.loses(0), Err(Halt::LookAround(LOOK_AROUND)), "until it is reconciled");
    stand.opens(&stranger(0), Reads::No);
    assert_eq!(stand.loses(0), Err(Halt::LookAround(LOOK_AROUND)), "until all are");
    (1..7).for_each(|number| stand.losses.unjudged(&stranger(number), Unjudged::Barred));
    assert_eq!(stand.all_lose(0..5), [0, 1, 2, 3, 4]);
}

/// Whoever has not been reconciled since a restart: no more targets go than if all had been.
#[test]
fn i3_after_a_restart_no_target_goes_beyond_the_bound_before_all_are_counted() {
    for (members, strangers) in [(6, 0), (10, 0), (10, 100), (29, 0), (29, 100), (40, 0), (40, 100)] {
        for (reconciled, losing) in [0, members / 2, members].into_iter().flat_map(|to| (1..12).map(move |n| (to, n))) {
            let case = format!("{losing} of {members} beside {strangers}, {reconciled} reconciled");
            let mut stand = Stand::with(0);
            (0..members).for_each(|number| stand.sees(&target(number), HOUR, Past::Nothing));
            (0..strangers).map(stranger).for_each(|name| stand.sees(&name, HOUR, Past::Nothing));
            (0..reconciled).for_each(|number| stand.opens(&target(number), Reads::Yes));
            // They are reconciled to be judged.
            let losers = 0..losing.min(members);
            losers.clone().for_each(|number| stand.opens(&target(number), Reads::Yes));
            let may_go = !is_over_the_bound(losers.len(), members);
            let gone = stand.all_lose(losers.clone());
            assert!(gone.is_empty() || may_go, "{case}: {} went", gone.len());
            // Nothing is blocked for ever that may go.
            (0..members).for_each(|number| stand.opens(&target(number), Reads::Yes));
            (0..strangers).map(stranger).for_each(|name| stand.opens(&name, Reads::No));
            if may_go && gone.is_empty() {
                assert_eq!(stand.all_lose(losers.clone()).len(), losers.len(), "{case}");
            }
        }
    }
}

/// The window is as long as the longest interval, also if that is one of those not reconciled yet.
#[test]
fn i3_after_a_restart_what_was_lost_counts_for_as_long_as_any_interval_asks() {
    for reads in [None, Some(Reads::Yes), Some(Reads::Unknown)] {
        let mut stand = Stand::with(0);
        stand.now += 100 * DAY;
        (0..5).for_each(|number| stand.sees(&target(number), HOUR, Past::Lost { ago: 2 * HOUR }));
        (5..9).for_each(|number| stand.sees(&target(number), HOUR, Past::Nothing));
        stand.sees(&target(9), DAY, Past::Nothing);
        stand.opens(&target(5), Reads::Yes);
        reads.into_iter().for_each(|reads| stand.opens(&target(9), reads));
        assert!(stand.all_lose(5..6).is_empty(), "{reads:?}");
    }
}

#[test]
fn the_window_is_at_most_a_week() {
    let mut stand = Stand::with(9);
    stand.enrol(9, 3650 * DAY, Past::Nothing);
    assert_eq!(stand.all_lose(0..5).len(), 5);
    stand.now += LONGEST_WINDOW - HOUR;
    assert_eq!(stand.loses(5), stand.blocked(6, 10));
    stand.finds(5, Absence::Nothing).unwrap();
    stand.now += HOUR;
    assert_eq!(stand.all_lose(5..10).len(), 5);
}

/// Whoever is not judged any more holds nobody up, and what it lost before still counts.
#[test]
fn whoever_is_not_judged_any_more_holds_nobody_up() {
    for unjudged in [Unjudged::Barred, Unjudged::Decided] {
        let mut stand = Stand::with(10);
        assert!(stand.all_lose(0..6).is_empty());
        (0..6).for_each(|number| stand.losses.unjudged(&target(number), unjudged));
        assert_eq!(stand.all_lose(6..7), [6], "{unjudged:?}");
    }
    let mut stand = Stand::with(10);
    assert_eq!(stand.all_lose(0..5).len(), 5);
    (0..5).for_each(|number| stand.losses.unjudged(&target(number), Unjudged::Barred));
    assert!(stand.all_lose(5..6).is_empty());
}

/// The store that a spec names for entries without one of their own: there may be no such entry.
#[test]
fn a_store_that_nothing_reads_from_is_left_alone_by_the_default_of_the_spec() {
    let mut stand = Stand::with(10);
    stand.sees(&stranger(0), HOUR, Past::Held);
    assert_eq!(stand.loses(0), Err(Halt::LookAround(LOOK_AROUND)), "until it is reconciled");
    stand.losses.opened(&stranger(0), |_| Reads::No);
    stand.finds(0, Absence::Nothing).unwrap();
    assert_eq!(stand.all_lose(1..2), [1]);
}
