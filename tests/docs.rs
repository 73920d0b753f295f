//! Checks the documentation pages: the links, paths, targets, flags, tests and manifests that they
//! name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Folders of the repository; whatever a page writes in code below one of them must be there.
const FOLDERS: [&str; 9] = ["src/", "tests/", "e2e/", "deploy/", "policies/", "examples/", "docs/", "crds/", ".ci/"];
/// Folders without pages of ours.
const SKIPPED: [&str; 4] = ["./target", "./.git", "./.lab", "./e2e/target"];
/// Pages on which a bare flag is one of ours.
const ON_FLAGS: [&str; 4] = ["./README.md", "./CONTRIBUTING.md", "./SECURITY.md", "./docs"];

/// A page, with the code in it.
struct Page {
    path: PathBuf,
    text: String,
    /// The contents of `backticks`.
    spans: Vec<String>,
    /// The lines of ```sh blocks.
    commands: Vec<String>,
    /// The ```yaml blocks.
    manifests: Vec<String>,
}

#[test]
fn relative_links_lead_somewhere() {
    let mut broken = Vec::new();
    for page in pages() {
        for link in links(&page.text) {
            let target = link.split('#').next().unwrap_or_default();
            if target.is_empty() || target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let folder = page.path.parent().expect("a page is in a folder");
            if !folder.join(target).exists() {
                broken.push(format!("{}: {link}", page.path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn paths_in_code_are_there() {
    let mut missing = Vec::new();
    for page in pages() {
        let code = page.spans.iter().chain(&page.commands);
        for word in code.flat_map(|code| code.split([' ', ',', '='])) {
            let is_ours = FOLDERS.iter().any(|folder| word.starts_with(folder));
            let is_pattern = word.contains(['*', '…', '<', '{', '?']);
            if is_ours && !is_pattern && !Path::new(word).exists() {
                missing.push(format!("{}: {word}", page.path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "paths that are not there:\n{}", missing.join("\n"));
}

#[test]
fn targets_of_make_are_there() {
    let makefile = fs::read_to_string("Makefile").expect("there is a Makefile");
    let targets: BTreeSet<&str> =
        makefile.lines().filter_map(|line| line.split_once(':')).map(|(name, _)| name).collect();
    let mut missing = Vec::new();
    for page in pages() {
        for code in page.spans.iter().chain(&page.commands) {
            let named = code.strip_prefix("make ").and_then(|rest| rest.split(' ').next());
            if let Some(target) = named.filter(|target| !targets.contains(target)) {
                missing.push(format!("{}: make {target}", page.path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "targets that the Makefile lacks:\n{}", missing.join("\n"));
}

#[test]
fn flags_are_in_the_help() {
    let flags: BTreeSet<String> = ["controller", "lint", "render", "policy", "claims list", "claims transfer"]
        .iter()
        .flat_map(|command| flags_of(command))
        .collect();
    let mut missing = Vec::new();
    for page in pages().into_iter().filter(|page| ON_FLAGS.iter().any(|below| page.path.starts_with(below))) {
        let single = page.spans.iter().filter(|span| span.starts_with("--") && !span.contains(' '));
        let ours = page.commands.iter().chain(&page.spans).filter(|line| line.starts_with("waypost "));
        let words = single.chain(ours).flat_map(|line| line.split(' ')).filter(|word| word.starts_with("--"));
        for flag in words.filter_map(|word| word.split('=').next()) {
            if !flags.contains(flag) && flag != "--help" {
                missing.push(format!("{}: {flag}", page.path.display()));
            }
        }
    }
    assert!(missing.is_empty(), "flags that no command has:\n{}", missing.join("\n"));
}

#[test]
fn tests_that_the_invariants_name_are_there() {
    let text = fs::read_to_string("docs/architecture.md").expect("there is an architecture page");
    let rows: Vec<&str> = text.lines().filter(|line| line.starts_with("| **I")).collect();
    assert_eq!(rows.len(), 9, "I1 to I9 have a row each");
    let sources: String =
        ["src", "tests", "e2e"].iter().flat_map(|folder| files(Path::new(folder), "rs")).map(read).collect();
    for row in rows {
        let shown_by = row.trim_end_matches('|').rsplit('|').next().expect("a row has a last column");
        let tests = code_spans(shown_by);
        assert!(!tests.is_empty(), "nothing shows {row}");
        for test in tests {
            assert!(sources.contains(&format!("fn {test}(")), "no test is called {test}");
        }
    }
}

#[test]
fn manifests_of_the_readme_are_those_of_the_examples() {
    let examples: Vec<Value> =
        files(Path::new("examples"), "yaml").into_iter().map(read).flat_map(|text| documents(&text)).collect();
    let readme = page(PathBuf::from("README.md"));
    assert!(!readme.manifests.is_empty(), "the README shows no manifest");
    for shown in readme.manifests.iter().flat_map(|text| documents(text)) {
        let (kind, metadata) = (&shown["kind"], &shown["metadata"]);
        let same = |example: &&Value| {
            let theirs = &example["metadata"];
            example["kind"] == *kind
                && theirs["name"] == metadata["name"]
                && theirs["namespace"] == metadata["namespace"]
        };
        let example = examples.iter().find(same).unwrap_or_else(|| panic!("no example is {kind} {metadata}"));
        assert_eq!(shown["spec"], example["spec"], "the README's {kind} {metadata} is not the example's");
    }
}

fn pages() -> Vec<Page> {
    let pages: Vec<Page> = files(Path::new("."), "md").into_iter().map(page).collect();
    assert!(pages.len() > 10, "only {} pages were found", pages.len());
    pages
}

fn page(path: PathBuf) -> Page {
    let text = read(path.clone());
    let (mut prose, mut commands, mut manifests) = (String::new(), Vec::new(), Vec::new());
    let mut fence: Option<&str> = None;
    for line in text.lines() {
        match (fence, line.trim_start().strip_prefix("```")) {
            (None, Some(language)) => {
                fence = Some(language);
                if language == "yaml" {
                    manifests.push(String::new());
                }
            }
            (Some(_), Some(_)) => fence = None,
            (Some("sh"), None) => commands.push(line.trim().to_owned()),
            (Some("yaml"), None) => {
                let manifest = manifests.last_mut().expect("a block was begun");
                manifest.push_str(line);
                manifest.push('\n');
            }
            (Some(_), None) => {}
            (None, None) => {
                prose.push_str(line);
                prose.push('\n');
            }
        }
    }
    Page { path, spans: code_spans(&prose), text: prose, commands, manifests }
}

fn code_spans(text: &str) -> Vec<String> {
    text.split('`').skip(1).step_by(2).map(|span| span.replace('\n', " ")).collect()
}

/// The targets of `[text](target)`, outside code.
fn links(text: &str) -> Vec<String> {
    let prose: String = text.split('`').step_by(2).collect();
    prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect()
}

fn flags_of(command: &str) -> BTreeSet<String> {
    let help = Command::new(env!("CARGO_BIN_EXE_waypost"))
        .args(command.split(' '))
        .arg("--help")
        .output()
        .expect("waypost runs");
    let help = String::from_utf8(help.stdout).expect("the help is text");
    let flags: BTreeSet<String> =
        help.split([' ', '\n', ',', '=']).filter(|word| word.starts_with("--")).map(str::to_owned).collect();
    assert!(flags.len() > 2, "waypost {command} --help names no flags:\n{help}");
    flags
}

fn documents(text: &str) -> Vec<Value> {
    let parts = text.split("\n---\n");
    parts.map(|part| serde_saphyr::from_str(part).unwrap_or_else(|error| panic!("not YAML: {error}\n{part}"))).collect()
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("a folder can be read").path();
            if path.is_dir() && !SKIPPED.iter().any(|skipped| path.starts_with(skipped)) {
                folders.push(path);
            } else if path.extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn read(path: PathBuf) -> String {
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
