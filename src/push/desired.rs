//! The parsed spec of a PushSecret.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use thiserror::Error;

use super::ledger::{Mounts, StoreKey};
use super::mapped::Fault;
use super::sources::Sources;
use super::step::{Existing, Foreign};
use crate::api::bounds::OutOfBounds;
use crate::api::condition::Reason;
use crate::api::label_query;
use crate::api::names::{ANNOTATION_ADOPT, ANNOTATION_EARLIER_VERSIONS, TRUE};
use crate::api::push_secret::{PushSecretData, PushSecretSpec, PushStoreRef, UpdatePolicy};
use crate::api::selector::StoreKind;
use crate::api::template_spec::{self, TemplateError};
use crate::domain::convention::{Convention, LocatedFinding, MappingFacts, PushFacts, RuleId, Severity, StoreFacts};
use crate::domain::earlier_versions::{EarlierVersions, UnknownEarlierVersions};
use crate::domain::expression::NoExpression;
use crate::domain::key_rewrite::{KeyMatch, KeyRewrite};
use crate::domain::label_query::{LabelQuery, Malformed};
use crate::domain::mapping::KeyConversion;
use crate::domain::push_options::{PushOptions, PushOptionsError};
use crate::domain::remote_key::{RemoteKey, RemoteKeyError};
use crate::domain::secret_template::TemplateFault;
use crate::domain::template_spec::TemplateSpec;

/// The name of a store that a spec is parsed for where no store is known.
const SOME_STORE: &str = "a-store";

/// Everything that the spec asks for.
pub struct Desired {
    /// The sources to publish from.
    pub sources: Sources,
    /// What makes other keys of those of a source.
    pub template: Option<TemplateSpec>,
    /// The stores to publish to.
    pub stores: BTreeSet<StoreKey>,
    /// Which keys of a source become which properties.
    pub mappings: Vec<PushMapping>,
    /// How often the stores are compared with the sources; `None` means only when something
    /// changes.
    pub refresh: Option<Duration>,
    /// What happens to properties that already exist.
    pub existing: Existing,
    /// What happens to entries that no External Secrets controller manages.
    pub foreign: Foreign,
    /// What happens to the earlier versions of an entry whose last property is removed.
    pub earlier: EarlierVersions,
    /// Broken rules of a convention that only warns.
    pub warnings: Vec<String>,
}

/// One mapping of the spec.
pub struct PushMapping {
    /// Its field in the spec, such as `spec.data[0]`.
    pub field: String,
    /// Which keys of a source become which properties.
    pub shape: Shape,
    /// The stores that it applies to; `None` means all.
    pub stores: Option<BTreeSet<StoreKey>>,
    /// How keys of a source are converted.
    pub conversion: KeyConversion,
    /// Its options besides values.
    pub options: PushOptions,
    /// What a line of the ledger keeps of it, besides keys.
    pub kept: PushSecretData,
}

/// Which keys of a source become which properties. The convention (P2) asks for `Value` only.
pub enum Shape {
    /// A key becomes a property.
    Value { key: String, remote: RemoteKey, property: String },
    /// Each field of the JSON object in a key becomes the property of the same name.
    Fields { key: String, remote: RemoteKey },
    /// All keys become one property, as JSON text.
    Text { remote: RemoteKey, property: String },
    /// Each key becomes the property of the same name, all at one path.
    Bundle { keys: Keys, remote: RemoteKey },
    /// Each key gets a path of its own.
    Each {
        keys: Keys,
        /// How a key becomes a path.
        rewrite: KeyRewrite,
    },
}

/// A selection of the keys of a source.
#[derive(Clone, Default)]
pub struct Keys {
    /// The keys to include.
    pub matching: KeyMatch,
    /// The keys to leave out, because a mapping names them.
    pub except: BTreeSet<String>,
}

impl Shape {
    /// The path, if all keys share one.
    pub fn remote(&self) -> Option<&RemoteKey> {
        match self {
            Shape::Value { remote, .. }
            | Shape::Fields { remote, .. }
            | Shape::Text { remote, .. }
            | Shape::Bundle { remote, .. } => Some(remote),
            Shape::Each { .. } => None,
        }
    }
}

