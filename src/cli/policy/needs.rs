//! The paths that manifests need, who needs each, and how it may have to be deleted.

use std::collections::{BTreeMap, BTreeSet};

use super::Role;
use crate::cli::lint::closed;
use crate::domain::convention::Severity;
use crate::domain::earlier_versions::EarlierVersions;
use crate::domain::path::RemotePath;
use crate::domain::remote_key::RemoteKey;
use crate::manifest::{
    Node, Object, Problem, Source, Stores, bundle, earlier_versions, folders, push_facts, reads, stores,
};

/// The needs on one path.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// `Kind namespace/name` of the objects that need it.
    pub by: BTreeSet<String>,
    /// How PushSecrets that may delete what they pushed treat its earlier versions.
    pub deletes: BTreeSet<EarlierVersions>,
}

/// The needs of all paths, in their order.
pub type Needs = BTreeMap<RemotePath, Need>;

/// The needs of manifests, and everything in them that could not be parsed, because a policy
/// without it would lack rights.
pub fn needs(sources: &[Source], role: Role, namespace: Option<&str>, store_path: &str) -> (Needs, Vec<String>) {
    let bundle = bundle(sources);
    let (objects, stores) = (&bundle.objects, stores(&bundle.objects, store_path, closed(&bundle), |_store| None));
    let mut needs = Needs::new();
    let errors = bundle.broken.iter().filter(|found| found.problem.severity == Severity::Error);
    let mut refused: Vec<String> = errors.map(ToString::to_string).collect();
    for object in objects.iter().filter(|object| namespace.is_none_or(|only| object.metadata("namespace") == only)) {
        let (by, keys) = (named(object), keys(object, role, &stores));
        if role == Role::Publisher && has_a_path_for_each_key(object) {
            refused.push(format!(
                "{}: {by}: dataTo without remoteKey has a path for each key, and only its source has the keys: set a remoteKey, or write the rules of those paths yourself, such as with * after their common prefix",
                object.source.name
            ));
        }
        if role == Role::Consumer {
            refused.extend(folders(object, &stores).into_iter().map(|folder| {
                format!(
                    "{}: {by}: dataFrom.find reads everything below {folder}, and a policy of single paths has no rule for that: write it yourself, with read below {} and list below {}",
                    object.source.name,
                    folder.data_url(),
                    folder.list_url()
                )
            }));
        }
        let deletes = match earlier(object) {
            Ok(earlier) => deletes(object).then_some(earlier),
            Err(problem) => {
                refused.push(format!("{}: {by}: {}", object.source.name, problem.message));
                continue;
            }
        };
        for (mount, key) in keys {
            if role == Role::Publisher && RemoteKey::parse(key).is_ok_and(|key| !key.is_plain()) {
                refused.push(format!(
                    "{}: {by}: only its sources determine the paths of {key}: add those paths yourself, to a policy with + for the whole segment, to claims with --path",
                    object.source.name
                ));
                continue;
            }
            let parsed = match role {
                Role::Publisher => RemotePath::parse(mount, key),
                Role::Consumer => RemotePath::parse_read(mount, key),
            };
            match parsed {
                Ok(path) if is_wildcard(&path) => refused.push(format!(
                    "{}: {by}: {path} has * or a segment +, which are wildcards in a policy: rename it",
                    object.source.name
                )),
                Ok(path) => {
                    let need = needs.entry(path).or_default();
                    need.by.insert(by.clone());
                    need.deletes.extend(deletes);
                }
                Err(error) => refused.push(format!("{}: {by}: {error}", object.source.name)),
            }
        }
    }
    (needs, refused)
}

fn is_wildcard(path: &RemotePath) -> bool {
    path.path.as_str().contains('*') || path.path.segments().any(|segment| segment == "+")
}

fn named(object: &Object<'_>) -> String {
    let (namespace, name) = (object.metadata("namespace"), object.metadata("name"));
    let separator = if namespace.is_empty() { "" } else { "/" };
    format!("{} {namespace}{separator}{name}", object.kind.name)
}

