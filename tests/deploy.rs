//! The shipped manifests: they agree with each other, rights are explained and bounded, pods are
//! confined.

#[path = "deploy/authority.rs"]
mod authority;
#[path = "deploy/chart.rs"]
mod chart;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};
use waypost_e2e::provision::{self, Programs};

type Objects = BTreeMap<(String, String), Value>;

#[test]
fn the_chart_renders_what_the_kustomize_base_renders() {
    let base = kustomize("base");
    let mut chart = helm_template(&[]);
    // Helm makes the namespace of a release itself; a chart that held it could not be installed
    // into it.
    let namespace = ("Namespace".to_owned(), "external-secrets".to_owned());
    chart.insert(namespace.clone(), base[&namespace].clone());
    assert_eq!(chart.keys().collect::<Vec<_>>(), base.keys().collect::<Vec<_>>());
    for (name, mut object) in chart {
        remove_keep_annotation(&mut object);
        assert_eq!(difference(&object, &base[&name]), None, "{name:?}: the chart and the kustomize base differ");
    }
}

#[test]
fn the_chart_keeps_the_crds_of_a_removed_release() {
    let crds: Vec<_> = of_kind(helm_template(&[]), "CustomResourceDefinition");
    assert_eq!(crds.len(), 7);
    for crd in crds {
        assert_eq!(crd["metadata"]["annotations"]["helm.sh/resource-policy"], "keep");
    }
}

#[test]
fn the_chart_beside_eso_renders_the_overlay() {
    let overlay = kustomize("overlays/beside-eso");
    let values = [
        "serviceAccount.name=waypost",
        "clusterRolePrefix=waypost-system",
        "controllerClass=waypost",
        "serveUnclassified=false",
        "crds.install=false",
    ];
    let chart = helm_template_in("waypost-system", &values);
    for (name, object) in &chart {
        let (mut ours, mut theirs) = (object.clone(), overlay[name].clone());
        sort_args(&mut ours);
        sort_args(&mut theirs);
        assert_eq!(difference(&ours, &theirs), None, "{name:?}: the chart and the overlay differ");
    }
    assert_eq!(chart.len() + 1, overlay.len(), "the overlay has the namespace besides");
}

#[test]
fn beside_eso_neither_its_crds_nor_its_names_nor_its_stores_are_touched() {
    let overlay = kustomize("overlays/beside-eso");
    assert!(overlay.keys().all(|(kind, _)| kind != "CustomResourceDefinition"));
    for object in overlay.values() {
        let text = object.to_string().replace("external-secrets.io", "");
        assert!(!text.contains("external-secrets"), "a name of the other operator in {text}");
    }
    let deployment = &of_kind(overlay, "Deployment")[0];
    let args = deployment["spec"]["template"]["spec"]["containers"][0]["args"].to_string();
    assert!(args.contains("--controller-class=waypost") && args.contains("--serve-unclassified=false"), "{args}");
}

#[test]
fn beside_eso_no_object_is_one_of_the_base_or_of_another_name_than_ours() {
    let identities = |folder: &str| -> BTreeSet<[String; 3]> {
        let identity = |object: &Value| {
            ["/kind", "/metadata/namespace", "/metadata/name"]
                .map(|at| object.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned())
        };
        kustomize(folder).values().map(identity).collect()
    };
    let (base, overlay) = (identities("base"), identities("overlays/beside-eso"));
    assert_eq!(base.intersection(&overlay).collect::<Vec<_>>(), Vec::<&[String; 3]>::new());
    for [kind, namespace, name] in &overlay {
        let ours = if namespace.is_empty() { name } else { namespace };
        assert!(ours.starts_with("waypost-system"), "{kind} {namespace}/{name}");
    }
}

