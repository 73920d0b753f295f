//! The template of a Secret: the keys, labels and annotations that it renders from values.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use thiserror::Error;
use waypost_template::{Budget, Data, Fault, NoKeysAndValues, Position, Template, keys_and_values};

use super::property::{Decoding, decode};
use super::secret::{SecretBytes, SecretMap};
use super::source::SourceName;
use super::target::{IllegalKey, MOST_BYTES, is_legal_key, is_qualified_name};

/// The steps that all templates of one Secret may take together.
const MOST_STEPS: u64 = 5_000_000;
/// The steps that one template may take, unless there are many.
const STEPS: u64 = 1_000_000;
/// The bytes that the functions of all templates of one Secret may make together.
const MOST_WORK: usize = 64 << 20;
/// The maximum size of all texts that one template takes from ConfigMaps and Secrets, in bytes.
pub const MOST_TEXT: usize = 4 << 20;
/// The maximum length of a label's value.
const LONGEST_LABEL: usize = 63;
/// Prefixes of labels and annotations that controllers read on a target: no template sets them.
const RESERVED: [&str; 2] = ["reconcile.external-secrets.io/", "waypost.io/"];

/// Functions that may give another result each time.
const CHANGING: [&str; 33] = [
    "ago",
    "bcrypt",
    "date",
    "dateInZone",
    "date_in_zone",
    "durationRound",
    "encryptAES",
    "fullPemToPkcs12",
    "fullPemToPkcs12Pass",
    "genCA",
    "genCAWithKey",
    "genPrivateKey",
    "genSelfSignedCert",
    "genSelfSignedCertWithKey",
    "genSignedCert",
    "genSignedCertWithKey",
    "htmlDate",
    "htmlDateInZone",
    "htpasswd",
    "now",
    "pemToPkcs12",
    "pemToPkcs12Pass",
    "pemTruststoreToPKCS12",
    "pemTruststoreToPKCS12Pass",
    "randAlpha",
    "randAlphaNum",
    "randAscii",
    "randBytes",
    "randInt",
    "randNumeric",
    "shuffle",
    "unixEpoch",
    "uuidv4",
];

/// See the module.
#[derive(Clone, Debug)]
pub struct SecretTemplate {
    /// The Secret's type.
    pub kind: String,
    /// Whether the values are keys as well, beneath what the templates make.
    pub merges: bool,
    /// The Secret's finalizers.
    pub finalizers: BTreeSet<String>,
    /// Each part in the order in which it is rendered: later ones win.
    pub parts: Vec<Rendering>,
}

/// One template.
#[derive(Clone, Debug)]
pub struct Rendering {
    /// Its field in the manifest.
    pub field: String,
    /// The part of the Secret that it makes.
    pub part: Part,
    /// What it makes there.
    pub makes: Makes,
    /// How what it makes is decoded.
    pub decoding: Decoding,
    pub template: Template,
    pub text: String,
    /// Whether the text is in a Secret, so that no error may show it.
    pub is_secret: bool,
}

/// A part of a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Data,
    Labels,
    Annotations,
}

/// What a template makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Makes {
    /// The value of this key.
    Value(String),
    /// Keys and values, as YAML.
    KeysAndValues,
}

/// What errors call a key that they must not show.
const RENDERED: &str = "a key that it renders";

impl Rendering {
    /// See [`SecretTemplate::check_steady`].
    ///
    /// # Errors
    /// [`TemplateFault`].
    pub fn check_steady(&self) -> Result<(), TemplateFault> {
        match self.part == Part::Data && self.may_change() {
            true => Err(TemplateFault { field: self.field.clone(), problem: Problem::Changes }),
            false => Ok(()),
        }
    }

    /// Whether it calls a function whose result changes by itself.
    fn may_change(&self) -> bool {
        let calls = self.template.calls();
        CHANGING.iter().any(|name| calls.contains(name))
    }

