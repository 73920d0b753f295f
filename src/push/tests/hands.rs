//! Offers that somebody has in hand, by the offers' own functions: which reconciles have seen them.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::protocol::{owner, site};
use crate::cluster::in_memory::ApiServer;
use crate::domain::claim::Owner;
use crate::domain::object_name::Name;
use crate::push::offers::{Offers, Waiter};

/// While one has a property in hand, another one begins and ends: it could not take what it was
/// asked for, so it has declined nothing.
#[tokio::test]
async fn who_found_an_offer_in_anothers_hand_has_not_declined_it() {
    let woken = Arc::new(Mutex::new(Vec::new()));
    let wakes = woken.clone();
    let offers = Offers::new(Box::new(ApiServer::default()), Box::new(move |name| wakes.lock().push(name)));
    let [old, taker, other] = ["old", "taker", "other"].map(owner);
    let name = |owner: &Owner| Name::new(&owner.namespace, &owner.name);
    let waiter = |owner| Waiter { name: name(owner), uid: owner.uid.clone(), generation: 1 };
    let asking = BTreeMap::from([((site(), "password".to_owned()), vec![waiter(&taker), waiter(&other)])]);
    offers.open(&old, asking, &|_, _| false);
    let from = BTreeMap::from([("password".to_owned(), old.uid.clone())]);
    let in_hand = offers.take(&taker, &site(), &from).expect("it is offered");
    let attempt = offers.begin(&other, 1).await;
    drop(in_hand);
    woken.lock().clear();
    offers.end(&attempt, true);
    assert_eq!(*woken.lock(), [], "it has not seen the offer");
    let attempt = offers.begin(&other, 1).await;
    offers.end(&attempt, true);
    assert_eq!(*woken.lock(), [name(&old)], "now it has, and does not want it");
}