/// The remote keys of an object, with the mounts of their stores.
fn keys<'o>(object: &'o Object<'_>, role: Role, stores: &'o Stores) -> Vec<(Option<&'o str>, &'o str)> {
    match role {
        Role::Publisher => {
            let Some(facts) = push_facts(object, stores) else { return Vec::new() };
            let mounts: BTreeSet<Option<&str>> =
                facts.stores.iter().flat_map(|store| store.mounts.iter().copied()).collect();
            let named: Vec<&str> =
                facts.mappings.iter().map(|mapping| mapping.remote_key).chain(bundles(object)).collect();
            mounts.into_iter().flat_map(|mount| named.iter().map(move |key| (mount, *key))).collect()
        }
        Role::Consumer => {
            reads(object, stores).iter().filter_map(|read| Some((read.mount, read.key.text()?))).collect()
        }
    }
}

/// The remote keys with many keys at once.
fn bundles<'o>(object: &'o Object<'_>) -> impl Iterator<Item = &'o str> {
    many(object).filter_map(|many| many.text_at("remoteKey")).filter(|key| !key.is_empty())
}

/// Whether it pushes each key to a path of its own.
fn has_a_path_for_each_key(object: &Object<'_>) -> bool {
    many(object).any(|many| many.text_at("remoteKey").is_none_or(str::is_empty))
}

fn many<'o>(object: &'o Object<'_>) -> impl Iterator<Item = &'o Node> {
    let lists = ["spec.dataTo", "spec.pushSecretSpec.dataTo"].into_iter().filter_map(|field| object.node.at(field));
    lists.flat_map(Node::items)
}

fn deletes(object: &Object<'_>) -> bool {
    let policy = ["spec.deletionPolicy", "spec.pushSecretSpec.deletionPolicy"].into_iter();
    policy.filter_map(|field| object.node.at(field)).any(|policy| policy.text() == Some("Delete"))
}