/// Why a spec is invalid. Nothing happens until it is edited.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidSpec {
    /// A field that this version does not support.
    #[error("{field} is not supported yet: {instead}")]
    Unsupported {
        field: String,
        /// What to write instead.
        instead: &'static str,
    },
    /// A required field is empty.
    #[error("{field} is empty: {instead}")]
    Missing {
        field: String,
        /// What to write instead.
        instead: &'static str,
    },
    /// The interval is not a duration.
    #[error("spec.refreshInterval: {0}")]
    Interval(crate::api::duration::DurationError),
    /// A remote key that does not parse.
    #[error("{field}: {error}")]
    Key { field: String, error: RemoteKeyError },
    /// The `metadata` of a mapping that does not parse.
    #[error("{field}.metadata: {error}")]
    Options {
        /// The mapping.
        field: String,
        error: PushOptionsError,
    },
    /// A regular expression that does not compile.
    #[error("{field}: {error}")]
    Regexp { field: String, error: NoExpression },
    /// A template that does not parse.
    #[error("{field}: {fault}")]
    Template { field: String, fault: Box<waypost_template::Fault> },
    /// The template of what is pushed.
    #[error(transparent)]
    Templates(TemplateError),
    /// A template whose result changes by itself.
    #[error(transparent)]
    Unsteady(TemplateFault),
    /// More regular expressions than the limit.
    #[error(
        "spec.dataTo has {found} regular expressions, and one PushSecret may have {limit}: join some, or spread them over several PushSecrets"
    )]
    TooManyExpressions {
        /// The count.
        found: usize,
        /// The maximum.
        limit: usize,
    },
    /// A mapping names a store that `secretStoreRefs` does not have.
    #[error("{field}: {store} is not among spec.secretStoreRefs: name it there as well")]
    StrangeStore { field: String, store: StoreKey },
    /// An annotation with an unknown value.
    #[error("metadata.annotations[{ANNOTATION_EARLIER_VERSIONS}] {0}")]
    EarlierVersions(UnknownEarlierVersions),
    /// A malformed label selector.
    #[error("{field}.{error}")]
    Selector { field: String, error: Malformed },
    /// Mappings that have no path, or contradict each other.
    #[error("{0}")]
    Mappings(Fault),
    /// A value outside the bounds of the API.
    #[error("{0}")]
    Bounds(OutOfBounds),
    /// Rules of the convention that concern the whole PushSecret.
    #[error("{}", .0.join("; "))]
    Convention(Vec<String>),
}

impl InvalidSpec {
    /// The reason of the condition.
    pub fn reason(&self) -> Reason {
        match self {
            InvalidSpec::Unsupported { .. } | InvalidSpec::Unsteady(_) => Reason::Unsupported,
            InvalidSpec::Missing { .. }
            | InvalidSpec::Interval(_)
            | InvalidSpec::Key { .. }
            | InvalidSpec::Options { .. }
            | InvalidSpec::Regexp { .. }
            | InvalidSpec::Template { .. }
            | InvalidSpec::Templates(_)
            | InvalidSpec::TooManyExpressions { .. }
            | InvalidSpec::StrangeStore { .. }
            | InvalidSpec::EarlierVersions(_)
            | InvalidSpec::Selector { .. }
            | InvalidSpec::Mappings(_)
            | InvalidSpec::Bounds(_) => Reason::InvalidSpec,
            InvalidSpec::Convention(_) => Reason::ConventionViolated,
        }
    }
}

/// The stores that the spec names, not those that it selects.
pub fn stores(spec: &PushSecretSpec) -> BTreeSet<StoreKey> {
    spec.secret_store_refs.iter().filter_map(named_store).collect()
}

pub(super) fn named_store(store: &PushStoreRef) -> Option<StoreKey> {
    let name = store.name.clone().filter(|name| !name.is_empty())?;
    Some(StoreKey::new(store.kind(), name))
}

/// The stores that the spec selects by labels.
#[derive(Default)]
pub struct StoreQueries {
    /// Those of `secretStoreRefs`.
    pub refs: Vec<StoreQuery>,
    /// Those of `dataTo`, by index: each narrows the stores to publish to.
    pub data_to: BTreeMap<usize, StoreQuery>,
}

/// A selection of stores: their kind and labels.
pub type StoreQuery = (StoreKind, LabelQuery);

/// Parses the label selectors of stores.
///
/// # Errors
/// A malformed selector.
pub fn store_queries(spec: &PushSecretSpec) -> Result<StoreQueries, InvalidSpec> {
    let mut queries = StoreQueries::default();
    for (index, store) in spec.secret_store_refs.iter().enumerate() {
        queries.refs.extend(store_query(store, || format!("spec.secretStoreRefs[{index}]"))?);
    }
    for (index, many) in spec.data_to.iter().enumerate() {
        if let Some(store) = &many.store_ref
            && let Some(query) = store_query(store, || format!("spec.dataTo[{index}].storeRef"))?
        {
            queries.data_to.insert(index, query);
        }
    }
    Ok(queries)
}

