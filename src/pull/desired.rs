//! The parsed spec of an ExternalSecret. Unsupported fields are errors that name them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thiserror::Error;

use super::wanted::{Find, Into, Reference, Wanted};
use crate::api::bounds::{self, OutOfBounds};
use crate::api::condition::Reason;
use crate::api::external_secret::{
    self as api, ConversionStrategy, CreationPolicy, DataFrom, DeletionPolicy, ExternalSecretSpec, MergeConflictPolicy,
    MergePriorityPolicy, MergeStrategy, MetadataPolicy, RefreshPolicy, RemoteRef, SourceRef,
};
use crate::api::names;
use crate::api::template_spec::{self, TemplateError, decoding};
use crate::api::{DurationError, ExternalSecret, StoreRef};
use crate::domain::description::What;
use crate::domain::expression::NoExpression;
use crate::domain::extract::{Conversion, Keys, Rewrite};
use crate::domain::find::Selection;
use crate::domain::fingerprint;
use crate::domain::key_rewrite::KeyChange;
use crate::domain::merge::Merge;
use crate::domain::target::{IllegalKey, LONGEST_NAME, Strangers, is_legal_key, is_legal_name};
use crate::domain::template_spec::TemplateSpec;
use crate::store::StoreName;

/// Prefixes of labels and annotations that make other controllers act, or that repeat the whole
/// manifest. They are never copied to the target (SC10).
const NOT_CARRIED: [&str; 12] = [
    "argocd.argoproj.io/",
    "cert-manager.io/",
    "app.kubernetes.io/instance",
    "kubectl.kubernetes.io/",
    "config.kubernetes.io/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "helm.sh/",
    "meta.helm.sh/",
    "reconcile.external-secrets.io/",
    names::ANNOTATION_FORCE_SYNC,
    "waypost.io/",
];

/// The maximum number of regular expressions of one ExternalSecret, as of one PushSecret: each takes
/// up to a MiB during the reconcile.
const MOST_EXPRESSIONS: usize = 25;

/// The field of the template.
const TEMPLATE: &str = "spec.target.template";

/// See the module.
#[derive(Clone, Debug)]
pub struct Desired {
    /// Namespace of the ExternalSecret and of its target.
    pub namespace: String,
    /// Name of the ExternalSecret.
    pub name: String,
    /// UID of the ExternalSecret.
    pub uid: String,
    /// Name of the target.
    pub target: String,
    /// What is wanted, each over those before it: `dataFrom` and then `data`, in the order of the
    /// spec.
    pub entries: Vec<Wanted>,
    /// What is found below folders. What each finds becomes entries before the one at `Find::before`.
    pub finds: Vec<Find>,
    /// The template of the target.
    pub template: Option<TemplateSpec>,
    /// What happens when values are gone from the store.
    pub deletion: Deletion,
    /// When the store is read again.
    pub refresh: Refresh,
    /// What to do with a Secret of the target's name that is not ours.
    pub strangers: Strangers,
    /// What to do with an immutable target whose data must change.
    pub immutable_targets: ImmutableTargets,
    /// Whether the target is made immutable.
    pub immutable: bool,
    /// Labels to copy from the ExternalSecret to the target.
    pub labels: BTreeMap<String, String>,
    /// Annotations to copy from the ExternalSecret to the target.
    pub annotations: BTreeMap<String, String>,
    /// The next `status.syncedResourceVersion`.
    pub synced_resource_version: String,
    /// The value of [`names::ANNOTATION_ACCEPT_OLDER`].
    pub confirmation: Option<String>,
}

/// What happens when values are gone from the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// The target is unchanged, and the condition reports the missing values.
    Retain,
    /// Missing keys are removed, and with the last one the target is deleted.
    Delete,
}

/// When the store is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// When it changes, checked at least this often; and when the resource changes.
    Follow(Duration),
    /// When the resource changes.
    OnChange,
    /// Once; later only to repair the target.
    Once,
}

/// What to do with an immutable target whose data must change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImmutableTargets {
    /// Do not touch it, and report it.
    Leave,
    /// Delete it and create it again.
    Recreate,
}

