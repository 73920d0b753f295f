//! P1–P3 and V4: one PushSecret as a whole, as plain facts that both reconcilers and lint can
//! provide.

use std::collections::{BTreeMap, BTreeSet};

use super::words::DEFAULT_MOUNT;
use super::{Convention, Finding, RuleId, Severity};
use crate::domain::path::RemotePath;
use crate::domain::remote_key::{Placeholder, RemoteKey, SHOWN, STAND_IN};

/// What the convention needs to know of a PushSecret.
#[derive(Clone, Debug)]
pub struct PushFacts<'a> {
    /// The field with the PushSecret's spec: `spec`, or `spec.pushSecretSpec`.
    pub root: &'a str,
    /// `secretStoreRefs`, in order.
    pub stores: Vec<StoreFacts<'a>>,
    /// `data`, in order.
    pub mappings: Vec<MappingFacts<'a>>,
    /// How many entries `dataTo` has.
    pub data_to: usize,
}

/// One entry of `secretStoreRefs`.
#[derive(Clone, Debug)]
pub struct StoreFacts<'a> {
    /// `kind` as written; none means `SecretStore`.
    pub kind: Option<&'a str>,
    /// `spec.provider.vault.path` of each store that it refers to: several if labels select them,
    /// the caller's assumption if the store is not known, `None` if unset.
    pub mounts: Vec<Option<&'a str>>,
}

/// One entry of `data`.
#[derive(Clone, Debug)]
pub struct MappingFacts<'a> {
    /// `match.secretKey`; none or empty means the whole Secret.
    pub secret_key: Option<&'a str>,
    /// `match.remoteRef.remoteKey`.
    pub remote_key: &'a str,
    /// `match.remoteRef.property`; none or empty means the whole entry.
    pub property: Option<&'a str>,
}

/// A finding, and its field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocatedFinding {
    /// E.g. `spec.data[0].match.remoteRef.remoteKey`.
    pub field: String,
    pub finding: Finding,
}

pub fn judge_push_secret(convention: &Convention, facts: &PushFacts<'_>) -> Vec<LocatedFinding> {
    let mut found = Vec::new();
    for (index, store) in facts.stores.iter().enumerate() {
        if let Some(finding) = store_kind(store) {
            found.push(LocatedFinding { field: format!("{}.secretStoreRefs[{index}].kind", facts.root), finding });
        }
    }
    let mounts = mounts(facts);
    for (index, mapping) in facts.mappings.iter().enumerate() {
        let at = format!("{}.data[{index}].match", facts.root);
        found.extend(named_keys(mapping, &at));
        for mount in &mounts {
            // Several stores may lead to one path, or to the same finding: each is reported once.
            for located in remote(convention, mapping, *mount, &at) {
                if !found.contains(&located) {
                    found.push(located);
                }
            }
        }
    }
    found.extend(one_producer(facts, &mounts));
    if facts.data_to > 0 {
        found.push(LocatedFinding {
            field: format!("{}.dataTo", facts.root),
            finding: error(
                RuleId::P2,
                "`dataTo` pushes all keys that the source has".into(),
                "list each key in `data`",
            ),
        });
    }
    found
}

fn mounts<'a>(facts: &PushFacts<'a>) -> BTreeSet<Option<&'a str>> {
    match facts.stores.is_empty() {
        true => BTreeSet::from([Some(DEFAULT_MOUNT)]),
        false => facts.stores.iter().flat_map(|store| store.mounts.iter().copied()).collect(),
    }
}

fn store_kind(store: &StoreFacts<'_>) -> Option<Finding> {
    let message = match store.kind {
        Some("ClusterSecretStore") => return None,
        None => "a store reference without `kind` means a namespaced SecretStore".to_owned(),
        Some(kind) => format!("a PushSecret references a ClusterSecretStore, not a {kind}"),
    };
    Some(error(RuleId::P1, message, "set `kind: ClusterSecretStore`"))
}

fn named_keys(mapping: &MappingFacts<'_>, at: &str) -> Vec<LocatedFinding> {
    let key = mapping.remote_key;
    let mut found = Vec::new();
    let mut wrong = |field: &str, message: String, fix: &str| {
        found.push(LocatedFinding { field: format!("{at}{field}"), finding: error(RuleId::P2, message, fix) });
    };
    if is_absent(mapping.secret_key) {
        wrong(
            "",
            format!("the mapping to `{key}` names no `secretKey`, which pushes the whole Secret"),
            "add one mapping a key, each with `secretKey` and `remoteRef.property`",
        );
    }
    if is_absent(mapping.property) {
        wrong(
            ".remoteRef",
            format!("the mapping to `{key}` names no `property`, which replaces the whole entry"),
            "add `remoteRef.property`, such as `password`",
        );
    }
    for (field, text) in [
        (".secretKey", mapping.secret_key),
        (".remoteRef.remoteKey", Some(key)),
        (".remoteRef.property", mapping.property),
    ] {
        if let Some(text) = text.filter(|text| text.contains('*')) {
            wrong(field, format!("`{text}` has a wildcard, but each key must be named"), "write out each key");
        }
    }
    found
}

