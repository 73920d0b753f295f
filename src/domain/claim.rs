//! Who owns a property of an entry: claims in the entry's `custom_metadata`, readable with
//! `bao kv metadata get`.
//!
//! | key | value | meaning |
//! |---|---|---|
//! | `managed-by` | `external-secrets` | External Secrets controllers may write the entry |
//! | `claim.waypost.io/<property>` | an [`Owner`] | this PushSecret owns the property |
//! | `intent.waypost.io/<uid>/<property>` | an [`Owner`] | this PushSecret is about to claim it |
//! | `intent.waypost.io/<uid>/*` | an [`Owner`] | this PushSecret is about to purge the entry: an intent on every property |
//!
//! Vault has no check-and-set for metadata. So each claimant announces itself under its own key,
//! reads again, and continues only if it is the only one. Of two claimants, the one with the lower
//! UID continues and the other withdraws. The later of their reads sees both, so they never both
//! continue. Where the server has check-and-set for metadata (OpenBao), a claim is set in one
//! request, on condition that nothing changed. Such a claim fails if it meets an announcement, and
//! an announcing claimant sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::consent;
use super::dns;
use super::fingerprint::short_digest;
use super::path::RemotePath;

/// The key with which External Secrets controllers mark the entries that they manage.
pub const MARKER: &str = "managed-by";
/// The value of the mark.
pub const MARKER_VALUE: &str = "external-secrets";
/// The maximum number of claims on one entry: `custom_metadata` has room for 64 keys, and some
/// belong to others.
pub const MAX_CLAIMS: usize = 60;
/// The maximum number of keys in `custom_metadata` of KV v2.
pub const MAX_KEYS: usize = 64;

const CLAIM: &str = "claim.waypost.io/";
const INTENT: &str = "intent.waypost.io/";
/// In place of a property: all of them. No property has this token.
const EVERY: &str = "*";
/// With the intent prefix and a UID, a property of this length fits into the 128 bytes of a key.
const MAX_READABLE: usize = 64;

/// The custom metadata of an entry.
pub type CustomMetadata = BTreeMap<String, String>;
/// Changes of single keys: `Some` sets, `None` removes.
pub type MetadataChanges = BTreeMap<String, Option<String>>;

/// The PushSecret that owns, or wants to own, a property.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// UID of the PushSecret; the lower of two claimants wins.
    pub uid: String,
    /// Its cluster: the UID of the namespace `kube-system`, or `--cluster-name`.
    pub cluster: String,
    pub namespace: String,
    pub name: String,
}

/// What was found out in addition to the entry, mostly about other claimants, because a pure
/// function cannot look.
#[derive(Clone, Debug, Default)]
pub struct Inquiry {
    /// UIDs of owners that exist.
    pub alive: BTreeSet<String>,
    /// UIDs of owners that do not exist: their claims no longer count.
    pub gone: BTreeSet<String>,
    /// Keys of intents that have not changed for too long: they no longer count.
    pub stale: BTreeSet<String>,
    /// Whether an entry without a mark has it on another path.
    pub marker: Elsewhere,
    /// Up to this version, no version of the entry has data. A read shows only the latest.
    pub destroyed: u64,
    /// Properties that we removed: what has their names now, another wrote.
    pub removed: BTreeSet<String>,
    /// By its key, each consent as it was before we changed it.
    pub narrowed: MetadataChanges,
    /// Properties that their owners leave to whoever waits for them, each with its owner's UID.
    pub offered: BTreeSet<(String, String)>,
    /// By UID, the properties of the entry that other owners list in their ledgers; one that is
    /// gone lists none.
    pub listed: BTreeMap<String, BTreeSet<String>>,
}

/// Where the mark of an entry is that has none itself: External Secrets Operator sets it on another
/// path for some spellings of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Elsewhere {
    /// Not looked for yet.
    #[default]
    Unknown,
    /// Not where ESO would have set it.
    Nowhere,
    /// The login may not read this path, where ESO would have set it.
    Hidden(RemotePath),
    /// On this path.
    At(RemotePath),
}