/// Why a spec cannot be used. Only an edit helps.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum SpecError {
    /// A field of an unsupported feature.
    #[error("{field} is not supported by this version of Waypost: remove it")]
    Unsupported {
        /// Path of the field.
        field: String,
    },
    /// There is nothing to read.
    #[error("nothing to read: list at least one entry in spec.data or spec.dataFrom")]
    NoData,
    /// An entry without a store.
    #[error("{entry} names no store: set spec.secretStoreRef.name, or sourceRef.storeRef.name of the entry")]
    NoStore {
        /// Its field.
        entry: String,
    },
    /// A regular expression that does not compile.
    #[error("{field}: {error}")]
    Regexp {
        field: String,
        /// What is wrong with it.
        error: NoExpression,
    },
    /// More regular expressions than the limit.
    #[error(
        "spec.dataFrom has {found} regular expressions, and one ExternalSecret may have {MOST_EXPRESSIONS}: join some, or use transform"
    )]
    TooManyExpressions {
        /// The count.
        found: usize,
    },
    /// A template that does not parse.
    #[error("{field}: {fault}")]
    Template {
        field: String,
        /// Where, and what.
        fault: Box<waypost_template::Fault>,
    },
    /// A field that is missing beside another.
    #[error("{field} is not set: {advice}")]
    Missing {
        field: String,
        /// What to do.
        advice: &'static str,
    },
    /// Two entries for one key.
    #[error("spec.data has the key {key:?} twice: a key of the target has one value")]
    DuplicateKey { key: String },
    /// Two ways to select that exclude each other.
    #[error(
        "{field} has both name and tags, and External Secrets Operator ignores the tags then: set one of them, or two entries of dataFrom"
    )]
    NameAndTags { field: String },
    /// A malformed interval.
    #[error("spec.refreshInterval: {cause}")]
    Interval {
        /// What is wrong with it.
        cause: DurationError,
    },
    /// A malformed version.
    #[error("{field} is not a version number: write a number such as \"3\", or remove it")]
    Version { field: String },
    /// More, or less, than the API allows.
    #[error("{0}")]
    Bounds(OutOfBounds),
    /// The template.
    #[error(transparent)]
    Templates(TemplateError),
    /// Rule K1 for the name.
    #[error(
        "the target's name {name:?} is not a legal name of a Secret (K1): use lowercase letters, digits, '-' and '.', at most {LONGEST_NAME} characters"
    )]
    TargetName { name: String },
    /// Rule K1 for a key.
    #[error(transparent)]
    TargetKey(IllegalKey),
}

impl SpecError {
    /// The word in the condition.
    pub fn reason(&self) -> Reason {
        match self {
            SpecError::Unsupported { .. } => Reason::Unsupported,
            SpecError::TargetName { .. }
            | SpecError::TargetKey(_)
            | SpecError::Templates(TemplateError::Type { .. } | TemplateError::Key { .. }) => Reason::TargetInvalid,
            SpecError::NoData
            | SpecError::TooManyExpressions { .. }
            | SpecError::NoStore { .. }
            | SpecError::DuplicateKey { .. }
            | SpecError::NameAndTags { .. }
            | SpecError::Interval { .. }
            | SpecError::Regexp { .. }
            | SpecError::Template { .. }
            | SpecError::Missing { .. }
            | SpecError::Templates(_)
            | SpecError::Version { .. }
            | SpecError::Bounds(_) => Reason::InvalidSpec,
        }
    }
}

impl Desired {
    /// Applies the installation's setting for Secrets without an owner. The resource can allow
    /// more, not less.
    pub fn with_strangers(self, strangers: Strangers) -> Self {
        match strangers {
            Strangers::Adopt => Desired { strangers, ..self },
            Strangers::Leave => self,
        }
    }

