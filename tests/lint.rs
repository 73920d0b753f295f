//! `waypost lint` over the corpus of good and bad manifests, and its output formats.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[path = "lint/classes.rs"]
mod classes;
#[path = "lint/commands.rs"]
mod commands;
#[path = "lint/constructed.rs"]
mod constructed;
#[path = "lint/modes.rs"]
mod modes;
#[path = "lint/stores.rs"]
mod stores;
#[path = "lint/templates.rs"]
mod templates;

use waypost::cli::lint::{self, Colour, Format, judge, render};
use waypost::config::CONTROLLER_CLASS;
use waypost::domain::convention::{Convention, Mode, Severity};
use waypost::manifest::{Located, Source};

fn corpus(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder);
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() > 5, "the corpus is there");
    files
}

fn source(path: &Path) -> Source {
    Source {
        name: path.file_name().unwrap().to_string_lossy().into_owned(),
        text: std::fs::read_to_string(path).unwrap(),
    }
}

fn text(text: &str) -> Vec<Source> {
    vec![Source { name: "test.yaml".into(), text: text.into() }]
}

fn lint(sources: &[Source], mode: Mode) -> Vec<Located> {
    judge(sources, &Convention::with_mode(mode), "secret")
}

fn shown(found: &[Located]) -> String {
    render(found, Format::Text, Colour::None)
}

#[test]
fn the_good_corpus_is_clean() {
    for path in corpus("good") {
        let found = lint(&[source(&path)], Mode::Enforce);
        assert!(found.is_empty(), "{}", shown(&found));
    }
}

#[test]
fn the_bad_corpus_breaks_what_it_says() {
    for path in corpus("bad") {
        let source = source(&path);
        let want: BTreeSet<&str> = source
            .text
            .lines()
            .find_map(|line| line.strip_prefix("# expect: "))
            .expect("a line `# expect: `")
            .split(", ")
            .collect();
        let found = lint(std::slice::from_ref(&source), Mode::Enforce);
        let rules: BTreeSet<&str> = found.iter().map(|l| l.problem.rule.as_str()).collect();
        assert_eq!(rules, want, "{}\n{}", source.name, shown(&found));
        for located in &found {
            let line = source.text.lines().nth(located.line - 1).unwrap();
            assert!(located.column <= line.chars().count(), "{}", shown(&found));
        }
    }
}

