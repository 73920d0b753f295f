//! The commands as people run them: on folders with charts and kustomizations, piped to `head`, and
//! with `--help`.

use std::fs;
use std::io::pipe;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn waypost(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waypost"));
    command.args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).stdin(Stdio::null());
    command
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_reader_that_goes_away_changes_no_exit_code_and_panics_nothing() {
    for (arguments, code) in [
        (&["lint", "tests/corpus/bad"][..], 1),
        (&["lint", "--format=json", "tests/corpus/bad"], 1),
        (&["lint", "--format=sarif", "tests/corpus/good"], 0),
        (&["policy", "publisher", "tests/corpus/good/push-secret.yaml"], 0),
        (&["policy", "publisher", "tests/corpus/bad/no-such-file"], 2),
        (&["lint", "--help"], 0),
        (&["claims", "list", "--path=secret/a/b/c"], 2),
    ] {
        let gone = || {
            let (reader, writer) = pipe().expect("a pipe");
            drop(reader);
            writer
        };
        let mut command = waypost(arguments);
        // Nobody reads a word of either.
        let status = command.env_clear().stdout(gone()).stderr(gone()).status().expect("the program starts");
        assert_eq!(status.code(), Some(code), "{arguments:?}");
        let output = waypost(arguments).env_clear().stdout(gone()).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(!said(&output).contains("panicked"), "{arguments:?}: {}", said(&output));
    }
}

#[test]
fn a_full_disk_is_told() {
    let full = || fs::OpenOptions::new().write(true).open("/dev/full").expect("a full disk");
    for arguments in [&["lint", "tests/corpus/bad"][..], &["policy", "publisher", "tests/corpus/good/push-secret.yaml"]]
    {
        let output = waypost(arguments).stdout(full()).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(said(&output).contains("cannot write to standard output"), "{}", said(&output));
    }
}

/// A folder of this test's own, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("waypost-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A manifest of the corpus under another name.
    fn copy(&self, file: &str, of: &str) {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(of)).unwrap();
        self.write(file, &text);
    }

    /// The exit code of lint, and what it says beside its findings.
    fn lint(&self, more: &[&str]) -> (Option<i32>, String) {
        let output = waypost(&["lint", self.0.to_str().unwrap()]).args(more).output().unwrap();
        (output.status.code(), said(&output))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _left = fs::remove_dir_all(&self.0);
    }
}

/// What a command says of bad input: its exit code, and what its message must contain.
#[test]
fn a_wrong_input_is_named_with_what_to_do_and_never_in_the_system_s_words() {
    let folder = Folder::new("wrong");
    folder.write("empty/other.txt", "");
    folder.write("empty.yaml", "");
    fs::write(folder.0.join("binary"), [0xff, 0xfe, 0x00]).unwrap();
    let path = |name: &str| folder.0.join(name).to_str().unwrap().to_owned();
    let (push, gone, empty, binary) =
        ("tests/corpus/good/push-secret.yaml", path("gone"), path("empty"), path("binary"));
    let (none, pull) = (path("empty.yaml"), "tests/corpus/good/external-secret.yaml");
    let folder = "is a folder: name a file";
    let reach = "cannot reach https://127.0.0.1:9: the connection was refused or reset (check that the server runs";
    let cases: &[(&[&str], i32, &str)] = &[
        (&["lint", &gone], 2, "gone does not exist: check the path"),
        (&["lint", &empty], 2, "has no .yaml, .yml or .json file: use a folder of manifests"),
        (&["lint", &binary], 2, "is not UTF-8 text: use files of YAML or JSON"),
        (&["lint", "-"], 2, "standard input is empty: check that the command before the pipe succeeded"),
        (&["lint", &none], 0, "have no object of the External Secrets API: check that these are your manifests"),
        (&["lint", "--convention=default", push], 2, "--convention: default does not exist: check the path"),
        (&["lint", "--convention=default", push], 2, "kubectl get pathconvention default -o yaml"),
        (&["lint", "--convention", &empty, push], 2, folder),
        (&["lint", "--convention", &binary, push], 2, "is not UTF-8 text"),
        (&["lint", "--convention", push, push], 2, "has no PathConvention: kubectl get pathconvention default -o yaml"),
        (&["lint", "--store-path=", push], 2, "it is empty: name a mount, such as `secret`"),
        (&["lint", "--exclude=a[b", push], 2, "unclosed character class"),
        (&["policy", "publisher", &gone], 2, "gone does not exist: check the path"),
        (&["policy", "publisher", pull], 2, "no PushSecret among the files names a path: check the files"),
        (&["policy", "publisher", "--namespace=gone", push], 2, "no PushSecret in namespace gone among the files"),
        (&["policy", "consumer", push], 2, "no ExternalSecret among the files names a path"),
        (&["policy", "publisher", "--check", push], 2, "no server: set --address, BAO_ADDR or VAULT_ADDR"),
        (&["policy", "publisher", "--check", "--address=v:8200", push], 2, "`--address` \"v:8200\" is not an address"),
        (&["policy", "publisher", "--check", "--address=https://127.0.0.1:9", push], 2, reach),
        (&["policy", "publisher", "--check", "--ca-cert", &gone, "--address=https://v", push], 2, "--ca-cert: "),
        (&["policy", "publisher", "--check", "--ca-cert", &none, "--address=https://v", push], 2, "no readable PEM"),
        (&["claims", "list", &none], 2, "no PushSecret among the files names a path: check the files, or name one"),
        (&["claims", "list", "--path=shop"], 2, "--path \"shop\" has no mount: write it first, as in `secret/shop`"),
        (&["claims", "list", "--path=/shop"], 2, "--path: key \"/shop\" begins with a slash: remove it"),
        (&["claims", "list", "--path=a/b", "--address=https://127.0.0.1:9"], 2, reach),
        (&["claims", "transfer", "--from=", "--path=a/b"], 2, "must be 1 to 63 letters"),
        (&["controller", "--kubeconfig", &gone], 1, "gone does not exist: check the path"),
        (&["controller", "--kubeconfig", &empty], 1, folder),
        (&["controller", "--kubeconfig", &none], 1, "it has no context: check that it is a kubeconfig"),
        (&["controller"], 1, "no cluster to talk to: this does not run in a pod, and there is no ~/.kube/config"),
        (&["controller", "--metrics-addr=localhost:8080"], 2, "such as 127.0.0.1:8080"),
        (&["controller", "--status-heartbeat=soon"], 2, "is not a duration: write it like 30s, 5m or 1h"),
        (&["controller", "--namespace=a,b"], 2, "must be the name of one namespace"),
        (&["controller", "--store-request-rate=0"], 2, "at least 1"),
    ];
    for (arguments, code, says) in cases {
        let mut command = waypost(arguments);
        command.env_clear().env("HOME", &empty);
        if arguments.iter().any(|argument| argument.starts_with("--address=")) {
            command.env("BAO_TOKEN", "a-token");
        }
        let output = command.output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(*code), "{arguments:?}: {said}");
        assert!(said.contains(says), "{arguments:?}: no {says:?} in {said}");
        for words in ["os error", "entity not found", "panicked", "the store's", "a-token"] {
            assert!(!said.contains(words), "{arguments:?}: {said}");
        }
    }
}

