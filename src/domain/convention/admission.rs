//! The convention as ValidatingAdmissionPolicies, generated from the table: one denies, the other
//! warns and audits.
//!
//! Mode and vocabulary are their parameter, the PathConvention `default`; what it omits is as built
//! in. That mode, or the namespace's label, decides which of the two policies judges an object. A
//! match condition cannot see the namespace, so the other policy gets an empty object to judge.
//!
//! A policy cannot look up the store, so it does not know the mount. It rejects a key that is wrong
//! for every mount, in any spelling (`platform-data/…`, `<mount>/platform-data/…`,
//! `<mount>/data/platform-data/…`). The reconciler judges what depends on the mount or on a
//! placeholder's value: the policies see a stand-in for it. Objects that are being deleted pass, or
//! their finalizers could not be removed. So do updates that do not change the spec.

use std::path::PathBuf;

use std::collections::{BTreeMap, BTreeSet};

use super::words::{PROPERTY_PATTERN, SEGMENT_PATTERN};
use super::{Convention, LABEL_MODE, Mode, RULES, Severity};
use crate::domain::remote_key::STAND_IN;

/// The folder of the policies, below the repository's root.
const FOLDER: &str = "policies/admission";
/// CEL for an item whose property is an endpoint.
const IS_ENDPOINT: &str = "item.property in variables.endpoints";

/// The text after the opening braces of a key: a placeholder, the closing braces, and anything.
const PLACEHOLDER: &str = r#"^(-\s)?\s*([.]metadata[.](name|namespace|(labels|annotations)[.][A-Za-z_][A-Za-z0-9_]*)|index\s+[.]metadata[.](labels|annotations)\s+("[-A-Za-z0-9_./]+"|`[-A-Za-z0-9_./]+`))(\s*|\s+-)[}][}]"#;

/// One check of a policy: which items of a list are wrong.
pub struct Validation {
    pub severity: Severity,
    /// The policy variable that is searched.
    pub list: List,
    /// CEL for one `item` of the list: true if the item is wrong.
    pub wrong: String,
    /// What is wrong and what to do, without the name of the item; `{secrets}` and
    /// `{configuration}` are the prefixes.
    pub text: &'static str,
}

/// The lists in the policies' variables.
#[derive(Clone, Copy)]
pub enum List {
    /// Items are entries of `secretStoreRefs`.
    Stores,
    /// Items are maps of `secretKey`, `raw` (the key as written), `key` (with a stand-in for each
    /// placeholder) and `property`, all strings, empty if not set.
    Mappings,
    /// Items are remote keys with stand-ins, after a slash.
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

/// The generated files: path below the repository's root, and content.
pub fn policies(convention: &Convention) -> Vec<(PathBuf, String)> {
    let file = |name: String| PathBuf::from(FOLDER).join(name);
    let policies = [
        (Mode::Enforce, "Denies PushSecrets outside the path convention, where the mode is enforce."),
        (
            Mode::Warn,
            "Warns about PushSecrets outside the path convention, and records them in the audit log, where the\n# mode is warn.",
        ),
    ];
    let mut files = vec![(file("path-convention.yaml".to_owned()), object(convention))];
    files
        .extend(policies.map(|(mode, says)| (file(format!("convention-{mode}.yaml")), policy(convention, mode, says))));
    files
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
            "only metadata.name, metadata.namespace, and labels and annotations of metadata are supported between braces",
        ),
    ]
}

pub fn v1(_: &Convention) -> Vec<Validation> {
    vec![error(
        List::Mappings,
        &format!("!({}) && !({IS_ENDPOINT}) && !({})", in_convention("('/' + item.key)"), is_prefix_open()),
        "a secret lives under {secrets}/: begin the path with it",
    )]
}

pub fn v2(_: &Convention) -> Vec<Validation> {
    vec![error(
        List::Mappings,
        &format!("!({}) && {IS_ENDPOINT} && !({})", in_convention("('/' + item.key)"), is_prefix_open()),
        "configuration lives under {configuration}/: begin the path with it",
    )]
}

pub fn v3(_: &Convention) -> Vec<Validation> {
    vec![error(
        List::Keys,
        &format!(
            "item.matches(variables.prefixes + r'/[^/]+/[^/]+$') && !item.matches(r'{STAND_IN}[^/]*/[^/]+$') && !(item.split('/')[item.split('/').size() - 2] in variables.datasources)"
        ),
        "the second segment must be a known datasource: use the type of the system, or have the platform team add it",
    )]
}

