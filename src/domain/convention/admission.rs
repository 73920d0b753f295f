//! The convention as ValidatingAdmissionPolicies: one that denies, one that warns and audits, generated from the table.
//!
//! A policy cannot look up the store, so it does not know the mount: a key is rejected when it is wrong whatever the
//! mount, in any spelling (`platform-data/…`, `<mount>/platform-data/…`, `<mount>/data/platform-data/…`). What is left
//! to the mount, the reconciler judges, and so is what a placeholder stands for: the policies see a stand-in. Objects being deleted pass, or their finalizers could not be removed, and so
//! do updates that leave the spec alone.

use std::path::PathBuf;

use super::words::{
    CONFIGURATION_PREFIX, CREDENTIAL_PROPERTIES, ENDPOINT_PROPERTIES, PROPERTY_ALIASES, PROPERTY_PATTERN,
    SECRET_PREFIX, SEGMENT_PATTERN,
};
use super::{Convention, RULES, Severity};
use crate::domain::remote_key::STAND_IN;

/// Where the policies are kept, from the top of the repository.
const FOLDER: &str = "policies/admission";

/// What follows the opening braces of a key: a placeholder, the closing braces, and anything.
const PLACEHOLDER: &str = r#"^ *([.]metadata[.](name|namespace|(labels|annotations)[.][A-Za-z_][A-Za-z0-9_]*)|index +[.]metadata[.](labels|annotations) +"[-A-Za-z0-9_./]+") *[}][}]"#;

/// One thing a policy looks for: items of a list that are wrong.
pub struct Validation {
    pub severity: Severity,
    /// The policy variable that is searched.
    pub list: List,
    /// CEL over one `item` of the list: true when the item is wrong.
    pub wrong: String,
    /// What is wrong and what to do, without the name of the item.
    pub text: &'static str,
}

/// The lists that the policies' variables offer.
#[derive(Clone, Copy)]
pub enum List {
    /// Items are entries of `secretStoreRefs`.
    Stores,
    /// Items are maps of `secretKey`, `raw` (the key as written), `key` (with a stand-in for each placeholder) and `property`, all
    /// strings, empty when absent.
    Mappings,
    /// Items are remote keys with stand-ins, and a slash before them.
    Keys,
}

impl List {
    fn variable(self) -> &'static str {
        match self {
            Self::Stores => "variables.stores",
            Self::Mappings => "variables.mappings",
            Self::Keys => "variables.keys",
        }
    }

    /// CEL for how a message names an item.
    fn name(self) -> &'static str {
        match self {
            Self::Stores => "(has(item.name) ? item.name : 'the selected stores')",
            Self::Mappings => {
                "item.secretKey + ' -> ' + item.raw + (item.property == '' ? '' : ', property ' + item.property)"
            }
            Self::Keys => "item.substring(1).replace('placeholder0', '{{...}}')",
        }
    }
}

/// The generated files: path from the top of the repository, and content.
pub fn policies(convention: &Convention) -> Vec<(PathBuf, String)> {
    let file = |name: &str| PathBuf::from(FOLDER).join(format!("convention-{name}.yaml"));
    vec![
        (
            file("enforce"),
            policy(
                convention,
                "enforce",
                "Denies PushSecrets outside the path convention.",
                &["Deny"],
                &[Severity::Error],
            ),
        ),
        (
            file("warn"),
            policy(
                convention,
                "warn",
                "Warns about PushSecrets outside the path convention, and notes them in the audit log.",
                &["Warn", "Audit"],
                &[Severity::Error, Severity::Warning],
            ),
        ),
    ]
}

pub fn p1(_: &Convention) -> Vec<Validation> {
    vec![error(
        List::Stores,
        "!has(item.kind) || item.kind != 'ClusterSecretStore'",
        "a PushSecret references a ClusterSecretStore, never a namespaced SecretStore: set kind: ClusterSecretStore",
    )]
}

pub fn p2(_: &Convention) -> Vec<Validation> {
    vec![
        error(
            List::Mappings,
            "item.secretKey == '' || item.property == ''",
            "every mapping names its key: set match.secretKey and match.remoteRef.property",
        ),
        error(
            List::Mappings,
            "item.secretKey.contains('*') || item.key.contains('*') || item.property.contains('*')",
            "no wildcard: write one mapping for each key",
        ),
    ]
}

pub fn p3(_: &Convention) -> Vec<Validation> {
    vec![
        error(
            List::Keys,
            r"item.matches(r'[\s\pC%?#\\]|//|/\.\.?(/|$)|/$')",
            "a remote key is a plain path: no empty segment, no . or .., no %, ?, #, backslash or white space",
        ),
        error(
            List::Mappings,
            &format!(
                "item.raw.contains('{{{{') && !(' .metadata.name }}}}' + item.raw).split('{{{{').all(part, part.matches(r'{PLACEHOLDER}'))"
            ),
            "only metadata.name, metadata.namespace, and labels and annotations of metadata can stand between braces",
        ),
    ]
}

