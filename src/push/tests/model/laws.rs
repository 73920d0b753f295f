//! What must hold after each step, and what once it is calm.

use std::collections::BTreeSet;

use super::moves::Policy;
use super::sources::source_of;
use super::world::{Spot, World, ledgers, lists, policy, spots};
use crate::api::PushSecret;
use crate::api::condition::{self, ConditionStatus, Reason};
use crate::push::record::FRESH;

/// After each step: no value of ours without a line, nothing lost that was acknowledged and is
/// still wanted, nothing removed although its source had been there for a while, nobody waits for a
/// PushSecret of another namespace that names no path, and nothing is let go before the deadline of
/// its clean-up.
pub fn hold(world: &mut World) -> Result<(), String> {
    let pushes = world.pushes();
    if world.is_stranger_asked() {
        return Err(format!("a stranger that may mean any path is waited for: {:?}", statuses(&pushes)));
    }
    if let Some(early) = &world.let_go_early {
        return Err(format!("let go before the deadline: {early}"));
    }
    for spot in spots() {
        let text = world.text(spot);
        let listed = pushes.iter().any(|push| lists(push, spot));
        // Of several that list it, the one that has the claim decides.
        let owner = world.owner(spot);
        let is_anothers =
            |push: &PushSecret| push.metadata.uid != owner && pushes.iter().any(|other| other.metadata.uid == owner);
        let is_released =
            |push: &PushSecret| push.metadata.uid.as_ref().is_some_and(|uid| world.released.contains(uid));
        let removes = |push: &PushSecret| {
            lists(push, spot) && policy(push) == Policy::Delete && !is_anothers(push) && !is_released(push)
        };
        if text.is_none() || pushes.iter().any(removes) {
            world.orphaned.remove(&spot);
        }
        if text.is_some() && !listed && !world.orphaned.contains(&spot) {
            return Err(format!("{text:?} at {spot:?} is in no ledger: {:?}", ledgers(world)));
        }
    }
    let lives = |push: &PushSecret| push.metadata.deletion_timestamp.is_none() && world.has_source(push);
    let still = |push: &PushSecret, spot| lives(push) && world.wants(push, spot);
    let uid = |push: &PushSecret| push.metadata.uid.clone().unwrap_or_default();
    for loss in world.losses.all() {
        let wanting = pushes.iter().find(|push| uid(push) == loss.owner && still(push, loss.spot));
        let existed = wanting.and_then(source_of).and_then(|source| loss.existed[source]);
        if existed.is_some_and(|existed| existed > FRESH) {
            return Err(format!("{loss:?} is removed, and is wanted: {:?}", statuses(&pushes)));
        }
    }
    let mut moving: BTreeSet<(Spot, String)> = world.moving.union(&world.acknowledged).cloned().collect();
    moving.retain(|(spot, owner)| {
        let push = pushes.iter().find(|push| uid(push) == *owner && lives(push) && world.maps(push, *spot));
        push.is_some_and(|push| {
            let elsewhere: Vec<Spot> = world.sites_of(push).into_iter().map(|site| Spot { site, ..*spot }).collect();
            !elsewhere.contains(spot) && elsewhere.iter().any(|there| world.text(*there).is_none())
        })
    });
    if let Some((spot, owner)) = moving.iter().find(|(spot, _)| world.text(*spot).is_none()) {
        return Err(format!("{spot:?} of {owner} is gone before it stands wherever it is wanted now"));
    }
    let mut acknowledged = world.acknowledged.clone();
    acknowledged.retain(|(spot, owner)| pushes.iter().any(|push| uid(push) == *owner && still(push, *spot)));
    if let Some((spot, owner)) = acknowledged.iter().find(|(spot, _)| world.text(*spot).is_none()) {
        return Err(format!("{spot:?}, acknowledged to {owner}, is lost"));
    }
    for push in pushes.iter().filter(|push| is_ready(push)) {
        let owns = |spot| world.owner(spot) == push.metadata.uid && world.text(spot).is_some();
        let stands = spots().filter(|spot| still(push, *spot) && owns(*spot));
        acknowledged.extend(stands.map(|spot| (spot, uid(push))));
    }
    (world.acknowledged, world.moving) = (acknowledged, moving);
    Ok(())
}

