//! Renders what a PushSecret pushes, by the controller's own mappings.

use std::collections::BTreeMap;

use super::content::{Beside, Content, Made};
use super::pull::{Refused, named, unsound};
use super::world::{Values, World, said};
use super::{holders, texts};
use crate::api::PushSecret;
use crate::api::selector::StoreKind;
use crate::domain::convention::{Convention, Mode};
use crate::domain::description::What;
use crate::domain::secret::SecretMap;
use crate::domain::secret_template::{self, TemplateFault};
use crate::domain::source::{Source, SourceKind};
use crate::manifest::{AtHand, Node, Object, Problem, span_of, template_fault};
use crate::push::desired::{self, Chosen, Desired};
use crate::push::ledger::{EntryRef, Mounts, StoreKey};
use crate::push::mapped::{self, Wanted};
use crate::push::plan;
use crate::push::rendered::rendered;
use crate::push::sources::Sources;

/// What a PushSecret makes: one entry for each store and path.
///
/// # Errors
/// What the API server or the controller would refuse, and a source that is missing.
pub async fn render(object: &Object<'_>, namespace: &str, world: &World<'_>) -> Result<Vec<Made>, Refused> {
    unsound(object)?;
    let odd = |message: String| problem(object, "spec", message, None);
    let push: PushSecret = serde_json::from_value(object.node.admitted())
        .map_err(|_quotes_it| odd("this is no PushSecret that an API server would take".to_owned()))?;
    let (chosen, mounts) = chosen(object, namespace, world)?;
    let annotations = push.metadata.annotations.clone().unwrap_or_default();
    // `waypost lint` judges the convention.
    let convention = Convention::with_mode(Mode::Off);
    let desired = desired::parse(&push.spec, &annotations, &chosen, &mounts, &convention);
    let desired = desired.map_err(|error| odd(error.to_string()))?;
    let sources = sources(object, namespace, &desired, world).await?;
    let (sources, unrendered) = match &desired.template {
        Some(template) => {
            let texts = texts::of(object, template, namespace, world).await?;
            rendered(template, &texts, sources).map_err(|unrendered| not_rendered(object, &unrendered.fault))?
        }
        None => (sources, Vec::new()),
    };
    if !unrendered.is_empty() {
        return Err(unrendered.iter().flat_map(|unrendered| not_rendered(object, &unrendered.fault)).collect());
    }
    let mapped = mapped::map(&desired, &sources, &mounts, &convention);
    let by = format!("PushSecret {}", named(namespace, object.metadata("name")));
    let mut refused: Refused =
        mapped.astray.iter().flat_map(|astray| at(object, &astray.origin.field, astray.to_string())).collect();
    let mut made = Vec::new();
    for (entry_ref, wanted) in &mapped.entries {
        match properties(wanted, &sources) {
            Ok(data) => {
                let beside = beside(entry_ref, &data, world).await;
                let content = Content { data, ..Content::default() };
                let notes = if made.is_empty() { mapped.warnings.clone() } else { Vec::new() };
                let place = format!("{} in {}", entry_ref.path, entry_ref.store);
                let (shown, rendered) = Default::default();
                made.push(Made { by: by.clone(), place, content, shown, rendered, beside, notes });
            }
            Err((field, message)) => refused.extend(at(object, &field, message)),
        }
    }
    match (refused.is_empty(), made.is_empty()) {
        (false, _) => Err(refused),
        (true, true) => Err(odd("no mapping finds anything in the source: fill it, or correct spec.data".to_owned())),
        (true, false) => Ok(made),
    }
}

fn problem(object: &Object<'_>, field: &str, message: String, fix: Option<&str>) -> Refused {
    let span = span_of(&object.node, field);
    vec![object.located(Problem::error("push", span, message, fix.map(str::to_owned)))]
}

fn not_rendered(object: &Object<'_>, fault: &TemplateFault) -> Refused {
    match &fault.problem {
        _missing if fault.is_missing() => vec![object.located(texts::missing(object, "push", fault))],
        secret_template::Problem::Template(cause) if object.node.at(&fault.field).and_then(Node::text).is_some() => {
            vec![object.located(template_fault(object, "push", &fault.field, cause))]
        }
        _other => problem(object, &fault.field, fault.to_string(), None),
    }
}

/// A mapping's field may name the key as well, as in `spec.dataTo[0] (key "a")`.
fn at(object: &Object<'_>, field: &str, message: String) -> Refused {
    problem(object, field.split(' ').next().unwrap_or_default(), message, None)
}

/// The stores that a spec names or selects among the files, with their mounts.
fn chosen(object: &Object<'_>, namespace: &str, world: &World<'_>) -> Result<(Chosen, Mounts), Refused> {
    let (mut chosen, mut mounts) = (Chosen::default(), Mounts::new());
    for reference in object.node.at("spec.secretStoreRefs").map(Node::items).unwrap_or_default() {
        for (store, mount) in stores(object, reference, namespace, world)? {
            chosen.stores.insert(store.clone());
            mounts.entry(store).or_insert(mount);
        }
    }
    for (index, many) in object.node.at("spec.dataTo").map(Node::items).unwrap_or_default().iter().enumerate() {
        let selecting = many.get("storeRef").filter(|reference| crate::manifest::query(reference).is_some());
        if let Some(reference) = selecting {
            let stores = stores(object, reference, namespace, world)?.into_iter().map(|(store, _)| store);
            chosen.data_to.insert(index, stores.filter(|store| chosen.stores.contains(store)).collect());
        }
    }
    Ok((chosen, mounts))
}

