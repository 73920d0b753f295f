//! Carries one entry's steps out, one request each, and reads again after each that others could cross.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use thiserror::Error;
use tokio::time::Instant as Moment;

use super::intents::Intents;
use super::misplaced;
use super::offers::Offers;
use super::refusal::Refusal;
use super::step::{self, Goal, Removals, Settled, Step, Write};
use crate::cluster::ClusterError;
use crate::domain::claim::{self, Elsewhere, Inquiry, MetadataChanges, Owner};
use crate::domain::consent;
use crate::domain::path::RemotePath;
use crate::domain::remote::{Entry, EntryState};
use crate::feed::Pushed;
use crate::store::{Exchange, PathKey, StoreClient, StoreError};

/// How often a lost check-and-set or a crossed claim is tried again at once, before the back-off of the whole object.
const MAX_LOSSES: u32 = 10;
/// The longest pause after a loss, in milliseconds.
const LONGEST_PAUSE: u64 = 128;
/// No chain of steps without a loss is longer; more would be a fault of the decision.
const MAX_STEPS: u32 = 24;
/// A read older than this is made anew before anything that rests on an intent of ours: a write, a confirmation, a purge.
const FRESH: Duration = Duration::from_secs(20);
/// Such a request is given up this long after the read that it rests on. What is left until the intent counts as stale
/// ([`super::intents::STALE_AFTER`]) is for one that is on its way already.
const LATEST: Duration = Duration::from_secs(45);

/// What to do where versions may not be destroyed.
const DESTROY_ADVICE: &str =
    "install policies/vault/optional/destroy.hcl, or set the annotation to Keep; it goes on by itself";
/// What to do where an entry may not be purged.
const PURGE_ADVICE: &str = "its values are destroyed; install policies/vault/optional/purge.hcl, or set the annotation to Destroy; it goes on by itself";

/// Whether a PushSecret of our own cluster still exists.
#[async_trait]
pub trait Owners: Send + Sync {
    /// Looks live, never in a cache: a claim is taken over on this word.
    async fn exists(&self, owner: &Owner) -> Result<bool, ClusterError>;

    /// What of an entry it lists in its ledger, looked at live; nothing where it is gone or may not be seen.
    async fn listed(&self, owner: &Owner, path: &RemotePath) -> Result<BTreeSet<String>, ClusterError>;
}

/// The ledger of one PushSecret.
#[async_trait]
pub trait Recorder: Send + Sync {
    /// Makes sure that the ledger lists these properties, before anything is written: a stop then leaves a line too many
    /// in the ledger, never a value in the store that nobody knows of.
    async fn ensure(&self, properties: &BTreeSet<String>, sight: Sight) -> Result<(), ClusterError>;
}

/// Whose word the ledger is taken on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// The cache's, which may be old: enough where our claim stands in the store, since that was set by a live look.
    Cached,
    /// The API server's: the PushSecret is there, is not being deleted unless that is why we are here, asks for the same and
    /// lists what is about to be written or removed.
    Live,
}

/// What all entries of one PushSecret share while they are applied.
pub struct Applier<'a> {
    /// The PushSecret.
    pub me: &'a Owner,
    /// Looks for other claimants.
    pub owners: &'a dyn Owners,
    /// Remembers others' intents.
    pub intents: &'a Intents,
    /// What others leave.
    pub offers: &'a Offers,
    /// When this reconcile began.
    pub now: Instant,
}

/// One entry in one store.
pub struct Access<'a> {
    /// The store.
    pub client: &'a dyn StoreClient,
    /// The entry.
    pub path: &'a RemotePath,
    /// Where that is, however its store calls it.
    pub place: &'a PathKey,
    /// Writes down what is about to be pushed.
    pub ledger: &'a dyn Recorder,
    /// Told at once what consumers are to know.
    pub announce: &'a (dyn Fn(Pushed) + Send + Sync),
}

/// What became of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// How it stands.
    pub settled: Settled,
    /// Whether data was written, so that its time is to be noted.
    pub wrote: Wrote,
}

/// Whether an entry got a new version from us.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrote {
    /// It was as wanted.
    #[default]
    Nothing,
    /// It has one more version.
    Version,
}