    /// Whether the manifest has this key, so that it is no secret.
    pub fn names(&self, key: &str) -> bool {
        self.makes == Makes::Value(key.to_owned()) || !self.is_secret && self.text.contains(key)
    }
}

/// What was rendered.
#[derive(Default)]
pub struct Rendered {
    /// The keys with their values.
    pub data: SecretMap,
    pub labels: BTreeMap<String, String>,
    pub annotations: BTreeMap<String, String>,
}

/// Why a template makes no Secret. It names fields, keys and functions, never values.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{field}: {problem}")]
pub struct TemplateFault {
    /// The field in the manifest.
    pub field: String,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a template, or with what it makes.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Problem {
    /// The template fails.
    #[error("{0}")]
    Template(Box<Fault>),
    /// The same of a template in a Secret: an error may repeat a word of it.
    #[error("{0}: the template has an error, which is not shown because it is in a Secret")]
    SecretTemplate(Position),
    /// Its result changes by itself, where results are compared.
    #[error(
        "a function whose result changes by itself would push another value at each refresh: make the value once, in the source or in the template of an ExternalSecret"
    )]
    Changes,
    /// The object with the text does not exist.
    #[error("{0} does not exist: create it, or correct the name")]
    NoObject(SourceName),
    /// The object with the text does not have it.
    #[error("{object} has no key {key:?}: add it, or correct the key")]
    NoItem { object: SourceName, key: String },
    /// The text is none.
    #[error("the value at key {key:?} of {object} is no UTF-8 text, so it is no template")]
    NoTemplateText { object: SourceName, key: String },
    /// All texts of objects together are too large.
    #[error("the texts of templateFrom have more than {} MiB together: use fewer or smaller ones", MOST_TEXT >> 20)]
    TooMuchText,
    /// It makes no keys and values.
    #[error("it must render YAML with a text for each key: {0}")]
    NoMap(NoKeysAndValues),
    /// Rule K1 for a key.
    #[error(transparent)]
    IllegalKey(IllegalKey),
    /// A name that no label or annotation may have.
    #[error(
        "{0:?} is no name of a label or an annotation: use at most 63 letters, digits, '-', '_' and '.', after a domain and '/', or without one"
    )]
    MetadataName(String),
    /// A controller reads this label or annotation on the target.
    #[error("{0:?} is reserved for the controller: choose another name")]
    Reserved(String),
    /// A label's value that the API server would refuse.
    #[error(
        "it makes what is no value of label {0:?}: use at most 63 letters, digits, '-', '_' and '.', that begin and end with a letter or digit"
    )]
    LabelValue(String),
    /// An annotation that is no text.
    #[error("it makes what is not UTF-8 text, for annotation {0:?}")]
    NotText(String),
    /// A value that is not in the declared encoding.
    #[error("the value of key {0:?} is not in the encoding that valuesDecodingStrategy declares")]
    Undecodable(String),
    /// All templates together make no key.
    #[error("the template renders no key, and nothing is emptied for that: let it render one, or remove it")]
    NoKeys,
    /// More than all sources of a push may have.
    #[error("what is rendered of the sources has more than {} MiB together: render less, or select fewer", .limit >> 20)]
    TooMuchRendered { limit: usize },
    /// More than a Secret may have.
    #[error("the Secret would have more than {MOST_BYTES} bytes")]
    TooLarge,
}

impl Problem {
    /// A problem of a template.
    pub fn of(fault: Fault, is_secret: bool) -> Self {
        match is_secret {
            true => Problem::SecretTemplate(fault.position),
            false => Problem::Template(Box::new(fault)),
        }
    }
}

impl TemplateFault {
    /// Whether a text does not exist, so that whoever creates it mends this.
    pub fn is_missing(&self) -> bool {
        matches!(self.problem, Problem::NoObject(_) | Problem::NoItem { .. })
    }
}

