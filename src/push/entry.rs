//! Carries out the steps for one entry, one request each. Reads the entry again after each request
//! that another writer could cross.

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
use super::unsaid::Unsaid;
use crate::cluster::ClusterError;
use crate::domain::claim::{self, Elsewhere, Inquiry, MetadataChanges, Owner};
use crate::domain::consent;
use crate::domain::path::RemotePath;
use crate::domain::remote::{Entry, EntryState};
use crate::feed::{News, Pushed};
use crate::store::error::Family;
use crate::store::{Exchange, Site, StoreClient, StoreError};

/// How often a lost check-and-set or a crossed claim is tried again, before the whole object backs
/// off.
const MAX_LOSSES: u32 = 10;
/// The longest pause after a loss, in milliseconds.
const LONGEST_PAUSE: u64 = 128;
/// The maximum number of steps. No correct chain without a lost race needs more.
const MAX_STEPS: u32 = 24;
/// The maximum age of a read before a request that relies on an intent of ours: a write, a
/// confirmation, a purge. An older read is repeated first.
const FRESH: Duration = Duration::from_secs(20);
/// Such a request is given up this long after its read. The rest of the time until the intent
/// counts as stale ([`super::intents::STALE_AFTER`]) is for a request that is already on its way.
const LATEST: Duration = Duration::from_secs(45);

/// What to do if the role may not destroy versions.
const DESTROY_ADVICE: &str =
    "install policies/vault/optional/destroy.hcl, or set the annotation to Keep; Waypost continues by itself";
/// What to do if the role may not purge an entry.
const PURGE_ADVICE: &str = "its values are destroyed; install policies/vault/optional/purge.hcl, or set the annotation to Destroy; Waypost continues by itself";

/// Looks up PushSecrets of our own cluster.
#[async_trait]
pub trait Owners: Send + Sync {
    /// Whether the owner exists, by a live read: a claim may be taken over because of it.
    async fn exists(&self, owner: &Owner) -> Result<bool, ClusterError>;

    /// The properties of a path in the owner's ledger, by a live read. Empty if the owner does not
    /// exist, or if we may not read it.
    async fn listed(&self, owner: &Owner, path: &RemotePath) -> Result<BTreeSet<String>, ClusterError>;
}

/// The ledger of one PushSecret.
#[async_trait]
pub trait Recorder: Send + Sync {
    /// Makes sure that the ledger lists these properties before anything is written. So a crash
    /// leaves a line too many in the ledger, and never an untracked value in the store.
    async fn ensure(&self, properties: &BTreeSet<String>, sight: Sight) -> Result<(), ClusterError>;
}

/// How the ledger is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// From the cache, which may be old. That is enough for a property with our claim, because the
    /// claim was set after a live read.
    Cached,
    /// From the API server, at most a second ago. The PushSecret exists, asks for the same, also by
    /// its annotations, and lists what is about to be written or removed. It is not being deleted,
    /// unless this reconcile is its clean-up.
    Live,
}

/// What all entries of one reconcile share.
pub struct Applier<'a> {
    pub me: &'a Owner,
    /// Looks up other claimants.
    pub owners: &'a dyn Owners,
    /// The intents of others that were seen.
    pub intents: &'a Intents,
    /// The properties that others offer.
    pub offers: &'a Offers,
    /// The start of this reconcile.
    pub now: Instant,
    /// The same start by the clock of requests: what is seen late in a reconcile is seen then.
    pub began: Moment,
}

/// What is needed to read and write one entry.
pub struct Access<'a> {
    pub client: &'a dyn StoreClient,
    pub path: &'a RemotePath,
    /// Where the entry really is, by the word of its server.
    pub site: &'a Site,
    /// Records what is about to be pushed.
    pub ledger: &'a dyn Recorder,
    /// Announces to the feed, at once, what consumers must know.
    pub announce: &'a (dyn Fn(News) + Send + Sync),
}

/// The outcome of a converged entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    pub settled: Settled,
    /// Whether data was written, so that the status gets a new time.
    pub wrote: Wrote,
}

/// Whether we wrote a new version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrote {
    /// No: the entry was as wanted.
    #[default]
    Nothing,
    /// Yes.
    Version,
}