#[test]
fn every_bound_enum_and_rule_of_the_definitions_is_judged() {
    assert_eq!(constructed::unknown_words(), BTreeSet::new(), "words of schemas that lint does not judge");
    let (cases, mut wrong) = (constructed::cases(), Vec::new());
    assert!(cases.iter().filter(|case| case.control.is_some()).count() > 40, "the rules are there");
    for case in &cases {
        let is_told = |manifest: &serde_json::Value| {
            // A store is judged for the controller of its class.
            let class = manifest["spec"]["controller"].as_str().unwrap_or(CONTROLLER_CLASS);
            let (found, _) = classes::judged(&manifest.to_string(), class, true);
            found.iter().any(|found| found.problem.rule == case.word && found.problem.message.contains(&case.says))
        };
        if !is_told(&case.manifest) {
            wrong.push(format!("{}: lint says nothing", case.name));
        }
        if case.control.as_ref().is_some_and(is_told) {
            wrong.push(format!("{}: lint says so of what is right", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn the_caret_stands_at_what_is_wrong() {
    for (file, line) in [
        ("metadata-name", "  name: Bad_Name"),
        ("metadata-unrendered", "  name: {{ .Release.Name }}"),
        ("metadata-label", "    team: \"a b\""),
        ("pull-no-store", "  - secretKey: username"),
        ("pull-version", "      version: latest"),
        ("pull-creation-policy", "    creationPolicy: Merge"),
        ("rule-deletion-policy", "    creationPolicy: Merge"),
        ("duration-store", "  refreshInterval: 1d"),
        ("store-server-without-scheme", "      server: vault:8200"),
        ("store-server-endpoint", "      server: https://vault.example.com:8200/v1"),
        ("store-path", "      path: secret/../other"),
        ("store-header", "        \"X Other\": a"),
        ("store-ca-elsewhere", "        type: ConfigMap"),
        ("store-ca-no-pem", "      caBundle: YQ=="),
        ("store-version", "      version: v1"),
        ("store-namespace", "      namespace: \"team ä\""),
        ("not-permitted-name", "  - name: for-others"),
        ("not-permitted-child", "    - name: for-others"),
        ("not-permitted-pull", "        name: for-others"),
    ] {
        let source = source(&Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/corpus/bad/{file}.yaml")));
        let found = lint(std::slice::from_ref(&source), Mode::Enforce);
        let lines: Vec<&str> = found.iter().filter_map(|found| source.text.lines().nth(found.line - 1)).collect();
        assert_eq!(lines, [line], "{}", shown(&found));
    }
}

#[test]
fn a_store_is_closed_to_a_namespace_only_where_the_files_show_it() {
    let corpus = |file: &str| source(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(file)).text;
    let judged = |texts: &[String]| -> Vec<String> {
        let found = lint(&text(&texts.join("\n---\n")), Mode::Enforce);
        found.into_iter().map(|found| found.problem.rule).collect()
    };
    let refused = vec!["not-permitted".to_owned()];
    let manifest = corpus("bad/not-permitted-labels.yaml");
    let (namespace, rest) = manifest.split_once("---\n").unwrap();
    let (store, push) = rest.split_once("---\n").unwrap();
    let [namespace, store, push] = [namespace, store, push].map(str::to_owned);
    let services = namespace.replace("team: databases", "team: services");
    assert_eq!(judged(&[namespace.clone(), store.clone(), push.clone()]), refused);
    assert_eq!(judged(&[services.clone(), store.clone(), push.clone()]), Vec::<String>::new());
    assert_eq!(judged(&[store.clone(), push.clone()]), Vec::<String>::new(), "only the cluster knows the labels");
    let overlays = [namespace.clone(), services, store.clone(), push.clone()];
    assert_eq!(judged(&overlays), Vec::<String>::new(), "one of its overlays has the label");
    let open = store.replace("team: services", "team: databases");
    let overlays = [namespace.clone(), store.clone(), open, push.clone()];
    assert_eq!(judged(&overlays), Vec::<String>::new(), "one of the store's overlays serves it");
    let nowhere = push.replace("  namespace: platform-postgres\n", "");
    assert_eq!(judged(&[namespace.clone(), store.clone(), nowhere]), Vec::<String>::new(), "kubectl -n says where");
    let own = push.replace("kind: ClusterSecretStore", "kind: SecretStore");
    assert_eq!(judged(&[namespace.clone(), store.clone(), own]), ["P1"], "another store of that name");

    let label = "\n  labels: { team: a }\nspec:\n  conditions:";
    let labelled = store.replace("\nspec:\n  conditions:", label).replace("path: secret", "path: other-mount");
    let selects = push.replace("- name: for-others", "- labelSelector: { matchLabels: { team: a } }");
    let found = lint(&text(&[namespace, labelled, selects].join("\n---\n")), Mode::Enforce);
    let says = "no store with team=a among the files serves the namespace: its mount is assumed to be `secret`";
    assert!(found.len() == 1 && shown(&found).contains(says), "the selected store does not count: {}", shown(&found));

    let (namespace, rest) = corpus("bad/not-permitted-child.yaml").split_once("---\n").map(own_texts).unwrap();
    assert_eq!(judged(&[namespace.clone(), rest.clone()]), refused);
    let unlabelled = namespace.replace("team: databases", "team: services");
    assert_eq!(judged(&[unlabelled, rest.clone()]), Vec::<String>::new(), "it gets no child");
    let opted_out = namespace.replace("  labels:", "  annotations: { waypost.io/opt-out: \"true\" }\n  labels:");
    assert_eq!(judged(&[opted_out, rest]), Vec::<String>::new(), "it wants no child");
}

fn own_texts((one, other): (&str, &str)) -> (String, String) {
    (one.to_owned(), other.to_owned())
}

#[test]
fn a_null_is_what_the_api_server_drops() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/good/external-secret.yaml");
    let pull = std::fs::read_to_string(path).unwrap().replace("  data:\n", "  dataFrom: null\n  data:\n");
    let found = lint(&text(&pull), Mode::Enforce);
    assert!(found.is_empty(), "{}", shown(&found));
}

#[test]
fn what_admission_denies_for_the_convention_is_an_error_here() {
    for path in corpus("bad") {
        let source = source(&path);
        let found = lint(std::slice::from_ref(&source), Mode::Enforce);
        if source.text.contains("\n# admission: deny\n") {
            assert!(
                found.iter().any(|l| l.problem.severity == Severity::Error),
                "{} is denied, and lint only warns",
                source.name
            );
        }
    }
}

#[test]
fn a_finding_points_at_its_field_and_proposes_a_path() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/bad/v5-consumer.yaml");
    let found = lint(&[source(&path)], Mode::Enforce);
    let text = shown(&found);
    for part in [
        "error[V5]: `platform-data/postgres/temporal-prod` names the environment `prod`",
        "--> v5-consumer.yaml:20:20",
        "remoteKey: platform-data/postgres/temporal-prod",
        "^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^",
        "help: use `platform-data/postgres/temporal` and a Vault namespace for `prod`",
    ] {
        assert!(text.contains(part), "no {part:?} in\n{text}");
    }
    let json: serde_json::Value = serde_json::from_str(&render(&found, Format::Json, Colour::None)).unwrap();
    assert_eq!(json["findings"][0]["rule"], "V5");
    assert_eq!(json["findings"][0]["line"], 20);
    assert_eq!(json["findings"][0]["column"], 20);
    assert_eq!(json["errors"], 1);
    let sarif: serde_json::Value = serde_json::from_str(&render(&found, Format::Sarif, Colour::None)).unwrap();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], "V5");
    assert_eq!(result["level"], "error");
    assert_eq!(result["locations"][0]["physicalLocation"]["region"]["startLine"], 20);
}

#[test]
fn a_misspelt_field_gets_its_name() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/bad/unknown-field.yaml");
    let text = shown(&lint(&[source(&path)], Mode::Enforce));
    assert!(text.contains("did you mean `property`?"), "{text}");
}

#[test]
fn modes_lower_or_silence_the_convention_and_nothing_else() {
    for path in corpus("bad") {
        let source = source(&path);
        let rules = |mode, severity| -> BTreeSet<String> {
            lint(std::slice::from_ref(&source), mode)
                .into_iter()
                .filter(|l| l.problem.severity == severity)
                .map(|l| l.problem.rule)
                .collect()
        };
        let convention =
            |rules: &BTreeSet<String>| rules.iter().any(|rule| rule != "P3" && rule.starts_with(['P', 'V']));
        // Two producers of one property conflict in every mode.
        let silenced = |mode, severity| {
            let rules = rules(mode, severity);
            rules.into_iter().filter(|rule| rule != "V4").collect()
        };
        assert!(!convention(&silenced(Mode::Warn, Severity::Error)), "{}", source.name);
        assert!(!convention(&silenced(Mode::Off, Severity::Error)), "{}", source.name);
        assert!(!convention(&silenced(Mode::Off, Severity::Warning)), "{}", source.name);
        let others = |rules: BTreeSet<String>| -> Vec<String> {
            rules.into_iter().filter(|rule| !convention(&BTreeSet::from([rule.clone()]))).collect()
        };
        assert_eq!(
            others(rules(Mode::Enforce, Severity::Error)),
            others(rules(Mode::Off, Severity::Error)),
            "{}",
            source.name
        );
    }
}

#[test]
fn a_secret_s_contents_are_never_shown() {
    let secret =
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData:\n  password: hunter2\n  password: hunter2\n";
    for broken in [
        secret.to_owned(),
        format!("{secret}  token: \"hunter2\n"),
        format!("{secret}\tx: *hunter2\n"),
        format!("{secret}  other: *hunter2\n"),
        format!("{secret}  other: [hunter2\n"),
        format!("{secret}  other: !hunter2!x hunter2\n"),
    ] {
        let found = lint(&text(&broken), Mode::Enforce);
        for format in [Format::Text, Format::Json, Format::Sarif] {
            let output = render(&found, format, Colour::None);
            assert!(!output.contains("hunter2"), "{output}");
        }
    }
}

#[test]
fn what_is_not_yaml_is_an_error_with_its_place() {
    let found = lint(&text("a: b\nc: [d\ne: f\n"), Mode::Off);
    assert_eq!(found[0].problem.rule, "syntax");
    assert_eq!(found[0].problem.severity, Severity::Error);
    assert!(found[0].line >= 2);
}

#[test]
fn aliases_cannot_expand_without_end() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let before = format!("*a{}", level - 1);
        bomb += &format!("a{level}: &a{level} [{}]\n", [before.as_str(); 10].join(", "));
    }
    let found = lint(&text(&bomb), Mode::Enforce);
    assert_eq!(found[0].problem.rule, "syntax");
}