#[test]
fn no_right_is_a_wildcard_or_reaches_what_we_promised_to_leave_alone() {
    let forbidden =
        ["customresourcedefinitions", "validatingwebhookconfigurations", "mutatingwebhookconfigurations", "pods"];
    let mut seen = 0;
    for object in kustomize("base").into_values() {
        for rule in object["rules"].as_array().into_iter().flatten() {
            seen += 1;
            for part in ["apiGroups", "resources", "verbs"].into_iter().flat_map(|field| strings(&rule[field])) {
                assert!(!part.contains('*'), "wildcard in {}: {rule}", object["metadata"]["name"]);
                assert!(!forbidden.contains(&part), "{part} in {}", object["metadata"]["name"]);
                assert!(
                    !["escalate", "bind", "impersonate"].contains(&part),
                    "{part} in {}",
                    object["metadata"]["name"]
                );
            }
            let asks_for_tokens = strings(&rule["resources"]).any(|resource| resource == "serviceaccounts/token");
            assert!(
                !asks_for_tokens || rule["resourceNames"] == json!(["external-secrets"]),
                "tokens of anybody: {rule}"
            );
        }
    }
    assert!(seen >= 10, "only {seen} rules found");
}

#[test]
fn every_rule_says_why_it_is_there() {
    for (file, text) in sources(&["deploy/kustomize/rbac"], "yaml") {
        let lines: Vec<_> = text.lines().collect();
        for (at, _) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("  - apiGroups:")) {
            assert!(lines[at - 1].trim_start().starts_with('#'), "{}:{}: no reason above", file.display(), at + 1);
        }
    }
    for (file, text) in sources(&["policies/vault"], "hcl") {
        let lines: Vec<_> = text.lines().collect();
        let rules: Vec<_> = (0..lines.len()).filter(|at| lines[*at].starts_with("path ")).collect();
        assert!(!rules.is_empty(), "{} has no rule", file.display());
        for at in rules {
            assert!(lines[at - 1].starts_with("# "), "{}:{}: no reason above", file.display(), at + 1);
        }
    }
}

#[test]
fn the_combined_policy_is_the_union_of_publisher_and_consumer() {
    let policy =
        |name: &str| hcl_rules(&fs::read_to_string(root().join(format!("policies/vault/{name}.hcl"))).unwrap());
    let mut union = policy("publisher");
    for (path, capabilities) in policy("consumer") {
        let all = union.entry(path).or_default();
        all.extend(capabilities);
        all.sort();
        all.dedup();
    }
    assert_eq!(policy("combined"), union);
}

#[test]
fn no_policy_lets_a_plain_delete_through() {
    for (file, text) in sources(&["policies/vault"], "hcl") {
        for (path, capabilities) in hcl_rules(&text) {
            // What a purge is: whoever installs it was asked.
            let purges = file.ends_with("optional/purge.hcl") && path.starts_with("{{mount}}/metadata/");
            let refused = if purges { &["sudo", "deny"][..] } else { &["delete", "sudo", "deny"] };
            assert!(!capabilities.iter().any(|one| refused.contains(&one.as_str())), "{}: {path}", file.display());
        }
    }
}

#[test]
fn the_roles_name_shipped_policies_and_leave_the_default_one_out() {
    let installed =
        ["base", "overlays/beside-eso"].into_iter().flat_map(|folder| of_kind(kustomize(folder), "ServiceAccount"));
    let accounts: Vec<Value> = installed.map(|account| account["metadata"].clone()).collect();
    let roles = sources(&["policies/vault/roles"], "json");
    assert_eq!(roles.len(), 4);
    for (file, text) in roles {
        let role: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(role["token_no_default_policy"], true, "{}", file.display());
        let bound = |account: &Value| {
            role["bound_service_account_names"] == json!([account["name"]])
                && role["bound_service_account_namespaces"] == json!([account["namespace"]])
        };
        assert!(accounts.iter().any(bound), "{} is bound to no ServiceAccount that we install", file.display());
        for policy in strings(&role["token_policies"]) {
            let stem = policy.strip_prefix("waypost-").unwrap();
            let shipped = ["", "optional/"].map(|folder| root().join(format!("policies/vault/{folder}{stem}.hcl")));
            assert!(shipped.iter().any(|file| file.is_file()), "{policy} in {}", file.display());
        }
    }
}

