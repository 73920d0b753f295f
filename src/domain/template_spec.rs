//! The template of a Secret as a spec has it: texts, and references to texts in ConfigMaps and
//! Secrets. With these it becomes a [`SecretTemplate`].

use std::collections::{BTreeMap, BTreeSet};

use waypost_template::Template;

use super::property::Decoding;
use super::secret::SecretMap;
use super::secret_template::{MOST_TEXT, Makes, Part, Problem, Rendering, SecretTemplate, TemplateFault};
use super::source::{Source, SourceKind, SourceName};

/// What a text counts for beside its bytes: what is kept of it once it is parsed.
const LEAST_SIZE: usize = 1024;

/// See the module.
#[derive(Clone, Debug)]
pub struct TemplateSpec {
    /// The Secret's type.
    pub kind: String,
    /// Whether the values are keys as well, beneath what the templates make.
    pub merges: bool,
    /// The Secret's finalizers.
    pub finalizers: BTreeSet<String>,
    /// Each part in the order in which it is rendered: later ones win.
    pub parts: Vec<PartSpec>,
}

/// What makes a part of a Secret.
#[derive(Clone, Debug)]
pub enum PartSpec {
    /// A text of the spec.
    Text(Rendering),
    /// Texts of an object.
    Object(Referred),
}

/// Texts of an object, and what they make.
#[derive(Clone, Debug)]
pub struct Referred {
    /// The field in the manifest.
    pub field: String,
    /// The object, in the namespace of the spec.
    pub object: SourceName,
    /// The keys of the object, and what the text of each one makes.
    pub items: Vec<(String, Makes)>,
    /// The part of the Secret that they make.
    pub part: Part,
    /// How what they make is decoded.
    pub decoding: Decoding,
}

/// The texts that were read, by object; `None` if it does not exist.
#[derive(Default)]
pub struct Texts(BTreeMap<SourceName, Option<SecretMap>>);

impl TemplateSpec {
    /// The objects that it refers to, with the keys that it uses of each.
    pub fn objects(&self) -> BTreeMap<&SourceName, BTreeSet<&str>> {
        let mut objects: BTreeMap<&SourceName, BTreeSet<&str>> = BTreeMap::new();
        for referred in self.parts.iter().filter_map(PartSpec::referred) {
            objects.entry(&referred.object).or_default().extend(referred.items.iter().map(|(key, _)| key.as_str()));
        }
        objects
    }

    /// Refuses texts of the spec with a function whose result changes by itself.
    ///
    /// # Errors
    /// [`TemplateFault`] of the first one.
    pub fn check_steady(&self) -> Result<(), TemplateFault> {
        self.parts.iter().try_for_each(|part| match part {
            PartSpec::Text(rendering) => rendering.check_steady(),
            PartSpec::Object(_) => Ok(()),
        })
    }

    /// Whether it alone decides which keys the Secret has, and its labels and annotations.
    pub fn has_fixed_keys(&self) -> bool {
        let is_a_key = |part: Part, makes: &Makes| part == Part::Data && matches!(makes, Makes::Value(_));
        self.parts.iter().all(|part| match part {
            PartSpec::Text(rendering) => is_a_key(rendering.part, &rendering.makes),
            // Whether the inputs are kept beside the data changes with the text.
            PartSpec::Object(_) => false,
        })
    }

    /// The template with the texts that it refers to.
    ///
    /// # Errors
    /// [`TemplateFault`] of the first text that does not exist or is no template.
    pub fn with(&self, texts: &Texts) -> Result<SecretTemplate, TemplateFault> {
        let (mut parts, mut size) = (Vec::new(), 0);
        for part in &self.parts {
            match part {
                PartSpec::Text(rendering) => parts.push(rendering.clone()),
                PartSpec::Object(referred) => referred.render_into(&mut parts, texts, &mut size)?,
            }
        }
        let (kind, finalizers) = (self.kind.clone(), self.finalizers.clone());
        Ok(SecretTemplate { kind, merges: self.merges, finalizers, parts })
    }
}

impl PartSpec {
    fn referred(&self) -> Option<&Referred> {
        match self {
            PartSpec::Text(_) => None,
            PartSpec::Object(referred) => Some(referred),
        }
    }
}

impl Referred {
    /// `size` is that of all texts so far. One that is used twice counts twice, and the smallest has
    /// a size too: each is parsed for itself.
    fn render_into(&self, parts: &mut Vec<Rendering>, texts: &Texts, size: &mut usize) -> Result<(), TemplateFault> {
        let fault = |field: &str, problem| TemplateFault { field: field.to_owned(), problem };
        if texts.bytes() > MOST_TEXT {
            return Err(fault(&self.field, Problem::TooMuchText));
        }
        let found = texts.0.get(&self.object).and_then(Option::as_ref);
        let found = found.ok_or_else(|| fault(&self.field, Problem::NoObject(self.object.clone())))?;
        for (index, (key, makes)) in self.items.iter().enumerate() {
            let field = format!("{}.items[{index}]", self.field);
            let missing = || Problem::NoItem { object: self.object.clone(), key: key.clone() };
            let text = found.get(key).ok_or_else(|| fault(&field, missing()))?;
            *size += text.len() + LEAST_SIZE;
            if *size > MOST_TEXT {
                return Err(fault(&field, Problem::TooMuchText));
            }
            let not_text = || Problem::NoTemplateText { object: self.object.clone(), key: key.clone() };
            let text = text.expose_utf8().ok_or_else(|| fault(&field, not_text()))?;
            let is_secret = self.object.kind == SourceKind::Secret;
            let template = Template::parse(text).map_err(|broken| fault(&field, Problem::of(broken, is_secret)))?;
            parts.push(Rendering {
                field,
                part: self.part,
                makes: makes.clone(),
                decoding: self.decoding,
                template,
                text: text.to_owned(),
                is_secret,
            });
        }
        Ok(())
    }
}

