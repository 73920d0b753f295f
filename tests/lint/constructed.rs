//! A bad manifest for each constraint of our CRDs: every bound, enum, pattern, required field and
//! type, and every rule (CEL). They are generated from the CRDs, so that none is forgotten; only
//! the violations of rules are written here.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use waypost::api::{crd, duration};

/// A manifest with one thing wrong.
pub struct Case {
    /// What is wrong with it, and where.
    pub name: String,
    pub manifest: Value,
    /// The rule that lint reports.
    pub word: &'static str,
    /// What the API server's answer and lint's name: the field, or the message of the rule.
    pub says: String,
    /// The same with nothing wrong there, where that is known.
    pub control: Option<Value>,
}

/// A value that breaks a rule, and one that does not; each is laid over the least that the schema
/// asks for.
struct Example {
    bad: Value,
    good: Value,
}

/// The step from a schema to one below it.
#[derive(Clone)]
enum Step {
    Field(String),
    Item,
    Key,
}

/// A kind, and where in it.
struct Place<'s> {
    definition: &'s Value,
    steps: Vec<Step>,
}

/// Every case of every kind.
pub fn cases() -> Vec<Case> {
    let definitions: Vec<Value> = crd::definitions().into_iter().chain([crd::path_convention()]).collect();
    let mut cases = Vec::new();
    for definition in &definitions {
        let root = Place { definition, steps: Vec::new() };
        cases.extend(rules(&root, schema(definition)));
        let spec = Place { definition, steps: vec![Step::Field("spec".to_owned())] };
        walk(&spec, &schema(definition)["properties"]["spec"], &mut cases);
    }
    cases
}

/// The words of schemas that lint judges, or that say nothing about a value.
pub fn unknown_words() -> BTreeSet<String> {
    const KNOWN: [&str; 20] = [
        "additionalProperties",
        "default",
        "description",
        "enum",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "pattern",
        "properties",
        "required",
        "type",
        "x-kubernetes-int-or-string",
        "x-kubernetes-preserve-unknown-fields",
    ];
    fn collect(schema: &Value, words: &mut BTreeSet<String>) {
        let Value::Object(schema) = schema else { return };
        words.extend(schema.keys().cloned());
        let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        properties.for_each(|(_, below)| collect(below, words));
        ["items", "additionalProperties"]
            .iter()
            .filter_map(|below| schema.get(*below))
            .for_each(|below| collect(below, words));
    }
    let mut words = BTreeSet::new();
    for definition in crd::definitions().into_iter().chain([crd::path_convention()]) {
        collect(&schema(&definition)["properties"]["spec"], &mut words);
    }
    words.remove("x-kubernetes-validations");
    words.into_iter().filter(|word| !KNOWN.contains(&word.as_str())).collect()
}

fn schema(definition: &Value) -> &Value {
    &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
}

fn walk(place: &Place<'_>, schema: &Value, cases: &mut Vec<Case>) {
    cases.extend(bounds(place, schema));
    cases.extend(rules(place, schema));
    let below = |step| Place { definition: place.definition, steps: [&place.steps[..], &[step]].concat() };
    for (name, property) in schema["properties"].as_object().into_iter().flatten() {
        walk(&below(Step::Field(name.clone())), property, cases);
    }
    if schema["items"].is_object() {
        walk(&below(Step::Item), &schema["items"], cases);
    }
    if schema["additionalProperties"].is_object() {
        walk(&below(Step::Key), &schema["additionalProperties"], cases);
    }
}