/// The restricted level of the Pod Security Standards, as the namespace enforces it.
#[test]
fn the_pods_keep_the_restricted_level() {
    for rendered in [kustomize("base"), kustomize("overlays/beside-eso")] {
        let pod = of_kind(rendered, "Deployment")[0]["spec"]["template"]["spec"].clone();
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_ne!(pod["securityContext"]["runAsUser"], 0);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        for absent in ["hostNetwork", "hostPID", "hostIPC", "volumes", "initContainers"] {
            assert!(pod.get(absent).is_none(), "{absent} is set");
        }
        for container in pod["containers"].as_array().unwrap() {
            let context = &container["securityContext"];
            assert_eq!(context["allowPrivilegeEscalation"], false);
            assert_eq!(context["readOnlyRootFilesystem"], true);
            assert_eq!(context["capabilities"], json!({"drop": ["ALL"]}));
            assert!(context.get("privileged").is_none());
        }
    }
}

#[test]
fn the_container_image_holds_the_binary_and_ca_certificates_alone_and_runs_as_nobody() {
    let text = fs::read_to_string(root().join("Containerfile")).unwrap();
    let (build, last_stage) = text.rsplit_once("\nFROM ").unwrap();
    assert!(last_stage.starts_with("scratch\n"));
    assert!(last_stage.contains("\nUSER 65532:65532\n"));
    let copied: Vec<&str> = last_stage.lines().filter_map(|line| line.strip_prefix("COPY --from=build ")).collect();
    // Where the program looks for the system's certificates; without them a store that names no CA
    // reaches no server.
    let certificates = "/etc/ssl/certs/ca-certificates.crt";
    assert_eq!(copied, [format!("{certificates} {certificates}"), "/waypost /waypost".to_owned()]);
    assert_eq!(last_stage.matches("\nCOPY ").count(), copied.len());
    assert!(build.contains("\nRUN apk add --no-cache ca-certificates "));
}

#[test]
fn every_manifest_parses_and_says_what_it_is() {
    let folders = ["deploy/kustomize", "policies/admission", "examples"];
    let files = sources(&folders, "yaml");
    assert!(files.len() > 30, "only {} files found", files.len());
    for (file, text) in files {
        for object in documents(&text) {
            assert!(object["apiVersion"].is_string() && object["kind"].is_string(), "{}", file.display());
        }
    }
}

#[test]
fn the_example_lists_every_manifest_of_its_steps_one_object_each() {
    for step in ["1-store", "2-publish", "3-consume"] {
        let folder = format!("examples/gitops/{step}");
        let listed = documents(&fs::read_to_string(root().join(&folder).join("kustomization.yaml")).unwrap());
        let mut files = Vec::new();
        for (file, text) in sources(&[&folder], "yaml") {
            let name = file.file_name().unwrap().to_str().unwrap().to_owned();
            if name != "kustomization.yaml" {
                assert_eq!(documents(&text).len(), 1, "{}", file.display());
                files.push(name);
            }
        }
        assert_eq!(strings(&listed[0]["resources"]).collect::<Vec<_>>(), files);
    }
}

