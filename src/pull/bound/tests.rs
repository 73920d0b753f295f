//! What stops, what passes, and what opens the latch again, on a clock that the tests set.

use super::*;

const HOUR: Duration = SHORTEST_WINDOW;
const SECOND: Duration = Duration::from_secs(1);

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

    fn enrol(&self, number: usize, interval: Duration, past: Past) {
        let roll = (Member { interval, has_target: true }, BTreeSet::from([self.store.clone()]));
        self.losses.enrol(&target(number), Some(roll), past, |_| self.allowance.clone(), self.now);
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
        Err(Halt::Blocked(Blocked { store: self.store.clone(), losing, all }))
    }
}

fn target(number: usize) -> Name {
    Name::new("team", format!("target-{number:03}"))
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
    stand.losses.enrol(&target(5), None, Past::Nothing, |_| None, stand.now);
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
    assert!(matches!(halt, Err(Halt::Blocked(Blocked { store, .. })) if store.name == "vault"));
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