fn earlier(object: &Object<'_>) -> Result<EarlierVersions, Problem> {
    match object.kind.name.as_str() {
        "PushSecret" => earlier_versions(object, "metadata.annotations"),
        "ClusterPushSecret" => earlier_versions(object, "spec.pushSecretMetadata.annotations"),
        _other => Ok(EarlierVersions::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(role: Role, namespace: Option<&str>, text: &str) -> (Vec<String>, usize) {
        let source = Source { name: "file".into(), text: text.into() };
        let (needs, refused) = needs(&[source], role, namespace, "secret");
        let lines = needs.iter().map(|(path, need)| {
            let by: Vec<&str> = need.by.iter().map(String::as_str).collect();
            format!("{path} {:?} {}", need.deletes, by.join(","))
        });
        (lines.collect(), refused.len())
    }

    const MANIFESTS: &str = r#"
apiVersion: external-secrets.io/v1alpha1
kind: PushSecret
metadata: {name: push, namespace: db, annotations: {waypost.io/earlier-versions: Purge}}
spec:
  deletionPolicy: Delete
  secretStoreRefs: [{kind: ClusterSecretStore, name: elsewhere}]
  data:
  - match: {secretKey: a, remoteRef: {remoteKey: platform-data/postgres/shop, property: username}}
  - match: {secretKey: b, remoteRef: {remoteKey: secret/data/platform-data/postgres/shop, property: password}}
  - match: {secretKey: c, remoteRef: {remoteKey: platform-data/postgres/*, property: password}}
---
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: pull, namespace: shop}
spec:
  secretStoreRef: {kind: ClusterSecretStore, name: elsewhere}
  data:
  - {secretKey: a, remoteRef: {key: platform-data/postgres/shop, property: username}}
  dataFrom:
  - extract: {key: platform-config/postgres/main}
"#;

    #[test]
    fn a_folder_is_refused_with_the_rule_to_write() {
        let find = "apiVersion: external-secrets.io/v1\nkind: ExternalSecret\nmetadata: {name: pull}\nspec: {dataFrom: [{find: {path: platform-data/apps}}]}\n";
        let source = Source { name: "file".into(), text: find.into() };
        let (paths, refused) = needs(std::slice::from_ref(&source), Role::Consumer, None, "secret");
        assert!(paths.is_empty() && refused.len() == 1, "{refused:?}");
        let rule = "with read below secret/data/platform-data/apps/ and list below secret/metadata/platform-data/apps/";
        assert!(refused[0].ends_with(rule), "{refused:?}");
        assert_eq!(found(Role::Publisher, None, find), (vec![], 0));
    }

    #[test]
    fn what_cannot_be_understood_is_refused_since_rights_would_be_missing() {
        for broken in [
            "kind: [\n",
            "apiVersion: external-secrets.io/v1beta1\nkind: ExternalSecret\n",
            "apiVersion: external-secrets.io/v1alpha1\nkind: PushSecret\nmetadata: {annotations: {waypost.io/earlier-versions: all}}\n",
        ] {
            assert_eq!(found(Role::Consumer, None, broken), (vec![], 1), "{broken}");
        }
    }

    #[test]
    fn a_path_for_each_key_of_a_source_is_refused_and_one_for_all_is_counted() {
        let push = |root: &str, data_to: &str| {
            let (kind, spec) = match root {
                "spec" => ("PushSecret", format!("{{dataTo: [{data_to}], STORES}}")),
                _cluster => ("ClusterPushSecret", format!("{{pushSecretSpec: {{dataTo: [{data_to}], STORES}}}}")),
            };
            let spec = spec.replace("STORES", "secretStoreRefs: [{kind: ClusterSecretStore, name: a}]");
            format!("apiVersion: external-secrets.io/v1alpha1\nkind: {kind}\nmetadata: {{name: push}}\nspec: {spec}\n")
        };
        for root in ["spec", "spec.pushSecretSpec"] {
            let bundle = push(root, "{remoteKey: team/all}");
            let (paths, refused) = found(Role::Publisher, None, &bundle);
            assert_eq!((paths.len(), refused), (1, 0), "{bundle}");
            assert!(paths[0].starts_with("secret/team/all "), "{paths:?}");
            for each in ["{match: {regexp: '^db-'}}", "{remoteKey: ''}"] {
                assert_eq!(found(Role::Publisher, None, &push(root, each)), (vec![], 1), "{each}");
                assert_eq!(
                    found(Role::Consumer, None, &push(root, each)),
                    (vec![], 0),
                    "a reader needs nothing for it"
                );
            }
        }
    }

    #[test]
    fn every_mount_that_the_manifests_of_a_store_give_it_is_needed() {
        let store = |mount: &str| {
            format!(
                "---\napiVersion: external-secrets.io/v1\nkind: ClusterSecretStore\nmetadata: {{name: elsewhere}}\nspec: {{provider: {{vault: {{server: 'https://v', path: {mount}}}}}}}\n"
            )
        };
        for role in [Role::Publisher, Role::Consumer] {
            let (lines, _) = found(role, None, &[MANIFESTS, &store("one"), &store("two")].concat());
            for mount in ["one/", "two/"] {
                assert_eq!(lines.iter().filter(|line| line.starts_with(mount)).count(), 2, "{lines:?}");
            }
        }
    }

    #[test]
    fn each_path_is_needed_once_however_it_is_spelled_and_by_whom_is_told() {
        let push = "secret/platform-data/postgres/shop {Purge} PushSecret db/push".to_owned();
        assert_eq!(found(Role::Publisher, None, MANIFESTS), (vec![push.clone()], 1));
        let pulls = ["secret/platform-config/postgres/main", "secret/platform-data/postgres/shop"];
        let pulls = pulls.map(|path| format!("{path} {{}} ExternalSecret shop/pull")).to_vec();
        assert_eq!(found(Role::Consumer, None, MANIFESTS), (pulls, 0));
        assert_eq!(found(Role::Publisher, Some("db"), MANIFESTS), (vec![push], 1));
        assert_eq!(found(Role::Publisher, Some("shop"), MANIFESTS), (vec![], 0));
    }
}