    /// Parses the spec.
    ///
    /// # Errors
    /// The first error or unsupported field, in the order of the spec; then fields out of bounds.
    pub fn parse(object: &ExternalSecret) -> Result<Self, SpecError> {
        supported(object)?;
        let spec = &object.spec;
        let name = object.metadata.name.clone().unwrap_or_default();
        let target = spec.target_name(&name).to_owned();
        if !is_legal_name(&target) {
            return Err(SpecError::TargetName { name: target });
        }
        let (labels, annotations) = metadata(object);
        let template = spec.target.template.as_ref();
        let template = template.map(|template| template_spec::parse(template, TEMPLATE, Some(&target))).transpose();
        let template = template.map_err(SpecError::Templates)?;
        // A template says what the target's labels and annotations are.
        let is_carried = |key: &str| template.is_none() && is_carried(key);
        let (entries, finds) = entries(object)?;
        let desired = Desired {
            namespace: object.metadata.namespace.clone().unwrap_or_default(),
            uid: object.metadata.uid.clone().unwrap_or_default(),
            target,
            entries,
            finds,
            deletion: match spec.target.deletion_policy {
                DeletionPolicy::Retain => Deletion::Retain,
                DeletionPolicy::Delete => Deletion::Delete,
                DeletionPolicy::Merge => return Err(unsupported("spec.target.deletionPolicy Merge")),
            },
            refresh: refresh(object)?,
            strangers: match is_true(&annotations, names::ANNOTATION_ADOPT) {
                true => Strangers::Adopt,
                false => Strangers::Leave,
            },
            immutable_targets: match is_true(&annotations, names::ANNOTATION_RECREATE_IMMUTABLE) {
                true => ImmutableTargets::Recreate,
                false => ImmutableTargets::Leave,
            },
            immutable: spec.target.immutable.unwrap_or(false),
            synced_resource_version: synced_resource_version(object),
            confirmation: confirmation(object),
            labels: carried(labels, is_carried),
            annotations: carried(annotations, is_carried),
            template,
            name,
        };
        // Last, because more specific errors are better messages.
        bounds::check(spec).map_err(SpecError::Bounds)?;
        Ok(desired)
    }
}

impl Desired {
    /// Whether the spec alone decides which keys the target has, and its labels and annotations.
    /// Otherwise these may change with a value, or go with it, and only the live target shows it.
    pub fn has_fixed_keys(&self) -> bool {
        self.finds.is_empty()
            && self.entries.iter().all(|wanted| matches!(wanted.into, Into::Key(_)))
            && self.template.iter().all(TemplateSpec::has_fixed_keys)
    }

    /// Whether it takes more than a moment to decide what the target should have.
    pub fn computes(&self) -> bool {
        let is_more_than_a_name = |property: &str| property.contains(['.', '#', '*', '?', '|']);
        let computes = |wanted: &Wanted| {
            matches!(wanted.into, Into::Keys { .. }) || wanted.property.as_deref().is_some_and(is_more_than_a_name)
        };
        self.template.is_some() || !self.finds.is_empty() || self.entries.iter().any(computes)
    }
}

/// Every store that a spec names in this namespace, whether the spec is valid or not.
pub fn stores(spec: &ExternalSecretSpec, namespace: &str) -> impl Iterator<Item = StoreName> {
    let of_data = spec.data.iter().filter_map(|entry| entry.source_ref.as_ref()?.store_ref.as_ref());
    let of_data_from = spec.data_from.iter().filter_map(|from| from.source_ref.as_ref()?.store_ref.as_ref());
    spec.secret_store_ref.iter().chain(of_data).chain(of_data_from).filter_map(move |store| {
        let name = store.name.as_deref().filter(|name| !name.is_empty())?;
        Some(StoreName::referred(namespace, store.kind(), name))
    })
}

/// Whether a spec names paths by folders: what it found for its target may be another thing than
/// what it finds now.
pub fn finds(spec: &ExternalSecretSpec) -> bool {
    spec.data_from.iter().any(|from| from.find.is_some())
}

/// Whether a spec names metadata alone: when that is gone, it takes nothing along.
pub fn reads_metadata_alone(spec: &ExternalSecretSpec) -> bool {
    let extracts = spec.data_from.iter().filter_map(|from| from.extract.as_ref());
    let mut references = spec.data.iter().map(|entry| &entry.remote_ref).chain(extracts).peekable();
    references.peek().is_some() && references.all(|reference| reference.metadata_policy == Some(MetadataPolicy::Fetch))
}

/// `status.syncedResourceVersion` once this state of the object is synced.
pub fn synced_resource_version(object: &ExternalSecret) -> String {
    let (labels, annotations) = metadata(object);
    fingerprint::synced_resource_version(object.metadata.generation.unwrap_or_default(), &annotations, &labels)
}

/// What a person set to accept a version that went back.
pub fn confirmation(object: &ExternalSecret) -> Option<String> {
    object.metadata.annotations.as_ref()?.get(names::ANNOTATION_ACCEPT_OLDER).cloned()
}

fn metadata(object: &ExternalSecret) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let metadata = &object.metadata;
    (metadata.labels.clone().unwrap_or_default(), metadata.annotations.clone().unwrap_or_default())
}

