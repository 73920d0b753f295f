//! Renders the target of an ExternalSecret, by the controller's own decision.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::content::{Beside, Content, Made, Part};
use super::world::{Values, World};
use super::{missing, samples, texts};
use crate::api::{ExternalSecret, StoreRef};
use crate::cli::lint;
use crate::domain::convention::Severity;
use crate::domain::description::What;
use crate::domain::folder::RemoteFolder;
use crate::domain::path::{PathError, RemotePath};
use crate::domain::remote::Entry;
use crate::domain::secret_template::{self, Makes, SecretTemplate};
use crate::domain::template_spec::{PartSpec, Texts};
use crate::manifest::{LABEL_NAME, Located, Node, Object, Problem, span_of, template_fault};
use crate::pull::consent::{self, Consumer};
use crate::pull::desired::{Desired, SpecError};
use crate::pull::find;
use crate::pull::found;
use crate::pull::plan::{self, Observed, Presence, Snapshot, Step, TargetState};
use crate::pull::refusal::Refusal;
use crate::pull::wanted::{Find, Into, Reference, Wanted};

/// Everything that keeps an object from being rendered.
pub type Refused = Vec<Located>;

/// What an ExternalSecret makes.
///
/// # Errors
/// What the API server or the controller would refuse, and values that are missing.
pub async fn render(object: &Object<'_>, namespace: &str, world: &World<'_>) -> Result<Made, Refused> {
    let desired = expanded(object, desired(object, namespace, world).await?, world).await?;
    let snapshots = snapshots(object, &desired, world).await?;
    let consumer = consumer(&desired, &snapshots, world).await;
    let (target, beside) = target(&desired, world).await?;
    let texts = match &desired.template {
        Some(template) => texts::of(object, template, namespace, world).await?,
        None => Texts::default(),
    };
    // What is wrong with it is told by the plan.
    let template = desired.template.as_ref().and_then(|template| template.with(&texts).ok());
    let properties = properties(&snapshots);
    let observed = Observed { snapshots, target, consumer, texts: Arc::new(texts) };
    let decided = plan::plan(&desired, observed);
    let plan = decided.map_err(|refusal| vec![object.located(refused(object, &desired, world, &refusal))])?;
    let place = format!("Secret {}", named(&desired.namespace, &desired.target));
    let mut notes = plan.notes;
    if matches!(world.values, Values::Samples(_)) && desired.finds.iter().any(|find| find.selection.reads_labels()) {
        notes.push("sample values have no tags: all of them below the folder count as selected".to_owned());
    }
    let content = match (plan.step, &beside) {
        (Step::Create(target) | Step::Apply(target, _) | Step::Replace(target, ..), _) => Content::of_target(target),
        (Step::Recreate(target, _), _) => {
            notes.push(format!("{place} is deleted and created again, because it cannot be changed"));
            Content::of_target(target)
        }
        (Step::Keep(_), Beside::Present { content, .. }) => content.duplicate(),
        (Step::Keep(_) | Step::StayAbsent | Step::Delete(_), _) => {
            notes.push(format!("no value is there, so {place} is deleted"));
            Content::default()
        }
    };
    let by = format!("ExternalSecret {}", named(&desired.namespace, &desired.name));
    let rendered = template.map(|template| rendered(&desired, &template, &properties, &content)).unwrap_or_default();
    Ok(Made { by, place, content, shown: shown(&desired), rendered, beside, notes })
}

/// The names of the properties that were read.
fn properties(snapshots: &[(Reference, Snapshot)]) -> BTreeSet<String> {
    snapshots.iter().filter_map(|(_, snapshot)| snapshot.entry.data()).flat_map(|data| data.keys().cloned()).collect()
}

