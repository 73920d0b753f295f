//! Templates whose texts are in ConfigMaps and Secrets among the files, and those of a PushSecret.

use std::fs;

use super::{Folder, ORDERS, VALUES};

const FROM: &str = "      templateFrom:
      - configMap: {name: texts, items: [{key: url}]}
      data:
        plain: x
";

const TEXTS: &str = "apiVersion: v1
kind: ConfigMap
metadata: {name: texts, namespace: shop}
data:
  url: 'pg://{{ .username }}:{{ .password }}@db'
";

fn orders() -> String {
    with(FROM)
}

/// The ExternalSecret with other templates of its data.
fn with(templates: &str) -> String {
    let (before, rest) = ORDERS.split_once("      data:\n").unwrap();
    let (_, after) = rest.split_once("  data:\n").unwrap();
    format!("{before}{templates}  data:\n{after}")
}

#[test]
fn texts_are_those_of_objects_among_the_files() {
    let folder = Folder::new("texts", &[("orders.yaml", &orders()), ("values.yaml", VALUES), ("texts.yaml", TEXTS)]);
    for more in [&["--with=texts.yaml"][..], &["texts.yaml"]] {
        let ran = folder.run(&[&["--values=values.yaml", "orders.yaml"][..], more].concat());
        assert!(ran.code == Some(0) && ran.out.contains("    url    18 bytes\n"), "{ran:?}");
    }
    folder.run(&["--values=values.yaml", "orders.yaml"]).fails(
        1,
        &["orders.yaml:", "spec.target.template.templateFrom[0].configMap: ConfigMap texts does not exist", "--with"],
    );
    fs::write(folder.0.join("texts.yaml"), TEXTS.replace(".password", ".passwrod")).unwrap();
    folder
        .run(&["--values=values.yaml", "--with=texts.yaml", "orders.yaml"])
        .fails(1, &["orders.yaml:", "there is no key \"passwrod\": did you mean \"password\"?"]);
    fs::write(folder.0.join("texts.yaml"), TEXTS.replace("  url:", "  other:")).unwrap();
    folder
        .run(&["--values=values.yaml", "--with=texts.yaml", "orders.yaml"])
        .fails(1, &["orders.yaml:16:43", "ConfigMap texts has no key \"url\""]);
}

#[test]
fn a_push_renders_its_template_before_it_maps() {
    let push = super::push::PUSH.replace(
        "  data:\n",
        "  template:
    data:
      username: '{{ .username | upper }}'
      password: '{{ .password }}-{{ .username }}'
  data:
",
    );
    let folder = Folder::new("push-template", &[("push.yaml", &push), ("source.yaml", super::push::SOURCE)]);
    let ran = folder.run(&["--with=source.yaml", "--show-values", "--force", "push.yaml"]);
    let expected = "  properties\n    password  10 bytes\n      | s3cret-app\n    username  3 bytes\n      | APP\n";
    assert!(ran.code == Some(0) && ran.out.ends_with(expected), "{ran:?}");
    fs::write(folder.0.join("push.yaml"), push.replace("{{ .username | upper }}", "{{ .usrname }}")).unwrap();
    folder.run(&["--with=source.yaml", "push.yaml"]).fails(1, &["push.yaml:15:21", "there is no key \"usrname\""]);
}

#[test]
fn a_key_that_is_made_of_a_value_is_hidden_as_the_value_is() {
    let made = "      templateFrom:
      - literal: '{{ .password }}: x'
      - target: Labels
        literal: \"team: '{{ .username }}'\"
      - target: Annotations
        literal: '{{ .password }}: x'
";
    let target = "apiVersion: v1\nkind: Secret\nmetadata: {name: orders, namespace: shop}\n";
    let files = [("orders.yaml", with(made)), ("values.yaml", VALUES.to_owned()), ("target.yaml", target.to_owned())];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let folder = Folder::new("rendered-keys", &files);
    for more in [&[][..], &["--target=target.yaml"]] {
        let ran = folder.run(&[&["--values=values.yaml", "orders.yaml"][..], more].concat());
        assert!(ran.out.contains("    team  3 bytes\n"), "{ran:?}");
        assert!(ran.out.contains("    (a key that is rendered)  1 byte\n"), "{ran:?}");
        assert!(!ran.out.contains("s3cret"), "{ran:?}");
    }
    let shown = folder.run(&["--values=values.yaml", "--show-values", "--force", "orders.yaml"]);
    assert!(shown.out.contains("    s3cret  1 byte\n"), "{shown:?}");
}

#[test]
fn what_would_move_the_terminal_is_escaped_in_labels_too() {
    let text =
        ORDERS.replace("labels: {app: orders,", "annotations: {note: \"a\\e[31mb\"}\n        labels: {app: orders,");
    let folder = Folder::new("escapes", &[("orders.yaml", &text), ("values.yaml", VALUES)]);
    let ran = folder.run(&["--values=values.yaml", "orders.yaml"]);
    assert!(
        ran.code == Some(0) && ran.out.contains(r#"note  "a\u{1b}[31mb""#) && !ran.out.contains('\u{1b}'),
        "{ran:?}"
    );
}

#[test]
fn a_target_is_nothing_for_a_push_alone() {
    let files = [("push.yaml", super::push::PUSH), ("source.yaml", super::push::SOURCE)];
    let folder = Folder::new("push-target", &files);
    folder
        .run(&["--with=source.yaml", "--target=source.yaml", "push.yaml"])
        .fails(2, &["--target: only an ExternalSecret has a target"]);
}
