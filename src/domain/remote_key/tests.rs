//! What keys may hold between braces, and what a source puts there.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::path::RemotePath;
use crate::domain::secret::SecretMap;
use crate::domain::source::SourceKind;

fn source(labels: &[(&str, &str)]) -> Source {
    let map: BTreeMap<String, String> = labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Source {
        kind: SourceKind::Secret,
        namespace: "db".into(),
        name: "credentials".into(),
        labels: map.clone(),
        annotations: map,
        data: SecretMap::new(),
    }
}

fn resolved(key: &str, labels: &[(&str, &str)]) -> Result<String, RemoteKeyError> {
    RemoteKey::parse(key)?.resolve(&source(labels))
}

#[test]
fn each_placeholder_is_filled_from_the_source() {
    let labels = [("team", "shop"), ("app.kubernetes.io/name", "orders")];
    for (key, want) in [
        ("platform-data/postgres/temporal", "platform-data/postgres/temporal"),
        ("a/{{ .metadata.name }}", "a/credentials"),
        ("{{.metadata.namespace}}-x/{{  .metadata.name  }}", "db-x/credentials"),
        ("a/{{ .metadata.labels.team }}", "a/shop"),
        (r#"a/{{ index .metadata.labels "app.kubernetes.io/name" }}-b"#, "a/orders-b"),
        (r#"a/{{index   .metadata.annotations   "team"}}"#, "a/shop"),
        ("a/{{ .metadata.annotations.team }}", "a/shop"),
        ("a/{{- .metadata.name -}}", "a/credentials"),
        ("a/{{\t.metadata.name }}", "a/credentials"),
        ("a/{{ index .metadata.labels `team` }}", "a/shop"),
        ("a/}}b{", "a/}}b{"),
    ] {
        assert_eq!(resolved(key, &labels).as_deref(), Ok(want), "{key}");
    }
}

#[test]
fn a_key_that_its_source_makes_too_long_is_refused_by_its_beginning() {
    let long = "x".repeat(250);
    let key = "a/".to_owned() + &"{{ .metadata.labels.team }}".repeat(60);
    let told = resolved(&key, &[("team", &long)]).unwrap_err();
    assert!(told.to_string().starts_with("key \"a/xxxx") && told.to_string().len() < 200, "{told}");
    assert!(matches!(RemoteKey::parse(&"x".repeat(2049)), Err(RemoteKeyError::TooLong { .. })));
}

#[test]
fn nothing_else_of_the_template_language_is_understood() {
    for key in [
        "a/{{ .metadata.uid }}",
        "a/{{ .metadata.labels }}",
        "a/{{ .metadata.labels.app-name }}",
        "a/{{ .metadata.labels.1a }}",
        "a/{{ .data.password }}",
        "a/{{ .metadata.name | upper }}",
        "a/{{ metadata.name }}",
        r#"a/{{ index .metadata.labels "a" "b" }}"#,
        r#"a/{{ index .metadata.labels "" }}"#,
        r#"a/{{ index .data "a" }}"#,
        "a/{{ }}",
        "{{/* a comment */}}a/b",
        "a/b{{ define \"x\" }}y{{ end }}",
        "a/{{ x {{ .metadata.name }}",
    ] {
        let refused = RemoteKey::parse(key);
        let Err(RemoteKeyError::Unknown { .. } | RemoteKeyError::Syntax { .. }) = &refused else {
            panic!("{key}: {refused:?}")
        };
        assert!(refused.unwrap_err().to_string().contains("{{ .metadata.name }}"), "{key}");
    }
    assert!(matches!(RemoteKey::parse("a/{{ .metadata.name"), Err(RemoteKeyError::Syntax { .. })));
}

#[test]
fn a_missing_label_is_named() {
    let error = resolved("a/{{ .metadata.labels.team }}", &[]).unwrap_err();
    assert_eq!(error, RemoteKeyError::Missing { placeholder: Placeholder::Label("team".into()) });
    assert!(error.to_string().contains("label \"team\""), "{error}");
}

#[test]
fn a_value_that_does_not_fit_is_named_and_never_quoted() {
    let long = "x".repeat(MAX_VALUE + 1);
    for value in ["", "a/b", "a b", "s3cr3t!", "{\"data\":1}", "ü", long.as_str()] {
        let error = resolved("a/{{ .metadata.annotations.team }}", &[("team", value)]).unwrap_err();
        assert_eq!(error, RemoteKeyError::NoSegment { placeholder: Placeholder::Annotation("team".into()) });
        assert!(value.is_empty() || !error.to_string().contains(value), "{error}");
    }
}

proptest! {
    #[test]
    fn parsing_never_panics(text in any::<String>()) {
        let _any = RemoteKey::parse(&text);
    }

    #[test]
    fn a_key_without_braces_stays_as_it_is(text in "[^{]*") {
        prop_assert_eq!(RemoteKey::parse(&text).map(|key| key.specimen()), Ok(text));
    }

    #[test]
    fn no_value_adds_a_segment_or_leaves_the_mount(value in any::<String>(), other in any::<String>()) {
        let key = RemoteKey::parse("platform-data/{{ .metadata.labels.a }}{{ .metadata.labels.b }}/{{ .metadata.labels.b }}-x");
        let filled = key.unwrap().resolve(&source(&[("a", &value), ("b", &other)]));
        if let Ok(filled) = filled
            && let Ok(path) = RemotePath::parse(Some("secret"), &filled)
        {
            prop_assert_eq!(path.path.segments().count(), 3);
            prop_assert!(path.data_url().starts_with("secret/data/platform-data/"));
        }
    }
}