/// If both are set, the name counts.
fn store_query(store: &PushStoreRef, field: impl Fn() -> String) -> Result<Option<StoreQuery>, InvalidSpec> {
    let (None, Some(selector)) = (store.name.as_deref().filter(|name| !name.is_empty()), &store.label_selector) else {
        return Ok(None);
    };
    let malformed = |error| InvalidSpec::Selector { field: format!("{}.labelSelector", field()), error };
    label_query::parse(selector).map(|query| Some((store.kind(), query))).map_err(malformed)
}

/// The stores of one reconcile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chosen {
    /// Those to publish to.
    pub stores: BTreeSet<StoreKey>,
    /// Those of each `dataTo` that selects by labels, by index.
    pub data_to: BTreeMap<usize, BTreeSet<StoreKey>>,
}

/// Parses the sources of the spec.
///
/// # Errors
/// The spec names no source, or an unsupported one.
pub fn sources(spec: &PushSecretSpec) -> Result<Sources, InvalidSpec> {
    if spec.selector.generator_ref.is_some() {
        return Err(unsupported("spec.selector.generatorRef", "name a Secret in spec.selector.secret.name"));
    }
    if let Some(map) = &spec.selector.config_map {
        return match map.name.is_empty() {
            false => Ok(Sources::ConfigMap(map.name.clone())),
            true => Err(missing("spec.selector.configMap.name", "name the source ConfigMap")),
        };
    }
    let secret = spec.selector.secret.as_ref();
    let name = secret.and_then(|secret| secret.name.clone()).filter(|name| !name.is_empty());
    match (name, secret.and_then(|secret| secret.selector.as_ref())) {
        (Some(name), _) => Ok(Sources::Named(name)),
        (None, Some(selector)) => {
            let field = "spec.selector.secret.selector".to_owned();
            label_query::parse(selector).map(Sources::Labelled).map_err(|error| InvalidSpec::Selector { field, error })
        }
        (None, None) => Err(missing("spec.selector.secret.name", "name the source Secret, or select by labels")),
    }
}

/// Parses the template of what is pushed.
///
/// # Errors
/// A template that cannot be used, or whose result changes by itself.
pub fn template(spec: &PushSecretSpec) -> Result<Option<TemplateSpec>, InvalidSpec> {
    let Some(template) = &spec.template else { return Ok(None) };
    let template = template_spec::parse(template, "spec.template", None).map_err(InvalidSpec::Templates)?;
    template.check_steady().map_err(InvalidSpec::Unsteady)?;
    Ok(Some(template))
}

/// What happens to the earlier versions of an entry whose last property is removed.
///
/// # Errors
/// The annotation has an unknown value.
pub fn earlier_versions(annotations: &BTreeMap<String, String>) -> Result<EarlierVersions, InvalidSpec> {
    let said = annotations.get(ANNOTATION_EARLIER_VERSIONS).map(String::as_str);
    EarlierVersions::parse(said).map_err(InvalidSpec::EarlierVersions)
}

/// What an update policy means for properties that already exist.
pub fn existing(policy: UpdatePolicy) -> Existing {
    match policy {
        UpdatePolicy::Replace => Existing::Replace,
        UpdatePolicy::IfNotExists => Existing::Keep,
    }
}

/// Parses a spec, given the stores that it names or selects, and the mounts of the usable ones.
/// P1–P3 and V4 are about the form of the PushSecret, so they refuse it as a whole. V1–V3 and V5–V8
/// refuse only the entries that break them.
pub fn parse(
    spec: &PushSecretSpec,
    annotations: &BTreeMap<String, String>,
    chosen: &Chosen,
    mounts: &Mounts,
    convention: &Convention,
) -> Result<Desired, InvalidSpec> {
    let warnings = judge_form(spec, mounts, convention)?;
    let sources = sources(spec)?;
    check_supported(spec)?;
    store_queries(spec)?;
    let adopt = annotations.get(ANNOTATION_ADOPT).is_some_and(|value| value == TRUE);
    Ok(Desired {
        sources,
        template: template(spec)?,
        stores: chosen.stores.clone(),
        mappings: super::shapes::mappings(spec, chosen)?,
        refresh: spec.refresh_interval.parse().map_err(InvalidSpec::Interval)?.positive(),
        existing: existing(spec.update_policy()),
        foreign: if adopt { Foreign::Adopt } else { Foreign::Refuse },
        earlier: earlier_versions(annotations)?,
        warnings,
    })
}

/// The stores of a spec, whatever stores exist.
fn assumed(spec: &PushSecretSpec, queries: &StoreQueries) -> Chosen {
    let StoreQueries { refs, data_to } = queries;
    let data_to = data_to.keys().map(|index| (*index, BTreeSet::new())).collect();
    let mut chosen = Chosen { stores: stores(spec), data_to };
    if !refs.is_empty() {
        // Labels may select any store, so every named store counts as chosen.
        chosen.stores.extend(spec.data_to.iter().filter_map(|many| named_store(many.store_ref.as_ref()?)));
    }
    chosen
}