/// Why an entry is not as wanted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ApplyError {
    /// It must not be written.
    #[error("{refusal}")]
    Refused {
        /// Why.
        refusal: Refusal,
        /// Properties that another owns. Whatever else the ledger lists there may still be ours.
        taken: BTreeSet<String>,
    },
    /// The role may not do what was asked for with earlier versions. Their latest one is empty or deleted already.
    #[error("{error}; waypost.io/earlier-versions asks for it: {advice}")]
    MayNot {
        /// What was refused.
        error: StoreError,
        /// What to do.
        advice: &'static str,
    },
    /// Another claimant is at work.
    #[error("{by} announced a claim on a property: waiting for it to finish")]
    Contested {
        /// Who.
        by: Owner,
    },
    /// The store takes too long between what it shows and what is to follow from that.
    #[error("the store took longer than {LATEST:?} for a read and the request that rests on it: trying again")]
    Slow,
    /// Others write it all the time.
    #[error("others wrote the path each time we tried: trying again")]
    Busy,
    /// The store.
    #[error("{0}")]
    Store(StoreError),
    /// The API server, asked after another claimant or told what is pushed.
    #[error("{0}")]
    Cluster(ClusterError),
}

/// The state of one entry's chain of steps.
struct Chain {
    entry: Entry,
    /// When the request was sent that showed the entry so.
    asked: Moment,
    inquiry: Inquiry,
    losses: u32,
    wrote: Wrote,
    /// How the ledger was last looked at, since anybody crossed us.
    seen: Sight,
}