/// What breaks the words of a schema, one at a time.
fn bounds(place: &Place<'_>, schema: &Value) -> Vec<Case> {
    let mut bad: Vec<(&str, &'static str, Value, String)> = Vec::new();
    let at = place.path();
    let mut wrong = |word: &'static str, value: Value| bad.push((word, "invalid-value", value, at.clone()));
    let size = |word: &str| schema[word].as_u64().and_then(|size| usize::try_from(size).ok());
    if let Some(most) = size("maxLength") {
        wrong("maxLength", json!("a".repeat(most + 1)));
    }
    if size("minLength").is_some_and(|least| least > 0) {
        wrong("minLength", json!(""));
    }
    if schema["enum"].is_array() {
        wrong("enum", json!("NoneOfThem"));
    }
    if schema["pattern"].is_string() {
        wrong("pattern", json!("\u{e4}"));
    }
    if schema["format"] == "byte" {
        wrong("format", json!("not base64!"));
    }
    if schema["format"] == "int32" {
        wrong("format", json!(i64::from(i32::MAX) + 1));
    }
    if let Some(most) = schema["maximum"].as_f64() {
        wrong("maximum", json!(most as i64 + 1));
    }
    if let Some(least) = schema["minimum"].as_f64() {
        wrong("minimum", json!(least as i64 - 1));
    }
    if let Some(most) = size("maxItems") {
        wrong("maxItems", Value::Array(vec![sample(&schema["items"]); most + 1]));
    }
    if size("minItems").is_some_and(|least| least > 0) {
        wrong("minItems", json!([]));
    }
    if let Some(most) = size("maxProperties") {
        let many = (0..=most).map(|number| (format!("k{number}"), sample(&schema["additionalProperties"])));
        wrong("maxProperties", Value::Object(many.collect()));
    }
    if size("minProperties").is_some_and(|least| least > 0) {
        wrong("minProperties", json!({}));
    }
    let other = match schema["type"].as_str() {
        Some("string") => Some(json!(1)),
        Some(_) => Some(json!("text")),
        None => (schema["x-kubernetes-int-or-string"] == true).then_some(Value::Bool(true)),
    };
    bad.extend(other.map(|other| ("type", "wrong-type", other, at.clone())));
    for name in required(schema) {
        let mut without = sample(schema);
        without.as_object_mut().expect("what has fields is an object").remove(&name);
        bad.push(("required", "missing-field", without, format!("{at}.{name}")));
    }
    let case = |(what, word, value, says): (&str, &'static str, Value, String)| Case {
        name: format!("{} {says}: {what}", place.definition["spec"]["names"]["kind"]),
        manifest: place.manifest(value),
        word,
        says,
        control: None,
    };
    bad.into_iter().map(case).collect()
}

fn rules(place: &Place<'_>, schema: &Value) -> Vec<Case> {
    let rules = schema["x-kubernetes-validations"].as_array().into_iter().flatten();
    let case = |rule: &Value| {
        let text = rule["rule"].as_str().expect("a rule is a text");
        let Example { bad, good } = example(text);
        let over = |value: Value| place.manifest(laid_over(sample(schema), value));
        let (word, says) = match text == duration::RULE {
            true => ("duration", place.path()),
            false => ("schema-rule", rule["message"].as_str().expect("a rule has a message").to_owned()),
        };
        Case {
            name: format!("{} {}: {text}", place.definition["spec"]["names"]["kind"], place.path()),
            manifest: over(bad),
            word,
            says,
            control: Some(over(good)),
        }
    };
    rules.map(case).collect()
}

/// A value that breaks a rule, and one that keeps it.
fn example(rule: &str) -> Example {
    let key = || json!({ "name": "a", "key": "a" });
    let (bad, good) = match rule {
        duration::RULE => (json!("1d"), json!("1h30m")),
        "(has(self.data) && size(self.data) > 0) || (has(self.dataFrom) && size(self.dataFrom) > 0)" => {
            (json!({}), json!({ "dataFrom": [{ "extract": { "key": "a" } }] }))
        }
        "!has(self.deletionPolicy) || self.deletionPolicy != 'Delete' || !has(self.creationPolicy) || self.creationPolicy == 'Owner'" => {
            (json!({ "deletionPolicy": "Delete", "creationPolicy": "Merge" }), json!({ "deletionPolicy": "Delete" }))
        }
        "!has(self.deletionPolicy) || self.deletionPolicy != 'Merge' || !has(self.creationPolicy) || self.creationPolicy != 'None'" => {
            (json!({ "deletionPolicy": "Merge", "creationPolicy": "None" }), json!({ "creationPolicy": "None" }))
        }
        "has(self.storeRef) != has(self.generatorRef)" => (json!({}), json!({ "storeRef": { "name": "a" } })),
        "(has(self.extract) ? 1 : 0) + (has(self.find) ? 1 : 0) + (has(self.sourceRef) && has(self.sourceRef.generatorRef) ? 1 : 0) == 1" => {
            (json!({ "extract": { "key": "a" }, "find": {} }), json!({ "extract": { "key": "a" } }))
        }
        "(has(self.merge) ? 1 : 0) + (has(self.regexp) ? 1 : 0) + (has(self.transform) ? 1 : 0) == 1" => {
            (json!({}), json!({ "merge": {} }))
        }
        "[has(self.secret), has(self.configMap), has(self.generatorRef)].exists_one(set, set)" => {
            let both = json!({ "secret": { "name": "a" }, "configMap": { "name": "a" } });
            (both, json!({ "secret": { "name": "a" } }))
        }
        "!has(self.storeRef) || has(self.storeRef.name) || has(self.storeRef.labelSelector)" => {
            (json!({ "storeRef": { "kind": "SecretStore" } }), json!({ "storeRef": { "name": "a" } }))
        }
        "!has(self.remoteKey) || self.remoteKey == '' || !has(self.rewrite) || size(self.rewrite) == 0" => {
            let rewrite = json!([{ "regexp": { "source": "a", "target": "b" } }]);
            (json!({ "remoteKey": "a", "rewrite": rewrite }), json!({ "remoteKey": "", "rewrite": rewrite }))
        }
        "has(self.regexp) != has(self.transform)" => (json!({}), json!({ "regexp": { "source": "a", "target": "b" } })),
        "[has(self.tokenSecretRef), has(self.appRole), has(self.kubernetes), has(self.userPass)].filter(set, set).size() == 1" => {
            (json!({}), json!({ "tokenSecretRef": key() }))
        }
        "has(self.roleId) || has(self.roleRef)" => (json!({}), json!({ "roleId": "a" })),
        "has(self.secretRef) != has(self.kubernetesServiceAccountToken)" => (json!({}), json!({ "secretRef": key() })),
        "has(self.vault) != has(self.openBao)" => (json!({ "vault": null, "aws": {} }), json!({})),
        "!has(self.tls) || has(self.tls.certSecretRef) == has(self.tls.keySecretRef)" => (
            json!({ "tls": { "certSecretRef": key() } }),
            json!({ "tls": { "certSecretRef": key(), "keySecretRef": key() } }),
        ),
        "!has(self.checkAndSet) || !has(self.checkAndSet.required) || !self.checkAndSet.required || !has(self.version) || self.version == 'v2'" =>
        {
            let set = |version: &str| json!({ "checkAndSet": { "required": true }, "version": version });
            (set("v1"), set("v2"))
        }
        "self.all(name, !(name.lowerAscii() in ['x-vault-token', 'x-vault-namespace', 'host']))" => {
            (json!({ "X-Vault-Token": "a" }), json!({ "X-Other": "a" }))
        }
        "!(has(self.caBundle) && has(self.caProvider))" => {
            let provider = json!({ "type": "Secret", "name": "a" });
            (json!({ "caBundle": "YQ==", "caProvider": provider }), json!({ "caProvider": provider }))
        }
        "!has(self.type) || !(self.type in ['kubernetes.io/service-account-token', 'bootstrap.kubernetes.io/token'])" => {
            (json!({ "type": "bootstrap.kubernetes.io/token" }), json!({ "type": "Opaque" }))
        }
        "self.metadata.name == 'default'" => {
            (json!({ "metadata": { "name": "other" } }), json!({ "metadata": { "name": "default" } }))
        }
        "(has(self.secretPrefix) ? self.secretPrefix : 'platform-data') != (has(self.configurationPrefix) ? self.configurationPrefix : 'platform-config')" => {
            (json!({ "secretPrefix": "platform-config" }), json!({ "secretPrefix": "other" }))
        }
        "!has(self.credentials) || !has(self.endpoints) || !self.credentials.exists(property, property in self.endpoints)" =>
        {
            let words = |endpoint: &str| json!({ "credentials": ["a", "b"], "endpoints": [endpoint] });
            (words("b"), words("c"))
        }
        unknown => panic!("no manifest breaks the rule {unknown}: write one here"),
    };
    Example { bad, good }
}

impl Place<'_> {
    /// The field, as both judges write it. Of a map the first key is `k0`.
    fn path(&self) -> String {
        let mut path = String::new();
        for step in &self.steps {
            match step {
                Step::Field(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) => path.push_str(&format!(".{name}")),
                Step::Item => path.push_str("[0]"),
                Step::Key => path.push_str(".k0"),
            }
        }
        path
    }

    /// A manifest that has this value here, and elsewhere the least that the schemas ask for.
    fn manifest(&self, value: Value) -> Value {
        let names = &self.definition["spec"]["names"];
        let group = self.definition["spec"]["group"].as_str().expect("a definition has a group");
        let version = self.definition["spec"]["versions"][0]["name"].as_str().expect("a version has a name");
        let name = if names["kind"] == "PathConvention" { "default" } else { "constructed" };
        let mut manifest = json!({ "metadata": { "name": name } });
        if self.definition["spec"]["scope"] == "Namespaced" {
            manifest["metadata"]["namespace"] = json!("default");
        }
        manifest = laid_over(manifest, placed(schema(self.definition), &self.steps, value));
        manifest["apiVersion"] = json!(format!("{group}/{version}"));
        manifest["kind"] = names["kind"].clone();
        manifest
    }
}