/// A part of a PushSecret, which is no manifest.
const PATCH: &str =
    "apiVersion: external-secrets.io/v1alpha1\nkind: PushSecret\nmetadata: {name: push}\nspec: {refreshInterval: 5m}\n";

#[test]
fn patches_of_a_kustomization_are_skipped_with_a_word() {
    let folder = Folder::new("kustomize");
    folder.copy("base/push.yaml", "good/push-secret.yaml");
    folder.write("overlays/prod/faster.yaml", PATCH);
    folder.write("overlays/prod/again.yaml", PATCH);
    folder.write(
        "overlays/prod/kustomization.yaml",
        "resources: [../../base]\npatches:\n- path: ./faster.yaml\n- patch: 'a: b'\n",
    );
    assert_eq!(folder.lint(&[]).0, Some(1), "one of the two is no patch of anything");
    folder.write(
        "overlays/prod/kustomization.yaml",
        "resources: [../../base]\npatches:\n- path: ./faster.yaml\npatchesStrategicMerge: [again.yaml]\n",
    );
    let (code, said) = folder.lint(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains("overlays/prod/faster.yaml is a patch of kustomize") && said.contains("kustomize build"),
        "{said}"
    );
    assert_eq!(said.matches("skipped").count(), 2, "{said}");
    let named = waypost(&["lint"]).arg(folder.0.join("overlays/prod/faster.yaml")).output().unwrap();
    assert_eq!(named.status.code(), Some(1), "what is named is judged");
}

#[test]
fn templates_of_a_chart_are_skipped_with_a_word() {
    let folder = Folder::new("helm");
    folder.write("chart/Chart.yaml", "name: chart\n");
    folder.write("chart/values.yaml", "a: b\n");
    folder.write("chart/templates/push.yaml", "{{- if .Values.on }}\nkind: PushSecret\n{{- end }}\n");
    folder.copy("plain/templates/push.yaml", "good/push-secret.yaml");
    let (code, said) = folder.lint(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("chart/templates has templates of Helm") && said.contains("helm template"), "{said}");
    assert!(said.ends_with("3 files\n"), "templates without a chart are manifests: {said}");
}

#[test]
fn what_is_excluded_is_not_read() {
    let folder = Folder::new("exclude");
    folder.copy("good.yaml", "good/push-secret.yaml");
    folder.copy("old/bad.yaml", "bad/v5-word.yaml");
    folder.copy("deep/old/bad.yaml", "bad/v5-word.yaml");
    assert_eq!(folder.lint(&[]).0, Some(1));
    assert_eq!(folder.lint(&["--exclude=old"]).0, Some(0), "a name counts in every folder");
    assert_eq!(folder.lint(&["--exclude=**/old/bad.*"]).0, Some(0));
    assert_eq!(folder.lint(&["--exclude=**/deep/**"]).0, Some(1));
    assert_eq!(folder.lint(&["--exclude=**/deep/**", "--exclude=**/*/old"]).0, Some(0), "several add up");
    assert_eq!(folder.lint(&["--exclude=a[b"]).0, Some(2));
}

#[test]
fn every_command_shows_examples() {
    for command in [&["controller"][..], &["lint"], &["policy"], &["claims", "list"], &["claims", "transfer"]] {
        let output = waypost(command).arg("--help").output().unwrap();
        let help = String::from_utf8_lossy(&output.stdout);
        assert!(help.contains("Examples:\n  waypost "), "{command:?}: {help}");
    }
}