impl SecretTemplate {
    /// What decides about the result: the templates and the values. It is compared instead of the
    /// result where functions may give another one each time; `None` if none does.
    pub fn inputs(&self, values: &SecretMap) -> Option<String> {
        if !self.parts.iter().any(|part| part.may_change()) {
            return None;
        }
        let mut digest = Sha256::new();
        let mut add = |bytes: &[u8]| {
            digest.update((bytes.len() as u64).to_be_bytes());
            digest.update(bytes);
        };
        add(self.kind.as_bytes());
        add(&[u8::from(self.merges)]);
        for part in &self.parts {
            add(format!("{:?} {:?} {:?}", part.part, part.makes, part.decoding).as_bytes());
            add(part.text.as_bytes());
        }
        for (key, value) in values {
            add(key.as_bytes());
            add(value.expose());
        }
        Some(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The labels and annotations that it sets by name.
    pub fn metadata_keys(&self) -> impl Iterator<Item = (Part, &str)> {
        let named = |part: &Rendering| part.part != Part::Data;
        self.parts.iter().filter(move |part| named(part)).filter_map(|part| match &part.makes {
            Makes::Value(key) => Some((part.part, key.as_str())),
            Makes::KeysAndValues => None,
        })
    }

    /// Refuses a template of data with a function whose result changes by itself.
    ///
    /// # Errors
    /// [`TemplateFault`] of the first one.
    pub fn check_steady(&self) -> Result<(), TemplateFault> {
        self.parts.iter().try_for_each(Rendering::check_steady)
    }

    /// Renders it from these values. So many renderings of one resource share the steps.
    ///
    /// # Errors
    /// [`TemplateFault`] of the first template that fails.
    pub fn render(&self, values: SecretMap, renderings: usize) -> Result<Rendered, TemplateFault> {
        let data = Data::of(values.iter().map(|(key, value)| (key.as_str(), value.expose())));
        let count = self.parts.len().max(1) * renderings.max(1);
        let usual = Budget::default();
        let budget =
            Budget { steps: STEPS.min(MOST_STEPS / count as u64), work: usual.work.min(MOST_WORK / count), ..usual };
        let mut made = Made { rendered: Rendered::default(), bytes: 0 };
        for part in &self.parts {
            made.add(part, &data, budget).map_err(|problem| TemplateFault { field: part.field.clone(), problem })?;
        }
        // As in External Secrets Operator, any text or source of texts takes the place of the values.
        let replaces = |part: &Rendering| part.part == Part::Data || part.makes == Makes::KeysAndValues;
        if self.merges || !self.parts.iter().any(replaces) {
            for (key, value) in values {
                made.rendered.data.entry(key).or_insert(value);
            }
        }
        let of_data = self.parts.iter().find(|part| part.part == Part::Data);
        match of_data.filter(|_| made.rendered.data.is_empty()) {
            Some(part) => Err(TemplateFault { field: part.field.clone(), problem: Problem::NoKeys }),
            None => Ok(made.rendered),
        }
    }
}

struct Made {
    rendered: Rendered,
    bytes: usize,
}

impl Made {
    fn add(&mut self, part: &Rendering, data: &Data, budget: Budget) -> Result<(), Problem> {
        let output = MOST_BYTES.saturating_sub(self.bytes);
        let budget = Budget { output, ..budget };
        let rendered = part.template.render(data, budget).map_err(|fault| Problem::of(fault, part.is_secret))?;
        match &part.makes {
            Makes::Value(key) => self.put(part, key.clone(), SecretBytes::new(rendered.to_vec())),
            Makes::KeysAndValues => {
                for (key, value) in keys_and_values(&rendered, budget).map_err(Problem::NoMap)? {
                    self.put(part, key, SecretBytes::new(value.to_vec()))?;
                }
                Ok(())
            }
        }
    }

    fn put(&mut self, part: &Rendering, key: String, value: SecretBytes) -> Result<(), Problem> {
        self.bytes += key.len() + value.len();
        if self.bytes > MOST_BYTES {
            return Err(Problem::TooLarge);
        }
        // A key that is rendered may be made of values.
        let named = || if part.names(&key) { key.clone() } else { RENDERED.to_owned() };
        let value = decode(value, part.decoding).ok_or_else(|| Problem::Undecodable(named()))?;
        match part.part {
            Part::Data if !is_legal_key(&key) => return Err(Problem::IllegalKey(IllegalKey(named()))),
            Part::Data => drop(self.rendered.data.insert(key, value)),
            _ if is_reserved(&key) => return Err(Problem::Reserved(named())),
            _ if !is_qualified_name(&key) => return Err(Problem::MetadataName(named())),
            Part::Labels => {
                let text = value.expose_utf8().filter(|text| is_label_value(text));
                let text = text.ok_or_else(|| Problem::LabelValue(named()))?.to_owned();
                self.rendered.labels.insert(key, text);
            }
            Part::Annotations => {
                let text = value.expose_utf8().ok_or_else(|| Problem::NotText(named()))?.to_owned();
                self.rendered.annotations.insert(key, text);
            }
        }
        Ok(())
    }
}

/// Whether controllers read a label or annotation of this name on a target.
pub fn is_reserved(key: &str) -> bool {
    RESERVED.iter().any(|prefix| key.starts_with(prefix))
}

fn is_label_value(text: &str) -> bool {
    let is_end = |character: Option<char>| character.is_none_or(|character| character.is_ascii_alphanumeric());
    text.len() <= LONGEST_LABEL
        && text.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.'))
        && is_end(text.chars().next())
        && is_end(text.chars().next_back())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(part: Part, key: &str, text: &str) -> Rendering {
        rendering(part, Makes::Value(key.to_owned()), text)
    }

    fn rendering(part: Part, makes: Makes, text: &str) -> Rendering {
        let (field, template) = (format!("template.{part:?}"), Template::parse(text).unwrap());
        Rendering { field, part, makes, decoding: Decoding::Plain, template, text: text.to_owned(), is_secret: false }
    }

    fn template(parts: Vec<Rendering>) -> SecretTemplate {
        SecretTemplate { finalizers: BTreeSet::new(), kind: "Opaque".to_owned(), merges: false, parts }
    }

    fn values() -> SecretMap {
        [("user", "app"), ("password", "s3cret")].map(|(key, value)| (key.to_owned(), SecretBytes::from(value))).into()
    }

    fn shown(data: SecretMap) -> Vec<(String, String)> {
        let text = |value: SecretBytes| value.expose_utf8().unwrap().to_owned();
        data.into_iter().map(|(key, value)| (key, text(value))).collect()
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn told(parts: Vec<Rendering>) -> String {
        template(parts).render(values(), 1).err().unwrap().to_string()
    }

    #[test]
    fn what_comes_later_wins_and_values_stay_only_if_they_are_merged() {
        let parts = || {
            vec![
                rendering(Part::Data, Makes::KeysAndValues, "url: a\nuser: '{{ .user | upper }}'"),
                value(Part::Data, "url", "pg://{{ .user }}:{{ .password }}@db"),
            ]
        };
        let made = template(parts()).render(values(), 1).unwrap();
        assert_eq!(shown(made.data), pairs(&[("url", "pg://app:s3cret@db"), ("user", "APP")]));
        let merged = SecretTemplate { merges: true, ..template(parts()) }.render(values(), 1).unwrap();
        let expected = pairs(&[("password", "s3cret"), ("url", "pg://app:s3cret@db"), ("user", "APP")]);
        assert_eq!(shown(merged.data), expected);
        let labelled = template(vec![value(Part::Labels, "team", "{{ .user }}")]).render(values(), 1).unwrap();
        assert_eq!(shown(labelled.data), pairs(&[("password", "s3cret"), ("user", "app")]), "it makes no data");
        assert_eq!(labelled.labels, BTreeMap::from([("team".to_owned(), "app".to_owned())]));
        let from =
            template(vec![rendering(Part::Labels, Makes::KeysAndValues, "team: shop")]).render(values(), 1).unwrap();
        assert!(from.data.is_empty(), "a source of texts takes the place of the values, as its users know it");
    }

    #[test]
    fn whatever_decides_about_the_result_is_among_the_inputs() {
        let one = || template(vec![value(Part::Data, "a", "{{ randAlphaNum 8 }}")]);
        let inputs = one().inputs(&values());
        assert!(inputs.is_some() && one().inputs(&values()) == inputs);
        let mut other = values();
        other.insert("user".to_owned(), SecretBytes::from("ops"));
        let text = template(vec![value(Part::Data, "a", "{{ randAlphaNum 9 }}")]);
        let key = template(vec![value(Part::Data, "b", "{{ randAlphaNum 8 }}")]);
        let part = template(vec![value(Part::Annotations, "a", "{{ randAlphaNum 8 }}")]);
        let merges = SecretTemplate { merges: true, ..one() };
        let kind = SecretTemplate { finalizers: BTreeSet::new(), kind: "kubernetes.io/tls".to_owned(), ..one() };
        let all = [text, key, part, merges, kind].map(|template| template.inputs(&values()));
        assert!(all.iter().chain([&one().inputs(&other)]).all(|different| different.is_some() && *different != inputs));
        for repeatable in ["{{ .user | upper | b64enc }}", "update the agent of brand 5123: {{ .user }}"] {
            assert_eq!(template(vec![value(Part::Data, "a", repeatable)]).inputs(&values()), None, "{repeatable}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_field_and_never_with_a_value() {
        for (part, words) in [
            (value(Part::Data, "a", "{{ .nope }}"), "template.Data: line 1, column 4: there is no key \"nope\""),
            (value(Part::Data, "..", "x"), "\"..\" is not a legal key"),
            (rendering(Part::Data, Makes::KeysAndValues, "{{ .password }}"), "must render YAML"),
            (
                rendering(Part::Data, Makes::KeysAndValues, "{{ .password }}/: x"),
                "\"a key that it renders\" is not a legal",
            ),
            (rendering(Part::Data, Makes::KeysAndValues, "{{ .password }}: [x]"), "must render YAML"),
            (rendering(Part::Data, Makes::KeysAndValues, "a/b: x"), "\"a/b\" is not a legal key"),
            (value(Part::Labels, "team", "{{ .password }}/"), "no value of label \"team\""),
            (value(Part::Annotations, "reconcile.external-secrets.io/data-hash", "x"), "is reserved"),
            (rendering(Part::Labels, Makes::KeysAndValues, "waypost.io/x: 'y'"), "is reserved"),
            (value(Part::Annotations, "note", r#"{{ "/w==" | b64dec }}"#), "not UTF-8"),
            (rendering(Part::Data, Makes::KeysAndValues, "{{/* nothing */}}"), "renders no key"),
            (value(Part::Labels, "bad key!", "x"), "\"bad key!\" is no name of a label"),
            (rendering(Part::Annotations, Makes::KeysAndValues, "'a b': x"), "\"a b\" is no name of a label"),
            (value(Part::Data, "a", "{{ fail .password }}"), "fail"),
        ] {
            let said = told(vec![part]);
            assert!(said.contains(words) && !said.contains("s3cret"), "{words}: {said}");
        }
        let base64 = Rendering { decoding: Decoding::Base64, ..value(Part::Data, "a", "{{ .password }}!") };
        assert!(told(vec![base64]).contains("valuesDecodingStrategy"));
    }

    #[test]
    fn bombs_end_whether_one_is_large_or_many_are() {
        let large = value(Part::Data, "a", "{{ range until 2000 }}{{ repeat 1000 \"x\" }}{{ end }}");
        assert!(told(vec![large]).contains("larger than"), "one result");
        let many = (0..8).map(|number| value(Part::Data, &format!("a{number}"), "{{ repeat 200000 \"x\" }}"));
        assert!(told(many.collect()).contains("larger than"), "all results together");
        let long = (0..1000).map(|number| value(Part::Data, &format!("a{number}"), "{{ range until 10000 }}{{ end }}"));
        assert!(told(long.collect()).contains("steps"), "all steps together");
    }
}