pub fn v1(_: &Convention) -> Vec<Validation> {
    vec![error(
        List::Mappings,
        &format!("!({}) && !({}) && !({})", in_convention("('/' + item.key)"), is_endpoint(), is_prefix_open()),
        "a secret lives under platform-data/: begin the path with it",
    )]
}

pub fn v2(_: &Convention) -> Vec<Validation> {
    vec![error(
        List::Mappings,
        &format!("!({}) && {} && !({})", in_convention("('/' + item.key)"), is_endpoint(), is_prefix_open()),
        "configuration lives under platform-config/: begin the path with it",
    )]
}

pub fn v3(_: &Convention) -> Vec<Validation> {
    vec![error(
        List::Keys,
        &format!(
            "item.matches(r'{}/[^/]+/[^/]+$') && !item.matches(r'{STAND_IN}[^/]*/[^/]+$') && !(item.split('/')[item.split('/').size() - 2] in variables.datasources)",
            prefixes()
        ),
        "the second segment is a known datasource: use the type of the system, or have the platform team add it",
    )]
}

/// Two PushSecrets with one property are beyond a policy, which sees one object. The limit bounds the cost.
pub fn v4(_: &Convention) -> Vec<Validation> {
    vec![error(
        List::Mappings,
        "item.property != '' && variables.mappings.size() <= 100 && variables.mappings.exists_one(other, other.raw == item.raw && other.property == item.property) == false",
        "a property of a path is written by one mapping: remove the other",
    )]
}

pub fn v5(_: &Convention) -> Vec<Validation> {
    vec![error(
        List::Keys,
        &format!(
            "item.find(r'{}/.*$').lowerAscii().replace('_', '-').replace('.', '-').replace('/', '-').split('-').exists(word, word in variables.environments)",
            prefixes()
        ),
        "no segment names an environment: drop the word and use a Vault namespace",
    )]
}

pub fn v6(_: &Convention) -> Vec<Validation> {
    vec![error(
        List::Keys,
        &format!("{} && !item.matches(r'{}/{SEGMENT_PATTERN}/{SEGMENT_PATTERN}$')", in_convention("item"), prefixes()),
        "a path is prefix/datasource/consumer, three segments of lowercase words joined by single hyphens",
    )]
}

pub fn v7(_: &Convention) -> Vec<Validation> {
    let aliases = cel_list(PROPERTY_ALIASES.iter().map(|(alias, _)| *alias));
    vec![
        error(
            List::Mappings,
            &format!("item.property != '' && !item.property.matches(r'^{PROPERTY_PATTERN}$')"),
            "a property matches [a-z][a-z0-9_.-]*: write it in lowercase",
        ),
        warning(
            List::Mappings,
            &format!("item.property in {aliases}"),
            "the shared vocabulary is username, password, host, port, token, tls.crt, tls.key, ca.crt: use its word",
        ),
    ]
}

pub fn v8(_: &Convention) -> Vec<Validation> {
    let credentials = cel_list(CREDENTIAL_PROPERTIES.iter().copied());
    vec![
        error(
            List::Mappings,
            &format!(
                "item.property in {credentials} && ('/' + item.key).matches(r'/{CONFIGURATION_PREFIX}/[^/]+/[^/]+$')"
            ),
            "credentials never go under platform-config/: use platform-data/",
        ),
        warning(
            List::Mappings,
            &format!("{} && ('/' + item.key).matches(r'/{SECRET_PREFIX}/[^/]+/[^/]+$')", is_endpoint()),
            "host and port belong under platform-config/",
        ),
    ]
}

fn error(list: List, wrong: &str, text: &'static str) -> Validation {
    Validation { severity: Severity::Error, list, wrong: wrong.to_owned(), text }
}

fn warning(list: List, wrong: &str, text: &'static str) -> Validation {
    Validation { severity: Severity::Warning, ..error(list, wrong, text) }
}

fn prefixes() -> String {
    format!("/({SECRET_PREFIX}|{CONFIGURATION_PREFIX})")
}

fn in_convention(key: &str) -> String {
    format!("{key}.matches(r'{}(/|$)')", prefixes())
}

/// Whether a placeholder may turn out to be the prefix, whatever the mount: it is in the first segment, or in one that two follow.
fn is_prefix_open() -> String {
    format!("('/' + item.key).matches(r'^/[^/]*{STAND_IN}|{STAND_IN}[^/]*/[^/]+/[^/]+$')")
}