fn remote(convention: &Convention, mapping: &MappingFacts<'_>, mount: Option<&str>, at: &str) -> Vec<LocatedFinding> {
    let key_field = format!("{at}.remoteRef.remoteKey");
    let path = match specimen(mapping, mount) {
        Ok((path, _placeholders)) => path,
        Err(message) => {
            return vec![LocatedFinding {
                field: key_field,
                finding: Finding { rule: RuleId::P3, severity: Severity::Error, message, fix: None },
            }];
        }
    };
    let property = mapping.property.filter(|p| !p.is_empty() && !p.contains('*'));
    convention
        .judge(&path, property)
        .into_iter()
        .filter(|finding| !hangs_on_a_placeholder(finding.rule, &path))
        .map(without_stand_in)
        .map(|finding| LocatedFinding {
            field: match finding.rule {
                RuleId::V7 | RuleId::V8 => format!("{at}.remoteRef.property"),
                RuleId::P1
                | RuleId::P2
                | RuleId::P3
                | RuleId::V1
                | RuleId::V2
                | RuleId::V3
                | RuleId::V4
                | RuleId::V5
                | RuleId::V6 => key_field.clone(),
            },
            finding,
        })
        .collect()
}

/// The path of a mapping, as far as its manifest shows it, and its placeholders.
fn specimen(mapping: &MappingFacts<'_>, mount: Option<&str>) -> Result<(RemotePath, Vec<Placeholder>), String> {
    let key = RemoteKey::parse(mapping.remote_key).map_err(|refused| refused.to_string())?;
    let path = RemotePath::parse(mount, &key.specimen()).map_err(|refused| shown(&refused.to_string()))?;
    Ok((path, key.placeholders().cloned().collect()))
}

/// Prefix and datasource are judged when they are known. The fixed text of a segment, and the
/// number of segments, are known now.
fn hangs_on_a_placeholder(rule: RuleId, path: &RemotePath) -> bool {
    let is_open = |index| path.path.segments().nth(index).is_some_and(|segment| segment.contains(STAND_IN));
    match rule {
        RuleId::V1 | RuleId::V2 => is_open(0),
        RuleId::V3 => is_open(1),
        RuleId::P1 | RuleId::P2 | RuleId::P3 | RuleId::V4 | RuleId::V5 | RuleId::V6 | RuleId::V7 | RuleId::V8 => false,
    }
}

fn without_stand_in(finding: Finding) -> Finding {
    Finding { message: shown(&finding.message), fix: finding.fix.as_deref().map(shown), ..finding }
}

fn shown(text: &str) -> String {
    text.replace(STAND_IN, SHOWN)
}

/// Two mappings of one PushSecret to one property: the last one written would win.
fn one_producer(facts: &PushFacts<'_>, mounts: &BTreeSet<Option<&str>>) -> Vec<LocatedFinding> {
    let mut found = Vec::new();
    for mount in mounts {
        let mut first = BTreeMap::new();
        for (index, mapping) in facts.mappings.iter().enumerate() {
            let (Ok((path, placeholders)), Some(property)) =
                (specimen(mapping, *mount), mapping.property.filter(|p| !p.is_empty()))
            else {
                continue;
            };
            let earlier = *first.entry((path.clone(), placeholders, property)).or_insert(index);
            if earlier == index {
                continue;
            }
            let located = LocatedFinding {
                field: format!("{}.data[{index}].match.remoteRef", facts.root),
                finding: error(
                    RuleId::V4,
                    format!("`data[{earlier}]` already writes `{property}` of `{}`", shown(path.path.as_str())),
                    "remove one of the two mappings, or give it another property",
                ),
            };
            if !found.contains(&located) {
                found.push(located);
            }
        }
    }
    found
}

fn is_absent(text: Option<&str>) -> bool {
    text.is_none_or(str::is_empty)
}

fn error(rule: RuleId, message: String, fix: &str) -> Finding {
    Finding { rule, severity: Severity::Error, message, fix: Some(fix.to_owned()) }
}