fn supported(object: &ExternalSecret) -> Result<(), SpecError> {
    let spec = &object.spec;
    let policy = spec.target.creation_policy;
    let features =
        [(spec.sync_windows.is_some(), "spec.syncWindows"), (spec.target.manifest.is_some(), "spec.target.manifest")];
    if let Some((_, field)) = features.into_iter().find(|(used, _)| *used) {
        return Err(unsupported(field));
    }
    if policy != CreationPolicy::Owner {
        return Err(unsupported(&format!("spec.target.creationPolicy {}", policy.as_str())));
    }
    if spec.data.is_empty() && spec.data_from.is_empty() {
        return Err(SpecError::NoData);
    }
    Ok(())
}

fn entries(object: &ExternalSecret) -> Result<(Vec<Wanted>, Vec<Find>), SpecError> {
    let spec = &object.spec;
    let rewrites = spec.data_from.iter().flat_map(|entry| &entry.rewrite);
    let finds = spec.data_from.iter().filter_map(|entry| entry.find.as_ref()?.name.as_ref()?.regexp.as_ref());
    let expressions = rewrites.filter(|rewrite| rewrite.regexp.is_some()).count() + finds.count();
    if expressions > MOST_EXPRESSIONS {
        return Err(SpecError::TooManyExpressions { found: expressions });
    }
    let (mut entries, mut finds) = (Vec::with_capacity(spec.data_from.len() + spec.data.len()), Vec::new());
    for (index, entry) in spec.data_from.iter().enumerate() {
        let field = format!("spec.dataFrom[{index}]");
        match (&entry.extract, &entry.find) {
            (Some(extract), _) => entries.push(wanted_keys(spec, field, entry, extract)?),
            (None, Some(find)) => finds.push(wanted_below(spec, field, entries.len(), entry, find)?),
            (None, None) => return Err(unsupported(&format!("{field}.sourceRef.generatorRef"))),
        }
    }
    let mut keys = BTreeSet::new();
    for (index, entry) in spec.data.iter().enumerate() {
        if !is_legal_key(&entry.secret_key) {
            return Err(SpecError::TargetKey(IllegalKey(entry.secret_key.clone())));
        }
        if !keys.insert(&entry.secret_key) {
            return Err(SpecError::DuplicateKey { key: entry.secret_key.clone() });
        }
        let (field, into) = (format!("spec.data[{index}]"), Into::Key(entry.secret_key.clone()));
        entries.push(wanted(spec, &field, "remoteRef", &entry.remote_ref, entry.source_ref.as_ref(), into)?);
    }
    Ok((entries, finds))
}

fn keys(field: &str, entry: &DataFrom, conversion: Option<ConversionStrategy>) -> Result<Keys, SpecError> {
    let rewrites = entry.rewrite.iter().enumerate();
    let rewrites = rewrites.map(|(at, change)| rewrite(&format!("{field}.rewrite[{at}]"), change));
    Ok(Keys {
        rewrites: rewrites.collect::<Result<_, _>>()?,
        conversion: match conversion.unwrap_or_default() {
            ConversionStrategy::Default => Conversion::Underscore,
            ConversionStrategy::Unicode => Conversion::Unicode,
        },
    })
}

fn wanted_keys(
    spec: &ExternalSecretSpec,
    field: String,
    entry: &DataFrom,
    extract: &RemoteRef,
) -> Result<Wanted, SpecError> {
    let keys = keys(&field, entry, extract.conversion_strategy)?;
    let into = Into::Keys { field: field.clone(), keys };
    wanted(spec, &field, "extract", extract, entry.source_ref.as_ref(), into)
}

fn wanted_below(
    spec: &ExternalSecretSpec,
    field: String,
    before: usize,
    entry: &DataFrom,
    find: &api::Find,
) -> Result<Find, SpecError> {
    let expression = find.name.as_ref().and_then(|name| name.regexp.as_deref());
    let selection = match expression {
        Some(_) if !find.tags.is_empty() => return Err(SpecError::NameAndTags { field: format!("{field}.find") }),
        Some(expression) => Selection::named(expression)
            .map_err(|error| SpecError::Regexp { field: format!("{field}.find.name.regexp"), error })?,
        None => Selection::Labelled(find.tags.clone()),
    };
    Ok(Find {
        before,
        store: store_of(spec, &field, entry.source_ref.as_ref())?,
        path: find.path.clone(),
        selection,
        keys: keys(&field, entry, find.conversion_strategy)?,
        decoding: decoding(find.decoding_strategy),
        null_bytes: find.null_byte_policy.unwrap_or_default(),
        field,
    })
}

