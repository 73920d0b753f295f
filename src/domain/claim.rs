//! Who owns a property of an entry: claims in the entry's `custom_metadata`, readable with `bao kv metadata get`.
//!
//! | key | value | meaning |
//! |---|---|---|
//! | `managed-by` | `external-secrets` | the entry may be written by External Secrets controllers |
//! | `claim.waypost.io/<property>` | an [`Owner`] | the property is this PushSecret's |
//! | `intent.waypost.io/<uid>/<property>` | an [`Owner`] | this PushSecret is about to claim it |
//! | `intent.waypost.io/<uid>/*` | an [`Owner`] | this PushSecret is about to purge the entry: an intent on every property |
//!
//! Metadata has no check-and-set in Vault. So each claimant announces itself under a key of its own, reads again, and goes on
//! only when it stands alone; of two, the one with the lower UID goes on and the other withdraws. Whichever read comes last
//! sees both, so both never go on. Where the server counts changes of labels (OpenBao), a claim is set at once, on condition that
//! nothing changed; whoever announces itself is seen by that, and sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::consent;
use super::dns;
use super::fingerprint::short_digest;
use super::path::RemotePath;

/// The label with which External Secrets controllers mark what they may write.
pub const MARKER: &str = "managed-by";
/// The marker's value.
pub const MARKER_VALUE: &str = "external-secrets";
/// More claims than this on one entry are refused: `custom_metadata` holds 64 keys, and some are other people's.
pub const MAX_CLAIMS: usize = 60;
/// What KV v2 takes in `custom_metadata`.
pub const MAX_KEYS: usize = 64;

const CLAIM: &str = "claim.waypost.io/";
const INTENT: &str = "intent.waypost.io/";
/// In place of a property: all of them. No property's token looks so.
const EVERY: &str = "*";
/// With the intent prefix and a UID it fits the 128 bytes of a key.
const MAX_READABLE: usize = 64;

/// The labels of an entry.
pub type Labels = BTreeMap<String, String>;
/// Changes of single labels: `Some` sets, `None` removes.
pub type LabelChanges = BTreeMap<String, Option<String>>;

/// The PushSecret that owns, or wants to own, a property.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// UID of the PushSecret; of two claimants the lower one wins.
    pub uid: String,
    /// Which cluster it is in (the UID of its `kube-system` namespace).
    pub cluster: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What was found out beside the entry, mostly about other claimants, since a pure function cannot look.
#[derive(Clone, Debug, Default)]
pub struct Inquiry {
    /// UIDs of owners that are there.
    pub alive: BTreeSet<String>,
    /// UIDs of owners that are gone: what they claimed counts no longer.
    pub gone: BTreeSet<String>,
    /// Keys of intents that have not moved for too long: they count no longer.
    pub stale: BTreeSet<String>,
    /// Whether the mark of an entry that has none is at another place.
    pub marker: Elsewhere,
    /// The version up to which the entry has no data any more, in any version; a read shows the latest alone.
    pub destroyed: u64,
    /// Properties that their owners leave to whoever waits for them, each with its owner's UID.
    pub offered: BTreeSet<(String, String)>,
    /// By UID, the properties of the entry that other owners list in their ledgers; one that is gone lists none.
    pub listed: BTreeMap<String, BTreeSet<String>>,
}

/// Where the mark of an entry is that has none itself: External Secrets Operator misplaces it for some spellings of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Elsewhere {
    /// Nobody looked.
    #[default]
    Unknown,
    /// Not where that operator would have put it.
    Nowhere,
    /// Here, where it would be, this login may not look.
    Hidden(RemotePath),
    /// Here.
    At(RemotePath),
}

/// Who else has something at an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Others {
    /// Nobody.
    Nobody,
    /// Somebody announced a claim that will be confirmed or withdrawn soon.
    Intent {
        /// The intent's key.
        key: String,
        /// Whose it is.
        by: Owner,
    },
    /// Perhaps this one, of our own cluster: it has to be looked for.
    Perhaps(Owner),
    /// A confirmed claim.
    Claim,
}