/// The keys that neither the manifest nor the secrets name: a template has made them.
fn rendered(
    desired: &Desired,
    template: &SecretTemplate,
    properties: &BTreeSet<String>,
    content: &Content,
) -> BTreeSet<(Part, String)> {
    let is_of_spec = |key: &str| {
        let is_it = |wanted: &Wanted| matches!(&wanted.into, Into::Key(own) if own == key);
        properties.contains(key) || desired.entries.iter().any(is_it)
    };
    let is_known = |part: Part, key: &str| {
        let own = match part {
            Part::Label => secret_template::Part::Labels,
            Part::Annotation => secret_template::Part::Annotations,
            Part::Type | Part::Immutable | Part::Data => secret_template::Part::Data,
        };
        template.parts.iter().any(|text| text.part == own && text.names(key)) || part == Part::Data && is_of_spec(key)
    };
    let labels = content.labels.keys().map(|key| (Part::Label, key));
    let annotations = content.annotations.keys().map(|key| (Part::Annotation, key));
    let all = labels.chain(annotations).chain(content.data.keys().map(|key| (Part::Data, key)));
    all.filter(|(part, key)| !is_known(*part, key)).map(|(part, key)| (part, key.clone())).collect()
}

/// `namespace/name`, or the name alone where a manifest has no namespace.
pub fn named(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

/// What an object by itself is refused for, by the API server or by the controller.
pub fn unsound(object: &Object<'_>) -> Result<(), Refused> {
    let errors: Vec<Problem> =
        lint::alone(object).into_iter().filter(|problem| problem.severity == Severity::Error).collect();
    match errors.is_empty() {
        true => Ok(()),
        false => Err(errors.into_iter().map(|problem| object.located(problem)).collect()),
    }
}

async fn desired(object: &Object<'_>, namespace: &str, world: &World<'_>) -> Result<Desired, Refused> {
    unsound(object)?;
    let odd = |message: String| {
        let span = span_of(&object.node, "spec");
        vec![object.located(Problem::error("spec", span, message, None))]
    };
    let mut external: ExternalSecret = serde_json::from_value(object.node.admitted())
        .map_err(|_quotes_it| odd("this is no ExternalSecret that an API server would take".to_owned()))?;
    external.metadata.namespace = Some(namespace.to_owned());
    if let Values::Live(servers) = &world.values {
        external.metadata.uid = servers.uid(namespace, object.metadata("name")).await;
    }
    Desired::parse(&external).map_err(|error: SpecError| odd(error.to_string()))
}

/// The spec with what is found.
async fn expanded(object: &Object<'_>, desired: Desired, world: &World<'_>) -> Result<Desired, Refused> {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    for find in &desired.finds {
        match found_by(&desired, find, world).await {
            Ok(paths) => found.push(paths),
            Err(cause) => {
                let field = format!("{}.find", find.field);
                let span = span_of(&object.node, &field);
                problems.push(object.located(Problem::error("value", span, format!("{field}: {cause}"), None)));
            }
        }
    }
    if problems.is_empty() { Ok(found::expanded(&desired, found)) } else { Err(problems) }
}

async fn found_by(desired: &Desired, wanted: &Find, world: &World<'_>) -> Result<Vec<RemotePath>, String> {
    let mount = mount(desired, &wanted.store, world);
    let folder = RemoteFolder::parse(mount, wanted.path.as_deref()).map_err(|error| error.to_string())?;
    let entries = match &world.values {
        Values::Samples(samples) => samples.below(mount, &folder, &wanted.selection.labels()),
        Values::Live(servers) => {
            let entries = servers.entries(&folder, find::detail(wanted)).await;
            entries.map_err(|error| servers.in_its_words(&error))?
        }
    };
    found::selected(wanted, &folder, &entries, std::iter::empty()).map_err(|error| error.to_string())
}

async fn snapshots(
    object: &Object<'_>,
    desired: &Desired,
    world: &World<'_>,
) -> Result<Vec<(Reference, Snapshot)>, Refused> {
    let (mut snapshots, mut lacking, mut problems) = (Vec::new(), Vec::new(), Vec::new());
    let mut asked: Vec<&Reference> = Vec::new();
    for (index, Wanted { from, .. }) in desired.entries.iter().enumerate() {
        if asked.contains(&from) {
            continue;
        }
        asked.push(from);
        let key = format!("{}.key", field(desired, index));
        match read(desired, from, world).await {
            Ok(Some(snapshot)) => snapshots.push((from.clone(), snapshot)),
            Ok(None) => lacking.push((key, samples::key_of(from))),
            Err(cause) => {
                let span = span_of(&object.node, &key);
                problems.push(object.located(Problem::error("value", span, format!("{key}: {cause}"), None)));
            }
        }
    }
    if let Values::Samples(samples) = &world.values {
        problems.extend(missing::paths(object, desired, samples, &lacking));
    }
    if problems.is_empty() { Ok(snapshots) } else { Err(problems) }
}

/// What stands at a path; `None` if there are no sample values for it.
async fn read(desired: &Desired, from: &Reference, world: &World<'_>) -> Result<Option<Snapshot>, String> {
    let (mount, path) = place(desired, from, world).map_err(|error| error.to_string())?;
    let entry = match &world.values {
        Values::Samples(samples) => samples.entry(mount, &path, from.what),
        Values::Live(servers) => {
            let entry = servers.entry(&path, from.version, from.what).await;
            Some(Arc::new(entry.map_err(|error| servers.in_its_words(&error))?))
        }
    };
    Ok(entry.map(|entry| snapshot(&path, entry)))
}

/// The mount of a reference, and its path.
fn place<'w>(
    desired: &Desired,
    from: &Reference,
    world: &'w World<'_>,
) -> Result<(Option<&'w str>, RemotePath), PathError> {
    let mount = mount(desired, &from.store, world);
    Ok((mount, RemotePath::parse_read(mount, &from.key)?))
}