/// Why an entry is not as wanted.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ApplyError {
    /// The entry must not be written.
    #[error("{refusal}")]
    Refused {
        refusal: Refusal,
        /// The properties that others own. All others that the ledger lists there may still be
        /// ours.
        taken: BTreeSet<String>,
    },
    /// The role may not destroy or purge, as `waypost.io/earlier-versions` asks. The latest version
    /// is already empty or deleted.
    #[error("{error}; waypost.io/earlier-versions asks for it: {advice}")]
    MayNot {
        /// The denied request.
        error: StoreError,
        advice: &'static str,
    },
    /// Another claimant has an intent.
    #[error("{by} announced a claim on a property: Waypost waits until it is confirmed or withdrawn")]
    Contested { by: Owner },
    /// The store takes too long for a read and the request that relies on it.
    #[error("the store took longer than {LATEST:?} for a read and the request that relies on it: Waypost tries again")]
    Slow,
    /// Others wrote the entry at each try.
    #[error("others wrote the path at each try: Waypost tries again")]
    Busy,
    #[error("{0}")]
    Store(StoreError),
    /// A request to the API server failed: reading a claimant or writing the ledger.
    #[error("{0}")]
    Cluster(ClusterError),
}

/// The state of converging one entry.
struct Chain {
    entry: Entry,
    /// When the request was sent that read the entry.
    asked: Moment,
    inquiry: Inquiry,
    losses: u32,
    wrote: Wrote,
}