/// Runs the program as a pipeline would: exit code, standard output.
fn waypost_lint(arguments: &[&str], input: &str) -> (Option<i32>, String) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_waypost"))
        .arg("lint")
        .args(arguments)
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn the_exit_code_tells_clean_from_wrong_from_unreadable() {
    let code = |arguments: &[&str]| waypost_lint(arguments, "").0;
    assert_eq!(code(&["good"]), Some(0));
    assert_eq!(code(&["bad"]), Some(1));
    assert_eq!(code(&["bad/v7-synonym.yaml"]), Some(0), "only a warning");
    assert_eq!(code(&["bad/v5-word.yaml", "--path-convention", "warn"]), Some(0));
    assert_eq!(code(&["bad/v5-word.yaml", "--path-convention", "off"]), Some(0));
    assert_eq!(code(&["good", "no-such-file.yaml"]), Some(2));
    assert_eq!(code(&["good", "--path-convention", "strict"]), Some(2));
    assert_eq!(code(&[]), Some(2));
}

#[test]
fn standard_input_is_read_and_plain_text_is_written() {
    let manifest = std::fs::read_to_string(corpus("bad").iter().find(|p| p.ends_with("v5-word.yaml")).unwrap());
    let (code, output) = waypost_lint(&["-"], &manifest.unwrap());
    assert_eq!(code, Some(1));
    assert!(output.contains("error[V5]") && output.contains("--> <stdin>:20:20"), "{output}");
    assert!(!output.contains('\u{1b}'), "no colour without a terminal");
}