/// Once it is calm: what is wanted is there, what is not wanted is gone, and so is every deleted
/// PushSecret. Each other one is Ready unless it has nothing to push or somebody stands in its way.
pub fn converged(world: &World) -> Result<(), String> {
    let pushes = world.pushes();
    // One that is Ready, or has declined, would hold nobody.
    let stranger = world.stranger();
    let ready = stranger.status.as_ref().and_then(|status| condition::find(&status.conditions, condition::READY));
    if ready.and_then(|ready| ready.reason.as_deref()) != Some(Reason::StoreNotReady.as_str()) {
        return Err(format!("the stranger does not fail: {ready:?}"));
    }
    if let Some(held) = pushes.iter().find(|push| push.metadata.deletion_timestamp.is_some()) {
        return Err(format!("{:?} is held: {:?}", held.metadata.name, held.status));
    }
    if let Some(push) = pushes.iter().find(|push| !is_ready(push) && !may_fail(world, push)) {
        return Err(format!("{:?} is not Ready for no reason: {:?}", push.metadata.name, statuses(&pushes)));
    }
    for spot in spots() {
        // Custom metadata that somebody replaced makes the path theirs until they are adopted.
        if world.is_foreign(spot) {
            continue;
        }
        let value = |push: &PushSecret| world.value(push, spot);
        let wanting = pushes.iter().filter(|push| world.wants(push, spot) && !is_hindered(world, push, spot));
        let wanted: Vec<String> = wanting.filter_map(value).collect();
        match world.text(spot) {
            None if wanted.is_empty() => {}
            None => return Err(format!("{spot:?} is wanted and absent: {:?}", statuses(&pushes))),
            Some(text) if wanted.contains(&text) || wanted.is_empty() => {}
            Some(text) => {
                return Err(format!("{spot:?} has {text}, and should have one of {wanted:?}: {:?}", statuses(&pushes)));
            }
        }
        for push in pushes.iter().filter(|push| lists(push, spot) && !world.wants(push, spot)) {
            if policy(push) == Policy::Delete && world.has_source(push) && is_ready(push) {
                return Err(format!("{spot:?} is not wanted and still listed: {:?}", statuses(&pushes)));
            }
        }
    }
    Ok(())
}

/// Where a value is.
pub fn filled(world: &World) -> Vec<Spot> {
    spots().filter(|spot| world.text(*spot).is_some()).collect()
}

/// All of these have a value.
pub fn stand(world: &World, held: &[Spot]) -> Result<(), String> {
    match held.iter().find(|spot| world.text(**spot).is_none()) {
        None => Ok(()),
        Some(spot) => Err(format!("{spot:?} is without its value: {:?}", statuses(&world.pushes()))),
    }
}

/// Each of these belongs to one that is there, wants it and lists it.
pub fn one_owner(world: &World, held: &[Spot]) -> Result<(), String> {
    let pushes = world.pushes();
    for spot in held {
        let owner = world.owner(*spot);
        let owner = pushes.iter().find(|push| push.metadata.uid == owner);
        if !owner.is_some_and(|owner| world.wants(owner, *spot) && lists(owner, *spot)) {
            return Err(format!("{spot:?} belongs to {owner:?}: {:?}", statuses(&pushes)));
        }
    }
    Ok(())
}

/// Whether it has nothing to push, or somebody stands in its way.
fn may_fail(world: &World, push: &PushSecret) -> bool {
    let in_the_way = |spot: Spot| world.is_foreign(spot) || is_hindered(world, push, spot);
    !world.has_source(push) || spots().any(|spot| world.wants(push, spot) && in_the_way(spot))
}

/// Whether another owns some property that it wants of this path, which it writes whole or not at all.
fn is_hindered(world: &World, push: &PushSecret, at: Spot) -> bool {
    let of_path = spots().filter(|spot| (spot.site, spot.path) == (at.site, at.path) && world.wants(push, *spot));
    of_path.filter_map(|spot| world.owner(spot)).any(|owner| push.metadata.uid.as_deref() != Some(owner.as_str()))
}

pub fn is_ready(push: &PushSecret) -> bool {
    let Some(status) = &push.status else { return false };
    let ready = condition::find(&status.conditions, condition::READY);
    status.observed_generation == push.metadata.generation
        && ready.is_some_and(|ready| ready.status == ConditionStatus::True)
}

fn statuses(pushes: &[PushSecret]) -> Vec<String> {
    let message = |push: &PushSecret| {
        let conditions = push.status.as_ref().map(|status| status.conditions.clone()).unwrap_or_default();
        let ready = condition::find(&conditions, condition::READY).and_then(|ready| ready.message.clone());
        format!("{:?}: {ready:?}", push.metadata.name)
    };
    pushes.iter().map(message).collect()
}