/// Who else has a claim or an intent on an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Others {
    /// Nobody.
    Nobody,
    /// Somebody's intent, which will be confirmed or withdrawn soon.
    Intent {
        /// The intent's key.
        key: String,
        /// Its owner.
        by: Owner,
    },
    /// Perhaps this owner, of our own cluster: whether it exists must be looked up.
    Perhaps(Owner),
    /// A confirmed claim.
    Claim,
}

/// The state of a PushSecret's claim on a property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClaimState {
    /// Its claim is confirmed.
    Mine,
    /// Only its intent is there.
    Intended,
    /// Nobody claims it.
    Claimable,
    /// There is another intent with a lower UID: it must withdraw.
    Outbid {
        /// The owner of the lower intent.
        by: Owner,
    },
    /// There is another intent, which will be confirmed or withdrawn soon.
    Contested {
        /// The intent's key.
        key: String,
        /// Its owner.
        by: Owner,
    },
    /// Another's claim is confirmed.
    Taken {
        /// Its owner; `None` if the claim cannot be read.
        by: Option<Owner>,
    },
}

impl Owner {
    pub(super) fn encode(&self) -> String {
        format!("cluster={} namespace={} name={} uid={}", self.cluster, self.namespace, self.name, self.uid)
    }

    /// Anybody may write custom metadata, and a claim's names are used in requests and messages. So
    /// they are believed only if they are valid object names.
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

/// Whether it can be a UID or the name of a cluster.
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

/// The key of a claim, by the property's token.
pub(super) fn key_of(token: &str) -> String {
    format!("{CLAIM}{token}")
}

/// The key of an intent, by the property's token.
pub(super) fn intent_key_of(token: &str, uid: &str) -> String {
    format!("{INTENT}{uid}/{token}")
}

/// All confirmed claims: the property's token, and the encoded owner.
pub(super) fn claims(metadata: &CustomMetadata) -> impl Iterator<Item = (&str, &str)> {
    metadata.iter().filter_map(|(key, text)| Some((key.strip_prefix(CLAIM)?, text.as_str())))
}

/// Who other than `me` announced a claim on a property, by its token.
pub(super) fn rival(metadata: &CustomMetadata, token: &str, me: &Owner) -> Option<Owner> {
    rivals(metadata, token.to_owned(), me.uid.clone()).next().map(|(_, by)| by)
}

/// The keys of all intents of `me`.
pub(super) fn intents_of(metadata: &CustomMetadata, me: &Owner) -> impl Iterator<Item = String> {
    let intents = metadata.iter().filter_map(|(key, text)| intent(key, text));
    intents.filter(|(_, _, by)| by.uid == me.uid).map(|(key, _, _)| key.to_owned())
}

/// All intents on an entry but those of `me`: each key with its owner.
pub fn intents_of_others<'a>(
    metadata: &'a CustomMetadata,
    me: &'a Owner,
) -> impl Iterator<Item = (&'a str, Owner)> + use<'a> {
    let intents = metadata.iter().filter_map(|(key, text)| intent(key, text));
    intents.filter(|(_, _, by)| by.uid != me.uid).map(|(key, _, by)| (key, by))
}

/// The key of one claimant's intent to purge the entry.
pub fn purge_key(uid: &str) -> String {
    intent_key_of(EVERY, uid)
}

/// Announces that `me` is about to purge the entry: nobody continues with a claim meanwhile.
pub fn intend_purge(me: &Owner) -> MetadataChanges {
    MetadataChanges::from([(purge_key(&me.uid), Some(me.encode()))])
}

/// The owner of a property, by a confirmed claim.
pub fn owner(metadata: &CustomMetadata, property: &str) -> Option<Owner> {
    Owner::decode(metadata.get(&claim_key(property))?)
}

/// Whether External Secrets controllers may write the entry.
pub fn is_marked(metadata: &CustomMetadata) -> bool {
    metadata.get(MARKER).is_some_and(|value| value == MARKER_VALUE)
}

/// The owners of an entry's properties, as far as they can be read.
pub fn owners(metadata: &CustomMetadata) -> Vec<Owner> {
    let claims = metadata.iter().filter(|(key, _)| key.starts_with(CLAIM));
    let mut owners: Vec<Owner> = claims.filter_map(|(_, text)| Owner::decode(text)).collect();
    owners.sort();
    owners.dedup();
    owners
}

/// Whether an External Secrets controller manages the entry and no PushSecret owns anything in it:
/// what does not exist was removed by its owner, who released the claim.
pub fn is_vacated(metadata: &CustomMetadata) -> bool {
    is_marked(metadata) && claims(metadata).next().is_none()
}

/// Whether a PushSecret owns the property.
pub fn is_claimed(metadata: &CustomMetadata, property: &str) -> bool {
    metadata.contains_key(&claim_key(property))
}

/// Whether a PushSecret announced a claim on the property.
pub fn is_announced(metadata: &CustomMetadata, property: &str) -> bool {
    let token = token(property);
    metadata.iter().filter_map(|(key, text)| intent(key, text)).any(|(_, of, _)| *of == token)
}

/// Whether the changes release a claim.
pub fn withdraws(changes: &MetadataChanges) -> bool {
    changes.iter().any(|(key, value)| key.starts_with(CLAIM) && value.is_none())
}

/// Whether a key records ownership or consent, so that no manifest may set it.
pub fn is_ours(key: &str) -> bool {
    key == MARKER || key.starts_with(CLAIM) || key.starts_with(INTENT) || consent::is_consent(key)
}

/// The state of `me`'s claim on `property` of an entry with this custom metadata.
pub fn state(metadata: &CustomMetadata, property: &str, me: &Owner, inquiry: &Inquiry) -> ClaimState {
    if let Some(text) = metadata.get(&claim_key(property)) {
        match Owner::decode(text) {
            Some(owner) if owner.uid == me.uid => return ClaimState::Mine,
            Some(owner) if inquiry.gone.contains(&owner.uid) => {}
            by => return ClaimState::Taken { by },
        }
    }
    let intended = metadata.contains_key(&intent_key(property, &me.uid));
    match rival_intents(metadata, property, me).find(|(key, by)| !inquiry.voids(key, by)) {
        None if intended => ClaimState::Intended,
        None => ClaimState::Claimable,
        Some((_, by)) if intended && by.uid < me.uid => ClaimState::Outbid { by },
        Some((key, by)) => ClaimState::Contested { key: key.to_owned(), by },
    }
}

/// Announces `me` for these properties, sets the mark, and removes void intents.
pub fn intend<'a>(
    metadata: &CustomMetadata,
    properties: impl IntoIterator<Item = &'a str>,
    me: &Owner,
    inquiry: &Inquiry,
) -> MetadataChanges {
    let mut changes = MetadataChanges::new();
    if !is_marked(metadata) {
        changes.insert(MARKER.to_owned(), Some(MARKER_VALUE.to_owned()));
    }
    for property in properties {
        changes.insert(intent_key(property, &me.uid), Some(me.encode()));
        for (key, by) in rival_intents(metadata, property, me) {
            if inquiry.voids(key, &by) {
                changes.insert(key.to_owned(), None);
            }
        }
    }
    changes
}