/// A value at its place below a schema, with whatever else is required there.
fn placed(schema: &Value, steps: &[Step], value: Value) -> Value {
    let Some((step, rest)) = steps.split_first() else { return value };
    match step {
        Step::Field(name) => {
            let below = placed(&schema["properties"][name], rest, value);
            filled(schema, Map::from_iter([(name.clone(), below)]))
        }
        Step::Item => {
            let least = schema["minItems"].as_u64().unwrap_or(1).max(1);
            let mut items = vec![placed(&schema["items"], rest, value)];
            items.extend((1..least).map(|_| sample(&schema["items"])));
            Value::Array(items)
        }
        Step::Key => json!({ "k0": placed(&schema["additionalProperties"], rest, value) }),
    }
}

/// The least that a schema accepts.
fn sample(schema: &Value) -> Value {
    match schema["type"].as_str() {
        Some("object") => filled(schema, Map::new()),
        Some("array") => {
            let least = usize::try_from(schema["minItems"].as_u64().unwrap_or(0)).unwrap_or(0);
            Value::Array((0..least).map(|_| sample(&schema["items"])).collect())
        }
        Some("boolean") => json!(true),
        Some("integer" | "number") => schema["minimum"].as_f64().map_or(json!(1), |least| json!(least as i64)),
        Some(_text) if schema["enum"].is_array() => schema["enum"][0].clone(),
        Some(_text) if schema["format"] == "byte" => json!("YQ=="),
        Some(_text) => json!(text(schema)),
        None => json!(1),
    }
}