#[test]
fn the_mount_of_an_unknown_store_can_be_given() {
    let found = |path: &str| {
        let path = corpus("bad").into_iter().find(|p| p.ends_with("v1-other-mount-in-key.yaml")).map(|p| (p, path));
        let (file, mount) = path.unwrap();
        judge(&[source(&file)], &Convention::default(), mount).len()
    };
    assert_eq!(found("secret"), 1);
    assert_eq!(found("other-mount"), 0);
}

#[test]
fn stores_that_labels_select_are_judged_by_their_manifests_or_the_assumption_is_told() {
    let corpus = |file: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(file);
        std::fs::read_to_string(path).unwrap()
    };
    // Right under the mount `other-mount`, and wrong under `secret`.
    let push = corpus("bad/v1-other-mount-in-key.yaml");
    let push = push.replace("- name: vault-backend", "- labelSelector: { matchLabels: { team: a } }");
    let store = |name: &str, labels: &str, mount: &str| {
        let store = corpus("good/store.yaml").replace("path: secret", &format!("path: {mount}"));
        store.replace("  name: vault-backend", &format!("  name: {name}\n  labels: {{ {labels} }}"))
    };
    let judged = |stores: &[String], mode| {
        let all: Vec<String> = stores.iter().chain([&push]).cloned().collect();
        let found = lint(&text(&all.join("\n---\n")), mode);
        (found.iter().map(|found| found.problem.rule.clone()).collect::<Vec<_>>(), shown(&found))
    };
    let (right, wrong) = (store("one", "team: a", "other-mount"), store("two", "team: a", "secret"));
    let others = store("three", "team: b", "secret");
    assert_eq!(judged(&[right.clone(), others.clone()], Mode::Enforce).0, Vec::<String>::new());
    assert_eq!(judged(&[right, wrong, others.clone()], Mode::Enforce).0, ["V1"], "each of them counts");
    let (rules, shown) = judged(&[others], Mode::Enforce);
    assert_eq!(rules, ["assumed-store", "V1"]);
    assert!(shown.contains("no store with team=a is among the files: its mount is assumed to be `secret`"), "{shown}");
    assert_eq!(judged(&[], Mode::Off).0, Vec::<String>::new(), "where nothing is judged, nothing is assumed");
}