#[test]
fn every_admission_policy_is_bound() {
    let mut objects = Vec::new();
    for (_, text) in sources(&["policies/admission"], "yaml") {
        objects.extend(documents(&text));
    }
    let names = |kind: &str, at: &str| -> Vec<String> {
        let mut names: Vec<_> = objects
            .iter()
            .filter(|object| object["kind"] == kind)
            .map(|object| object.pointer(at).unwrap().to_string())
            .collect();
        names.sort();
        names
    };
    let policies = names("ValidatingAdmissionPolicy", "/metadata/name");
    assert!(policies.len() >= 3, "only {policies:?}");
    assert_eq!(policies, names("ValidatingAdmissionPolicyBinding", "/spec/policyName"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn kustomize(folder: &str) -> Objects {
    let kubectl = Programs::provision().expect("provide kubectl").kubectl;
    rendered(kubectl.command().arg("kustomize").arg(root().join("deploy/kustomize").join(folder)))
}

fn helm_template(values: &[&str]) -> Objects {
    helm_template_in("external-secrets", values)
}

fn helm_template_in(namespace: &str, values: &[&str]) -> Objects {
    let mut command = provision::helm().expect("provide Helm").command();
    // Helm's own idea of a cluster's version is older than what the chart asks for.
    command.args(["template", "waypost", "--kube-version", "v1.36.3", "--namespace", namespace]);
    command.arg(root().join("deploy/chart"));
    for value in values {
        command.args(["--set", value]);
    }
    rendered(&mut command)
}

fn rendered(command: &mut Command) -> Objects {
    let output = command.output().unwrap_or_else(|error| panic!("start {:?}: {error}", command.get_program()));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    let mut objects = Objects::new();
    for object in documents(&String::from_utf8(output.stdout).unwrap()) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let earlier = objects.insert((text(&object["kind"]), text(&object["metadata"]["name"])), object);
        assert!(earlier.is_none(), "rendered twice: {}", earlier.unwrap()["metadata"]["name"]);
    }
    objects
}

fn documents(text: &str) -> Vec<Value> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).expect("YAML that parses");
    documents.into_iter().filter(|document| !document.is_null()).collect()
}

/// All files under `folders` with this extension, in order of their names.
fn sources(folders: &[&str], extension: &str) -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    let mut pending: Vec<_> = folders.iter().map(|folder| root().join(folder)).collect();
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("read {}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                let text = fs::read_to_string(&path).unwrap();
                files.push((path, text));
            }
        }
    }
    files.sort();
    files
}

fn of_kind(objects: Objects, kind: &str) -> Vec<Value> {
    objects.into_iter().filter(|((found, _), _)| found == kind).map(|(_, object)| object).collect()
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().map(|item| item.as_str().expect("a list of strings"))
}

/// Where two values first differ. Numbers are compared as such: kustomize writes 1 for 1.0.
fn difference(left: &Value, right: &Value) -> Option<String> {
    let inside = |at: &str, left: &Value, right: &Value| difference(left, right).map(|rest| format!("/{at}{rest}"));
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => left
            .keys()
            .chain(right.keys().filter(|key| !left.contains_key(*key)))
            .find_map(|key| inside(key, left.get(key).unwrap_or(&Value::Null), right.get(key).unwrap_or(&Value::Null))),
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            left.iter().zip(right).enumerate().find_map(|(at, (left, right))| inside(&at.to_string(), left, right))
        }
        (Value::Number(left), Value::Number(right)) if left.as_f64() == right.as_f64() => None,
        (left, right) => (left != right).then(|| format!(": {left} and {right}")),
    }
}

/// The one annotation that only Helm reads.
fn remove_keep_annotation(object: &mut Value) {
    let metadata = object["metadata"].as_object_mut().unwrap();
    if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.remove("helm.sh/resource-policy");
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
    }
}

/// Flags mean the same in any order.
fn sort_args(object: &mut Value) {
    if let Some(args) = object.pointer_mut("/spec/template/spec/containers/0/args").and_then(Value::as_array_mut) {
        args.sort_by_key(Value::to_string);
    }
}

/// Path to capabilities of each rule, as our own policy files are written.
fn hcl_rules(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut rules = BTreeMap::new();
    let mut path = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("path ") {
            path = rest.split('"').nth(1).map(str::to_owned);
        } else if let Some(list) = line.trim_start().strip_prefix("capabilities = ") {
            let mut capabilities: Vec<String> = serde_json::from_str(list).expect("a list on one line");
            capabilities.sort();
            rules.insert(path.take().expect("a path before its capabilities"), capabilities);
        }
    }
    rules
}