impl Texts {
    /// Keeps these keys of an object that was read.
    pub fn add(&mut self, object: &SourceName, keys: &BTreeSet<&str>, found: Option<Source>) {
        let kept = found.map(|source| source.data.into_iter().filter(|(key, _)| keys.contains(key.as_str())).collect());
        self.0.insert(object.clone(), kept);
    }

    /// The size of what is kept.
    pub fn bytes(&self) -> usize {
        self.0.values().flatten().flatten().map(|(_, text)| text.len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::secret::SecretBytes;

    fn object(kind: SourceKind) -> SourceName {
        SourceName { kind, name: "from".to_owned() }
    }

    fn spec(kind: SourceKind, items: &[(&str, Makes)]) -> TemplateSpec {
        let items = items.iter().map(|(key, makes)| ((*key).to_owned(), makes.clone())).collect();
        let (field, part) = ("templateFrom[0].x".to_owned(), Part::Data);
        let referred = Referred { field, object: object(kind), items, part, decoding: Decoding::Plain };
        let parts = vec![PartSpec::Object(referred)];
        TemplateSpec { kind: "Opaque".to_owned(), merges: false, finalizers: BTreeSet::new(), parts }
    }

    fn texts(kind: SourceKind, data: &[(&str, &[u8])]) -> Texts {
        let data = data.iter().map(|(key, text)| ((*key).to_owned(), SecretBytes::new(text.to_vec()))).collect();
        Texts(BTreeMap::from([(object(kind), Some(data))]))
    }

    fn a_value(key: &str) -> Makes {
        Makes::Value(key.to_owned())
    }

    fn told(spec: &TemplateSpec, texts: &Texts) -> String {
        spec.with(texts).unwrap_err().to_string()
    }

    #[test]
    fn texts_of_objects_render_as_those_of_the_spec() {
        let items = [("url", a_value("url")), ("more", Makes::KeysAndValues)];
        let spec = spec(SourceKind::ConfigMap, &items);
        let texts = texts(SourceKind::ConfigMap, &[("url", b"pg://{{ .user }}"), ("more", b"a: '{{ .user }}'")]);
        let values = SecretMap::from([("user".to_owned(), SecretBytes::from("app"))]);
        let rendered = spec.with(&texts).unwrap().render(values, 1).unwrap();
        let data: Vec<_> = rendered.data.iter().map(|(key, value)| (key.as_str(), value.expose())).collect();
        assert_eq!(data, [("a", &b"app"[..]), ("url", b"pg://app")]);
        assert!(!spec.has_fixed_keys());
    }

    #[test]
    fn what_is_missing_or_no_text_is_named_with_its_field() {
        let map = SourceKind::ConfigMap;
        let spec = spec(map, &[("url", a_value("url"))]);
        for (texts, words) in [
            (
                Texts(BTreeMap::from([(object(map), None)])),
                "templateFrom[0].x: ConfigMap from does not exist: create it",
            ),
            (Texts::default(), "ConfigMap from does not exist"),
            (texts(map, &[]), "templateFrom[0].x.items[0]: ConfigMap from has no key \"url\""),
            (texts(map, &[("url", b"\xff")]), "at key \"url\" of ConfigMap from is no UTF-8 text"),
            (texts(map, &[("url", b"{{ nosuch }}")]), "items[0]: line 1, column 4: there is no function \"nosuch\""),
            (texts(map, &[("url", &vec![b'x'; MOST_TEXT + 1])]), "more than 4 MiB"),
        ] {
            let told = told(&spec, &texts);
            assert!(told.contains(words), "{words}: {told}");
        }
    }

    #[test]
    fn no_error_shows_the_text_of_a_secret() {
        let kind = SourceKind::Secret;
        let told = told(&spec(kind, &[("url", a_value("url"))]), &texts(kind, &[("url", b"\n {{ s3cret }}")]));
        assert_eq!(
            told,
            "templateFrom[0].x.items[0]: line 2, column 5: the template has an error, which is not shown because it is in a Secret"
        );
    }

    #[test]
    fn a_text_counts_as_often_as_it_is_used() {
        let text = vec![b'x'; MOST_TEXT / 4];
        let used = |times: usize| {
            let items: Vec<_> = (0..times).map(|_| ("url", a_value("url"))).collect();
            spec(SourceKind::ConfigMap, &items).with(&texts(SourceKind::ConfigMap, &[("url", &text)])).is_ok()
        };
        assert_eq!([used(3), used(4)], [true, false]);
        let items: Vec<_> = (0..MOST_TEXT / LEAST_SIZE).map(|_| ("url", a_value("url"))).collect();
        let told = told(&spec(SourceKind::ConfigMap, &items), &texts(SourceKind::ConfigMap, &[("url", b"x")]));
        assert!(told.contains("more than 4 MiB"), "{told}");
    }

    #[test]
    fn only_the_keys_in_use_are_kept() {
        let mut texts = Texts::default();
        let data = [("a", "1"), ("b", "22")].map(|(key, text)| (key.to_owned(), SecretBytes::from(text)));
        let source = Source {
            kind: SourceKind::ConfigMap,
            namespace: "ns".into(),
            name: "from".into(),
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            data: data.into_iter().collect(),
        };
        texts.add(&object(SourceKind::ConfigMap), &BTreeSet::from(["b"]), Some(source));
        assert_eq!(texts.bytes(), 2);
    }
}