#[test]
fn children_that_would_write_one_path_from_several_namespaces_are_warned_of() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/good/cluster-push-secret.yaml");
    let manifest = std::fs::read_to_string(path).unwrap();
    let judged = |selectors: &str, key: &str, source: &str| -> Vec<(String, Severity)> {
        let (head, rest) = manifest.split_once("  namespaceSelectors:").unwrap();
        let spec = rest.split_once("  pushSecretSpec:").unwrap().1;
        let spec = spec.replace("\"platform-data/redis/{{ .metadata.namespace }}\"", &format!("{key:?}"));
        let spec = spec.replace("secret:\n        name: redis", source);
        let found =
            lint(&text(&format!("{head}  namespaceSelectors: {selectors}\n  pushSecretSpec:{spec}")), Mode::Enforce);
        found.into_iter().map(|found| (found.problem.rule, found.problem.severity)).collect()
    };
    let (many, named) = ("[{ matchLabels: { redis: 'true' } }]", "secret: { name: redis }");
    let fixed = "platform-data/redis/backstage";
    let warned = vec![("V4".to_owned(), Severity::Warning)];
    for selectors in [
        many,
        "[{}]",
        "[{ matchExpressions: [{ key: kubernetes.io/metadata.name, operator: In, values: [a, b] }] }]",
        "[{ matchLabels: { kubernetes.io/metadata.name: a } }, { matchLabels: { kubernetes.io/metadata.name: b } }]",
    ] {
        assert_eq!(judged(selectors, fixed, named), warned, "{selectors}");
    }
    for selectors in [
        "[]",
        "[{ matchLabels: { kubernetes.io/metadata.name: a, redis: 'true' } }]",
        "[{ matchExpressions: [{ key: kubernetes.io/metadata.name, operator: In, values: [a] }] }]",
    ] {
        assert_eq!(judged(selectors, fixed, named), vec![], "{selectors}");
    }
    for part in ["{{ .metadata.namespace }}", "{{ .metadata.labels.team }}", "{{ .metadata.annotations.team }}"] {
        assert_eq!(judged(many, &format!("platform-data/redis/{part}"), named), vec![], "{part}");
    }
    let by_name = "platform-data/redis/{{ .metadata.name }}";
    assert_eq!(judged(many, by_name, named), warned, "the source has one name everywhere");
    assert_eq!(judged(many, by_name, "secret: { selector: { matchLabels: { a: b } } }"), vec![]);
}

