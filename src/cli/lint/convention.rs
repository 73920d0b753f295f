//! Checks documents against the path convention, with the same facts and the same code as the
//! reconciler.

use std::collections::HashMap;

use super::modes::Modes;
use crate::domain::convention::{Convention, Finding, LocatedFinding, Mode, PushFacts, RuleId, Severity};
use crate::domain::path::RemotePath;
use crate::domain::remote_key::RemoteKey;
use crate::manifest::{
    self, AtHand, Node, Object, Problem, Read, Stores, mapping, push_facts, push_root, read_spec, reads, span_of,
};

/// Every finding about one object.
pub fn check(object: &Object<'_>, convention: &Convention, stores: &Stores) -> Vec<Problem> {
    let mut problems = read(object, convention, stores);
    problems.extend(assumed(object, convention, stores));
    if let Some(facts) = push_facts(object, stores) {
        let found = convention.judge_push_secret(&facts).into_iter().filter(|located| !is_conflict(located));
        let found = found.chain(conflicts(convention, &facts));
        problems.extend(found.map(|located| Problem::of(located.finding, span_of(&object.node, &located.field))));
    }
    problems
}

/// V4 within a push. It is an error in every mode, because the controller refuses two mappings to one
/// property in every mode.
fn conflicts(convention: &Convention, facts: &PushFacts<'_>) -> Vec<LocatedFinding> {
    let enforced = Convention { mode: Mode::Enforce, ..convention.clone() };
    enforced.judge_push_secret(facts).into_iter().filter(is_conflict).collect()
}

fn is_conflict(located: &LocatedFinding) -> bool {
    located.finding.rule == RuleId::V4
}

/// Warns of a selector of stores that no manifest among the files matches, and says which mount is
/// assumed for its keys.
fn assumed(object: &Object<'_>, convention: &Convention, stores: &Stores) -> Vec<Problem> {
    let severity = match convention.mode {
        Mode::Enforce | Mode::Warn => Severity::Warning,
        Mode::Off => return Vec::new(),
    };
    let references = push_root(object).and_then(|root| object.node.at(root)?.get("secretStoreRefs"));
    let unanswered = references.map(Node::items).unwrap_or_default().iter().filter_map(|reference| {
        let query = manifest::query(reference)?;
        let meant = stores.meant(reference, object.metadata("namespace"));
        let lacking = meant.iter().find_map(|meant| match meant.at_hand {
            AtHand::Yes => None,
            AtHand::No => Some(format!("no store with {query} is among the files")),
            AtHand::Closed => Some(format!("no store with {query} among the files serves the namespace")),
        })?;
        Some((reference, lacking))
    });
    let told = unanswered.map(|(reference, lacking)| Problem {
        rule: "assumed-store".to_owned(),
        severity,
        span: span_of(reference, "labelSelector"),
        message: format!("{lacking}: its mount is assumed to be `{}`", stores.assumed()),
        fix: Some("give lint the manifests of the stores, or set their mount with --store-path".to_owned()),
    });
    told.collect()
}

/// Findings of reads: a path outside the convention is a warning, a key that is not a path an error
/// in every mode.
fn read(object: &Object<'_>, convention: &Convention, stores: &Stores) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    for Read { mount, key, property } in reads(object, stores) {
        let findings = match RemotePath::parse_read(mount, key.text().unwrap_or_default()) {
            Ok(path) => convention.judge_read(&path, property),
            Err(refused) => {
                let (rule, severity, message) = (RuleId::P3, Severity::Error, refused.to_string());
                vec![Finding { rule, severity, message, fix: None }]
            }
        };
        for problem in findings.into_iter().map(|finding| Problem::of(finding, key.span.clone())) {
            // Several mounts of a store may lead to the same finding: it is reported once.
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
    let listed = read_spec(object).and_then(|spec| spec.get("dataFrom")).map(Node::items).unwrap_or_default();
    for entry in listed {
        if let Some(find) = entry.get("find") {
            let findings = convention.judge_find(find.text_at("path"));
            let span = span_of(find, "path");
            problems.extend(findings.into_iter().map(|f| Problem::of(f, span.clone())));
        }
    }
    problems
}

/// V4 across objects: each problem with the index of the second producer.
///
/// An object that is in several files (overlays of one base) is one producer.
pub fn one_producer(objects: &[Object<'_>], modes: &Modes<'_>, stores: &Stores) -> Vec<(usize, Problem)> {
    let mut first: HashMap<(String, RemotePath, &str), &Object<'_>> = HashMap::new();
    let mut problems = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        let Some((root, spec)) = push_root(object).and_then(|root| Some((root, object.node.at(root)?))) else {
            continue;
        };
        let list = |name: &str| spec.get(name).map(Node::items).unwrap_or_default();
        for (at, entry) in list("data").iter().enumerate() {
            let facts = mapping(entry);
            let Some(property) = facts.property.filter(|property| !property.is_empty()) else {
                continue;
            };
            let meant =
                list("secretStoreRefs").iter().flat_map(|store| stores.meant(store, object.metadata("namespace")));
            for store in meant {
                // Only its sources determine the path of a key with placeholders.
                let is_plain = RemoteKey::parse(facts.remote_key).is_ok_and(|key| key.is_plain());
                let (Ok(path), true) = (RemotePath::parse(store.mount, facts.remote_key), is_plain) else {
                    continue;
                };
                let place = (store.identity, path, property);
                let owner = *first.entry(place).or_insert(object);
                let severity = match modes.of(object).mode {
                    Mode::Enforce => Severity::Error,
                    // The claims in the store know no mode.
                    Mode::Warn | Mode::Off => Severity::Warning,
                };
                if is_same(owner, object) {
                    continue;
                }
                let field = format!("{root}.data[{at}].match.remoteRef.remoteKey");
                let problem = Problem {
                    rule: RuleId::V4.to_string(),
                    severity,
                    span: span_of(&object.node, &field),
                    message: format!(
                        "{} {}/{} already writes `{property}` of `{}`",
                        owner.kind.name,
                        owner.metadata("namespace"),
                        owner.metadata("name"),
                        facts.remote_key
                    ),
                    fix: Some("give one of them a path or a property of its own".into()),
                };
                // Several mounts of a store may lead to the same finding: it is reported once.
                if !problems.contains(&(index, problem.clone())) {
                    problems.push((index, problem));
                }
            }
        }
    }
    problems
}

fn is_same(one: &Object<'_>, other: &Object<'_>) -> bool {
    one.kind.name == other.kind.name
        && one.metadata("namespace") == other.metadata("namespace")
        && one.metadata("name") == other.metadata("name")
}