/// How a PushSecret stands towards a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its claim is confirmed.
    Mine,
    /// Its intent stands, and no other.
    Intended,
    /// Nobody claims it.
    Claimable,
    /// Its intent stands beside one with a lower UID: it has to withdraw.
    Outbid {
        /// Whose intent is lower.
        by: Owner,
    },
    /// Another intent stands that will be confirmed or withdrawn soon.
    Contested {
        /// The intent's key.
        key: String,
        /// Whose it is.
        by: Owner,
    },
    /// Another's claim is confirmed.
    Taken {
        /// Whose it is; `None` where the claim cannot be read.
        by: Option<Owner>,
    },
}

impl Owner {
    pub(super) fn encode(&self) -> String {
        format!("cluster={} namespace={} name={} uid={}", self.cluster, self.namespace, self.name, self.uid)
    }

    /// Anybody may write labels, and what a claim says is asked after and shown: so it is believed only if an object can be called so.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let fields: BTreeMap<&str, &str> = text.split(' ').filter_map(|field| field.split_once('=')).collect();
        let field = |name: &str, fits: fn(&str) -> bool| {
            fields.get(name).filter(|value| fits(value)).map(|value| (*value).to_owned())
        };
        Some(Owner {
            uid: field("uid", is_word)?,
            cluster: field("cluster", is_word)?,
            namespace: field("namespace", dns::is_label)?,
            name: field("name", dns::is_subdomain)?,
        })
    }
}

impl Owner {
    /// `namespace/name`.
    pub fn object(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// As UIDs and names of clusters are.
fn is_word(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    (1..=MAX_READABLE).contains(&text.len()) && text.chars().all(legal)
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PushSecret {}/{} of cluster {}", self.namespace, self.name, self.cluster)
    }
}

/// The key of a property's claim.
pub fn claim_key(property: &str) -> String {
    key_of(&token(property))
}

/// The key of one claimant's intent.
pub fn intent_key(property: &str, uid: &str) -> String {
    intent_key_of(&token(property), uid)
}

/// The key of a claim, by a property as the key has it.
pub(super) fn key_of(token: &str) -> String {
    format!("{CLAIM}{token}")
}

/// The same of an intent.
pub(super) fn intent_key_of(token: &str, uid: &str) -> String {
    format!("{INTENT}{uid}/{token}")
}

/// All confirmed claims: the property as the key has it, and whose it is.
pub(super) fn claims(labels: &Labels) -> impl Iterator<Item = (&str, &str)> {
    labels.iter().filter_map(|(key, text)| Some((key.strip_prefix(CLAIM)?, text.as_str())))
}

/// Who else than `me` announced a claim on a property, as the key has it.
pub(super) fn rival(labels: &Labels, token: &str, me: &Owner) -> Option<Owner> {
    rivals(labels, token.to_owned(), me.uid.clone()).next().map(|(_, by)| by)
}

/// The keys of all intents of `me`.
pub(super) fn intents_of(labels: &Labels, me: &Owner) -> impl Iterator<Item = String> {
    let intents = labels.iter().filter_map(|(key, text)| intent(key, text));
    intents.filter(|(_, _, by)| by.uid == me.uid).map(|(key, _, _)| key.to_owned())
}

/// The key of one claimant's intent to purge the entry.
pub fn purge_key(uid: &str) -> String {
    intent_key_of(EVERY, uid)
}

/// Announces that `me` is about to purge the entry: nobody goes on with a claim meanwhile.
pub fn intend_purge(me: &Owner) -> LabelChanges {
    LabelChanges::from([(purge_key(&me.uid), Some(me.encode()))])
}

/// Who owns a property, by a claim that is confirmed.
pub fn owner(labels: &Labels, property: &str) -> Option<Owner> {
    Owner::decode(labels.get(&claim_key(property))?)
}

/// Whether External Secrets controllers may write the entry.
pub fn is_marked(labels: &Labels) -> bool {
    labels.get(MARKER).is_some_and(|value| value == MARKER_VALUE)
}

/// Whether an External Secrets controller keeps the entry and no PushSecret owns anything in it any more: what is not there was
/// removed by its owner, who took the claim back.
pub fn is_vacated(labels: &Labels) -> bool {
    is_marked(labels) && claims(labels).next().is_none()
}

/// Whether a PushSecret owns the property.
pub fn is_claimed(labels: &Labels, property: &str) -> bool {
    labels.contains_key(&claim_key(property))
}

/// Whether the changes take a claim back.
pub fn withdraws(changes: &LabelChanges) -> bool {
    changes.iter().any(|(key, value)| key.starts_with(CLAIM) && value.is_none())
}

/// Whether a label says who owns what, so that nobody may set it by a manifest.
pub fn is_ours(key: &str) -> bool {
    key == MARKER || key.starts_with(CLAIM) || key.starts_with(INTENT) || consent::is_consent(key)
}

/// How `me` stands towards `property` of an entry with these labels.
pub fn standing(labels: &Labels, property: &str, me: &Owner, inquiry: &Inquiry) -> Standing {
    if let Some(text) = labels.get(&claim_key(property)) {
        match Owner::decode(text) {
            Some(owner) if owner.uid == me.uid => return Standing::Mine,
            Some(owner) if inquiry.gone.contains(&owner.uid) => {}
            by => return Standing::Taken { by },
        }
    }
    let intended = labels.contains_key(&intent_key(property, &me.uid));
    match rival_intents(labels, property, me).find(|(key, by)| !inquiry.voids(key, by)) {
        None if intended => Standing::Intended,
        None => Standing::Claimable,
        Some((_, by)) if intended && by.uid < me.uid => Standing::Outbid { by },
        Some((key, by)) => Standing::Contested { key: key.to_owned(), by },
    }
}

/// Announces `me` for these properties, with the marker, and sweeps void intents away.
pub fn intend<'a>(
    labels: &Labels,
    properties: impl IntoIterator<Item = &'a str>,
    me: &Owner,
    inquiry: &Inquiry,
) -> LabelChanges {
    let mut changes = LabelChanges::new();
    if !is_marked(labels) {
        changes.insert(MARKER.to_owned(), Some(MARKER_VALUE.to_owned()));
    }
    for property in properties {
        changes.insert(intent_key(property, &me.uid), Some(me.encode()));
        for (key, by) in rival_intents(labels, property, me) {
            if inquiry.voids(key, &by) {
                changes.insert(key.to_owned(), None);
            }
        }
    }
    changes
}