fn mount<'w>(desired: &Desired, store: &StoreRef, world: &'w World<'_>) -> Option<&'w str> {
    world.stores.mount_of(store.kind(), store.name.as_deref().unwrap_or_default(), &desired.namespace)
}

fn snapshot(path: &RemotePath, entry: Arc<Entry>) -> Snapshot {
    let presence = if entry.data().is_some() { Presence::Live } else { Presence::Missing };
    Snapshot { path: path.to_string(), entry, presence, before: None, owned: BTreeSet::new() }
}

/// The field of the spec that an entry is from, with its reference.
pub fn field(desired: &Desired, index: usize) -> String {
    match desired.entries.get(index).map(|wanted| &wanted.into) {
        Some(Into::Keys { field, .. }) => format!("{field}.extract"),
        Some(Into::Found { find, .. }) => format!("{}.find", desired.finds[*find].field),
        Some(Into::Key(_)) | None => {
            let before = desired.entries.iter().take(index);
            let of_data = before.filter(|wanted| matches!(wanted.into, Into::Key(_))).count();
            format!("spec.data[{of_data}].remoteRef")
        }
    }
}

/// Without a cluster, a namespace has the label that Kubernetes sets.
async fn consumer(desired: &Desired, snapshots: &[(Reference, Snapshot)], world: &World<'_>) -> Consumer {
    let mut labels = BTreeMap::from([(LABEL_NAME.to_owned(), desired.namespace.clone())]);
    if let (Values::Live(servers), true) = (&world.values, consent::asks_for_labels(snapshots))
        && let Ok(cluster) = servers.cluster()
        && let Ok(found) = cluster.namespace_labels(&desired.namespace).await
    {
        labels = found;
    }
    Consumer { labels, ..Consumer::default() }
}

/// The target as the controller would find it, and a copy to compare with.
async fn target(desired: &Desired, world: &World<'_>) -> Result<(TargetState, Beside), Refused> {
    if let Some(found) = world.target_in_file(desired) {
        let by = world.targets.as_ref().map(|(file, _)| file.display().to_string()).unwrap_or_default();
        return Ok(beside(found?.map(Box::new), by));
    }
    let Values::Live(servers) = &world.values else { return Ok((TargetState::Absent, Beside::Nothing)) };
    Ok(match servers.target(desired).await {
        Ok(found) => beside(found.map(Box::new), "the cluster".to_owned()),
        Err(why) => (TargetState::Absent, Beside::Unseen { why }),
    })
}

fn beside(found: Option<Box<crate::domain::target::Live>>, by: String) -> (TargetState, Beside) {
    match found {
        Some(live) => {
            let content = Content::of_live(&live);
            (TargetState::Present(live), Beside::Present { by, content })
        }
        None => (TargetState::Absent, Beside::Absent { by }),
    }
}

