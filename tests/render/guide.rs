//! docs/guides/templating.md: every recipe is rendered, and makes what the page says.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::Folder;

/// Stands on the page for what differs from run to run.
const ANYTHING: &str = "…";

/// The blocks of the page in this language.
fn blocks(page: &str, language: &str) -> Vec<String> {
    let fenced = page.split("\n```").skip(1).step_by(2);
    fenced
        .filter_map(|block| block.strip_prefix(language)?.strip_prefix('\n').map(|text| format!("{text}\n")))
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Each file of the page, and the certificate that its reader makes.
fn followed(page: &str, test: &str) -> Folder {
    let folder = Folder::new(test, &[]);
    for block in blocks(page, "yaml") {
        let name =
            block.lines().next().and_then(|line| line.strip_prefix("# ")).expect("a manifest begins with its file");
        fs::write(folder.0.join(name), &block).unwrap();
    }
    let indented = |file: &str| {
        let pem = fs::read_to_string(root().join("template/tests/corpus/pem").join(file)).unwrap();
        pem.lines().map(|line| format!("    {line}\n")).collect::<String>()
    };
    let tls = format!(
        "platform-data/shop/tls:\n  ca.crt: |\n{}  tls.crt: |\n{}  tls.key: |\n{}  password: changeit\n",
        indented("ec-root.crt"),
        indented("ec-chain.crt"),
        indented("ec-pkcs8.key")
    );
    fs::write(folder.0.join("tls.yaml"), tls).unwrap();
    folder
}

/// Whether a line is as the page has it.
fn is_as_said(line: &str, said: &str) -> bool {
    match said.split_once(ANYTHING) {
        Some((before, after)) => line.starts_with(before) && line.ends_with(after),
        None => line == said,
    }
}

#[test]
fn every_recipe_makes_what_the_page_says() {
    let page = fs::read_to_string(root().join("docs/guides/templating.md")).unwrap();
    let folder = followed(&page, "guide-made");
    let runs = blocks(&page, "console");
    assert!(runs.len() > 8, "only {} recipes were found", runs.len());
    for run in runs {
        let (command, said) = run.split_once('\n').unwrap();
        let arguments = command.strip_prefix("$ waypost render ").expect("each recipe is rendered");
        let mut arguments: Vec<&str> = arguments.split(' ').collect();
        if arguments.contains(&"--show-values") {
            arguments.push("--force");
        }
        let ran = folder.run(&arguments);
        let printed = format!("{}{}", ran.out, ran.said);
        let is_whole = printed.lines().count() == said.lines().count();
        let is_said = is_whole && printed.lines().zip(said.lines()).all(|(line, said)| is_as_said(line, said));
        assert!(is_said, "{command}\nprints\n{printed}\nand the page says\n{said}");
    }
}

#[test]
fn every_recipe_is_one_that_lint_takes() {
    let page = fs::read_to_string(root().join("docs/guides/templating.md")).unwrap();
    let folder = followed(&page, "guide-lint");
    let mut manifests = 0;
    for block in blocks(&page, "yaml").iter().filter(|block| block.contains("kind: ExternalSecret")) {
        let name = block.lines().next().unwrap().trim_start_matches("# ");
        let mut lint = Command::new(env!("CARGO_BIN_EXE_waypost"));
        let output = lint.arg("lint").arg(name).current_dir(&folder.0).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let is_trap = name.starts_with("trap-");
        assert_eq!(output.status.code(), Some(i32::from(is_trap)), "{name}: {said}");
        manifests += 1;
    }
    assert!(manifests > 8);
}