/// Turns intents into claims: one request, so that no reader sees neither.
pub fn confirm<'a>(properties: impl IntoIterator<Item = &'a str>, me: &Owner) -> LabelChanges {
    properties
        .into_iter()
        .flat_map(|property| [(claim_key(property), Some(me.encode())), (intent_key(property, &me.uid), None)])
        .collect()
}

/// Drops what `me` has on these properties, claims with their consents and intents; others' stay.
pub fn release<'a>(labels: &Labels, properties: impl IntoIterator<Item = &'a str>, me: &Owner) -> LabelChanges {
    let mut changes = LabelChanges::new();
    for property in properties {
        let (claim, intent) = (claim_key(property), intent_key(property, &me.uid));
        let mine = labels.get(&claim).and_then(|text| Owner::decode(text)).is_some_and(|owner| owner.uid == me.uid);
        if mine {
            changes.insert(claim, None);
            let consent = consent::key(property);
            if labels.contains_key(&consent) {
                changes.insert(consent, None);
            }
        }
        if labels.contains_key(&intent) {
            changes.insert(intent, None);
        }
    }
    changes
}

/// Whether a write by `me` that left these labels behind may count as its own: its claim or intent still stands, and no
/// other's claim does.
pub fn still_held(labels: &Labels, property: &str, me: &Owner, inquiry: &Inquiry) -> bool {
    match standing(labels, property, me, inquiry) {
        Standing::Mine | Standing::Intended => true,
        Standing::Outbid { .. } | Standing::Contested { .. } => labels.contains_key(&intent_key(property, &me.uid)),
        Standing::Claimable | Standing::Taken { .. } => false,
    }
}

