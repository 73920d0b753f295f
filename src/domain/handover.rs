//! Transfers the claims of a cluster that is gone for good to the cluster that replaces it. A claim
//! keeps the UID of the former PushSecret. The new cluster's controllers look for that UID, do not
//! find it, and give the property to the PushSecret that publishes it now.

use super::claim::{self, CustomMetadata, MetadataChanges, Owner};

/// From which cluster to which one claims are transferred.
#[derive(Clone, Copy, Debug)]
pub struct Handover<'a> {
    /// The former cluster.
    pub from: &'a str,
    /// The cluster that replaces it.
    pub to: &'a str,
    /// Who announces the transfer, on a server without check-and-set on metadata. It is not a
    /// PushSecret of any cluster.
    pub mover: &'a Owner,
}

/// What happens to one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is transferred to the new cluster.
    Moves,
    /// It already belongs to the new cluster.
    Moved,
    /// It belongs to another cluster, and stays.
    Others,
    /// Its owner cannot be read; it stays.
    Unreadable,
    /// Somebody is about to claim the property; it stays.
    Announced(Owner),
}

/// One claim on an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The property, or its digest if the property does not fit into a key.
    pub property: String,
    /// The owner; `None` if it cannot be read.
    pub owner: Option<Owner>,
}

/// The claims on an entry with this custom metadata.
pub fn claims(metadata: &CustomMetadata) -> Vec<Claimed> {
    let claim = |(property, text): (&str, &str)| Claimed { property: property.to_owned(), owner: Owner::decode(text) };
    claim::claims(metadata).map(claim).collect()
}

impl Handover<'_> {
    /// What happens to each claim, according to this custom metadata.
    pub fn fates(&self, metadata: &CustomMetadata) -> Vec<(Claimed, Fate)> {
        let fate = |claimed: &Claimed| match &claimed.owner {
            None => Fate::Unreadable,
            Some(owner) if owner.cluster == self.to => Fate::Moved,
            Some(owner) if owner.cluster != self.from => Fate::Others,
            Some(_) => claim::rival(metadata, &claimed.property, self.mover).map_or(Fate::Moves, Fate::Announced),
        };
        claims(metadata).into_iter().map(|claimed| (claimed.clone(), fate(&claimed))).collect()
    }

    /// The changes that transfer every claim to transfer, and remove our announcements.
    pub fn changes(&self, metadata: &CustomMetadata) -> MetadataChanges {
        let moved = |owner: Owner| Owner { cluster: self.to.to_owned(), ..owner }.encode();
        let claims = self.moving(metadata).map(|(property, owner)| (claim::key_of(&property), Some(moved(owner))));
        claims.chain(claim::intents_of(metadata, self.mover).map(|key| (key, None))).collect()
    }

    /// Announces the transfer of each claim, so that nobody takes its property meanwhile.
    pub fn announcement(&self, metadata: &CustomMetadata) -> MetadataChanges {
        let intent = |property: &str| (claim::intent_key_of(property, &self.mover.uid), Some(self.mover.encode()));
        self.moving(metadata).map(|(property, _)| intent(&property)).collect()
    }

    fn moving(&self, metadata: &CustomMetadata) -> impl Iterator<Item = (String, Owner)> {
        let moving = self.fates(metadata).into_iter().filter(|(_, fate)| *fate == Fate::Moves);
        moving.filter_map(|(claimed, _)| Some((claimed.property, claimed.owner?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use claim::Inquiry;

    fn owner(uid: &str, cluster: &str) -> Owner {
        Owner { uid: uid.into(), cluster: cluster.into(), namespace: "db".into(), name: format!("push-{uid}") }
    }

    fn metadata(changes: MetadataChanges) -> CustomMetadata {
        changes.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }

    #[test]
    fn only_claims_of_the_former_cluster_move_and_their_owners_count_as_gone_there() {
        let mut there = metadata(claim::confirm(["password", "a b"], &owner("1", "lost")));
        there.extend(metadata(claim::confirm(["token"], &owner("2", "west"))));
        there.insert("claim.waypost.io/odd".into(), "garbage".into());
        let mover = owner("mover", "nobody");
        let handover = Handover { from: "lost", to: "new", mover: &mover };
        let changes = handover.changes(&there);
        assert_eq!(changes.len(), 2);
        there.extend(metadata(changes));
        let fates: Vec<Fate> = handover.fates(&there).into_iter().map(|(_, fate)| fate).collect();
        assert_eq!(fates, [Fate::Unreadable, Fate::Moved, Fate::Moved, Fate::Others]);
        assert!(handover.changes(&there).is_empty());
        let (heir, gone) = (owner("3", "new"), Inquiry { gone: ["1".to_owned()].into(), ..Inquiry::default() });
        assert_eq!(claim::state(&there, "a b", &heir, &gone), claim::ClaimState::Claimable);
    }

    #[test]
    fn what_somebody_announced_stays_and_an_announcement_of_our_own_goes() {
        let mut there = metadata(claim::confirm(["password", "username"], &owner("1", "lost")));
        let mover = owner("mover", "nobody");
        let handover = Handover { from: "lost", to: "new", mover: &mover };
        there.extend(metadata(handover.announcement(&there)));
        there.extend(metadata(claim::intend(&there, ["username"], &owner("2", "lost"), &Inquiry::default())));
        let changes = handover.changes(&there);
        assert!(
            changes[&claim::claim_key("password")].is_some() && !changes.contains_key(&claim::claim_key("username"))
        );
        assert_eq!(changes.values().filter(|value| value.is_none()).count(), 2);
    }
}