/// A policy sees one object, so it cannot find two PushSecrets with one property. The limit bounds
/// the cost.
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
        "item.find(variables.prefixes + r'/.*$').lowerAscii().replace('_', '-').replace('.', '-').replace('/', '-').split('-').exists(word, word in variables.environments)",
        "no segment may name an environment: drop the word and use a Vault namespace",
    )]
}

pub fn v6(_: &Convention) -> Vec<Validation> {
    vec![error(
        List::Keys,
        &format!(
            "{} && !item.matches(variables.prefixes + r'/{SEGMENT_PATTERN}/{SEGMENT_PATTERN}$')",
            in_convention("item")
        ),
        "a path is prefix/datasource/consumer, three segments of lowercase words joined by single hyphens",
    )]
}

pub fn v7(_: &Convention) -> Vec<Validation> {
    vec![
        error(
            List::Mappings,
            &format!("item.property != '' && !item.property.matches(r'^{PROPERTY_PATTERN}$')"),
            "a property matches [a-z][a-z0-9_.-]*: write it in lowercase",
        ),
        warning(
            List::Mappings,
            "item.property in variables.aliases",
            "the shared vocabulary has another word for this property: use it",
        ),
    ]
}

pub fn v8(_: &Convention) -> Vec<Validation> {
    vec![
        error(
            List::Mappings,
            "item.property in variables.credentials && ('/' + item.key).matches('/' + variables.configurationPrefix + r'/[^/]+/[^/]+$')",
            "credentials never go under {configuration}/: use {secrets}/",
        ),
        warning(
            List::Mappings,
            &format!("{IS_ENDPOINT} && ('/' + item.key).matches('/' + variables.secretPrefix + r'/[^/]+/[^/]+$')"),
            "where a system is belongs under {configuration}/",
        ),
    ]
}

fn error(list: List, wrong: &str, text: &'static str) -> Validation {
    Validation { severity: Severity::Error, list, wrong: wrong.to_owned(), text }
}

fn warning(list: List, wrong: &str, text: &'static str) -> Validation {
    Validation { severity: Severity::Warning, ..error(list, wrong, text) }
}

fn in_convention(key: &str) -> String {
    format!("{key}.matches(variables.prefixes + r'(/|$)')")
}

/// Whether a placeholder may be the prefix, for any mount: it is in the first segment, or in one
/// that two others follow.
fn is_prefix_open() -> String {
    format!("('/' + item.key).matches(r'^/[^/]*{STAND_IN}|{STAND_IN}[^/]*/[^/]+/[^/]+$')")
}

fn cel_list<'a>(words: impl IntoIterator<Item = &'a String>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|word| format!("'{word}'")).collect();
    format!("[{}]", quoted.join(", "))
}

fn cel_map(words: &BTreeMap<String, String>) -> String {
    let quoted: Vec<String> = words.iter().map(|(key, value)| format!("'{key}': '{value}'")).collect();
    format!("{{{}}}", quoted.join(", "))
}

fn policy(convention: &Convention, mode: Mode, says: &str) -> String {
    let (actions, severities): (_, &[Severity]) = match mode {
        Mode::Enforce => ("Deny", &[Severity::Error]),
        Mode::Warn | Mode::Off => ("Warn, Audit", &[Severity::Error, Severity::Warning]),
    };
    let name = mode.to_string();
    let head = HEAD.replace("{name}", &name);
    let mut lists = String::new();
    for (variable, expression) in variables(convention, mode) {
        lists += &variable_yaml(variable, &expression);
    }
    // `dataTo` is one field, not items of a list, so it is judged separately.
    let mut validations = format!(
        "  - expression: {}\n    message: {}\n",
        quoted("!has(variables.push.dataTo) || variables.push.dataTo == null || variables.push.dataTo.size() == 0"),
        quoted("P2: dataTo pushes all keys that the source has: list each key in data"),
    );
    for rule in &RULES {
        let judged = (rule.admission)(convention).into_iter().filter(|v| severities.contains(&v.severity));
        for (validation, suffix) in judged.zip(["", "Too"]) {
            // A variable for the violations: both the verdict and the message use it, and it is
            // evaluated once.
            let offenders = format!("broken{}{suffix}", rule.id);
            let list = validation.list;
            let found = format!("{}.filter(item, {}).map(item, {})", list.variable(), validation.wrong, list.name());
            lists += &variable_yaml(&offenders, &found);
            let told = |secrets: &str, configuration: &str| {
                validation.text.replace("{secrets}", secrets).replace("{configuration}", configuration)
            };
            validations += &format!(
                "  - expression: {}\n    message: {}\n    messageExpression: {}\n",
                quoted(&format!("variables.{offenders}.size() == 0")),
                quoted(&format!("{}: {}", rule.id, told(&convention.secret_prefix, &convention.configuration_prefix))),
                quoted(&format!(
                    "'{}: ' + variables.{offenders}[0] + ': {}'",
                    rule.id,
                    told("' + variables.secretPrefix + '", "' + variables.configurationPrefix + '")
                )),
            );
        }
    }
    let binding = BINDING.replace("{name}", &name).replace("{actions}", actions);
    format!(
        "# Generated by waypost-generate from the rule table; do not edit.\n# {says}\n{head}{lists}  validations:\n{validations}{binding}"
    )
}

