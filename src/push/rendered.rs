//! What a PushSecret publishes of its sources if it has a template.

use thiserror::Error;

use super::mapped::{Astray, Origin};
use super::pieces::NoPath;
use super::sources::{BOUND, Sources};
use crate::api::condition::Reason;
use crate::controller::report::Verdict;
use crate::domain::secret::SecretBytes;
use crate::domain::secret_template::{Problem, SecretTemplate, TemplateFault};
use crate::domain::source::Source;
use crate::domain::template_spec::{TemplateSpec, Texts};

/// Why a source is not rendered, or none is: a text of the template does not exist, or one fails.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{fault}")]
pub struct Unrendered {
    /// What is wrong, and where.
    pub fault: TemplateFault,
    /// The source, if it is about one.
    of: Option<String>,
}

/// The sources as they are rendered, and why some are not.
pub type Rendered = (Vec<Source>, Vec<Unrendered>);

/// The sources with the keys that the template makes of theirs. Names, labels and annotations stay, so
/// that a remote key may use them.
///
/// # Errors
/// [`Unrendered`] if a text cannot be used, or if all sources together become too large.
pub fn rendered(template: &TemplateSpec, texts: &Texts, sources: Vec<Source>) -> Result<Rendered, Unrendered> {
    let of_all = |fault| Unrendered { fault, of: None };
    let template = template.with(texts).map_err(of_all)?;
    template.check_steady().map_err(of_all)?;
    let (count, mut bytes) = (sources.len(), 0);
    let (mut made, mut failed) = (Vec::new(), Vec::new());
    for source in sources {
        match of_one(&template, source, count) {
            Ok(source) => {
                bytes += source.data.values().map(SecretBytes::len).sum::<usize>();
                made.push(source);
            }
            Err(unrendered) => failed.push(unrendered),
        }
        if bytes > BOUND.bytes {
            let problem = Problem::TooMuchRendered { limit: BOUND.bytes };
            return Err(of_all(TemplateFault { field: "spec.template".to_owned(), problem }));
        }
    }
    Ok((made, failed))
}

fn of_one(template: &SecretTemplate, source: Source, count: usize) -> Result<Source, Unrendered> {
    let name = source.to_string();
    let rendered = template.render(source.data, count).map_err(|fault| Unrendered { fault, of: Some(name) })?;
    Ok(Source { data: rendered.data, ..source })
}

impl Unrendered {
    /// The verdict.
    pub fn verdict(&self, sources: &Sources, namespace: &str) -> Verdict {
        let reason = if self.fault.is_missing() { Reason::SourceNotFound } else { Reason::SourceInvalid };
        let of = self.of.clone().unwrap_or_else(|| sources.text(namespace));
        let message = format!("{}; it was to be rendered from {of}, and what was pushed stays meanwhile", self.fault);
        Verdict { ready: false, reason, message }
    }