/// Turns intents into claims, in one request, so that every read sees one of the two.
pub fn confirm<'a>(properties: impl IntoIterator<Item = &'a str>, me: &Owner) -> MetadataChanges {
    properties
        .into_iter()
        .flat_map(|property| [(claim_key(property), Some(me.encode())), (intent_key(property, &me.uid), None)])
        .collect()
}

/// Releases `me`'s claims, consents and intents on these properties; those of others stay.
/// `has_value` says which of them have a value afterwards.
pub fn release<'a>(
    metadata: &CustomMetadata,
    properties: impl IntoIterator<Item = &'a str>,
    has_value: impl Fn(&str) -> bool,
    me: &Owner,
    inquiry: &Inquiry,
) -> MetadataChanges {
    let mut changes = MetadataChanges::new();
    for property in properties {
        let (claim, intent) = (claim_key(property), intent_key(property, &me.uid));
        let mine = metadata.get(&claim).and_then(|text| Owner::decode(text)).is_some_and(|owner| owner.uid == me.uid);
        if mine {
            changes.insert(claim, None);
            let consent = consent::key(property);
            if metadata.contains_key(&consent) {
                changes.insert(consent, None);
            }
        }
        if metadata.contains_key(&intent) {
            changes.extend(withdraw(metadata, property, has_value(property), me, inquiry));
        }
    }
    changes
}