impl Applier<'_> {
    /// Brings an entry to its goal. If it stops anywhere, the next call continues from there.
    pub async fn converge(&self, access: &Access<'_>, goal: &Goal, removals: Removals) -> Result<Applied, ApplyError> {
        let (entry, asked) = self.read(access).await?;
        let inquiry = Inquiry { offered: self.offers.at(access.site), ..Inquiry::default() };
        let mut chain = Chain { entry, asked, inquiry, losses: 0, wrote: Wrote::Nothing };
        let mut steps = 0;
        while steps < MAX_STEPS {
            let step = step::next(goal, removals, &chain.entry, self.me, &chain.inquiry);
            // Looking up an owner is no step: there may be many, and each is looked up once. Nor is
            // waiting for one: lost races bound it.
            steps += u32::from(!matches!(step, Step::AskAfter(_) | Step::AskHeir(_) | Step::Wait { .. }));
            // What may be gone is not announced as gone: a check shows it.
            let unsaid = Unsaid::new(access.announce, step.removes().then_some(News::Uncertain));
            let taken = self.take(access, &mut chain, step).await;
            if !taken.as_ref().is_err_and(ApplyError::leaves_open) {
                unsaid.forget();
            }
            if let Some(settled) = taken? {
                if let Elsewhere::At(misplaced) = &chain.inquiry.marker
                    && chain.needs_no_other_mark()
                {
                    misplaced::tidy(access.client, misplaced, &self.me.object()).await;
                }
                return Ok(Applied { settled, wrote: chain.wrote });
            }
        }
        Err(ApplyError::Busy)
    }

    /// Reads the entry. Also returns when the request was sent.
    async fn read(&self, access: &Access<'_>) -> Result<(Entry, Moment), ApplyError> {
        let asked = Moment::now();
        let entry = access.client.read_to_write(access.path).await.map_err(ApplyError::Store)?;
        self.intents.read(access.site, &entry.custom_metadata);
        Ok((entry, asked))
    }

    async fn read_again(&self, access: &Access<'_>, chain: &mut Chain) -> Result<(), ApplyError> {
        (chain.entry, chain.asked) = self.read(access).await?;
        chain.inquiry.offered = self.offers.at(access.site);
        Ok(())
    }

    /// Carries out one step; `Some` if it was the last.
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
                self.look(access, &properties).await?;
                match self.claim(access, chain, claims).await? {
                    Exchange::Done | Exchange::Crossed => return Ok(None),
                    Exchange::Unavailable => self.announce(access, chain, &changes).await?,
                }
            }
            Step::TakeOver { changes, from } => self.take_over(access, chain, &changes, &from).await?,
            Step::Settle(changes) => {
                // Another PushSecret may take a released claim at once.
                if claim::withdraws(&changes) {
                    self.look(access, &BTreeSet::new()).await?;
                }
                match chain.is_old() {
                    true => chain.lose().await?,
                    false => self.confirm(access, chain, &changes).await?,
                }
            }
            Step::Bury { version } => {
                self.look(access, &BTreeSet::new()).await?;
                access.client.delete_versions(access.path, &[version]).await.map_err(ApplyError::Store)?;
                (access.announce)(Pushed::Removal(version).into());
                tracing::info!(push_secret = %self.me.object(), path = %access.path, version, "version deleted");
            }
            Step::Destroy { through } => self.destroy(access, chain, through).await?,
            Step::Purge => {
                self.look(access, &BTreeSet::new()).await?;
                match chain.is_old() {
                    true => chain.lose().await?,
                    false => self.purge(access, chain).await?,
                }
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

    /// Reads the ledger live before an entry is written for the first time, and before each request
    /// that removes or releases something: neither a cache nor a look before a slow request is enough
    /// for these.
    async fn look(&self, access: &Access<'_>, properties: &BTreeSet<String>) -> Result<(), ApplyError> {
        access.ledger.ensure(properties, Sight::Live).await.map_err(ApplyError::Cluster)
    }

    /// Destroys versions by number, so that a version that somebody writes meanwhile survives.
    async fn destroy(&self, access: &Access<'_>, chain: &mut Chain, through: u64) -> Result<(), ApplyError> {
        let metadata = access.client.metadata(access.path).await.map_err(ApplyError::Store)?;
        let kept = metadata.map(|metadata| metadata.kept).unwrap_or_default();
        let versions: Vec<u64> = kept.into_iter().filter(|version| *version <= through).collect();
        if !versions.is_empty() {
            self.look(access, &BTreeSet::new()).await?;
            let destroyed = access.client.destroy_versions(access.path, &versions).await;
            destroyed.map_err(|error| may_not(error, DESTROY_ADVICE))?;
            tracing::info!(push_secret = %self.me.object(), path = %access.path, ?versions, "versions destroyed");
        }
        if let EntryState::Live { version, .. } = chain.entry.state {
            (access.announce)(Pushed::Removal(version).into());
        }
        chain.inquiry.destroyed = through;
        Ok(())
    }

    async fn purge(&self, access: &Access<'_>, chain: &Chain) -> Result<(), ApplyError> {
        if let Err(error) = chain.in_time(access.client.purge(access.path)).await? {
            // Others must not wait for a purge that does not happen. If this request fails too, the
            // intent counts as stale after a minute.
            let withdrawn = BTreeMap::from([(claim::purge_key(&self.me.uid), None)]);
            if access.client.patch_metadata(access.path, &withdrawn).await.is_ok() {
                self.log_changes(access, &withdrawn);
            }
            return Err(may_not(error, PURGE_ADVICE));
        }
        (access.announce)(Pushed::Purge.into());
        tracing::info!(push_secret = %self.me.object(), path = %access.path, "entry purged");
        Ok(())
    }

    /// Writes a version. `None` if the entry must be read again, because the check-and-set or the
    /// claim was lost meanwhile.
    async fn write(&self, access: &Access<'_>, chain: &mut Chain, write: Write) -> Result<Option<Settled>, ApplyError> {
        let lets_go = !write.drops.is_empty() || claim::withdraws(&write.settle);
        let sight = if lets_go { Sight::Live } else { Sight::Cached };
        access.ledger.ensure(&write.sets, sight).await.map_err(ApplyError::Cluster)?;
        // Writing the ledger may have taken long.
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
        // The reply shows the custom metadata at the time of the write.
        chain.asked = sent;
        // When to announce the version. An empty one is about to be deleted, and only that deletion
        // is announced. If the write removes a property or changes consents, the announcement waits
        // until the claim is released and the consent is set, or that ends in any other way.
        let has_more_to_say =
            claim::withdraws(&write.settle) || write.settle.keys().any(|key| consent::is_consent(key));
        let news = (!write.data.is_empty()).then_some(Pushed::Version(written.version, written.created).into());
        let mut unsaid = Some(Unsaid::new(access.announce, news));
        if !has_more_to_say {
            unsaid = None;
        }
        tracing::info!(push_secret = %self.me.object(), path = %access.path, version = written.version, "version written");
        let held = |property: &String| claim::still_held(&written.custom_metadata, property, self.me, &chain.inquiry);
        if !write.holds.iter().all(held) {
            self.crossed(access, &chain.entry, &write, &written).await.map_err(ApplyError::Store)?;
            drop(unsaid);
            return chain.lose().await.map(|()| None);
        }
        chain.inquiry.removed.extend(write.drops.iter().cloned());
        if write.data.is_empty() {
            return Ok(None);
        }
        if !write.settle.is_empty() {
            if chain.is_old() {
                drop(unsaid);
                return chain.lose().await.map(|()| None);
            }
            let losses = chain.losses;
            self.settle(access, chain, &write.settle).await?;
            // Somebody removed the entry after the write.
            if chain.losses > losses {
                return Ok(None);
            }
        }
        Ok(Some(Settled { version: Some(written.version), created: written.created, ..write.settled }))
    }

    async fn ask_after(&self, chain: &mut Chain, owner: Owner) -> Result<(), ApplyError> {
        let found = match self.owners.exists(&owner).await.map_err(ApplyError::Cluster)? {
            true => &mut chain.inquiry.alive,
            false => &mut chain.inquiry.gone,
        };
        found.insert(owner.uid);
        Ok(())
    }

    /// Ignores an intent that is stale, or whose claimant does not exist. Otherwise pauses for a
    /// moment and reads again.
    async fn wait(&self, access: &Access<'_>, chain: &mut Chain, key: String, by: Owner) -> Result<(), ApplyError> {
        // All intents of a claimant that is gone grow stale together, however many it announced.
        let others = claim::intents_of_others(&chain.entry.custom_metadata, self.me).map(|(key, _)| key);
        chain.inquiry.stale.extend(self.intents.stale(access.site, others, self.now + self.began.elapsed()));
        if chain.inquiry.stale.contains(&key) {
            return Ok(());
        }
        if by.cluster == self.me.cluster && !chain.inquiry.alive.contains(&by.uid) {
            return self.ask_after(chain, by).await;
        }
        chain.lose().await.map_err(|_busy| ApplyError::Contested { by })?;
        self.read_again(access, chain).await
    }

    /// Claims in one request, if the server has check-and-set for metadata: so nobody else has
    /// claimed or announced the properties since they were read.
    async fn claim(
        &self,
        access: &Access<'_>,
        chain: &mut Chain,
        claims: Option<MetadataChanges>,
    ) -> Result<Exchange, ApplyError> {
        let Some(claims) = claims else { return Ok(Exchange::Unavailable) };
        let exchange = self.exchange(access, chain, &claims).await?;
        match exchange {
            Exchange::Done => chain.amend(&claims),
            Exchange::Crossed => {
                chain.lose().await?;
                self.read_again(access, chain).await?;
            }
            Exchange::Unavailable => {}
        }
        Ok(exchange)
    }

    /// Replaces the owner's claim by ours. The owner does nothing to the property meanwhile.
    async fn take_over(
        &self,
        access: &Access<'_>,
        chain: &mut Chain,
        changes: &MetadataChanges,
        from: &BTreeMap<String, String>,
    ) -> Result<(), ApplyError> {
        self.look(access, &from.keys().cloned().collect()).await?;
        // Writing the ledger may have taken long.
        if chain.is_old() {
            return chain.lose().await;
        }
        let Some(in_hand) = self.offers.take(self.me, access.site, from) else { return Ok(()) };
        match self.exchange(access, chain, changes).await? {
            Exchange::Done => {}
            Exchange::Crossed => return chain.lose().await,
            Exchange::Unavailable => self.settle(access, chain, changes).await?,
        }
        in_hand.taken();
        Ok(())
    }

    /// Creates the entry if it does not exist, without custom metadata, so that a rival's survives;
    /// then adds ours.
    async fn announce(
        &self,
        access: &Access<'_>,
        chain: &mut Chain,
        changes: &MetadataChanges,
    ) -> Result<(), ApplyError> {
        match chain.entry.state {
            EntryState::Absent | EntryState::Unseen => {
                access.client.create_entry(access.path).await.map_err(ApplyError::Store)?;
                tracing::info!(push_secret = %self.me.object(), path = %access.path, "entry created");
            }
            EntryState::Empty | EntryState::Deleted { .. } | EntryState::Live { .. } => {}
        }
        self.patch(access, chain, changes).await
    }

    /// Confirms and releases claims of an entry that is written as wanted.
    async fn confirm(
        &self,
        access: &Access<'_>,
        chain: &mut Chain,
        changes: &MetadataChanges,
    ) -> Result<(), ApplyError> {
        // Only then do consumers know that a property which was removed earlier is removed for good.
        let removes = chain.entry.data().is_some() && claim::withdraws(changes);
        let unsaid = Unsaid::new(access.announce, removes.then_some(Pushed::Release.into()));
        let settled = self.settle(access, chain, changes).await;
        if settled.as_ref().is_err_and(|error| !error.leaves_open()) {
            unsaid.forget();
        }
        settled
    }

    /// Changes custom metadata because of what the last read showed, and gives up if that read is
    /// too old.
    async fn settle(
        &self,
        access: &Access<'_>,
        chain: &mut Chain,
        changes: &MetadataChanges,
    ) -> Result<(), ApplyError> {
        let consents = changes.keys().filter(|key| consent::is_consent(key));
        for (key, before) in consents.map(|key| (key, chain.entry.custom_metadata.get(key).cloned())) {
            chain.inquiry.narrowed.entry(key.clone()).or_insert(before);
        }
        let rests_on = chain.asked;
        in_time(rests_on, self.patch(access, chain, changes)).await?
    }

    async fn patch(&self, access: &Access<'_>, chain: &mut Chain, changes: &MetadataChanges) -> Result<(), ApplyError> {
        let unsaid = Unsaid::of(access.announce, changes);
        let error = match access.client.patch_metadata(access.path, changes).await {
            Ok(()) => {
                self.log_changes(access, changes);
                return Ok(());
            }
            // The entry was removed meanwhile: the next read shows it.
            Err(StoreError::EntryMissing { .. }) => {
                unsaid.forget();
                return chain.lose().await;
            }
            Err(error) => ApplyError::Store(error),
        };
        if !error.leaves_open() {
            unsaid.forget();
        }
        Err(error)
    }

    async fn exchange(
        &self,
        access: &Access<'_>,
        chain: &Chain,
        changes: &MetadataChanges,
    ) -> Result<Exchange, ApplyError> {
        let unsaid = Unsaid::of(access.announce, changes);
        let exchanged = access.client.exchange_metadata(access.path, &chain.entry, changes).await;
        let exchanged = exchanged.map_err(ApplyError::Store);
        match &exchanged {
            Ok(Exchange::Done) => self.log_changes(access, changes),
            Err(error) if error.leaves_open() => {}
            Ok(Exchange::Crossed | Exchange::Unavailable) | Err(_) => unsaid.forget(),
        }
        exchanged
    }

    fn log_changes(&self, access: &Access<'_>, changes: &MetadataChanges) {
        let keys: Vec<&str> = changes.keys().map(String::as_str).collect();
        tracing::info!(push_secret = %self.me.object(), path = %access.path, ?keys, "custom metadata changed");
    }
}