/// A PushSecret that the convention refuses (V5), after its Namespace.
fn beside_namespace(labels: &str) -> Vec<Source> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/bad/v5-word.yaml");
    let push = std::fs::read_to_string(path).unwrap();
    let namespace = push.lines().find_map(|line| line.strip_prefix("  namespace: ")).unwrap();
    text(&format!(
        "apiVersion: v1\nkind: Namespace\nmetadata: {{ name: {namespace}, labels: {{ {labels} }} }}\n---\n{push}"
    ))
}

#[test]
fn a_namespace_among_the_files_sets_the_mode_of_what_stands_in_it() {
    let judged = |labels: &str, mode| -> Vec<(String, Severity)> {
        let found = lint(&beside_namespace(labels), mode).into_iter();
        found.map(|found| (found.problem.rule, found.problem.severity)).collect()
    };
    let of = |severity| vec![("V5".to_owned(), severity)];
    let label = |mode: &str| format!("waypost.io/path-convention: {mode:?}");
    assert_eq!(judged(&label("warn"), Mode::Enforce), of(Severity::Warning));
    assert_eq!(judged(&label("off"), Mode::Enforce), vec![]);
    assert_eq!(judged(&label("enforce"), Mode::Off), of(Severity::Error));
    assert_eq!(judged("team: a", Mode::Enforce), of(Severity::Error), "another label says nothing");
    let unknown = judged(&label("strict"), Mode::Enforce);
    let told = ("path-convention".to_owned(), Severity::Warning);
    assert_eq!(unknown, [vec![told], of(Severity::Error)].concat(), "a word that is no mode counts for nothing");

    let text = &beside_namespace(&label("off"))[0].text;
    assert_eq!(waypost_lint(&["-"], text).0, Some(0));
    assert_eq!(waypost_lint(&["-", "--path-convention", "enforce"], text).0, Some(1), "the flag has the last word");
}

#[test]
fn of_two_writers_the_second_s_namespace_sets_the_mode() {
    let push = |namespace: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/good/push-secret.yaml");
        let push = std::fs::read_to_string(path).unwrap();
        let own = push.lines().find(|line| line.starts_with("  namespace: ")).unwrap().to_owned();
        push.replace(&own, &format!("  namespace: {namespace}"))
    };
    let both = |mode: &str| {
        let label = format!("waypost.io/path-convention: {mode:?}");
        let namespace = format!("apiVersion: v1\nkind: Namespace\nmetadata: {{ name: second, labels: {{ {label} }} }}");
        let found = lint(&text(&[push("first"), push("second"), namespace].join("\n---\n")), Mode::Enforce);
        found.into_iter().map(|found| (found.problem.rule, found.problem.severity)).collect::<BTreeSet<_>>()
    };
    let of = |severity| BTreeSet::from([("V4".to_owned(), severity)]);
    assert_eq!(both("enforce"), of(Severity::Error));
    assert_eq!(both("warn"), of(Severity::Warning));
    assert_eq!(both("off"), of(Severity::Warning), "they conflict in every mode");
}

/// A PathConvention with this spec, in a file of its own.
fn convention_file(name: &str, spec: &str) -> PathBuf {
    let file = std::env::temp_dir().join(format!("waypost-{name}-{}.yaml", std::process::id()));
    let head = "apiVersion: waypost.io/v1alpha1\nkind: PathConvention\nmetadata: { name: default }\n";
    std::fs::write(&file, format!("{head}spec: {spec}\n")).unwrap();
    file
}