/// Who else than `me` has something at an entry with these labels; the weightiest of all.
pub fn others(labels: &Labels, me: &Owner, inquiry: &Inquiry) -> Others {
    let mut found = Others::Nobody;
    for (_, text) in claims(labels) {
        match Owner::decode(text) {
            Some(owner) if owner.uid == me.uid || inquiry.gone.contains(&owner.uid) => {}
            Some(owner) if owner.cluster == me.cluster && !inquiry.alive.contains(&owner.uid) => {
                found = Others::Perhaps(owner);
            }
            Some(_) | None => return Others::Claim,
        }
    }
    let mut intents = labels.iter().filter_map(|(key, text)| intent(key, text)).filter(|(_, _, by)| by.uid != me.uid);
    match (&found, intents.find(|(key, _, by)| !inquiry.voids(key, by))) {
        (Others::Nobody, Some((key, _, by))) => Others::Intent { key: key.to_owned(), by },
        (Others::Nobody | Others::Perhaps(_) | Others::Intent { .. } | Others::Claim, _) => found,
    }
}

/// How many labels, and how many claims among them, there would be after `changes`.
pub fn count_after(labels: &Labels, changes: &LabelChanges) -> (usize, usize) {
    let kept = labels.keys().filter(|key| !changes.contains_key(*key));
    let set = changes.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key);
    let keys: Vec<&String> = kept.chain(set).collect();
    let claims = keys.iter().filter(|key| key.starts_with(CLAIM) || key.starts_with(INTENT)).count();
    (keys.len(), claims)
}

impl Inquiry {
    fn voids(&self, key: &str, by: &Owner) -> bool {
        self.stale.contains(key) || self.gone.contains(&by.uid)
    }
}

/// Others' intents on a property, or on all.
fn rival_intents<'a>(labels: &'a Labels, property: &str, me: &Owner) -> impl Iterator<Item = (&'a str, Owner)> {
    rivals(labels, token(property), me.uid.clone())
}

fn rivals(labels: &Labels, token: String, mine: String) -> impl Iterator<Item = (&str, Owner)> {
    let intents = labels.iter().filter_map(|(key, text)| intent(key, text));
    intents.filter(move |(_, of, by)| (*of == token || *of == EVERY) && by.uid != mine).map(|(key, _, by)| (key, by))
}

/// The key, the property's token and the owner of an intent. One that cannot be read counts as that of nobody alive: it can
/// only be swept as stale.
fn intent<'a>(key: &'a str, text: &str) -> Option<(&'a str, &'a str, Owner)> {
    let (uid, of) = key.strip_prefix(INTENT)?.split_once('/')?;
    let nobody = || Owner {
        uid: uid.to_owned(),
        cluster: "unknown".to_owned(),
        namespace: "unknown".to_owned(),
        name: "unknown".to_owned(),
    };
    // Whose an intent is, its key says.
    let by = Owner::decode(text).map_or_else(nobody, |by| Owner { uid: uid.to_owned(), ..by });
    Some((key, of, by))
}

