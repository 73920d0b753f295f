//! Nobody borrows the controller's rights: a policy judges every reference and every annotation
//! that it acts on, or this test names the reason why not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;

use super::{documents, helm_template, helm_template_in, kustomize, root, sources, strings};

/// Annotations that carry authority, and the policies that judge them.
const JUDGED: [(&str, &[&str]); 5] = [
    ("ANNOTATION_ADOPT", &["waypost-who-may-push", "waypost-who-may-pull"]),
    ("ANNOTATION_RECREATE_IMMUTABLE", &["waypost-who-may-pull"]),
    ("ANNOTATION_ABANDON", &["waypost-who-may-push"]),
    ("ANNOTATION_EARLIER_VERSIONS", &["waypost-who-may-push"]),
    ("ANNOTATION_ALLOW_MASS_DELETION", &["waypost-who-may-store"]),
];

/// Annotations without authority, and why.
const UNJUDGED: [(&str, &str); 7] = [
    ("ANNOTATION_ACCEPT_OLDER", "takes what its author may read anyway, for this resource alone"),
    ("ANNOTATION_DATA_HASH", "stands on a target, and only its guard cares"),
    ("ANNOTATION_FORCE_SYNC", "asks for what is due anyway"),
    ("ANNOTATION_IGNORE_MAINTENANCE", "silences a warning"),
    ("ANNOTATION_OPT_OUT", "stands on a Namespace, whose labels decide the same"),
    ("ANNOTATION_TEMPLATE_INPUTS", "stands on a target, and spares that it is rendered anew from the same inputs"),
    ("ANNOTATION_ORIGIN", "stands on a target, and spares that a withdrawal of what it does not hold"),
];

/// A field that names an object, and the expression that finds it in `who-may-refer.yaml`; `None`
/// where no right is lent.
type Field = (&'static str, Option<&'static str>);

/// By kind, every field that names an object.
const REFERENCES: [(&str, &[Field]); 2] = [
    (
        "pushsecrets",
        &[
            ("selector.secret", Some("variables.spec.?selector.?secret.?name")),
            ("selector.configMap", Some("variables.spec.?selector.?configMap.?name")),
            // No generator is served.
            ("selector.generatorRef", None),
            ("secretStoreRefs", Some("variables.spec.?secretStoreRefs.orValue([])")),
            (
                "dataTo.storeRef",
                Some("variables.spec.?dataTo.orValue([]).filter(d, has(d.storeRef)).map(d, d.storeRef)"),
            ),
            (
                "template.templateFrom.secret",
                Some(
                    "variables.spec.?template.?templateFrom.orValue([]).filter(t, has(t.secret)).map(t, t.secret.name)",
                ),
            ),
            (
                "template.templateFrom.configMap",
                Some(
                    "variables.spec.?template.?templateFrom.orValue([]).filter(t, has(t.configMap)).map(t, t.configMap.name)",
                ),
            ),
        ],
    ),
    (
        "externalsecrets",
        &[
            ("target", Some("variables.spec.?target.?name")),
            ("secretStoreRef", Some("has(variables.spec.secretStoreRef) ? [variables.spec.secretStoreRef]")),
            ("data.sourceRef.storeRef", Some("variables.spec.?data.orValue([])")),
            ("dataFrom.sourceRef.storeRef", Some("variables.spec.?dataFrom.orValue([])")),
            // No generator is served.
            ("data.sourceRef.generatorRef", None),
            ("dataFrom.sourceRef.generatorRef", None),
            // An expression for keys in the store.
            ("dataFrom.find", None),
            (
                "target.template.templateFrom.secret",
                Some(
                    "variables.spec.?target.?template.?templateFrom.orValue([]).filter(t, has(t.secret)).map(t, t.secret.name)",
                ),
            ),
            (
                "target.template.templateFrom.configMap",
                Some(
                    "variables.spec.?target.?template.?templateFrom.orValue([]).filter(t, has(t.configMap)).map(t, t.configMap.name)",
                ),
            ),
        ],
    ),
];

