//! Checks the code style: which module may name which, sizes, and opening lines.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use syn::visit::Visit;
use syn::{ItemUse, UseTree};

/// A file longer than this has more than one job.
const MAX_LINES: usize = 600;

/// Module names that say nothing about their job.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "helpers", "common", "types", "misc"];

/// `(files below, must not name, except below)`: the arrows of the architecture.
const ARROWS: &[(&str, &[&str], &[&str])] = &[
    (
        "src/domain",
        &["kube", "vaultrs", "rustify", "reqwest", "tokio", "axum", "std::time::Instant", "std::time::SystemTime"],
        &[],
    ),
    (
        "src/api",
        &["crate::store", "crate::cluster", "crate::controller", "crate::push", "crate::pull", "tokio", "reqwest"],
        &[],
    ),
    (
        "src/cluster",
        &["crate::controller", "crate::push", "crate::pull", "crate::fanout", "crate::store", "crate::feed"],
        &[],
    ),
    (
        "src/watch",
        &[
            "crate::controller",
            "crate::cluster",
            "crate::push",
            "crate::pull",
            "crate::fanout",
            "crate::store",
            "crate::feed",
            "crate::run",
        ],
        &[],
    ),
    // What reconcilers share knows none of them.
    ("src/controller", &["crate::push", "crate::pull", "crate::fanout", "crate::check", "crate::run"], &[]),
    ("src/push", &["crate::pull", "crate::fanout"], &[]),
    ("src/pull", &["crate::push", "crate::fanout"], &[]),
    ("src/fanout", &["crate::pull", "crate::feed", "crate::run"], &[]),
    // What one kind of fan-out brings is one file.
    (
        "src/fanout",
        &["crate::push", "crate::api::push_secret", "crate::api::PushSecret", "crate::api::ClusterPushSecret"],
        &["src/fanout/push.rs", "src/fanout/tests.rs"],
    ),
    ("src/store", &["crate::push", "crate::pull", "crate::feed", "crate::run"], &[]),
    ("src/feed", &["crate::controller", "crate::push", "crate::pull", "crate::run", "kube", "reqwest"], &[]),
    (
        "src/manifest",
        &["crate::cli", "crate::push", "crate::pull", "crate::cluster", "crate::store", "crate::run", "tokio"],
        &[],
    ),
    ("src", &["vaultrs", "rustify", "rustify_derive"], &["src/store/vault"]),
    ("src", &["reqwest"], &["src/store/vault"]),
    ("src", &["hyper"], &["src/store/vault", "src/cluster"]),
    // What somebody writes in a manifest is compiled within a limit, and means what it means in Go.
    ("src", &["regex"], &[]),
    // The model tests ask how many cases they play.
    ("src", &["std::env"], &["src/config.rs", "src/cli", "src/bin", "src/model_cases.rs"]),
    ("src/push/plan.rs", &["crate::cluster", "kube", "tokio", "async_trait", "std::time::Instant"], &[]),
    ("src/push/desired.rs", &["crate::cluster", "kube", "tokio", "async_trait"], &[]),
    ("src/push/report.rs", &["crate::cluster::Cluster", "tokio", "async_trait"], &[]),
    ("src/pull/plan.rs", &["crate::cluster", "kube", "tokio", "async_trait", "std::time::Instant"], &[]),
    ("src/pull/desired.rs", &["crate::cluster", "kube", "tokio", "async_trait"], &[]),
    ("src/pull/report.rs", &["crate::cluster::Cluster", "tokio", "async_trait"], &[]),
    ("src/fanout/plan.rs", &["crate::cluster", "kube", "tokio", "async_trait", "std::time::Instant"], &[]),
    ("src/fanout/desired.rs", &["crate::cluster", "kube", "tokio", "async_trait"], &[]),
    ("src/fanout/change.rs", &["crate::cluster::Cluster", "kube", "tokio", "async_trait"], &[]),
    ("src/fanout/report.rs", &["crate::cluster::Cluster", "tokio", "async_trait"], &[]),
];