impl ApplyError {
    /// Whether the request that failed may have been carried out all the same.
    fn leaves_open(&self) -> bool {
        match self {
            ApplyError::Slow => true,
            ApplyError::Store(error) => error.family() == Family::Failed,
            ApplyError::Refused { .. }
            | ApplyError::MayNot { .. }
            | ApplyError::Contested { .. }
            | ApplyError::Busy
            | ApplyError::Cluster(_) => false,
        }
    }
}

fn may_not(error: StoreError, advice: &'static str) -> ApplyError {
    match error {
        StoreError::Forbidden { .. } => ApplyError::MayNot { error, advice },
        other => ApplyError::Store(other),
    }
}

/// Gives up a request that takes too long after the read that it relies on.
async fn in_time<T>(read: Moment, request: impl Future<Output = T>) -> Result<T, ApplyError> {
    tokio::time::timeout_at(read + LATEST, request).await.map_err(|_elapsed| ApplyError::Slow)
}

impl Chain {
    /// Whether our intents may count as stale before a request that relies on this read is done.
    fn is_old(&self) -> bool {
        self.asked.elapsed() > FRESH
    }

    async fn in_time<T>(&self, request: impl Future<Output = T>) -> Result<T, ApplyError> {
        in_time(self.asked, request).await
    }