#[test]
fn every_annotation_that_carries_authority_is_judged_by_its_policies() {
    let names = fs::read_to_string(root().join("src/api/names.rs")).unwrap();
    let declared: BTreeMap<&str, &str> = names.lines().filter_map(annotation).collect();
    let known: Vec<&str> = JUDGED.iter().map(|(name, _)| *name).chain(UNJUDGED.iter().map(|(name, _)| *name)).collect();
    assert_eq!(
        declared.keys().copied().collect::<BTreeSet<_>>(),
        known.iter().copied().collect(),
        "judge it, or say why not"
    );
    assert_eq!(known.len(), declared.len(), "judged and not judged");
    let policies = policies();
    for (name, judges) in JUDGED {
        let quoted = format!("'{}'", declared[name]);
        for (policy, object) in &policies {
            let asks = object["spec"]["matchConditions"]
                .as_array()
                .into_iter()
                .flatten()
                .any(|condition| condition["expression"].as_str().unwrap().contains(&quoted));
            assert_eq!(asks, judges.contains(&policy.as_str()), "{policy} and {name}");
        }
        assert!(judges.iter().all(|judge| policies.contains_key(*judge)), "{name}");
    }
}

/// What they allow needs a live read.
#[test]
fn every_annotation_that_carries_authority_is_compared_by_a_live_read() {
    let names = fs::read_to_string(root().join("src/api/names.rs")).unwrap();
    let compared = names.split_once("pub const WITH_AUTHORITY").unwrap().1;
    let compared = compared.split_once("= [").unwrap().1.split_once("];").unwrap().0;
    let compared: BTreeSet<&str> = compared.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    assert_eq!(compared, JUDGED.iter().map(|(name, _)| *name).collect());
}

/// One that is spelled elsewhere would escape the test above.
#[test]
fn annotations_of_ours_are_spelled_in_one_place() {
    for (file, text) in sources(&["src"], "rs") {
        if file.ends_with("src/api/names.rs")
            || file.ends_with("tests.rs")
            || file.components().any(|part| part.as_os_str() == "tests")
        {
            continue;
        }
        let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        let literals = code.split('"').skip(1).step_by(2);
        let ours: Vec<&str> = literals.filter(|text| text.strip_prefix("waypost.io/").is_some_and(is_word)).collect();
        let label =
            if file.ends_with("src/domain/convention/mod.rs") { vec!["waypost.io/path-convention"] } else { vec![] };
        assert_eq!(ours, label, "{}", file.display());
    }
}

#[test]
fn every_reference_of_a_store_is_judged() {
    let policy = fs::read_to_string(root().join("policies/admission/who-may-store.yaml")).unwrap();
    for plural in ["secretstores", "clustersecretstores"] {
        let found = references(&spec_schema(plural)["properties"]["provider"]);
        assert!(found.len() >= 30, "{plural}: only {found:?}");
        for path in found {
            let expression = format!("?variables.{}", path.replace('.', ".?"));
            let judged = policy.match_indices(&expression).any(|(at, _)| {
                let rest = &policy[at + expression.len()..];
                !rest.starts_with(|next: char| next.is_alphanumeric() || next == '.')
            });
            assert!(judged, "{plural}: provider.{path} is not in who-may-store.yaml");
        }
    }
}

#[test]
fn every_reference_of_what_is_pushed_and_pulled_is_judged() {
    let policy = fs::read_to_string(root().join("policies/admission/who-may-refer.yaml")).unwrap();
    let policy = policy.split_whitespace().collect::<Vec<_>>().join(" ");
    for (plural, known) in REFERENCES {
        let known: BTreeMap<&str, Option<&str>> = known.iter().copied().collect();
        let found = references(&spec_schema(plural));
        let found: BTreeSet<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found, known.keys().copied().collect(), "{plural}: judge it, or say why not");
        for (path, expression) in known {
            assert!(expression.is_none_or(|expression| policy.contains(expression)), "{plural}: {path} is not judged");
        }
    }
}

/// What Waypost cannot revert, or by which it knows its own: data and metadata are compared with
/// those before.
#[test]
fn the_guard_of_targets_compares_all_that_a_person_could_change_for_good() {
    let file = root().join("policies/admission/optional/materialised-secrets-guard.yaml");
    let text = fs::read_to_string(file).unwrap();
    let squeezed: String = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for field in [
        "?data.orValue({})",
        "?immutable.orValue(false)",
        "metadata.?ownerReferences.orValue([])",
        "metadata.?labels[?l].orValue('')",
        "metadata.?annotations[?'reconcile.external-secrets.io/data-hash'].orValue('')",
    ] {
        let compared = format!("object.{field} == oldObject.{field}");
        assert!(squeezed.contains(&compared), "the guard does not compare {field}");
    }
}