/// Withdraws the intent of `me` on a property, and restores the consent from before, if that is known
/// and nobody else can have set one. If it is not known, the consent of a value stays: an owner that
/// released the value may have left it. That of no value goes.
pub fn withdraw(
    metadata: &CustomMetadata,
    property: &str,
    has_value: bool,
    me: &Owner,
    inquiry: &Inquiry,
) -> MetadataChanges {
    let mut changes = MetadataChanges::from([(intent_key(property, &me.uid), None)]);
    let (consent, token) = (consent::key(property), token(property));
    let is_ours_alone = !metadata.contains_key(&claim_key(property)) && rival(metadata, &token, me).is_none();
    let former = inquiry.narrowed.get(&consent).or((!has_value).then_some(&None));
    if is_ours_alone
        && let Some(former) = former
        && metadata.get(&consent) != former.as_ref()
    {
        changes.insert(consent, former.clone());
    }
    changes
}

/// Whether a write by `me` that resulted in this custom metadata counts as its own: its claim or
/// intent is still there, and no other's claim is.
pub fn still_held(metadata: &CustomMetadata, property: &str, me: &Owner, inquiry: &Inquiry) -> bool {
    match state(metadata, property, me, inquiry) {
        ClaimState::Mine | ClaimState::Intended => true,
        ClaimState::Outbid { .. } | ClaimState::Contested { .. } => {
            metadata.contains_key(&intent_key(property, &me.uid))
        }
        ClaimState::Claimable | ClaimState::Taken { .. } => false,
    }
}

/// Who other than `me` has a claim or an intent on an entry with this custom metadata: the
/// strongest.
pub fn others(metadata: &CustomMetadata, me: &Owner, inquiry: &Inquiry) -> Others {
    let mut found = Others::Nobody;
    for (_, text) in claims(metadata) {
        match Owner::decode(text) {
            Some(owner) if owner.uid == me.uid || inquiry.gone.contains(&owner.uid) => {}
            Some(owner) if owner.cluster == me.cluster && !inquiry.alive.contains(&owner.uid) => {
                found = Others::Perhaps(owner);
            }
            Some(_) | None => return Others::Claim,
        }
    }
    let mut intents = intents_of_others(metadata, me);
    match (&found, intents.find(|(key, by)| !inquiry.voids(key, by))) {
        (Others::Nobody, Some((key, by))) => Others::Intent { key: key.to_owned(), by },
        (Others::Nobody | Others::Perhaps(_) | Others::Intent { .. } | Others::Claim, _) => found,
    }
}

/// How many keys, and how many claims among them, there would be after `changes`.
pub fn count_after(metadata: &CustomMetadata, changes: &MetadataChanges) -> (usize, usize) {
    let kept = metadata.keys().filter(|key| !changes.contains_key(*key));
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
fn rival_intents<'a>(
    metadata: &'a CustomMetadata,
    property: &str,
    me: &Owner,
) -> impl Iterator<Item = (&'a str, Owner)> {
    rivals(metadata, token(property), me.uid.clone())
}

fn rivals(metadata: &CustomMetadata, token: String, mine: String) -> impl Iterator<Item = (&str, Owner)> {
    let intents = metadata.iter().filter_map(|(key, text)| intent(key, text));
    intents.filter(move |(_, of, by)| (*of == token || *of == EVERY) && by.uid != mine).map(|(key, _, by)| (key, by))
}

/// The key, the property's token and the owner of an intent. One that cannot be read counts as that
/// of nobody alive: it can only be swept as stale.
fn intent<'a>(key: &'a str, text: &str) -> Option<(&'a str, &'a str, Owner)> {
    let (uid, of) = key.strip_prefix(INTENT)?.split_once('/')?;
    let nobody = || Owner {
        uid: uid.to_owned(),
        cluster: "unknown".to_owned(),
        namespace: "unknown".to_owned(),
        name: "unknown".to_owned(),
    };
    // The key says whose the intent is.
    let by = Owner::decode(text).map_or_else(nobody, |by| Owner { uid: uid.to_owned(), ..by });
    Some((key, of, by))
}