#[test]
fn a_convention_from_a_file_is_the_one_that_is_judged_by() {
    let file = convention_file("own", "{ mode: warn, datasources: [oracle], vocabulary: { endpoints: [url] } }");
    let convention = lint::convention(Some(&file)).unwrap();
    let judged = |path: &str| {
        let source = source(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(path));
        let found = judge(&[source], &convention, "secret");
        found.iter().map(|found| (found.problem.rule.clone(), found.problem.severity)).collect::<BTreeSet<_>>()
    };
    let warning = |rule: &str| (rule.to_owned(), Severity::Warning);
    assert_eq!(judged("good/cluster-push-secret.yaml"), BTreeSet::from([warning("V3")]), "redis is no datasource here");
    let run = |more: &[&str]| {
        let manifest = "tests/corpus/good/cluster-push-secret.yaml";
        let command =
            Command::new(env!("CARGO_BIN_EXE_waypost")).arg("lint").arg(manifest).args(more).output().unwrap();
        command.status.code()
    };
    let file = file.to_str().unwrap();
    assert_eq!(run(&["--convention", file]), Some(0));
    assert_eq!(run(&["--convention", file, "--path-convention", "enforce"]), Some(1), "the flag has the last word");
    assert_eq!(
        run(&["--convention", "tests/corpus/good/cluster-push-secret.yaml"]),
        Some(2),
        "no PathConvention there"
    );
    std::fs::remove_file(file).unwrap();
}

#[test]
fn the_shipped_convention_is_the_built_in_one() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/admission/path-convention.yaml");
    assert_eq!(lint::convention(Some(&shipped)).unwrap(), Convention::default());
    assert_eq!(lint::convention(None).unwrap(), Convention::default());
}

#[test]
fn a_convention_that_cannot_be_used_is_named_among_manifests_and_refused_as_the_file() {
    for (name, spec, rule, says) in [
        ("mode", "{ mode: strict }", "invalid-value", "spec.mode"),
        ("bare", "{ mode: off }", "wrong-type", "quote it"),
        ("field", "{ datasource: [a] }", "unknown-field", "datasources"),
        (
            "clash",
            "{ vocabulary: { credentials: [host] } }",
            "path-convention",
            "\"host\" is both a credential and an endpoint",
        ),
        ("prefix", "{ secretPrefix: platform-config }", "schema-rule", "set different ones"),
        (
            "alias",
            "{ vocabulary: { aliases: { Pwd: password } } }",
            "path-convention",
            "\"Pwd\" is not a valid property",
        ),
    ] {
        let file = convention_file(name, spec);
        let found = lint(&[source(&file)], Mode::Enforce);
        assert_eq!(found.iter().map(|found| found.problem.rule.as_str()).collect::<Vec<_>>(), [rule], "{spec}");
        assert!(shown(&found).contains(says), "{}", shown(&found));
        let refused = lint::convention(Some(&file)).unwrap_err().to_string();
        assert!(refused.contains(says), "{refused}");
        std::fs::remove_file(file).unwrap();
    }
}

#[test]
fn what_a_cluster_push_secret_asks_for_in_vain_is_named_where_it_stands() {
    let found = lint(
        &text(
            "apiVersion: external-secrets.io/v1alpha1
kind: ClusterPushSecret
metadata:
  name: everywhere
spec:
  namespaceSelectors:
  - matchLabels: {team: shop}
  pushSecretSpec:
    deletionPolicy: None
    secretStoreRefs:
    - name: vault-backend
      kind: ClusterSecretStore
    selector:
      secret:
        name: source
    dataTo:
    - storeRef: {name: another, kind: ClusterSecretStore}
      rewrite:
      - regexp: {source: '(', target: x}
    template: {data: {salt: '{{ randAlphaNum 8 }}'}}
",
        ),
        Mode::Off,
    );
    let said: Vec<(String, usize, bool)> = found
        .iter()
        .map(|located| {
            let is_named = located.problem.message.starts_with("spec.pushSecretSpec.");
            (located.problem.rule.clone(), located.line, is_named)
        })
        .collect();
    let wanted = [("regexp", 19, true), ("unsupported", 20, true)];
    assert_eq!(said, wanted.map(|(rule, line, named)| (rule.to_owned(), line, named)), "{}", shown(&found));
}
