//! What can happen to an ExternalSecret, its target, its path, its store and the controller.

use proptest::prelude::*;

use super::one_store::{PLACES, PROPERTIES};
use crate::cluster::in_memory::Fault;

#[derive(Clone, Debug)]
pub enum Event {
    /// A push writes the next version, in the place that the store means.
    Push,
    /// It drops one of the properties, or the last one, and with it the version.
    Drop(usize),
    /// It drops all of them.
    DropAll,
    /// It removes the whole entry. The next version is 1.
    Purge,
    /// A person writes the next version, and nobody says so.
    WriteByHand,
    /// A person deletes the latest version.
    LoseByHand,
    /// A person removes the whole entry.
    PurgeByHand,
    /// A person writes a version without this property, which its owner still claims, if it has one.
    SlipByHand(usize),
    /// The producer takes its consent back, or gives it.
    Consent(bool),
    /// The store means another server, or another mount.
    EditStore(usize),
    /// The store is not there, does not serve the namespace, or serves again.
    Store(Serves),
    /// Its credential is rotated.
    RotateCredential,
    /// Another spec: the other property.
    EditSpec,
    /// Another spec: whether the target goes with its values.
    DeletionPolicy(bool),
    /// An annotation, as a person sets it who wants a refresh.
    Touch,
    /// The object is deleted; or made anew, if it is not there.
    Delete,
    Create,
    /// The garbage collector takes the target whose owner is gone.
    Collect,
    /// Somebody edits or creates the ConfigMap with the text of the template, or deletes it.
    EditText,
    DeleteText,
    /// Somebody writes to the target, or deletes it.
    EditTarget,
    DeleteTarget,
    /// The next write of the target, or of the status, runs into this.
    FailTarget(Fault),
    FailStatus(Fault),
    /// The writes that are on their way arrive.
    Arrive,
    /// The cache lags from now on, or has caught up.
    Lag(bool),
    /// The watch lists anew, or gets the last page of what it lists.
    Relist,
    /// The watch begins to list anew, and the object is on the first page. Until the last page is
    /// there, the cache shows nothing new.
    FirstPage,
    /// Every path is checked.
    Check,
    /// The process starts anew: what it remembered is gone.
    Restart,
    /// Time passes, enough to have looked around for other losses.
    Wait,
    /// The object is reconciled, as its cache has it, whether something woke it or not.
    Reconcile,
    /// It is reconciled if something woke it.
    Woken,
    /// It is reconciled, and after so many polls something else happens.
    Amid {
        polls: u8,
        event: Box<Event>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    Yes,
    NotThere,
    NotThisNamespace,
}

/// What a story begins with.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Whether the target goes with its values.
    pub deletes: bool,
    /// Whether so many other targets of the store lost their values that one more is too many.
    pub crowded: bool,
    /// Whether the producer pushes before the resource is first reconciled.
    pub pushed: bool,
    /// Whether the target is rendered from a template whose text is in a ConfigMap.
    pub templated: bool,
}

fn one() -> impl Strategy<Value = Event> {
    let fault = || prop_oneof![Just(Fault::Refuse), Just(Fault::LoseReply), Just(Fault::Delay)];
    let serves = prop_oneof![Just(Serves::Yes), Just(Serves::NotThere), Just(Serves::NotThisNamespace)];
    let paths = prop_oneof![
        4 => Just(Event::Push),
        2 => (0..PROPERTIES.len()).prop_map(Event::Drop),
        1 => Just(Event::DropAll),
        1 => Just(Event::Purge),
        1 => Just(Event::WriteByHand),
        2 => Just(Event::LoseByHand),
        1 => Just(Event::PurgeByHand),
        1 => (0..PROPERTIES.len()).prop_map(Event::SlipByHand),
        2 => any::<bool>().prop_map(Event::Consent),
    ];
    let objects = prop_oneof![
        2 => (0..PLACES.len()).prop_map(Event::EditStore),
        2 => serves.prop_map(Event::Store),
        1 => Just(Event::RotateCredential),
        2 => Just(Event::EditSpec),
        1 => any::<bool>().prop_map(Event::DeletionPolicy),
        1 => Just(Event::Touch),
        1 => Just(Event::Delete),
        2 => Just(Event::Create),
        1 => Just(Event::Collect),
        2 => Just(Event::EditText),
        1 => Just(Event::DeleteText),
        1 => Just(Event::EditTarget),
        1 => Just(Event::DeleteTarget),
    ];
    let process = prop_oneof![
        2 => fault().prop_map(Event::FailTarget),
        2 => fault().prop_map(Event::FailStatus),
        1 => Just(Event::Arrive),
        2 => any::<bool>().prop_map(Event::Lag),
        1 => Just(Event::Relist),
        1 => Just(Event::FirstPage),
        1 => Just(Event::Check),
        1 => Just(Event::Restart),
    ];
    prop_oneof![3 => paths, 3 => objects, 2 => process]
}

pub fn story() -> impl Strategy<Value = (Setting, Vec<Event>)> {
    let setting = (any::<bool>(), prop::bool::weighted(0.3), prop::bool::weighted(0.7), any::<bool>());
    let setting =
        setting.prop_map(|(deletes, crowded, pushed, templated)| Setting { deletes, crowded, pushed, templated });
    let event = prop_oneof![
        8 => one(),
        1 => (0..40_u8, one()).prop_map(|(polls, event)| Event::Amid { polls, event: Box::new(event) }),
        1 => Just(Event::Wait),
        2 => Just(Event::Reconcile),
        4 => Just(Event::Woken),
    ];
    (setting, proptest::collection::vec(event, 1..28))
}