#[test]
fn modules_name_only_what_the_architecture_lets_them() {
    let mut broken = Vec::new();
    for file in sources("src") {
        let named = named_paths(&file);
        for (below, forbidden, except) in ARROWS {
            if !is_below(&file, below) || except.iter().any(|folder| is_below(&file, folder)) {
                continue;
            }
            for path in &named {
                if forbidden.iter().any(|name| path == name || path.starts_with(&format!("{name}::"))) {
                    broken.push(format!("{} names {path}", file.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "arrows of docs/architecture.md are broken:\n{}", broken.join("\n"));
}

#[test]
fn no_two_modules_form_a_circle() {
    let mut named: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in sources("src").into_iter().filter(|file| !is_test(file)) {
        let Some(module) = module_of(&file) else { continue };
        let others = named_paths(&file).into_iter().filter_map(|path| {
            let other = path.strip_prefix("crate::")?.split("::").next()?.to_owned();
            (other != module).then_some(other)
        });
        named.entry(module.clone()).or_default().extend(others.collect::<Vec<_>>());
    }
    assert_eq!(circle(&named), None, "these modules name each other in a circle");
}

#[test]
fn a_circle_of_modules_is_found() {
    let named = |names: &[(&str, &[&str])]| -> BTreeMap<String, BTreeSet<String>> {
        names.iter().map(|(name, to)| ((*name).to_owned(), to.iter().map(|to| (*to).to_owned()).collect())).collect()
    };
    assert_eq!(circle(&named(&[("a", &["b", "c"]), ("b", &["c"]), ("c", &[])])), None);
    let found = circle(&named(&[("a", &["b"]), ("b", &["c"]), ("c", &["d", "b"])]));
    assert_eq!(found, Some(vec!["b".to_owned(), "c".to_owned()]));
}

/// Modules without those that no path leads out of, again and again, until nothing or a circle is
/// left.
fn circle(named: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    let mut left = named.clone();
    loop {
        let names: BTreeSet<String> = left.keys().cloned().collect();
        let targets: BTreeSet<String> = left.values().flatten().cloned().collect();
        let ends = |name: &String, to: &BTreeSet<String>| to.is_disjoint(&names) || !targets.contains(name);
        let free: Vec<String> = left.iter().filter(|(name, to)| ends(name, to)).map(|(name, _)| name.clone()).collect();
        if free.is_empty() {
            return (!left.is_empty()).then(|| left.into_keys().collect());
        }
        left.retain(|name, _| !free.contains(name));
    }
}

/// The top-level module that a file belongs to; none for the roots of the crate and the programs in
/// `src/bin`.
fn module_of(file: &Path) -> Option<String> {
    let below = file.strip_prefix("src").ok()?;
    let first = below.components().next()?.as_os_str().to_str()?;
    let module = first.trim_end_matches(".rs");
    (!["lib", "main", "bin"].contains(&module)).then(|| module.to_owned())
}

fn is_test(file: &Path) -> bool {
    file.components().any(|part| ["tests", "tests.rs"].iter().any(|name| part.as_os_str() == *name))
}

/// Texts that only one file may have: it does for all others what they do.
const ONCE: &[(&str, &str, &str)] = &[
    ("_opt(", "", "kube takes any 404 for absence: read by Cluster::get"),
    ("watcher(", "", "open every watch by watch::open, which lists anew where a watch cannot be restarted"),
    ("watcher as", "src/watch/restart.rs", "open every watch by watch::open"),
    ("Controller::new(", "", "give a Controller the stream of watch::open"),
];

#[test]
fn what_has_one_place_is_done_nowhere_else() {
    let mut wrong = Vec::new();
    for file in sources("src") {
        let text = fs::read_to_string(&file).expect("a listed file can be read");
        let product = product(&text);
        for (words, place, instead) in ONCE {
            if product.contains(words) && (place.is_empty() || !file.ends_with(place)) {
                wrong.push(format!("{} has `{words}`: {instead}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Who may start tasks by themselves, and why their end is not the end of anything else.
const SHORT_LIVED: [(&str, &str); 10] = [
    ("src/feed/schedule.rs", "the feed takes the result of each check, and ends with one that panics"),
    ("src/feed/folders.rs", "the feed takes the result of each list, and ends with one that panics"),
    ("src/controller/compute.rs", "the reconcile awaits it"),
    ("src/push/observe.rs", "the reconcile awaits it"),
    ("src/run/tasks.rs", "it notices the end"),
    ("src/store/former.rs", "it ends when the session of an edited store is closed"),
    ("src/store/pool.rs", "it ends when the session of a client that nobody uses is closed"),
    ("src/store/renewal.rs", "it ends when the clients of one credential are renewed"),
    ("src/store/serving.rs", "it gives the handle to whoever starts the task"),
    ("src/store/vault/transport.rs", "it ends when the server answers again"),
];

#[test]
fn a_task_that_must_not_end_is_started_where_its_end_is_noticed() {
    let mut wrong = Vec::new();
    for file in sources("src").into_iter().filter(|file| !is_test(file)) {
        let text = fs::read_to_string(&file).expect("a listed file can be read");
        match (spawns(&text), SHORT_LIVED.iter().any(|(listed, _)| file.ends_with(listed))) {
            (true, true) | (false, false) => {}
            (true, false) => wrong.push(format!("{} spawns by itself: start it by Tasks::spawn", file.display())),
            (false, true) => wrong.push(format!("{} spawns nothing: take it from the list", file.display())),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether the product's part of a source starts tasks other than by `Tasks::spawn`: by a function,
/// or by a set or a tracker of tasks.
fn spawns(text: &str) -> bool {
    let code: String = product(text).lines().map(str::trim).filter(|line| !line.starts_with("//")).collect();
    let mut words = code.match_indices("spawn").map(|(at, _)| code.split_at(at));
    words.any(|(before, from)| {
        let after = from.trim_start_matches(|letter: char| letter == '_' || letter.is_ascii_alphanumeric());
        after.starts_with('(') && !["tasks.", "fn "].iter().any(|own| before.ends_with(own))
    })
}

/// A source without the tests at its end, which may use what they test with.
fn product(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()
}

#[test]
fn a_task_is_found_however_it_is_started() {
    for line in [
        "tokio::spawn(work);",
        "let task = tokio::spawn(work);",
        "None => tokio::task::spawn(work),",
        "spawn(work);",
        "std::thread::spawn(work);",
        "tokio::task::spawn_blocking(work);",
        "self.running.spawn(work);",
        "Handle::current().spawn(work);",
        "spawn_serving(work).await",
    ] {
        assert!(spawns(&format!("fn start() {{\n    {line}\n}}\n")), "{line}");
        assert!(!spawns(&format!("// {line}\n")), "{line}");
        assert!(!spawns(&format!("#[cfg(test)]\nmod tests {{\n    {line}\n}}\n")), "{line}");
    }
    assert!(!spawns("tasks.spawn(\"the sweeper\", work);"));
    assert!(!spawns("self.tasks\n    .spawn(\"the sweeper\", work);"));
    assert!(!spawns("pub fn spawn(&self) {}"));
    assert!(spawns("#[cfg(test)]\nmod tests;\n\nfn start() {\n    self.farewells\n        .spawn(work);\n}\n"));
}

#[test]
fn a_test_starts_servers_of_its_own_only_in_its_turn() {
    let starts = |file: &PathBuf| fs::read_to_string(file).expect("a listed file can be read").contains("Lab::start(");
    let wrong: Vec<PathBuf> = sources("tests/integration").into_iter().filter(starts).collect();
    assert!(wrong.is_empty(), "{wrong:?}: start them by Permit::start_lab, with the permit of turns::heavy");
}

#[test]
fn a_panic_poisons_no_lock() {
    let poisoned = ["std::sync::Mutex", "std::sync::RwLock", "std::sync::PoisonError"];
    let mut wrong = Vec::new();
    for file in ["src", "e2e/src", "template/src", "tests", "e2e/tests", "template/tests"]
        .iter()
        .flat_map(|folder| sources(folder))
    {
        for path in named_paths(&file).iter().filter(|path| poisoned.contains(&path.as_str())) {
            wrong.push(format!("{} names {path}: use that of parking_lot", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_pure_core_names_no_other_module_of_ours() {
    let mut wrong = Vec::new();
    for file in sources("src/domain") {
        for path in named_paths(&file) {
            if path.strip_prefix("crate::").is_some_and(|path| path.split("::").next() != Some("domain")) {
                wrong.push(format!("{} names {path}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_file_opens_with_its_job_and_has_one() {
    let mut wrong = Vec::new();
    for file in ["src", "e2e/src", "template/src", "tests"].iter().flat_map(|folder| sources(folder)) {
        let text = fs::read_to_string(&file).expect("a listed file can be read");
        if !text.starts_with("//!") {
            wrong.push(format!("{} does not open with `//!` and its job", file.display()));
        }
        if text.lines().count() > MAX_LINES {
            wrong.push(format!("{} has more than {MAX_LINES} lines", file.display()));
        }
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        if EMPTY_NAMES.contains(&stem.as_ref()) {
            wrong.push(format!("{} has a name that says nothing", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Prose is wrapped at 100 columns; a word may go a little beyond.
const WIDTH: usize = 104;

/// A word that is longer has no better place than where it is.
const LONGEST_WORD: usize = 80;

#[test]
fn prose_is_wrapped() {
    let mut wrong = Vec::new();
    for file in FOLDERS.iter().flat_map(|folder| all_files(folder)).chain(ROOT.map(PathBuf::from)) {
        // Each sentence of the generated reference is a line; what templates are tried on is no prose.
        if is_below(&file, "docs/reference") || is_below(&file, "template/tests/corpus") {
            continue;
        }
        let Some(prose) = Prose::of(&file) else { continue };
        let text = fs::read_to_string(&file).expect("a listed file can be read");
        for (number, line) in too_wide(&text, prose) {
            wrong.push(format!("{}:{number}: {line}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "wrap these at 100 columns:\n{}", wrong.join("\n"));
}

/// The folders with prose, and the files beside them.
const FOLDERS: [&str; 9] = ["src", "tests", "template", "e2e", "docs", "deploy", "examples", "policies", ".ci"];
const ROOT: [&str; 10] = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "Cargo.toml",
    "rustfmt.toml",
    "Makefile",
    "Containerfile",
    ".dockerignore",
    ".gitignore",
];

/// Where a file has prose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Prose {
    /// Everywhere but in its code.
    Page,
    /// In comments that begin with this.
    Comments(&'static str),
}

impl Prose {
    /// None for data.
    fn of(file: &Path) -> Option<Self> {
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("md") => Some(Prose::Page),
            Some("rs" | "go" | "mod") => Some(Prose::Comments("//")),
            // A shell script, the Makefile and the Containerfile have no extension.
            Some("yaml" | "hcl" | "toml") | None => Some(Prose::Comments("#")),
            Some(_) => None,
        }
    }
}

/// The lines of a page, or of the comments of a source, that are too wide, with their numbers.
/// Tables and code have their own width.
fn too_wide(text: &str, prose: Prose) -> Vec<(usize, &str)> {
    let mut is_code = false;
    let mut wide = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let start = line.trim_start();
        is_code ^= prose == Prose::Page && start.starts_with("```");
        let words = match prose {
            Prose::Page => start,
            Prose::Comments(begin) if start.starts_with(begin) => start.trim_start_matches(['/', '!', '#', ' ']),
            Prose::Comments(_) => continue,
        };
        let is_whole = is_code || words.starts_with('|');
        let has_long_word = words.split_whitespace().any(|word| word.chars().count() > LONGEST_WORD);
        if line.chars().count() > WIDTH && !is_whole && !has_long_word {
            wide.push((number, line));
        }
    }
    wide
}

#[test]
fn a_line_that_is_too_wide_is_found_in_comments_and_pages_and_not_in_code_and_tables() {
    let wide = "word ".repeat(22);
    let numbers = |text: &str, file: &str| {
        let prose = Prose::of(Path::new(file)).expect("it has prose");
        too_wide(text, prose).iter().map(|(number, _)| *number).collect::<Vec<_>>()
    };
    let source = format!("//! {wide}\nlet x = \"{wide}\";\n    /// {wide}\n// | {wide}|\n");
    assert_eq!(numbers(&source, "a.rs"), [1, 3]);
    let page = format!("{wide}\n```\n{wide}\n```\n| {wide}|\nsee {}\n- {wide}\n", "x".repeat(110));
    assert_eq!(numbers(&page, "a.md"), [1, 7]);
    let text = format!("# {wide}\nvalue: {wide}\n  ## {wide}\n");
    for file in ["a.yaml", "a.hcl", "a.toml", "Makefile", "a/program"] {
        assert_eq!(numbers(&text, file), [1, 3], "{file}");
    }
    assert_eq!(Prose::of(Path::new("a.json")), None);
}

#[test]
fn only_the_terminal_prints() {
    let macros = ["print", "println", "eprint", "eprintln", "dbg"].map(|name| format!("{name}!("));
    let is_free = |file: &Path| is_below(file, "src/bin") || is_below(file, "src/cli/terminal.rs");
    let mut wrong = Vec::new();
    for file in sources("src").into_iter().filter(|file| !is_free(file)) {
        let text = fs::read_to_string(&file).expect("a listed file can be read");
        let words =
            |line: &str| line.split(|c: char| c.is_whitespace() || c == '{').map(str::to_owned).collect::<Vec<_>>();
        if text.lines().flat_map(words).any(|word| macros.iter().any(|name| word.starts_with(name))) {
            wrong.push(format!("{} prints by itself: a reader that goes away would make it panic", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_broken_arrow_is_found_in_grouped_imports_and_in_paths() {
    let text = "use crate::{api, pull::{desired, plan}}; fn f() -> reqwest::Client { std::env::var(\"X\"); loop {} }";
    let named = names_in(&syn::parse_file(text).expect("it parses"));
    for path in ["crate::pull::plan", "reqwest::Client", "std::env::var"] {
        assert!(named.contains(path), "{path} was not found in {named:?}");
    }
}

fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = all_files(folder);
    found.retain(|file| file.extension().is_some_and(|extension| extension == "rs"));
    assert!(!found.is_empty(), "no source below {folder}");
    found
}

fn all_files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("an entry of a folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found
}

fn is_below(file: &Path, folder: &str) -> bool {
    file.starts_with(folder)
}

fn named_paths(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).expect("a listed file can be read");
    let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    names_in(&parsed)
}

fn names_in(file: &syn::File) -> BTreeSet<String> {
    let mut names = Names::default();
    names.visit_file(file);
    names.0
}

/// Every path that a file imports or writes out. Test modules are left out: they may use what they
/// test with.
#[derive(Default)]
struct Names(BTreeSet<String>);

impl<'ast> Visit<'ast> for Names {
    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let is_test = module.attrs.iter().any(|attribute| {
            attribute.path().is_ident("cfg") && attribute.parse_args::<syn::Ident>().is_ok_and(|what| what == "test")
        });
        if !is_test {
            syn::visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.import("", &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        if segments.len() > 1 {
            self.0.insert(segments.join("::"));
        }
        syn::visit::visit_path(self, path);
    }
}

impl Names {
    fn import(&mut self, prefix: &str, tree: &UseTree) {
        let join = |name: &syn::Ident| if prefix.is_empty() { name.to_string() } else { format!("{prefix}::{name}") };
        match tree {
            UseTree::Path(path) => self.import(&join(&path.ident), &path.tree),
            UseTree::Group(group) => group.items.iter().for_each(|item| self.import(prefix, item)),
            UseTree::Name(name) => drop(self.0.insert(join(&name.ident))),
            UseTree::Rename(rename) => drop(self.0.insert(join(&rename.ident))),
            UseTree::Glob(_) => drop(self.0.insert(prefix.to_owned())),
        }
    }
}