/// A property as part of a label's key: itself where a key can hold it, else its digest.
pub(super) fn token(property: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let readable =
        (1..=MAX_READABLE).contains(&property.len()) && property.chars().all(plain) && !property.starts_with("sha3-");
    if readable { property.to_owned() } else { format!("sha3-{}", short_digest(property)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(uid: &str) -> Owner {
        Owner { uid: uid.into(), cluster: "c1".into(), namespace: "db".into(), name: format!("push-{uid}") }
    }

    fn apply(labels: &mut Labels, changes: LabelChanges) {
        for (key, value) in changes {
            match value {
                Some(value) => labels.insert(key, value),
                None => labels.remove(&key),
            };
        }
    }

    fn stand(labels: &Labels, uid: &str) -> Standing {
        standing(labels, "password", &owner(uid), &Inquiry::default())
    }

    fn announce(labels: &mut Labels, uid: &str) {
        let changes = intend(labels, ["password"], &owner(uid), &Inquiry::default());
        apply(labels, changes);
    }

    #[test]
    fn a_claim_is_announced_then_confirmed_then_released() {
        let mut labels = Labels::new();
        assert_eq!(stand(&labels, "a"), Standing::Claimable);
        announce(&mut labels, "a");
        assert!(is_marked(&labels));
        assert_eq!(stand(&labels, "a"), Standing::Intended);
        apply(&mut labels, confirm(["password"], &owner("a")));
        assert_eq!(stand(&labels, "a"), Standing::Mine);
        assert_eq!(stand(&labels, "b"), Standing::Taken { by: Some(owner("a")) });
        assert!(release(&labels, ["password"], &owner("b")).is_empty());
        let changes = release(&labels, ["password"], &owner("a"));
        apply(&mut labels, changes);
        assert_eq!(labels.keys().collect::<Vec<_>>(), [MARKER]);
    }

    /// Anybody with a right to metadata writes labels; what they say goes into requests and messages.
    #[test]
    fn a_claim_of_what_can_be_no_object_is_not_believed() {
        let encoded = |owner: Owner| owner.encode();
        assert_eq!(Owner::decode(&encoded(owner("a"))), Some(owner("a")));
        let odd = [
            Owner { namespace: "../../secrets".into(), ..owner("a") },
            Owner { namespace: "db?x".into(), ..owner("a") },
            Owner { namespace: "a.b".into(), ..owner("a") },
            Owner { name: "push/status".into(), ..owner("a") },
            Owner { name: "push%2fx".into(), ..owner("a") },
            Owner { name: String::new(), ..owner("a") },
            Owner { name: "Push".into(), ..owner("a") },
            Owner { uid: "a/b".into(), ..owner("a") },
            Owner { uid: "a".repeat(65), ..owner("a") },
            Owner { cluster: "c\u{7}".into(), ..owner("a") },
        ];
        for odd in odd {
            let mut labels = Labels::from([(claim_key("password"), encoded(odd.clone()))]);
            assert_eq!(stand(&labels, "a"), Standing::Taken { by: None }, "{odd:?}");
            labels = Labels::from([(intent_key("password", "b"), encoded(odd.clone()))]);
            let Standing::Contested { by, .. } = stand(&labels, "a") else { panic!("{odd:?}") };
            assert_eq!(by.name, "unknown", "{odd:?}");
        }
    }

    #[test]
    fn of_two_intents_the_lower_uid_stays() {
        let mut labels = Labels::new();
        announce(&mut labels, "b");
        announce(&mut labels, "a");
        assert_eq!(stand(&labels, "b"), Standing::Outbid { by: owner("a") });
        assert!(matches!(stand(&labels, "a"), Standing::Contested { .. }));
        let changes = release(&labels, ["password"], &owner("b"));
        apply(&mut labels, changes);
        assert_eq!(stand(&labels, "a"), Standing::Intended);
        assert!(matches!(stand(&labels, "b"), Standing::Contested { .. }));
    }

    #[test]
    fn void_claims_do_not_count_and_are_swept() {
        let mut labels = Labels::new();
        apply(&mut labels, confirm(["password"], &owner("dead")));
        let inquiry = Inquiry { gone: BTreeSet::from(["dead".to_owned()]), ..Inquiry::default() };
        assert_eq!(standing(&labels, "password", &owner("a"), &inquiry), Standing::Claimable);

        let mut labels = Labels::new();
        announce(&mut labels, "dead");
        let key = intent_key("password", "dead");
        let inquiry = Inquiry { stale: BTreeSet::from([key.clone()]), ..Inquiry::default() };
        assert_eq!(standing(&labels, "password", &owner("a"), &inquiry), Standing::Claimable);
        let changes = intend(&labels, ["password"], &owner("a"), &inquiry);
        apply(&mut labels, changes);
        assert!(!labels.contains_key(&key));
        assert_eq!(stand(&labels, "a"), Standing::Intended);
    }

    #[test]
    fn a_claim_that_cannot_be_read_is_somebodys() {
        let labels = Labels::from([(claim_key("password"), "garbage".to_owned())]);
        assert_eq!(stand(&labels, "a"), Standing::Taken { by: None });
    }

    #[test]
    fn keys_and_values_fit_the_store() {
        let uid = "4b5c6d7e-0000-4000-8000-123456789abc";
        let long = Owner { uid: uid.into(), cluster: uid.into(), namespace: "n".repeat(63), name: "p".repeat(253) };
        assert!(long.encode().len() <= 512);
        for property in ["password", &"x".repeat(64), &"x".repeat(500), "a b", "a/b", "", "sha3-x", "ü"] {
            assert!(claim_key(property).len() <= 128);
            assert!(intent_key(property, uid).len() <= 128, "{property}");
        }
        assert_ne!(claim_key("a b"), claim_key("a/b"));
        assert_eq!(claim_key("tls.crt"), "claim.waypost.io/tls.crt");
    }
}
