//! `waypost render` as people run it: from sample values, on files of every kind, and what it says
//! of each mistake.

#[path = "render/guide.rs"]
mod guide;
#[path = "render/push.rs"]
mod push;
#[path = "render/texts.rs"]
mod texts;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// A folder of a test's own, removed with it.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("waypost-render-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        for (file, text) in files {
            fs::write(folder.join(file), text).unwrap();
        }
        Folder(folder)
    }

    /// `waypost render` in this folder, without a server or a cluster in its environment.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_waypost"));
        command.env_clear().arg("render").args(arguments).current_dir(&self.0).stdin(Stdio::null());
        command
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(&self.command(arguments).output().unwrap())
    }

    fn piped(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.command(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        Ran::of(&child.wait_with_output().unwrap())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _left = fs::remove_dir_all(&self.0);
    }
}

/// How a run ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    said: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Ran { code: output.status.code(), out: text(&output.stdout), said: text(&output.stderr) }
    }

    /// That it failed with this code and words, on standard error and without a value.
    fn fails(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        for word in words {
            assert!(self.said.contains(word), "{word:?} is not in {}", self.said);
        }
        assert!(!self.said.contains("s3cret"), "{}", self.said);
    }
}

const ORDERS: &str = "apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata:
  name: orders
  namespace: shop
spec:
  secretStoreRef:
    name: vault-backend
    kind: ClusterSecretStore
  target:
    template:
      type: Opaque
      metadata:
        labels: {app: orders, user: '{{ .username }}'}
      data:
        url: 'postgres://{{ .username }}:{{ .password }}@db'
        my.cnf: |
          [client]
          password = {{ .password | quote }}
  data:
  - secretKey: username
    remoteRef: {key: platform-data/orders/shop, property: username}
  - secretKey: password
    remoteRef: {key: platform-data/orders/shop, property: password}
";

const VALUES: &str = "platform-data/orders/shop: {username: app, password: s3cret}\n";

fn orders(name: &str) -> Folder {
    Folder::new(name, &[("orders.yaml", ORDERS), ("values.yaml", VALUES)])
}

#[test]
fn keys_sizes_labels_and_type_are_printed_and_values_are_hidden() {
    let ran = orders("hidden").run(&["--values=values.yaml", "orders.yaml"]);
    assert_eq!((ran.code, ran.said.as_str()), (Some(0), ""));
    assert_eq!(
        ran.out,
        "ExternalSecret shop/orders makes Secret shop/orders
  type Opaque
  labels
    app   orders
    user  3 bytes
  keys
    my.cnf  29 bytes
    url     24 bytes
"
    );
}

#[test]
fn values_are_printed_to_a_terminal_or_by_force_only() {
    let folder = orders("shown");
    let shown = ["--values=values.yaml", "--show-values", "orders.yaml"];
    folder.run(&shown).fails(2, &["standard output is no terminal", "--force"]);
    let ran = folder.run(&[&shown[..], &["--force"]].concat());
    assert_eq!(ran.code, Some(0));
    assert!(
        ran.out.ends_with(
            "  keys
    my.cnf  29 bytes
      | [client]
      | password = \"s3cret\"
      |
    url     24 bytes
      | postgres://app:s3cret@db
"
        ),
        "{}",
        ran.out
    );
}

#[test]
fn what_is_no_text_or_would_move_the_terminal_is_shown_as_base64() {
    let orders = ORDERS.replace("'postgres://{{ .username }}:{{ .password }}@db'", "'{{ .password | b64dec }}'");
    let values = "platform-data/orders/shop: {username: \"a\\e[2J\", password: /w==}";
    let folder = Folder::new(
        "binary",
        &[("orders.yaml", &orders.replace(", user: '{{ .username }}'", "")), ("values.yaml", values)],
    );
    let ran = folder.run(&["--values=values.yaml", "--show-values", "--force", "orders.yaml"]);
    assert!(ran.out.contains("url     1 byte\n      base64: /w==\n"), "{ran:?}");
    let plain =
        ORDERS.split("  target:").next().unwrap().to_owned() + "  data:" + ORDERS.rsplit_once("  data:").unwrap().1;
    fs::write(folder.0.join("orders.yaml"), plain).unwrap();
    let ran = folder.run(&["--values=values.yaml", "--show-values", "--force", "orders.yaml"]);
    assert!(ran.out.contains("username  5 bytes\n      base64: YRtbMko=\n"), "{ran:?}");
}

#[test]
fn without_values_it_says_which_to_write() {
    let folder = orders("none");
    let ran = folder.run(&["orders.yaml"]);
    ran.fails(
        1,
        &[
            "orders.yaml:22:22",
            "spec.data[0].remoteRef.key: there are no sample values for \"platform-data/orders/shop\"",
            "write a file with sample values, and name it with --values:",
            "platform-data/orders/shop:",
            "password: …",
            "username: …",
        ],
    );
    fs::write(folder.0.join("values.yaml"), "platform-data/order/shop: {username: app}\n").unwrap();
    folder
        .run(&["--values=values.yaml", "orders.yaml"])
        .fails(1, &["did you mean \"platform-data/order/shop\"?", "add to values.yaml:"]);
}