    /// Whether the entry has the mark itself, or does not exist. Otherwise the misplaced mark is its
    /// only one, and without it the path would be foreign to every controller.
    fn needs_no_other_mark(&self) -> bool {
        claim::is_marked(&self.entry.custom_metadata)
            || matches!(self.entry.state, EntryState::Absent | EntryState::Unseen)
    }

    /// Applies changes that the server has accepted to the entry as read. Its data may be older;
    /// the check-and-set of a write finds that.
    fn amend(&mut self, changes: &MetadataChanges) {
        for (key, value) in changes {
            match value {
                Some(value) => self.entry.custom_metadata.insert(key.clone(), value.clone()),
                None => self.entry.custom_metadata.remove(key),
            };
        }
        if let EntryState::Absent | EntryState::Unseen = self.entry.state {
            self.entry.state = EntryState::Empty;
        }
    }

    /// Counts a lost race and pauses: longer each time, and for a random time, so that rivals
    /// differ.
    async fn lose(&mut self) -> Result<(), ApplyError> {
        self.losses += 1;
        if self.losses > MAX_LOSSES {
            return Err(ApplyError::Busy);
        }
        let most = (4u64 << self.losses).min(LONGEST_PAUSE);
        tokio::time::sleep(Duration::from_millis(rand::random_range(1..=most))).await;
        Ok(())
    }
}
