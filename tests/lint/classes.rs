//! `waypost lint` beside another controller: what that one serves is not judged.

use std::path::Path;

use waypost::cli::lint::{Installation, Judged, ModeBy, judge_bundle};
use waypost::config::CONTROLLER_CLASS;
use waypost::domain::convention::{Convention, Mode};
use waypost::manifest::{Located, bundle};
use waypost::store::admit::Class;

use super::{shown, text, waypost_lint};

const MANIFEST: &str = "apiVersion: external-secrets.io/v1\n";
const PUSH: &str = "apiVersion: external-secrets.io/v1alpha1\n";

/// Judges for a controller with these flags.
pub fn judged(manifest: &str, class: &str, serves_unclassified: bool) -> (Vec<Located>, usize) {
    let (sources, convention) = (text(manifest), Convention::with_mode(Mode::Off));
    let class = Class::new(class, serves_unclassified);
    let installation = Installation { convention: &convention, mode_by: ModeBy::Label, store_path: "secret", class };
    let Judged { found, left_alone } = judge_bundle(&sources, bundle(&sources), &installation);
    (found, left_alone)
}

/// The rules, and how many objects are skipped.
fn rules(manifests: &[&str], class: &str, serves_unclassified: bool) -> (Vec<String>, usize) {
    let (found, left_alone) = judged(&manifests.join("---\n"), class, serves_unclassified);
    (found.into_iter().map(|found| found.problem.rule).collect(), left_alone)
}

/// A ClusterSecretStore that we do not support.
fn store(name: &str, controller: &str) -> String {
    format!(
        "{MANIFEST}kind: ClusterSecretStore\nmetadata: {{ name: {name}, labels: {{ team: a }} }}\nspec: {{ {controller}provider: {{ aws: {{ service: SecretsManager, region: eu-west-1 }} }} }}\n"
    )
}

/// A ClusterSecretStore that we support.
fn vault(name: &str, controller: &str) -> String {
    store(name, controller).replace(
        "aws: { service: SecretsManager, region: eu-west-1 }",
        "vault: { server: 'https://v', path: secret, auth: { tokenSecretRef: { name: a, key: a, namespace: a } } }",
    )
}

/// An ExternalSecret with something that we do not support, and with a field that we do not know.
fn pull(store: &str, beside: &str) -> String {
    format!(
        "{MANIFEST}kind: ExternalSecret\nmetadata: {{ name: pull, namespace: app }}\nspec:\n  unknownToUs: true\n  secretStoreRef: {{ kind: ClusterSecretStore, name: {store} }}\n  dataFrom: [{{ extract: {{ key: a/b }}{beside} }}]\n"
    )
}

fn push(references: &str) -> String {
    format!(
        "{PUSH}kind: PushSecret\nmetadata: {{ name: push, namespace: app }}\nspec:\n  secretStoreRefs: [{references}]\n  selector: {{ secret: {{ name: a }} }}\n  template: {{ data: {{ a: '{{{{ now }}}}' }} }}\n"
    )
}

fn fan_out(references: &str) -> String {
    format!(
        "{PUSH}kind: ClusterPushSecret\nmetadata: {{ name: push }}\nspec:\n  namespaceSelectors: [{{}}]\n  pushSecretSpec:\n    secretStoreRefs: [{references}]\n    selector: {{ secret: {{ name: a }} }}\n    template: {{ data: {{ a: '{{{{ now }}}}' }} }}\n"
    )
}

const THEIRS: &str = "{ kind: ClusterSecretStore, name: theirs }";
const OURS: &str = "{ kind: ClusterSecretStore, name: ours }";
const LABELLED: &str = "{ kind: ClusterSecretStore, labelSelector: { matchLabels: { team: a } } }";

#[test]
fn what_the_stores_of_another_controller_have_is_skipped_and_counted() {
    let theirs = store("theirs", "controller: somebody-else, ");
    let ours = vault("ours", "");
    let is_skipped = |objects: &[&str]| {
        let all: Vec<&str> = [theirs.as_str(), ours.as_str()].iter().chain(objects).copied().collect();
        let (found, left_alone) = rules(&all, CONTROLLER_CLASS, true);
        assert!(!found.contains(&"schema-rule".to_owned()), "their store is skipped: {found:?}");
        assert!(left_alone == 1 && !found.is_empty() || left_alone == 2 && found.is_empty(), "{found:?}, {left_alone}");
        left_alone == 2
    };
    let mixed = ", sourceRef: { storeRef: { kind: ClusterSecretStore, name: theirs } }";
    let everywhere = pull("theirs", "").replace("ExternalSecret", "ClusterExternalSecret");
    for (object, is_theirs) in [
        (pull("theirs", ""), true),
        (pull("ours", ""), false),
        (pull("elsewhere", ""), false),
        // The controller leaves it alone if it reads any store of another.
        (pull("ours", mixed), true),
        (push(THEIRS), true),
        (push(OURS), false),
        (push(""), false),
        // Another controller and this one serve a push side by side.
        (push(&[THEIRS, OURS].join(", ")), false),
        (push("{ kind: ClusterSecretStore, name: elsewhere }"), false),
        // It selects ours as well.
        (push(LABELLED), false),
        (push("{ kind: SecretStore, name: theirs }"), false),
        (fan_out(THEIRS), true),
        (fan_out(&[THEIRS, OURS].join(", ")), false),
        (fan_out(LABELLED), false),
        (fan_out("{ kind: SecretStore, name: theirs }"), false),
    ] {
        assert_eq!(is_skipped(&[&object]), is_theirs, "{object}");
    }
    let (head, spec) = everywhere.split_once("spec:\n").unwrap();
    let spec = spec
        .replace("  unknownToUs", "    unknownToUs")
        .replace("  secret", "    secret")
        .replace("  dataFrom", "    dataFrom");
    let in_spec = format!("{head}spec:\n  namespaceSelectors: [{{}}]\n  externalSecretSpec:\n{spec}");
    assert!(is_skipped(&[&in_spec]), "{in_spec}");
}