impl Applier<'_> {
    /// Brings an entry to its goal. Stopped anywhere, the next call goes on from there.
    pub async fn converge(&self, access: &Access<'_>, goal: &Goal, removals: Removals) -> Result<Applied, ApplyError> {
        let (entry, asked) = self.read(access).await?;
        let (losses, wrote, seen) = (0, Wrote::Nothing, Sight::Cached);
        let inquiry = Inquiry { offered: self.offers.at(access.place), ..Inquiry::default() };
        let mut chain = Chain { entry, asked, inquiry, losses, wrote, seen };
        let mut steps = 0;
        while steps < MAX_STEPS {
            let step = step::next(goal, removals, &chain.entry, self.me, &chain.inquiry);
            // Each owner is asked after once, however many there are.
            steps += u32::from(!matches!(step, Step::AskAfter(_) | Step::AskHeir(_)));
            if let Some(settled) = self.take(access, &mut chain, step).await? {
                if let Elsewhere::At(misplaced) = &chain.inquiry.marker {
                    misplaced::tidy(access.client, misplaced).await;
                }
                return Ok(Applied { settled, wrote: chain.wrote });
            }
        }
        Err(ApplyError::Busy)
    }

    /// Reads the entry, and gives with it when it was asked for.
    async fn read(&self, access: &Access<'_>) -> Result<(Entry, Moment), ApplyError> {
        let asked = Moment::now();
        let entry = access.client.read_to_write(access.path).await.map_err(ApplyError::Store)?;
        self.intents.read(access.place, &entry.custom_metadata);
        Ok((entry, asked))
    }

    async fn read_again(&self, access: &Access<'_>, chain: &mut Chain) -> Result<(), ApplyError> {
        (chain.entry, chain.asked) = self.read(access).await?;
        chain.inquiry.offered = self.offers.at(access.place);
        Ok(())
    }

    /// One step; `Some` when it was the last.
    async fn take(&self, access: &Access<'_>, chain: &mut Chain, step: Step) -> Result<Option<Settled>, ApplyError> {
        match step {
            Step::Done(settled) => return Ok(Some(settled)),
            Step::Refuse { refusal, taken } => return Err(ApplyError::Refused { refusal, taken }),
            Step::AskAfter(owner) => return self.ask_after(chain, owner).await.map(|()| None),
            Step::AskHeir(owner) => {
                let listed = self.owners.listed(&owner, access.path).await.map_err(ApplyError::Cluster)?;
                chain.inquiry.listed.insert(owner.uid, listed);
                return Ok(None);
            }
            Step::LookElsewhere(spellings) => {
                let marker = misplaced::look(access.client, access.path, &spellings).await;
                chain.inquiry.marker = marker.map_err(ApplyError::Store)?;
                return Ok(None);
            }
            Step::Wait { key, by } => return self.wait(access, chain, key, by).await.map(|()| None),
            Step::Announce { changes, claims, properties } => {
                self.look(access, chain, &properties).await?;
                match self.claim(access, chain, claims).await? {
                    Exchange::Done | Exchange::Crossed => return Ok(None),
                    Exchange::Unavailable => self.announce(access, chain, &changes).await?,
                }
            }
            Step::TakeOver { changes, from } => self.take_over(access, chain, &changes, &from).await?,
            Step::Settle(_) | Step::Purge if chain.is_old() => chain.lose().await?,
            Step::Settle(changes) => {
                // A claim that is let go may be taken by another at once.
                if claim::withdraws(&changes) {
                    self.look(access, chain, &BTreeSet::new()).await?;
                }
                self.settle(access, chain, &changes).await?;
                // A property that was removed earlier is only now known to be gone for good.
                if chain.entry.data().is_some() && claim::withdraws(&changes) {
                    (access.announce)(Pushed::Consent);
                }
            }
            Step::Bury { version } => {
                self.look(access, chain, &BTreeSet::new()).await?;
                access.client.delete_versions(access.path, &[version]).await.map_err(ApplyError::Store)?;
                (access.announce)(Pushed::Removal(version));
                tracing::info!(push_secret = %self.me.object(), path = %access.path, version, "version deleted");
            }
            Step::Destroy { through } => {
                self.look(access, chain, &BTreeSet::new()).await?;
                self.destroy(access, chain, through).await?;
            }
            Step::Purge => {
                self.look(access, chain, &BTreeSet::new()).await?;
                self.purge(access, chain).await?;
            }
            Step::Write(write) => {
                if let Some(settled) = self.write(access, chain, write).await? {
                    return Ok(Some(settled));
                }
            }
        }
        self.read_again(access, chain).await?;
        Ok(None)
    }

    /// Before an entry is written for the first time, and before anything is removed or let go: none of it happens on the word of a
    /// cache.
    async fn look(
        &self,
        access: &Access<'_>,
        chain: &mut Chain,
        properties: &BTreeSet<String>,
    ) -> Result<(), ApplyError> {
        if chain.seen == Sight::Cached || !properties.is_empty() {
            access.ledger.ensure(properties, Sight::Live).await.map_err(ApplyError::Cluster)?;
            chain.seen = Sight::Live;
        }
        Ok(())
    }

    /// By number, whatever is written meanwhile.
    async fn destroy(&self, access: &Access<'_>, chain: &mut Chain, through: u64) -> Result<(), ApplyError> {
        let metadata = access.client.metadata(access.path).await.map_err(ApplyError::Store)?;
        let kept = metadata.map(|metadata| metadata.kept).unwrap_or_default();
        let versions: Vec<u64> = kept.into_iter().filter(|version| *version <= through).collect();
        if !versions.is_empty() {
            let destroyed = access.client.destroy_versions(access.path, &versions).await;
            destroyed.map_err(|error| may_not(error, DESTROY_ADVICE))?;
            tracing::info!(push_secret = %self.me.object(), path = %access.path, ?versions, "versions destroyed");
        }
        if let EntryState::Live { version, .. } = chain.entry.state {
            (access.announce)(Pushed::Removal(version));
        }
        chain.inquiry.destroyed = through;
        Ok(())
    }

    async fn purge(&self, access: &Access<'_>, chain: &Chain) -> Result<(), ApplyError> {
        if let Err(error) = chain.in_time(access.client.purge(access.path)).await? {
            // Nobody is to wait for what does not happen. If this fails too, the intent counts no longer after a minute.
            let withdrawn = BTreeMap::from([(claim::purge_key(&self.me.uid), None)]);
            access.client.patch_metadata(access.path, &withdrawn).await.ok();
            return Err(may_not(error, PURGE_ADVICE));
        }
        (access.announce)(Pushed::Purge);
        tracing::info!(push_secret = %self.me.object(), path = %access.path, "entry purged");
        Ok(())
    }

    /// `None` when the entry has to be read again: the check-and-set was lost, or the claim was while we wrote.
    async fn write(&self, access: &Access<'_>, chain: &mut Chain, write: Write) -> Result<Option<Settled>, ApplyError> {
        let lets_go = !write.drops.is_empty() || claim::withdraws(&write.settle);
        let sight = match lets_go && chain.seen == Sight::Cached {
            true => Sight::Live,
            false => Sight::Cached,
        };
        access.ledger.ensure(&write.sets, sight).await.map_err(ApplyError::Cluster)?;
        if sight == Sight::Live {
            chain.seen = Sight::Live;
        }
        // The ledger may have taken its time.
        if chain.is_old() {
            return chain.lose().await.map(|()| None);
        }
        let sent = Moment::now();
        let written = match chain.in_time(access.client.write(access.path, &write.data, write.cas)).await? {
            Ok(written) => written,
            Err(StoreError::CasMismatch { .. }) => return chain.lose().await.map(|()| None),
            Err(error) => return Err(ApplyError::Store(error)),
        };
        chain.wrote = Wrote::Version;
        // The reply shows the labels as they were then.
        chain.asked = sent;
        // An empty version is about to be removed, and only that is news to a reader. A property that goes is known to be gone
        // for good once its claim is taken back, and who may read once the consent is there.
        let has_more_to_say =
            claim::withdraws(&write.settle) || write.settle.keys().any(|key| consent::is_consent(key));
        let is_told_later = !write.data.is_empty() && has_more_to_say;
        if !write.data.is_empty() && !is_told_later {
            (access.announce)(Pushed::Version(written.version));
        }
        tracing::info!(push_secret = %self.me.object(), path = %access.path, version = written.version, "version written");
        let held = |property: &String| claim::still_held(&written.custom_metadata, property, self.me, &chain.inquiry);
        if !write.holds.iter().all(held) {
            self.offers.crossed(self.me, &written.custom_metadata, &write.drops);
            if is_told_later {
                (access.announce)(Pushed::Version(written.version));
            }
            return chain.lose().await.map(|()| None);
        }
        if write.data.is_empty() {
            return Ok(None);
        }
        if !write.settle.is_empty() {
            if chain.is_old() {
                if is_told_later {
                    (access.announce)(Pushed::Version(written.version));
                }
                return chain.lose().await.map(|()| None);
            }
            let settled = self.settle(access, chain, &write.settle).await;
            if is_told_later {
                (access.announce)(Pushed::Version(written.version));
            }
            settled?;
        }
        Ok(Some(Settled { version: Some(written.version), ..write.settled }))
    }

    async fn ask_after(&self, chain: &mut Chain, owner: Owner) -> Result<(), ApplyError> {
        let found = match self.owners.exists(&owner).await.map_err(ApplyError::Cluster)? {
            true => &mut chain.inquiry.alive,
            false => &mut chain.inquiry.gone,
        };
        found.insert(owner.uid);
        Ok(())
    }

    /// An intent of a claimant that is gone, or that stands still, is passed over; another is given a few moments.
    async fn wait(&self, access: &Access<'_>, chain: &mut Chain, key: String, by: Owner) -> Result<(), ApplyError> {
        if self.intents.is_stale(access.place, &key, self.now) {
            chain.inquiry.stale.insert(key);
            return Ok(());
        }
        if by.cluster == self.me.cluster && !chain.inquiry.alive.contains(&by.uid) {
            return self.ask_after(chain, by).await;
        }
        chain.lose().await.map_err(|_busy| ApplyError::Contested { by })?;
        self.read_again(access, chain).await
    }

    /// Claims in one step, where the server makes sure that no label changed since it was read: then nobody else stands on
    /// the properties, by a claim or by an intent.
    async fn claim(
        &self,
        access: &Access<'_>,
        chain: &mut Chain,
        claims: Option<MetadataChanges>,
    ) -> Result<Exchange, ApplyError> {
        let Some(claims) = claims else { return Ok(Exchange::Unavailable) };
        let exchange =
            access.client.exchange_metadata(access.path, &chain.entry, &claims).await.map_err(ApplyError::Store)?;
        match exchange {
            Exchange::Done => {
                self.log_changes(access, &claims);
                chain.amend(&claims);
            }
            Exchange::Crossed => {
                chain.lose().await?;
                self.read_again(access, chain).await?;
            }
            Exchange::Unavailable => {}
        }
        Ok(exchange)
    }

    /// Sets our claim in the place of another's, who does nothing to the property meanwhile.
    async fn take_over(
        &self,
        access: &Access<'_>,
        chain: &mut Chain,
        changes: &MetadataChanges,
        from: &BTreeMap<String, String>,
    ) -> Result<(), ApplyError> {
        self.look(access, chain, &from.keys().cloned().collect()).await?;
        let Some(in_hand) = self.offers.take(self.me, access.place, from) else { return Ok(()) };
        match access.client.exchange_metadata(access.path, &chain.entry, changes).await.map_err(ApplyError::Store)? {
            Exchange::Done => self.log_changes(access, changes),
            Exchange::Crossed => return chain.lose().await,
            Exchange::Unavailable => self.settle(access, chain, changes).await?,
        }
        in_hand.taken();
        Ok(())
    }

    /// Creates the entry where there is none, without labels, so that a rival's stay; then adds ours.
    async fn announce(
        &self,
        access: &Access<'_>,
        chain: &mut Chain,
        changes: &MetadataChanges,
    ) -> Result<(), ApplyError> {
        match chain.entry.state {
            EntryState::Absent => {
                access.client.create_entry(access.path).await.map_err(ApplyError::Store)?;
                tracing::info!(push_secret = %self.me.object(), path = %access.path, "entry created");
            }
            EntryState::Empty | EntryState::Deleted { .. } | EntryState::Live { .. } => {}
        }
        self.patch(access, chain, changes).await
    }

    /// Changes labels on the strength of what the last read showed.
    async fn settle(
        &self,
        access: &Access<'_>,
        chain: &mut Chain,
        changes: &MetadataChanges,
    ) -> Result<(), ApplyError> {
        let rests_on = chain.asked;
        in_time(rests_on, self.patch(access, chain, changes)).await?
    }

    async fn patch(&self, access: &Access<'_>, chain: &mut Chain, changes: &MetadataChanges) -> Result<(), ApplyError> {
        match access.client.patch_metadata(access.path, changes).await {
            Ok(()) => {
                self.log_changes(access, changes);
                Ok(())
            }
            // It was removed meanwhile: the next read shows that.
            Err(StoreError::EntryMissing { .. }) => chain.lose().await,
            Err(error) => Err(ApplyError::Store(error)),
        }
    }

    fn log_changes(&self, access: &Access<'_>, changes: &MetadataChanges) {
        let labels: Vec<&str> = changes.keys().map(String::as_str).collect();
        tracing::info!(push_secret = %self.me.object(), path = %access.path, ?labels, "labels changed");
        if changes.keys().any(|key| consent::is_consent(key)) {
            (access.announce)(Pushed::Consent);
        }
    }
}