#[test]
fn a_property_that_the_samples_lack_is_named_with_its_field_and_the_nearest() {
    let folder = Folder::new(
        "property",
        &[("orders.yaml", ORDERS), ("values.yaml", "platform-data/orders/shop: {username: app, passwd: s3cret}")],
    );
    folder.run(&["--values=values.yaml", "orders.yaml"]).fails(1, &[
        "orders.yaml:24:",
        "spec.data[1].remoteRef.property: the sample values of secret/platform-data/orders/shop have no property \"password\"",
        "did you mean \"passwd\"?",
    ]);
}

#[test]
fn a_template_that_fails_is_named_at_its_line_and_column() {
    let orders = ORDERS.replace("{{ .password | quote }}", "{{ .password | fromJson }}");
    let folder = Folder::new(
        "fails",
        &[("orders.yaml", &orders.replace("fromJson }}", "int | trunc 3 }}")), ("values.yaml", VALUES)],
    );
    folder
        .run(&["--values=values.yaml", "orders.yaml"])
        .fails(1, &["orders.yaml:19:", "spec.target.template.data.my.cnf: trunc takes string here, and gets int"]);
    fs::write(folder.0.join("orders.yaml"), ORDERS.replace(".password | quote", ".passwrod | quote")).unwrap();
    folder
        .run(&["--values=values.yaml", "orders.yaml"])
        .fails(1, &["orders.yaml:19:25", "there is no key \"passwrod\": did you mean \"password\"?"]);
}

#[test]
fn values_of_the_wrong_type_are_told_with_their_place() {
    let folder = orders("types");
    for (values, words) in [
        ("- s3cret\n", "values.yaml:1:1: the file is no map"),
        ("platform-data/orders/shop: s3cret\n", "values.yaml:1:28: `platform-data/orders/shop` is no map"),
        ("platform-data/orders/shop: [s3cret\n", "this is not valid YAML"),
    ] {
        fs::write(folder.0.join("values.yaml"), values).unwrap();
        folder.run(&["--values=values.yaml", "orders.yaml"]).fails(2, &[words]);
    }
    folder
        .run(&["--values=gone.yaml", "orders.yaml"])
        .fails(2, &["--values: gone.yaml does not exist: check the path"]);
}

#[test]
fn values_come_from_standard_input_too_and_one_file_serves_many_objects() {
    let folder = orders("piped");
    let values = format!("{VALUES}platform-data/stock/shop: {{}}\n");
    let ran = folder.piped(&["--values=-", "orders.yaml"], &values);
    assert!(ran.code == Some(0) && ran.said.is_empty() && ran.out.contains("url     24 bytes"), "{ran:?}");
}

#[test]
fn a_target_to_compare_with_shows_what_changes_and_decides_the_exit_code() {
    let folder = orders("target");
    let target = "apiVersion: v1
kind: Secret
metadata:
  name: orders
  namespace: shop
  labels: {app: orders, user: app, theirs: stays}
stringData:
  url: postgres://app:s3cret@db
  my.cnf: |
    [client]
    password = \"s3cret\"
";
    fs::write(folder.0.join("target.yaml"), target).unwrap();
    let arguments = ["--values=values.yaml", "--target=target.yaml", "orders.yaml"];
    let ran = folder.run(&arguments);
    assert!(ran.code == Some(0) && ran.out.ends_with("  compared with target.yaml: equal\n"), "{ran:?}");

    let other = target
        .replace("s3cret@db", "other!@db")
        .replace("  my.cnf: |", "  old: x\n  my.cnf: |")
        .replace("app: orders, ", "");
    fs::write(folder.0.join("target.yaml"), other.replace("password = ", "pass = ")).unwrap();
    let ran = folder.run(&arguments);
    let expected = "  compared with target.yaml: 4 differences
    + label app  orders
    ~ my.cnf  29 bytes, before: 25 bytes
    - old  1 byte
    ~ url  24 bytes, other ones
";
    assert!(ran.code == Some(3) && ran.out.ends_with(expected), "{ran:?}");
    let ran = folder.run(&[&arguments[..], &["--show-values", "--force"]].concat());
    let expected =
        "    ~ url  24 bytes, other ones\n      - | postgres://app:other!@db\n      + | postgres://app:s3cret@db\n";
    assert!(ran.code == Some(3) && ran.out.ends_with(expected), "{ran:?}");

    fs::write(folder.0.join("target.yaml"), target.replace("name: orders", "name: another")).unwrap();
    let ran = folder.run(&arguments);
    let expected = "  compared with target.yaml: Secret shop/orders is not there yet\n";
    assert!(ran.code == Some(3) && ran.out.ends_with(expected), "{ran:?}");
    fs::write(folder.0.join("target.yaml"), target.replace("stringData", "data")).unwrap();
    folder.run(&arguments).fails(1, &["target.yaml:1:1", "no Secret that an API server would take", "base64"]);
}