/// A refusal where it comes from in the manifest.
fn refused(object: &Object<'_>, desired: &Desired, world: &World<'_>, refusal: &Refusal) -> Problem {
    let rule = refusal.reason().to_string();
    if let Refusal::Template(fault) = refusal
        && fault.is_missing()
    {
        return texts::missing(object, &rule, fault);
    }
    if let Refusal::Template(fault) = refusal
        && let secret_template::Problem::Template(cause) = &fault.problem
        && object.node.at(&fault.field).and_then(Node::text).is_some()
    {
        return template_fault(object, &rule, &fault.field, cause);
    }
    if let (
        Refusal::PropertyNotFound { path, property, .. } | Refusal::MetadataNotFound { path, name: property, .. },
        Values::Samples(samples),
    ) = (refusal, &world.values)
    {
        let is_it = |wanted: &&Wanted| {
            let leads = place(desired, &wanted.from, world).is_ok_and(|(_, place)| place.to_string() == *path);
            let what = if matches!(refusal, Refusal::MetadataNotFound { .. }) { What::Metadata } else { What::Data };
            leads && wanted.from.what == what && wanted.property.as_ref() == Some(property)
        };
        let names = desired.entries.iter().find(is_it).and_then(|wanted| {
            let (mount, path) = place(desired, &wanted.from, world).ok()?;
            let entry = samples.entry(mount, &path, wanted.from.what)?;
            Some(entry.data()?.keys().cloned().collect::<Vec<_>>())
        });
        let index = desired.entries.iter().position(|wanted| is_it(&wanted)).unwrap_or_default();
        let field = format!("{}.property", field(desired, index));
        return missing::property(object, &field, path, property, &names.unwrap_or_default());
    }
    let of_key = |key: &str| {
        let makes = |wanted: &Wanted| matches!(&wanted.into, Into::Key(made) if made == key);
        desired.entries.iter().position(makes).map(|index| field(desired, index))
    };
    let of_property = |property: &str| {
        let reads = |wanted: &Wanted| wanted.property.as_deref() == Some(property);
        desired.entries.iter().position(reads).map(|index| format!("{}.property", field(desired, index)))
    };
    let field = match refusal {
        Refusal::Template(fault) => Some(fault.field.clone()),
        Refusal::Keys { field, .. } | Refusal::NothingFound { field, .. } => Some(field.clone()),
        Refusal::Undecodable { key } | Refusal::NullByte { key } => of_key(key),
        Refusal::PropertyNotFound { property, .. }
        | Refusal::MetadataNotFound { name: property, .. }
        | Refusal::Query { property, .. } => of_property(property),
        Refusal::PathNotFound { .. }
        | Refusal::VersionDeleted { .. }
        | Refusal::NoKeys
        | Refusal::NotPermitted(_)
        | Refusal::TooDeep { .. }
        | Refusal::TooLarge { .. }
        | Refusal::NotOwned { .. }
        | Refusal::OtherType { .. }
        | Refusal::ControlledByAnother { .. }
        | Refusal::Immutable { .. }
        | Refusal::Held { .. }
        | Refusal::Terminating { .. } => None,
    };
    let span = span_of(&object.node, field.as_deref().unwrap_or("spec"));
    Problem::error(&rule, span, refusal.to_string(), None)
}

/// The labels and annotations whose values are in the manifest: copied ones, and texts without an
/// action.
fn shown(desired: &Desired) -> BTreeSet<(Part, String)> {
    let labels = desired.labels.keys().map(|key| (Part::Label, key.clone()));
    let annotations = desired.annotations.keys().map(|key| (Part::Annotation, key.clone()));
    let parts = desired.template.iter().flat_map(|template| &template.parts).filter_map(|part| match part {
        PartSpec::Text(rendering) => Some(rendering),
        PartSpec::Object(_) => None,
    });
    let parts = parts.filter(|part| !part.text.contains("{{"));
    let fixed = parts.filter_map(|part| match (&part.makes, part.part) {
        (Makes::Value(key), secret_template::Part::Labels) => Some((Part::Label, key.clone())),
        (Makes::Value(key), secret_template::Part::Annotations) => Some((Part::Annotation, key.clone())),
        (Makes::Value(_) | Makes::KeysAndValues, _) => None,
    });
    labels.chain(annotations).chain(fixed).collect()
}