fn may_not(error: StoreError, advice: &'static str) -> ApplyError {
    match error {
        StoreError::Forbidden { .. } => ApplyError::MayNot { error, advice },
        other => ApplyError::Store(other),
    }
}

/// Gives a request up that would come too late after the read that it rests on.
async fn in_time<T>(read: Moment, request: impl Future<Output = T>) -> Result<T, ApplyError> {
    tokio::time::timeout_at(read + LATEST, request).await.map_err(|_elapsed| ApplyError::Slow)
}

impl Chain {
    /// Whether others may take our intents for dead before what rests on this read is done.
    fn is_old(&self) -> bool {
        self.asked.elapsed() > FRESH
    }

    async fn in_time<T>(&self, request: impl Future<Output = T>) -> Result<T, ApplyError> {
        in_time(self.asked, request).await
    }

    /// The entry with labels that the server just took. Its data may be older, which the check-and-set of a write finds.
    fn amend(&mut self, changes: &MetadataChanges) {
        for (key, value) in changes {
            match value {
                Some(value) => self.entry.custom_metadata.insert(key.clone(), value.clone()),
                None => self.entry.custom_metadata.remove(key),
            };
        }
        if let EntryState::Absent = self.entry.state {
            self.entry.state = EntryState::Empty;
        }
    }

    /// Counts a loss and pauses, longer each time and never as long as a rival.
    async fn lose(&mut self) -> Result<(), ApplyError> {
        self.seen = Sight::Cached;
        self.losses += 1;
        if self.losses > MAX_LOSSES {
            return Err(ApplyError::Busy);
        }
        let most = (4u64 << self.losses).min(LONGEST_PAUSE);
        tokio::time::sleep(Duration::from_millis(rand::random_range(1..=most))).await;
        Ok(())
    }
}