fn stores(
    object: &Object<'_>,
    reference: &Node,
    namespace: &str,
    world: &World<'_>,
) -> Result<Vec<(StoreKey, Option<String>)>, Refused> {
    let kind = reference.text_at("kind").and_then(StoreKind::from_word).unwrap_or_default();
    let is_named = crate::manifest::query(reference).is_none();
    let mut stores = Vec::new();
    for meant in world.stores.meant(reference, namespace) {
        let name = match (is_named, meant.at_hand) {
            (true, _) => reference.text_at("name").unwrap_or_default().to_owned(),
            (false, AtHand::Yes) => meant.identity.rsplit('/').next().unwrap_or_default().to_owned(),
            (false, AtHand::No | AtHand::Closed) => {
                let span = reference.span.clone();
                let message = "no store among the files has the labels that labelSelector asks for".to_owned();
                let fix = Some("add the manifest of the store".to_owned());
                return Err(vec![object.located(Problem::error("push", span, message, fix))]);
            }
        };
        stores.push((StoreKey::new(kind, name), meant.mount.map(str::to_owned)));
    }
    Ok(stores)
}

/// The sources: those among the files, else with `--live` those of the cluster.
async fn sources(
    object: &Object<'_>,
    namespace: &str,
    desired: &Desired,
    world: &World<'_>,
) -> Result<Vec<Source>, Refused> {
    let sources = in_files(namespace, &desired.sources, world)?;
    if !sources.is_empty() {
        return Ok(sources);
    }
    let what = desired.sources.text(namespace);
    let (why, fix) = match &world.values {
        Values::Samples(_) => {
            (format!("{what}: not among the files"), "add its manifest to FILE, or name a file with it by --with")
        }
        Values::Live(servers) => match in_cluster(namespace, &desired.sources, servers.cluster()).await {
            Ok(sources) if !sources.is_empty() => return Ok(sources),
            Ok(_none) => (
                format!("{what}: neither among the files nor in the cluster"),
                "create it, or name a file with it by --with",
            ),
            Err(why) => (format!("{what}: not among the files, and not read: {why}"), "name a file with it by --with"),
        },
    };
    Err(problem(object, "spec.selector", why, Some(fix)))
}

fn in_files(namespace: &str, asked: &Sources, world: &World<'_>) -> Result<Vec<Source>, Refused> {
    let (kind, name) = match asked {
        Sources::Named(name) => (SourceKind::Secret, Some(name)),
        Sources::ConfigMap(name) => (SourceKind::ConfigMap, Some(name)),
        Sources::Labelled(_) => (SourceKind::Secret, None),
    };
    let mut sources = BTreeMap::new();
    for holder in world.holders.iter().filter(|holder| holders::is_of(holder, kind.as_str(), namespace)) {
        if name.is_some_and(|name| !holders::is(holder, kind.as_str(), namespace, name)) {
            continue;
        }
        let source = holders::source(holder, kind, namespace)?;
        if !matches!(asked, Sources::Labelled(query) if !query.matches(&source.labels)) {
            sources.insert(source.name.clone(), source);
        }
    }
    Ok(sources.into_values().collect())
}

async fn in_cluster(
    namespace: &str,
    asked: &Sources,
    cluster: Result<&crate::cluster::Cluster, String>,
) -> Result<Vec<Source>, String> {
    let cluster = cluster?;
    let read = match asked {
        Sources::Named(name) => cluster.source(namespace, name).await.map(Vec::from_iter),
        Sources::ConfigMap(name) => cluster.config_map_source(namespace, name).await.map(Vec::from_iter),
        Sources::Labelled(query) => match cluster.sources(namespace, query, crate::push::sources::BOUND).await {
            Ok(Ok(sources)) => Ok(sources),
            Ok(Err(over)) => return Err(asked.too_many(namespace, over).message),
            Err(error) => Err(error),
        },
    };
    read.map_err(|error| said(&error))
}

/// The values of an entry; or the field that is wrong, and why.
fn properties(wanted: &Wanted, sources: &[Source]) -> Result<SecretMap, (String, String)> {
    if let Some(clash) = &wanted.clash {
        return Err(("spec".to_owned(), clash.to_string()));
    }
    let values =
        plan::values(wanted, sources).map_err(|(from, error)| ("spec.data".to_owned(), format!("{from}: {error}")))?;
    Ok(values.into_iter().map(|(property, value)| (property, value.rendered())).collect())
}

/// What stands at the path now, of what is pushed there: other properties are others'.
async fn beside(entry_ref: &EntryRef, pushed: &SecretMap, world: &World<'_>) -> Beside {
    let Values::Live(servers) = &world.values else { return Beside::Nothing };
    match servers.entry(&entry_ref.path, None, What::Data).await {
        Ok(entry) => match entry.data() {
            Some(data) => {
                let ours = data.iter().filter(|(property, _)| pushed.contains_key(*property));
                let data = ours.map(|(property, value)| (property.clone(), value.rendered())).collect();
                Beside::Present { by: "the store".to_owned(), content: Content { data, ..Content::default() } }
            }
            None => Beside::Absent { by: "the store".to_owned() },
        },
        Err(error) => Beside::Unseen { why: servers.in_its_words(&error) },
    }
}