fn variable_yaml(name: &str, expression: &str) -> String {
    format!("  - name: {name}\n    expression: {}\n", quoted(expression))
}

/// The variables of the policies' expressions: the parameter with the built-in values, then what is
/// pushed.
fn variables(convention: &Convention, mode: Mode) -> Vec<(&'static str, String)> {
    let words = |words: &BTreeSet<String>| cel_list(words);
    let given =
        |field: &str, otherwise: String| format!("has(params.spec.{field}) ? params.spec.{field} : {otherwise}");
    let vocabulary = |field: &str, otherwise: String| {
        format!(
            "has(params.spec.vocabulary) && has(params.spec.vocabulary.{field}) ? dyn(params.spec.vocabulary.{field}) : dyn({otherwise})"
        )
    };
    let text = |field: &str, name: &str| {
        format!("has({field}.{name}) && {field}.{name} != null ? string({field}.{name}) : ''")
    };
    let raw = "string(entry.match.remoteRef.remoteKey)";
    // Each part after the first begins inside a placeholder; the braces before the first make it
    // like the others.
    let key = format!(
        "('}}}}' + {raw}).split('{{{{').map(part, part.substring(part.contains('}}}}') ? part.indexOf('}}}}') + 2 : 0)).join('{STAND_IN}')"
    );
    let labelled = format!("variables.labels[?'{LABEL_MODE}'].orValue('')");
    vec![
        ("labels", "namespaceObject == null ? {} : namespaceObject.metadata.?labels.orValue({})".into()),
        (
            "mode",
            format!(
                "{labelled} in ['enforce', 'warn', 'off'] ? {labelled} : {}",
                given("mode", format!("'{}'", convention.mode))
            ),
        ),
        ("secretPrefix", given("secretPrefix", format!("'{}'", convention.secret_prefix))),
        ("configurationPrefix", given("configurationPrefix", format!("'{}'", convention.configuration_prefix))),
        ("prefixes", "'/(' + variables.secretPrefix + '|' + variables.configurationPrefix + ')'".into()),
        ("datasources", given("datasources", words(&convention.datasources))),
        ("environments", given("environments", words(&convention.environments))),
        ("credentials", vocabulary("credentials", words(&convention.credentials))),
        ("endpoints", vocabulary("endpoints", words(&convention.endpoints))),
        ("aliases", vocabulary("aliases", cel_map(&convention.aliases))),
        (
            "push",
            format!("variables.mode != '{mode}' ? dyn({{}}) : object.kind == 'ClusterPushSecret' ? dyn(object).spec.pushSecretSpec : dyn(object).spec"),
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

/// The object that the policies read, with every built-in word. A platform team edits it.
fn object(convention: &Convention) -> String {
    let list = |words: &BTreeSet<String>, indent: &str| -> String {
        words.iter().map(|word| format!("{indent}- {word}\n")).collect()
    };
    let aliases: String =
        convention.aliases.iter().map(|(alias, shared)| format!("      {alias}: {shared}\n")).collect();
    format!(
        "{OBJECT}  mode: {}\n  secretPrefix: {}\n  configurationPrefix: {}\n  datasources:\n{}  environments:\n{}  vocabulary:\n    credentials:\n{}    endpoints:\n{}    aliases:\n{aliases}",
        convention.mode,
        convention.secret_prefix,
        convention.configuration_prefix,
        list(&convention.datasources, "  "),
        list(&convention.environments, "  "),
        list(&convention.credentials, "    "),
        list(&convention.endpoints, "    "),
    )
}

/// A JSON string, which is also YAML.
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
  paramKind:
    apiVersion: waypost.io/v1alpha1
    kind: PathConvention
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
  # Without that object this policy has no effect, and the controller uses its flag.
  paramRef:
    name: default
    parameterNotFoundAction: Allow
  validationActions: [{actions}]
";

const OBJECT: &str = "\
# Generated by waypost-generate with the built-in words. Edit a copy of your own: what you omit is as
# built in.
apiVersion: waypost.io/v1alpha1
kind: PathConvention
metadata:
  name: default
spec:
";