#[test]
fn a_store_that_labels_select_is_another_controller_s_if_all_are() {
    let (one, two) = (store("one", "controller: somebody-else, "), store("two", "controller: a-third, "));
    assert_eq!(rules(&[&one, &two, &push(LABELLED)], CONTROLLER_CLASS, true), (vec![], 3));
    let ours = vault("ours", "");
    let (found, left_alone) = rules(&[&one, &ours, &push(LABELLED)], CONTROLLER_CLASS, true);
    assert_eq!((found, left_alone), (vec!["unsupported".to_owned()], 1));
}

#[test]
fn a_push_that_names_a_store_of_another_controller_beside_ours_is_refused() {
    let (theirs, ours) = (store("theirs", "controller: somebody-else, "), vault("ours", ""));
    let push = push(&[OURS, THEIRS].join(", ")).replace("  template: { data: { a: '{{ now }}' } }\n", "");
    let (found, _) = judged(&[theirs, ours, push].join("---\n"), CONTROLLER_CLASS, true);
    let says = "ClusterSecretStore theirs is served by the controller of class \"somebody-else\", not by this one";
    assert!(found.len() == 1 && found[0].problem.rule == "not-permitted", "{}", shown(&found));
    assert!(shown(&found).contains(says), "{}", shown(&found));
}

#[test]
fn the_class_is_that_of_the_flags() {
    let (unset, empty) = (store("theirs", ""), store("theirs", "controller: '', "));
    let (default, waypost) = (store("theirs", "controller: default, "), store("theirs", "controller: waypost, "));
    let object = pull("theirs", "");
    let is_skipped = |store: &str, class: &str, serves_unclassified: bool| {
        let (found, left_alone) = rules(&[store, &object], class, serves_unclassified);
        assert!(left_alone == 0 && !found.is_empty() || left_alone == 2 && found.is_empty(), "{found:?}");
        left_alone == 2
    };
    for unclassified in [&unset, &empty] {
        assert!(!is_skipped(unclassified, "default", true) && !is_skipped(unclassified, "waypost", true));
        assert!(is_skipped(unclassified, "waypost", false));
    }
    assert!(!is_skipped(&default, "default", true) && is_skipped(&default, "waypost", true));
    assert!(!is_skipped(&waypost, "waypost", false) && is_skipped(&waypost, "default", true));
    for nowhere in [push(""), fan_out(""), fan_out("{ kind: SecretStore, name: a }")] {
        assert_eq!(rules(&[&nowhere], "waypost", false), (vec![], 1), "it is for those who serve all: {nowhere}");
    }
    let number = store("theirs", "controller: 1, ");
    assert!(!rules(&[&number], "default", true).0.is_empty(), "what is no class is told");
    let overlays = [&*waypost, &default, &object];
    assert_eq!(rules(&overlays, "default", true).1, 1, "one of the store's overlays is ours");
}

#[test]
fn the_summary_counts_what_is_skipped() {
    let folder = std::env::temp_dir().join(format!("waypost-classes-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("all.yaml");
    std::fs::write(&file, [store("theirs", "controller: waypost, "), pull("theirs", "")].join("---\n")).unwrap();
    let run = |more: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_waypost"));
        let output = command.arg("lint").arg(Path::new(&file)).args(more).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, said) = run(&[]);
    assert_eq!(
        (code, said.as_str()),
        (Some(0), "0 errors, 0 warnings, 1 file, 2 objects of another controller skipped\n")
    );
    let (code, said) = run(&["--controller-class=waypost"]);
    assert!(code == Some(1) && said.ends_with("1 file\n"), "{said}");
    let unclassified = store("theirs", "");
    assert_eq!(waypost_lint(&["-"], &unclassified).0, Some(1));
    let flags = ["-", "--controller-class=waypost", "--serve-unclassified=false"];
    assert_eq!(waypost_lint(&flags, &unclassified).0, Some(0));
    std::fs::remove_dir_all(folder).unwrap();
}
