//! What is wrong with a template is named at the line and column of the manifest where it is
//! written, in every style of YAML.

use waypost::domain::convention::Mode;

use super::{lint, shown, text};

/// An ExternalSecret with the keys `username` and `password`, and this as its template's text.
fn manifest(written: &str) -> String {
    format!(
        "apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata:
  name: a
  namespace: a
spec:
  secretStoreRef:
    name: vault-backend
    kind: ClusterSecretStore
  data:
  - secretKey: username
    remoteRef: {{key: platform-data/postgres/shop, property: username}}
  - secretKey: password
    remoteRef: {{key: platform-data/postgres/shop, property: password}}
  target:
    template:
      data:
        my.cnf: {written}
"
    )
}

/// The findings on a template: its rule, whether it is an error, and what is written where it points.
fn pointed(manifest: &str) -> Vec<(String, bool, String)> {
    let found = lint(&text(manifest), Mode::Off);
    let pointed = |located: &waypost::manifest::Located| {
        let line = manifest.lines().nth(located.line - 1).unwrap_or_default();
        let part: String = line.chars().skip(located.column - 1).take(located.width).collect();
        let is_error = located.problem.severity == waypost::domain::convention::Severity::Error;
        (located.problem.rule.clone(), is_error, part)
    };
    found.iter().map(pointed).collect()
}

#[test]
fn a_template_is_wrong_where_it_is_written_in_every_style() {
    for style in [
        "plain CALL",
        "'it''s CALL'",
        "\"\\tä \\\"CALL\"",
        "|\n          [client]\n\n            password = CALL\n",
        "|-\n          CALL\n",
        "|2\n            more\n          CALL\n",
        ">\n          folded\n          twice\n\n          CALL\n",
        "one\n          two CALL",
        "\"one \\\n          two\n\n          CALL\"",
        "&anchor |\n          CALL\n",
        "!!str 'CALL'",
    ] {
        for (call, rule, part) in [
            ("{{ .passwrod }}", "template-key", ".passwrod"),
            ("{{ .password | b64encode }}", "template", "b64encode"),
            ("{{ .password | trunc }}", "template", "trunc"),
        ] {
            let manifest = manifest(&style.replace("CALL", call));
            let expected = [(rule.to_owned(), true, part.to_owned())];
            assert_eq!(pointed(&manifest), expected, "{manifest}\n{}", shown(&lint(&text(&manifest), Mode::Off)));
        }
    }
}

#[test]
fn the_message_has_the_field_the_nearest_name_and_no_place_within_the_text() {
    for (call, says) in [
        (
            "{{ .passwrod }}",
            "spec.target.template.data.my.cnf: there is no key \"passwrod\": did you mean \"password\"?",
        ),
        (
            "{{ b64encode .password }}",
            "spec.target.template.data.my.cnf: there is no function \"b64encode\": did you mean \"b64enc\"?",
        ),
        ("{{ trunc .password }}", "spec.target.template.data.my.cnf: trunc takes 2 arguments, and gets 1"),
    ] {
        let found = lint(&text(&manifest(&format!("'{call}'"))), Mode::Off);
        assert_eq!(found.iter().map(|found| found.problem.message.as_str()).collect::<Vec<_>>(), [says]);
    }
}

#[test]
fn behind_an_alias_the_message_has_the_place_within_the_text() {
    let manifest =
        manifest("*text").replacen("  name: a\n", "  name: a\n  annotations: {b: &text '{{ .passwrod }}'}\n", 1);
    let found = lint(&text(&manifest), Mode::Off);
    let says = "spec.target.template.data.my.cnf: line 1, column 4: there is no key \"passwrod\"";
    assert!(found.len() == 1 && found[0].problem.message.starts_with(says), "{}", shown(&found));
}

#[test]
fn what_only_some_renderings_meet_is_a_warning() {
    let manifest = manifest("'{{ if .username }}{{ .passwrod }}{{ end }}{{ index . \"user\" }}'");
    let expected = [(".passwrod", false), ("\"user\"", false)];
    let expected = expected.map(|(part, is_error)| ("template-key".to_owned(), is_error, part.to_owned()));
    assert_eq!(pointed(&manifest), expected);
}

#[test]
fn nothing_is_said_of_keys_that_a_whole_secret_may_have() {
    let manifest = manifest("'{{ .passwrod }}'");
    let extract = "spec:\n  dataFrom:\n  - extract: {key: platform-data/postgres/shop}\n";
    assert_eq!(pointed(&manifest.replacen("spec:\n", extract, 1)), []);
}

#[test]
fn helms_braces_that_nobody_removed_are_a_warning() {
    let manifest = manifest("|\n          url: {{ `{{ .password }}` }}\n");
    assert_eq!(pointed(&manifest), [("template-braces".to_owned(), false, "`{{ .password }}`".to_owned())]);
    let told = shown(&lint(&text(&manifest), Mode::Off));
    assert!(told.contains("this writes the text {{ .password }} and no value"), "{told}");
    assert!(told.contains("lint what helm template prints"), "{told}");
}

#[test]
fn every_text_of_a_template_is_looked_at() {
    let manifest = manifest("x").replace("        my.cnf: x", "        ok: x").replace(
        "      data:\n        ok",
        "      metadata:
        labels: {app.kubernetes.io/name: '{{ .a }}'}
        annotations: {note: '{{ .b }}'}
      templateFrom:
      - literal: '{{ .c }}'
      data:
        ok",
    );
    let parts: Vec<String> = pointed(&manifest).into_iter().map(|(_, _, part)| part).collect();
    assert_eq!(parts, [".a", ".b", ".c"], "{manifest}");
    let rewrites = manifest.split("  data:\n").next().unwrap().to_owned()
        + "  dataFrom:\n  - extract: {key: platform-data/postgres/shop}\n    rewrite:\n    - transform: {template: '{{ .key | upper }}'}\n";
    assert_eq!(pointed(&rewrites), [("template-key".to_owned(), true, ".key".to_owned())]);
}

#[test]
fn the_templates_of_a_push_are_looked_at_too() {
    let manifest = "apiVersion: external-secrets.io/v1alpha1
kind: PushSecret
metadata:
  name: a
  namespace: a
spec:
  secretStoreRefs:
  - name: vault-backend
    kind: ClusterSecretStore
  selector:
    secret:
      name: source
  dataTo:
  - storeRef: {name: vault-backend, kind: ClusterSecretStore}
    rewrite:
    - transform: {template: 'platform-data/postgres/{{ .key }}'}
    - transform: {template: 'platform-data/postgres/{{ lowercase .value }}'}
";
    let found = pointed(manifest);
    assert!(found.contains(&("template-key".to_owned(), true, ".key".to_owned())), "{found:?}");
    assert!(found.contains(&("template".to_owned(), true, "lowercase".to_owned())), "{found:?}");
}