/// The token of a property in a key: itself if it fits, else its digest.
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

    fn apply(metadata: &mut CustomMetadata, changes: MetadataChanges) {
        for (key, value) in changes {
            match value {
                Some(value) => metadata.insert(key, value),
                None => metadata.remove(&key),
            };
        }
    }

    fn state_of(metadata: &CustomMetadata, uid: &str) -> ClaimState {
        state(metadata, "password", &owner(uid), &Inquiry::default())
    }

    fn announce(metadata: &mut CustomMetadata, uid: &str) {
        let changes = intend(metadata, ["password"], &owner(uid), &Inquiry::default());
        apply(metadata, changes);
    }

    #[test]
    fn a_claim_is_announced_then_confirmed_then_released() {
        let mut metadata = CustomMetadata::new();
        assert_eq!(state_of(&metadata, "a"), ClaimState::Claimable);
        announce(&mut metadata, "a");
        assert!(is_marked(&metadata));
        assert_eq!(state_of(&metadata, "a"), ClaimState::Intended);
        apply(&mut metadata, confirm(["password"], &owner("a")));
        assert_eq!(state_of(&metadata, "a"), ClaimState::Mine);
        assert_eq!(state_of(&metadata, "b"), ClaimState::Taken { by: Some(owner("a")) });
        assert!(release(&metadata, ["password"], |_| true, &owner("b"), &Inquiry::default()).is_empty());
        let changes = release(&metadata, ["password"], |_| true, &owner("a"), &Inquiry::default());
        apply(&mut metadata, changes);
        assert_eq!(metadata.keys().collect::<Vec<_>>(), [MARKER]);
    }

    /// Anybody with a right to metadata may write custom metadata; its text is used in requests and
    /// messages.
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
            let mut metadata = CustomMetadata::from([(claim_key("password"), encoded(odd.clone()))]);
            assert_eq!(state_of(&metadata, "a"), ClaimState::Taken { by: None }, "{odd:?}");
            metadata = CustomMetadata::from([(intent_key("password", "b"), encoded(odd.clone()))]);
            let ClaimState::Contested { by, .. } = state_of(&metadata, "a") else { panic!("{odd:?}") };
            assert_eq!(by.name, "unknown", "{odd:?}");
        }
    }

    #[test]
    fn of_two_intents_the_lower_uid_stays() {
        let mut metadata = CustomMetadata::new();
        announce(&mut metadata, "b");
        announce(&mut metadata, "a");
        assert_eq!(state_of(&metadata, "b"), ClaimState::Outbid { by: owner("a") });
        assert!(matches!(state_of(&metadata, "a"), ClaimState::Contested { .. }));
        let changes = release(&metadata, ["password"], |_| true, &owner("b"), &Inquiry::default());
        apply(&mut metadata, changes);
        assert_eq!(state_of(&metadata, "a"), ClaimState::Intended);
        assert!(matches!(state_of(&metadata, "b"), ClaimState::Contested { .. }));
    }

    #[test]
    fn void_claims_do_not_count_and_are_swept() {
        let mut metadata = CustomMetadata::new();
        apply(&mut metadata, confirm(["password"], &owner("dead")));
        let inquiry = Inquiry { gone: BTreeSet::from(["dead".to_owned()]), ..Inquiry::default() };
        assert_eq!(state(&metadata, "password", &owner("a"), &inquiry), ClaimState::Claimable);

        let mut metadata = CustomMetadata::new();
        announce(&mut metadata, "dead");
        let key = intent_key("password", "dead");
        let inquiry = Inquiry { stale: BTreeSet::from([key.clone()]), ..Inquiry::default() };
        assert_eq!(state(&metadata, "password", &owner("a"), &inquiry), ClaimState::Claimable);
        let changes = intend(&metadata, ["password"], &owner("a"), &inquiry);
        apply(&mut metadata, changes);
        assert!(!metadata.contains_key(&key));
        assert_eq!(state_of(&metadata, "a"), ClaimState::Intended);
    }

    #[test]
    fn a_claim_that_cannot_be_read_is_somebodys() {
        let metadata = CustomMetadata::from([(claim_key("password"), "garbage".to_owned())]);
        assert_eq!(state_of(&metadata, "a"), ClaimState::Taken { by: None });
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