/// An object with these fields, and with the least of others that its schema asks for.
fn filled(schema: &Value, mut fields: Map<String, Value>) -> Value {
    for name in required(schema) {
        fields.entry(&name).or_insert_with(|| sample(&schema["properties"][&name]));
    }
    let least = schema["minProperties"].as_u64().and_then(|least| usize::try_from(least).ok()).unwrap_or(0);
    for (name, property) in schema["properties"].as_object().into_iter().flatten().rev() {
        if fields.len() < least {
            fields.entry(name).or_insert_with(|| sample(property));
        }
    }
    Value::Object(fields)
}

/// A text that a pattern accepts.
fn text(schema: &Value) -> &'static str {
    const TEXTS: [&str; 6] = ["a", "1h", "https://a", "@daily", "{{ .value }}", "v1"];
    let pattern = schema["pattern"].as_str().map(regex);
    let fits = |text: &&str| pattern.as_ref().is_none_or(|pattern| pattern(text));
    TEXTS.into_iter().find(fits).unwrap_or_else(|| panic!("no text for {schema}: add one"))
}

fn regex(pattern: &str) -> impl Fn(&str) -> bool + use<> {
    let pattern = regex::Regex::new(pattern).expect("a pattern of a definition");
    move |text| pattern.is_match(text)
}

fn required(schema: &Value) -> Vec<String> {
    let names = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    names.filter(|name| schema["properties"][*name]["default"].is_null()).map(str::to_owned).collect()
}

/// Fields of the second replace those of the first, maps below them field by field; a null removes
/// one.
fn laid_over(under: Value, over: Value) -> Value {
    match (under, over) {
        (Value::Object(mut under), Value::Object(over)) => {
            for (name, value) in over {
                let below = under.remove(&name).unwrap_or_default();
                if !value.is_null() {
                    under.insert(name, laid_over(below, value));
                }
            }
            Value::Object(under)
        }
        (_under, over) => over,
    }
}
