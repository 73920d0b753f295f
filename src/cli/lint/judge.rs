//! Judges the documents of a set of files: their shape, their facts, and the path convention.

use std::collections::{HashMap, HashSet};

use super::modes::{ModeBy, Modes};
use super::{convention, facts, fan_out, metadata, permitted, push_spec, rules, schema, served};
use crate::config::CONTROLLER_CLASS;
use crate::domain::convention::Convention;
use crate::manifest::{Bundle, Located, Node, Object, Problem, Source, Value, bundle, stores};
use crate::store::admit::Class;

/// What lint is told of the installation.
pub struct Installation<'a> {
    pub convention: &'a Convention,
    pub mode_by: ModeBy,
    /// The mount of stores that are not among the files.
    pub store_path: &'a str,
    /// Which stores its controller serves.
    pub class: Class,
}

/// What lint finds.
pub struct Judged {
    pub found: Vec<Located>,
    /// How many objects another controller serves: they are not judged.
    pub left_alone: usize,
}

/// Every problem of every file, in the order of files and lines, for a controller with the default
/// class. An object is judged in the mode of its Namespace's label, if the Namespace is among the
/// files.
pub fn judge(sources: &[Source], convention: &Convention, store_path: &str) -> Vec<Located> {
    let class = Class::new(CONTROLLER_CLASS, true);
    judge_bundle(sources, bundle(sources), &Installation { convention, mode_by: ModeBy::Label, store_path, class })
        .found
}

/// The same for files that are bundled already, and any installation.
pub fn judge_bundle(sources: &[Source], bundle: Bundle<'_>, installation: &Installation<'_>) -> Judged {
    let closed = permitted::closed(&bundle);
    let Bundle { objects, namespaces, broken: mut found, holders: _ } = bundle;
    let Installation { convention, mode_by, store_path, class } = installation;
    let modes = Modes::new(convention, &namespaces, *mode_by);
    let stores = stores(&objects, store_path, closed, |store| served::of_others(store, class));
    let is_left_alone = |object: &Object<'_>| served::is_left_alone(object, &stores, class);
    let (left_alone, objects): (Vec<_>, Vec<_>) = objects.into_iter().partition(is_left_alone);
    for object in &objects {
        let mut problems = alone(object);
        problems.extend(permitted::check(object, &stores, &namespaces));
        let convention = modes.of(object);
        problems.extend(convention::check(object, &convention, &stores));
        problems.extend(fan_out::check(object));
        problems.extend(push_spec::clashes(object, &stores));
        found.extend(problems.into_iter().map(|problem| object.located(problem)));
    }
    found.extend(
        convention::one_producer(&objects, &modes, &stores)
            .into_iter()
            .map(|(index, problem)| objects[index].located(problem)),
    );
    Judged { found: in_order(sources, found), left_alone: left_alone.len() }
}

/// Problems of a single object. As in a cluster, its rules are checked only if its shape is right,
/// and the controller's parsers are used only if the rules hold.
pub fn alone(object: &Object<'_>) -> Vec<Problem> {
    let mut problems = duplicates(&object.node);
    problems.extend(metadata::check(object));
    let shape = schema::check(object.kind, &object.node);
    let rules = if shape.is_empty() { rules::check(object.kind, &object.node) } else { Vec::new() };
    if rules.is_empty() {
        problems.extend(facts::check(object));
    }
    problems.extend(shape);
    problems.extend(rules);
    problems
}

fn duplicates(node: &Node) -> Vec<Problem> {
    let mut problems = Vec::new();
    match &node.value {
        Value::Map(entries) => {
            let mut seen = HashSet::new();
            for entry in entries {
                if !seen.insert(entry.name.as_str()) {
                    problems.push(Problem::error(
                        "duplicate-key",
                        entry.name_span.clone(),
                        format!("`{}` is set twice here, and only one of them counts", entry.name),
                        Some("remove one".into()),
                    ));
                }
                problems.extend(duplicates(&entry.node));
            }
        }
        Value::List(items) => problems.extend(items.iter().flat_map(duplicates)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {}
    }
    problems
}

fn in_order(sources: &[Source], mut found: Vec<Located>) -> Vec<Located> {
    let order: HashMap<&str, usize> =
        sources.iter().enumerate().map(|(index, source)| (source.name.as_str(), index)).collect();
    found.sort_by_key(|located| {
        let file = order.get(located.file.as_str()).copied();
        (file, located.line, located.column)
    });
    found
}