    /// What its source makes: no path that is known.
    pub fn astray(&self) -> Astray {
        let TemplateFault { field, problem } = self.fault.clone();
        Astray { origin: Origin { field, source: self.of.clone() }, error: NoPath::Unrendered(problem) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use serde_json::json;

    use super::*;
    use crate::api::template::SecretTemplate as Api;
    use crate::api::template_spec;
    use crate::domain::source::{SourceKind, SourceName};

    fn template(spec: serde_json::Value) -> TemplateSpec {
        let spec: Api = serde_json::from_value(spec).unwrap();
        template_spec::parse(&spec, "spec.template", None).unwrap()
    }

    fn source(name: &str) -> Source {
        Source {
            kind: SourceKind::Secret,
            namespace: "db".to_owned(),
            name: name.to_owned(),
            labels: BTreeMap::from([("team".to_owned(), "shop".to_owned())]),
            annotations: BTreeMap::new(),
            data: [("user", "app"), ("password", "s3cret")]
                .map(|(key, value)| (key.to_owned(), SecretBytes::from(value)))
                .into(),
        }
    }

    fn told(template: &TemplateSpec, sources: Vec<Source>) -> Verdict {
        let refused = rendered(template, &Texts::default(), sources).err().unwrap();
        refused.verdict(&Sources::Named("one".to_owned()), "db")
    }

    fn made(template: &TemplateSpec, sources: Vec<Source>) -> Vec<Source> {
        let (made, failed) = rendered(template, &Texts::default(), sources).ok().unwrap();
        assert_eq!(failed, []);
        made
    }

    #[test]
    fn each_source_has_the_keys_that_the_template_makes_of_its_own() {
        let url =
            json!({ "data": { "url": "pg://{{ .user }}:{{ .password }}@db" }, "metadata": { "labels": { "a": "b" } } });
        let made_of_both = made(&template(url.clone()), vec![source("one"), source("two")]);
        assert_eq!(made_of_both.iter().map(|source| source.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(made_of_both[1].data.keys().collect::<Vec<_>>(), ["url"]);
        assert_eq!(made_of_both[0].data["url"].expose_utf8(), Some("pg://app:s3cret@db"));
        assert_eq!(made_of_both[0].labels, source("one").labels, "a remote key may use those of the source");
        let mut merged = url;
        merged["mergePolicy"] = json!("Merge");
        let with_its_own = made(&template(merged), vec![source("one")]);
        assert_eq!(with_its_own[0].data.keys().collect::<Vec<_>>(), ["password", "url", "user"]);
    }

    #[test]
    fn what_fails_is_told_with_its_source_and_what_is_missing_with_its_name() {
        let failing = template(json!({ "data": { "url": "{{ .pasword }}" } }));
        let mut good = source("two");
        good.data.insert("pasword".to_owned(), SecretBytes::from("x"));
        let (made, failed) = rendered(&failing, &Texts::default(), vec![source("one"), good]).ok().unwrap();
        assert_eq!(made.iter().map(|source| source.name.as_str()).collect::<Vec<_>>(), ["two"]);
        let told_of_one = failed[0].astray().to_string();
        assert!(told_of_one.starts_with("Secret db/one: spec.template.data.url: line 1, column 4"), "{told_of_one}");
        assert!(!told_of_one.contains("s3cret"), "{told_of_one}");
        let from = json!([{ "configMap": { "name": "texts", "items": [{ "key": "url" }] } }]);
        let verdict = told(&template(json!({ "templateFrom": from })), vec![source("one")]);
        assert_eq!(verdict.reason, Reason::SourceNotFound);
        assert!(verdict.message.contains("ConfigMap texts does not exist"), "{}", verdict.message);
    }

    #[test]
    fn all_sources_together_have_a_bound_once_they_are_rendered() {
        let large = template(json!({ "data": { "a": "{{ repeat 1000000 \"x\" }}" } }));
        let sources = |count: usize| (0..count).map(|number| source(&format!("s{number}"))).collect::<Vec<_>>();
        assert_eq!(made(&large, sources(16)).len(), 16);
        assert!(told(&large, sources(17)).message.contains("more than 16 MiB together"));
    }

    #[test]
    fn what_changes_by_itself_is_refused_wherever_its_text_is() {
        let of_spec = template(json!({ "data": { "salt": "{{ randAlphaNum 8 }}" } }));
        assert!(of_spec.check_steady().is_err());
        assert!(told(&of_spec, vec![source("one")]).message.contains("changes by itself"));
        let from = json!([{ "configMap": { "name": "texts", "items": [{ "key": "salt" }] } }]);
        let of_map = template(json!({ "templateFrom": from }));
        assert!(of_map.check_steady().is_ok());
        let object = SourceName { kind: SourceKind::ConfigMap, name: "texts".to_owned() };
        let mut texts = Texts::default();
        let data = BTreeMap::from([("salt".to_owned(), SecretBytes::from("{{ now }}"))]);
        texts.add(&object, &BTreeSet::from(["salt"]), Some(Source { data, ..source("texts") }));
        let refused = rendered(&of_map, &texts, vec![source("one")]).err().unwrap();
        assert!(refused.to_string().contains("changes by itself"), "{refused}");
    }
}