/// Parses a spec for a store with this mount, whatever stores exist. Also returns the mounts.
///
/// # Errors
/// One of [`faults`], or a fault that is judged elsewhere.
pub fn parse_at(
    spec: &PushSecretSpec,
    mount: Option<&str>,
    convention: &Convention,
) -> Result<(Desired, Mounts), InvalidSpec> {
    let mut chosen = assumed(spec, &store_queries(spec)?);
    let store = StoreKey::new(StoreKind::ClusterSecretStore, SOME_STORE);
    chosen.stores.insert(store.clone());
    let mounts = Mounts::from([(store, mount.map(str::to_owned))]);
    let desired = parse(spec, &BTreeMap::new(), &chosen, &mounts, convention)?;
    Ok((desired, mounts))
}

/// All faults of a spec by itself, whatever stores and sources exist. Its form, its bounds, the
/// `metadata` of its mappings and whether these contradict each other are judged elsewhere.
pub fn faults(spec: &PushSecretSpec) -> Vec<InvalidSpec> {
    let queries = store_queries(spec);
    let none = StoreQueries::default();
    let chosen = assumed(spec, queries.as_ref().unwrap_or(&none));
    let mappings = || super::shapes::mappings(spec, &chosen).err();
    let found = [
        sources(spec).err(),
        template(spec).err(),
        check_supported(spec).err(),
        queries.is_ok().then(mappings).flatten(),
        queries.err(),
    ];
    found.into_iter().flatten().collect()
}

/// Judges P1–P3 and V4. They are errors if the convention is enforced, and warnings if it only
/// warns.
fn judge_form(spec: &PushSecretSpec, mounts: &Mounts, convention: &Convention) -> Result<Vec<String>, InvalidSpec> {
    let facts = PushFacts {
        root: "spec",
        stores: spec
            .secret_store_refs
            .iter()
            .map(|store| {
                let name = store.name.clone().unwrap_or_default();
                let mount = mounts.get(&StoreKey::new(store.kind(), name));
                StoreFacts {
                    kind: store.kind.map(|kind| kind.as_str()),
                    mounts: vec![mount.map_or(Some("secret"), |mount| mount.as_deref())],
                }
            })
            .collect(),
        mappings: spec.data.iter().map(facts_of).collect(),
        data_to: spec.data_to.len(),
    };
    let found = convention.judge_push_secret(&facts).into_iter().filter(|located| concerns_form(located.finding.rule));
    let (errors, warnings): (Vec<_>, Vec<_>) = found.partition(|located| located.finding.severity == Severity::Error);
    let texts = |found: Vec<LocatedFinding>| -> Vec<String> {
        found.into_iter().map(|located| format!("{}: {}", located.field, located.finding)).collect()
    };
    match errors.is_empty() {
        true => Ok(texts(warnings)),
        false => Err(InvalidSpec::Convention(texts(errors))),
    }
}

fn facts_of(data: &PushSecretData) -> MappingFacts<'_> {
    MappingFacts {
        secret_key: data.match_.secret_key.as_deref(),
        remote_key: &data.match_.remote_ref.remote_key,
        property: data.match_.remote_ref.property.as_deref(),
    }
}

fn concerns_form(rule: RuleId) -> bool {
    match rule {
        RuleId::P1 | RuleId::P2 | RuleId::P3 | RuleId::V4 => true,
        RuleId::V1 | RuleId::V2 | RuleId::V3 | RuleId::V5 | RuleId::V6 | RuleId::V7 | RuleId::V8 => false,
    }
}

fn check_supported(spec: &PushSecretSpec) -> Result<(), InvalidSpec> {
    if spec.secret_store_refs.is_empty() {
        return Err(missing("spec.secretStoreRefs", "name a ClusterSecretStore"));
    }
    for (index, store) in spec.secret_store_refs.iter().enumerate() {
        if store.name.as_deref().is_none_or(str::is_empty) && store.label_selector.is_none() {
            return Err(missing(format!("spec.secretStoreRefs[{index}].name"), "name the store, or select by labels"));
        }
    }
    Ok(())
}

pub(super) fn unsupported(field: impl Into<String>, instead: &'static str) -> InvalidSpec {
    InvalidSpec::Unsupported { field: field.into(), instead }
}

pub(super) fn missing(field: impl Into<String>, instead: &'static str) -> InvalidSpec {
    InvalidSpec::Missing { field: field.into(), instead }
}