#[test]
fn several_objects_are_rendered_each_and_one_is_picked_by_its_name() {
    let other =
        ORDERS.replace("name: orders", "name: stock").replace("{{ .password | quote }}", "{{ .password | nope }}");
    let both = format!("{ORDERS}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\n---\n{other}");
    let folder = Folder::new("several", &[("values.yaml", VALUES)]);
    let ran = folder.piped(&["--values=values.yaml", "-"], &both);
    ran.fails(1, &["<stdin>:", "there is no function \"nope\""]);
    assert!(ran.out.starts_with("ExternalSecret shop/orders makes"), "what can be rendered is: {ran:?}");
    for name in ["orders", "shop/orders"] {
        let ran = folder.piped(&["--values=values.yaml", "--name", name, "-"], &both);
        assert!(ran.code == Some(0) && !ran.out.contains("stock"), "{ran:?}");
    }
    let ran = folder.piped(&["--values=values.yaml", "--name=shop/order", "-"], &both);
    ran.fails(2, &["--name: there is no shop/order among the files: choose one of shop/orders, shop/stock"]);
}

#[test]
fn what_is_decided_is_what_the_controller_would_decide() {
    let folder = orders("decides");
    for (from, to, words) in [
        ("name: orders\n", "name: Orders\n", "metadata.name"),
        ("    template:\n", "    creationPolicy: Merge\n    template:\n", "creationPolicy Merge is not supported"),
        (
            "property: password}",
            "property: password, decodingStrategy: Base64}",
            "is not encoded as its decodingStrategy says",
        ),
        ("property: password}", "property: password, version: latest}", "is not a version number"),
        ("property: password}", "property: 'a|@reverse'}", "selects a value"),
        ("user: '{{ .username }}'", "user: '{{ .username }}/'", "it makes what is no value of label \"user\""),
    ] {
        assert!(ORDERS.contains(from));
        fs::write(folder.0.join("orders.yaml"), ORDERS.replace(from, to)).unwrap();
        folder.run(&["--values=values.yaml", "orders.yaml"]).fails(1, &["orders.yaml:", words]);
    }
}

#[test]
fn keys_of_a_whole_secret_are_rewritten_and_numbers_keep_their_digits() {
    let all = ORDERS.split("  target:").next().unwrap().to_owned()
        + "  dataFrom:
  - extract: {key: platform-data/orders/shop}
    rewrite:
    - transform: {template: 'DB_{{ .value | upper }}'}
";
    let folder = Folder::new(
        "whole",
        &[
            ("orders.yaml", &all),
            ("values.yaml", "secret/data/platform-data/orders/shop: {id: 12345678901234567890, on: yes}"),
        ],
    );
    let ran = folder.run(&["--values=values.yaml", "--show-values", "--force", "orders.yaml"]);
    let expected = "  keys\n    DB_ID  20 bytes\n      | 12345678901234567890\n    DB_ON  3 bytes\n      | yes\n";
    assert!(ran.code == Some(0) && ran.out.ends_with(expected), "{ran:?}");
}

#[test]
fn the_mount_is_that_of_the_store_among_the_files() {
    let store = "---
apiVersion: external-secrets.io/v1
kind: ClusterSecretStore
metadata: {name: vault-backend}
spec: {provider: {vault: {server: 'https://vault', path: kv, auth: {kubernetes: {mountPath: kubernetes, role: a}}}}}
";
    let folder = Folder::new(
        "mount",
        &[
            ("orders.yaml", ORDERS),
            ("store.yaml", store),
            ("values.yaml", "kv/data/platform-data/orders/shop: {username: app, password: s3cret}"),
        ],
    );
    folder.run(&["--values=values.yaml", "orders.yaml"]).fails(1, &["there are no sample values"]);
    for more in [&["--with=store.yaml"][..], &["store.yaml"], &["--store-path=kv"]] {
        let ran = folder.run(&[&["--values=values.yaml", "orders.yaml"][..], more].concat());
        assert_eq!(ran.code, Some(0), "{ran:?}");
    }
}

#[test]
fn what_cannot_begin_says_why() {
    let folder = Folder::new("begin", &[("orders.yaml", ORDERS), ("other.yaml", "kind: ConfigMap\napiVersion: v1\n")]);
    for (arguments, words) in [
        (&["gone.yaml"][..], "gone.yaml does not exist: check the path"),
        (&["other.yaml"], "no ExternalSecret and no PushSecret among the files: check the files"),
        (&["--values=-", "-"], "standard input is named twice"),
        (&["--live", "orders.yaml"], "no server: set --address, BAO_ADDR or VAULT_ADDR"),
        (&["--live", "--address=https://127.0.0.1:9", "orders.yaml"], "no token: set BAO_TOKEN or VAULT_TOKEN"),
        (&["--live", "--values=values.yaml", "orders.yaml"], "cannot be used with"),
        (&["--force", "orders.yaml"], "--show-values"),
        (&["--target=gone.yaml", "orders.yaml"], "--target: gone.yaml does not exist"),
    ] {
        folder.run(arguments).fails(2, &[words]);
    }
}