fn is_endpoint() -> String {
    format!("item.property in {}", cel_list(ENDPOINT_PROPERTIES.iter().copied()))
}

fn cel_list<'a>(words: impl Iterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = words.map(|word| format!("'{word}'")).collect();
    format!("[{}]", quoted.join(", "))
}

fn policy(convention: &Convention, name: &str, says: &str, actions: &[&str], severities: &[Severity]) -> String {
    let head = HEAD.replace("{name}", name);
    let mut lists = String::new();
    for (variable, expression) in variables(convention) {
        lists += &variable_yaml(variable, &expression);
    }
    // `dataTo` is one field, not items of a list, so it is judged apart from the table's lists.
    let mut validations = format!(
        "  - expression: {}\n    message: {}\n",
        quoted("!has(variables.push.dataTo) || variables.push.dataTo == null || variables.push.dataTo.size() == 0"),
        quoted("P2: dataTo pushes whatever keys the source has: list each key in data"),
    );
    for rule in &RULES {
        let judged = (rule.admission)(convention).into_iter().filter(|v| severities.contains(&v.severity));
        for (validation, suffix) in judged.zip(["", "Too"]) {
            // A variable for the offenders: both the verdict and the message read it, and it is evaluated once.
            let offenders = format!("broken{}{suffix}", rule.id);
            let list = validation.list;
            let found = format!("{}.filter(item, {}).map(item, {})", list.variable(), validation.wrong, list.name());
            lists += &variable_yaml(&offenders, &found);
            validations += &format!(
                "  - expression: {}\n    message: {}\n    messageExpression: {}\n",
                quoted(&format!("variables.{offenders}.size() == 0")),
                quoted(&format!("{}: {}", rule.id, validation.text)),
                quoted(&format!("'{}: ' + variables.{offenders}[0] + ': {}'", rule.id, validation.text)),
            );
        }
    }
    let binding = BINDING.replace("{name}", name).replace("{actions}", &actions.join(", "));
    format!(
        "# Generated by waypost-generate from the rule table; do not edit. {says}\n{head}{lists}  validations:\n{validations}{binding}"
    )
}

fn variable_yaml(name: &str, expression: &str) -> String {
    format!("  - name: {name}\n    expression: {}\n", quoted(expression))
}

fn variables(convention: &Convention) -> [(&'static str, String); 6] {
    let words = |words: &std::collections::BTreeSet<String>| cel_list(words.iter().map(String::as_str));
    let text = |field: &str, name: &str| {
        format!("has({field}.{name}) && {field}.{name} != null ? string({field}.{name}) : ''")
    };
    let raw = "string(entry.match.remoteRef.remoteKey)";
    // Each part after the first begins inside of a placeholder; the braces before the first make it like the others.
    let key = format!(
        "('}}}}' + {raw}).split('{{{{').map(part, part.substring(part.contains('}}}}') ? part.indexOf('}}}}') + 2 : 0)).join('{STAND_IN}')"
    );
    [
        ("datasources", words(&convention.datasources)),
        ("environments", words(&convention.environments)),
        (
            "push",
            "object.kind == 'ClusterPushSecret' ? dyn(object).spec.pushSecretSpec : dyn(object).spec".into(),
        ),
        (
            "stores",
            "has(variables.push.secretStoreRefs) && variables.push.secretStoreRefs != null ? variables.push.secretStoreRefs : []".into(),
        ),
        (
            "mappings",
            format!(
                "(has(variables.push.data) && variables.push.data != null ? variables.push.data : []).map(entry, {{'secretKey': {}, 'raw': {raw}, 'key': {key}, 'property': {}}})",
                text("entry.match", "secretKey"),
                text("entry.match.remoteRef", "property"),
            ),
        ),
        ("keys", "variables.mappings.map(mapping, '/' + mapping.key)".into()),
    ]
}

/// A JSON string, which is YAML too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

const HEAD: &str = "\
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata:
  name: waypost-convention-{name}
  labels:
    app.kubernetes.io/name: waypost
    app.kubernetes.io/component: admission
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - apiGroups: [external-secrets.io]
      apiVersions: [v1alpha1]
      operations: [CREATE, UPDATE]
      resources: [pushsecrets, clusterpushsecrets]
  matchConditions:
  - name: not-being-deleted
    expression: \"!has(object.metadata.deletionTimestamp)\"
  - name: spec-changed
    expression: \"oldObject == null || dyn(object).spec != dyn(oldObject).spec\"
  variables:
";

const BINDING: &str = "\
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: waypost-convention-{name}
  labels:
    app.kubernetes.io/name: waypost
    app.kubernetes.io/component: admission
spec:
  policyName: waypost-convention-{name}
  validationActions: [{actions}]
";