/// The store of an entry of the spec.
fn store_of(spec: &ExternalSecretSpec, entry: &str, source: Option<&SourceRef>) -> Result<StoreRef, SpecError> {
    if source.is_some_and(|source| source.generator_ref.is_some()) {
        return Err(unsupported(&format!("{entry}.sourceRef.generatorRef")));
    }
    let own = source.and_then(|source| source.store_ref.as_ref());
    let store = own.or(spec.secret_store_ref.as_ref());
    let named = store.filter(|store| store.name.as_deref().is_some_and(|name| !name.is_empty()));
    named.cloned().ok_or_else(|| SpecError::NoStore { entry: entry.to_owned() })
}

/// The CRD allows one of the three.
fn rewrite(field: &str, change: &api::Rewrite) -> Result<Rewrite, SpecError> {
    if let Some(regexp) = &change.regexp {
        let refused = |error| SpecError::Regexp { field: format!("{field}.regexp.source"), error };
        return KeyChange::replace(&regexp.source, &regexp.target).map(Rewrite::Each).map_err(refused);
    }
    if let Some(transform) = &change.transform {
        let refused =
            |fault| SpecError::Template { field: format!("{field}.transform.template"), fault: Box::new(fault) };
        return KeyChange::template(&transform.template).map(Rewrite::Each).map_err(refused);
    }
    let merge = change.merge.clone().unwrap_or_default();
    let into = merge.into.filter(|into| !into.is_empty());
    let into = match (merge.strategy.unwrap_or_default(), into) {
        (MergeStrategy::Extract, _) => None,
        (MergeStrategy::JSON, Some(into)) => Some(into),
        (MergeStrategy::JSON, None) => {
            let advice = "name the key that gets the merged object, or set strategy: Extract";
            return Err(SpecError::Missing { field: format!("{field}.merge.into"), advice });
        }
    };
    Ok(Rewrite::Merge(Merge {
        priority: merge.priority,
        may_lack_priority: merge.priority_policy.unwrap_or_default() == MergePriorityPolicy::IgnoreNotFound,
        later_wins: merge.conflict_policy.unwrap_or_default() == MergeConflictPolicy::Ignore,
        into,
    }))
}

/// An `entry` of the spec, which refers to a secret by its `field`.
fn wanted(
    spec: &ExternalSecretSpec,
    entry: &str,
    field: &str,
    remote: &RemoteRef,
    source: Option<&SourceRef>,
    into: Into,
) -> Result<Wanted, SpecError> {
    let store = store_of(spec, entry, source)?;
    let what = match remote.metadata_policy {
        Some(MetadataPolicy::Fetch) => What::Metadata,
        Some(MetadataPolicy::None) | None => What::Data,
    };
    let version = match remote.version.as_deref() {
        None | Some("") => None,
        Some(text) => {
            let malformed = |_| SpecError::Version { field: format!("{entry}.{field}.version") };
            Some(text.parse().map_err(malformed)?)
        }
    };
    Ok(Wanted {
        into,
        // Metadata is that of now, whatever the version.
        from: Reference {
            store,
            key: remote.key.clone(),
            version: version.filter(|version| *version != 0 && what == What::Data),
            what,
        },
        property: remote.property.clone().filter(|property| !property.is_empty()),
        decoding: decoding(remote.decoding_strategy),
        null_bytes: remote.null_byte_policy.unwrap_or_default(),
    })
}

fn refresh(object: &ExternalSecret) -> Result<Refresh, SpecError> {
    let interval = object.spec.refresh_interval.parse().map_err(|cause| SpecError::Interval { cause })?;
    Ok(match (object.spec.refresh_policy(), interval.positive()) {
        (RefreshPolicy::Periodic, Some(interval)) => Refresh::Follow(interval),
        (RefreshPolicy::Periodic, None) | (RefreshPolicy::CreatedOnce, _) => Refresh::Once,
        (RefreshPolicy::OnChange, _) => Refresh::OnChange,
    })
}

fn carried(all: BTreeMap<String, String>, is_carried: impl Fn(&str) -> bool) -> BTreeMap<String, String> {
    all.into_iter().filter(|(key, _)| is_carried(key)).collect()
}

/// Whether a label or annotation of this name is copied to the target.
pub fn is_carried(key: &str) -> bool {
    !NOT_CARRIED.iter().any(|prefix| key.starts_with(prefix))
}

fn is_true(annotations: &BTreeMap<String, String>, name: &str) -> bool {
    annotations.get(name).is_some_and(|value| value == names::TRUE)
}

fn unsupported(field: &str) -> SpecError {
    SpecError::Unsupported { field: field.to_owned() }
}