/// After a status could not be written, only a live read shows what its object has.
#[test]
fn whatever_has_a_status_of_ours_can_be_read_alone() {
    for rendered in [kustomize("base"), helm_template(&[])] {
        let rules: Vec<&Value> =
            rendered.values().flat_map(|object| object["rules"].as_array().into_iter().flatten()).collect();
        let with = |verb: &str| -> BTreeSet<&str> {
            let may = rules.iter().filter(|rule| strings(&rule["verbs"]).any(|known| known == verb));
            may.flat_map(|rule| strings(&rule["resources"])).collect()
        };
        let (patched, read) = (with("patch"), with("get"));
        let told: BTreeSet<&str> = patched.iter().filter_map(|resource| resource.strip_suffix("/status")).collect();
        assert!(told.len() >= 6 && told.is_subset(&read), "{told:?} have a status, and {read:?} can be read");
    }
}

/// Without that policy, whoever writes a store could have any Secret of the namespace sent to any
/// server.
#[test]
fn the_right_to_write_stores_comes_with_the_policy_that_bounds_it() {
    let grants = |object: &Value| {
        object["rules"].as_array().into_iter().flatten().any(|rule| {
            strings(&rule["resources"]).any(|resource| ["secretstores", "clustersecretstores"].contains(&resource))
                && strings(&rule["verbs"]).any(|verb| !["get", "list", "watch"].contains(&verb))
        })
    };
    for rendered in [kustomize("base"), kustomize("overlays/beside-eso"), helm_template(&[])] {
        let granting: Vec<_> = rendered.iter().filter(|(_, object)| grants(object)).map(|(name, _)| name).collect();
        assert!(granting.is_empty(), "{granting:?}");
    }
    let mut roles = 0;
    for (file, text) in sources(&["policies/admission"], "yaml") {
        roles += documents(&text).iter().filter(|object| grants(object)).count();
        assert!(roles == 0 || file.ends_with("who-may-refer.yaml") || text.contains("waypost-who-may-store"));
    }
    assert_eq!(roles, 1);
}

#[test]
fn the_chart_brings_the_policies_for_its_own_account_where_they_are_asked_for() {
    let values = [
        "admission.enabled=true",
        "admission.guardTargets=true",
        "admission.otherControllers={system:serviceaccount:external-secrets:external-secrets}",
        "serviceAccount.name=waypost",
        "clusterRolePrefix=waypost-system",
        "extraArgs={--adopt-unowned-targets}",
    ];
    let (without, with) =
        (helm_template_in("waypost-system", &values[3..]), helm_template_in("waypost-system", &values));
    let shipped = policies();
    for (name, object) in &shipped {
        let key = ("ValidatingAdmissionPolicy".to_owned(), name.clone());
        assert!(!without.contains_key(&key), "{name} comes unasked");
        let text = with[&key].to_string();
        let own =
            "'system:serviceaccount:waypost-system:waypost', 'system:serviceaccount:external-secrets:external-secrets'";
        let names_a_controller = object.to_string().contains("system:serviceaccount:external-secrets");
        assert_eq!(text.contains(own), names_a_controller, "{name}");
    }
    assert_eq!(with.keys().filter(|(kind, _)| kind == "ValidatingAdmissionPolicyBinding").count(), shipped.len());
    let pull = &with[&("ValidatingAdmissionPolicy".to_owned(), "waypost-who-may-pull".to_owned())];
    let unasked = pull["spec"]["variables"].as_array().unwrap().iter().find(|one| one["name"] == "adoptsUnasked");
    assert_eq!(unasked.unwrap()["expression"], "true");
    assert!(with.contains_key(&("ClusterRole".to_owned(), "waypost-system-edit-stores".to_owned())));
}

/// By name, every policy that judges or guards.
fn policies() -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    for (_, text) in sources(&["policies/admission"], "yaml") {
        for object in documents(&text).into_iter().filter(|object| object["kind"] == "ValidatingAdmissionPolicy") {
            found.insert(object["metadata"]["name"].as_str().unwrap().to_owned(), object);
        }
    }
    assert!(found.len() >= 6, "only {:?}", found.keys());
    found
}

/// The constant and its value, where a line declares an annotation.
fn annotation(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("pub const ")?.split_once(": &str = \"")?;
    name.starts_with("ANNOTATION_").then_some((name, rest.strip_suffix("\";")?))
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|one| one.is_ascii_lowercase() || one == '-')
}

fn spec_schema(plural: &str) -> Value {
    let text = fs::read_to_string(root().join(format!("crds/{plural}.yaml"))).unwrap();
    documents(&text)[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
}

/// Where a schema names objects: every object in it, also of a list, that has a `name`.
fn references(schema: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for (field, schema) in schema["properties"].as_object().into_iter().flatten() {
        let schema = if schema["items"].is_object() { &schema["items"] } else { schema };
        if schema["properties"].get("name").is_some() {
            found.push(field.clone());
        }
        found.extend(references(schema).into_iter().map(|inner| format!("{field}.{inner}")));
    }
    found
}
