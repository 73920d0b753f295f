//! Many faults in one build: each function that has some chooses by an environment variable which
//! of its bodies it runs. A build takes longer than all tests, so that a run with one build is over
//! in minutes.

use std::{collections::BTreeMap, ops::Range, path::Path};

use super::{functions, list::Mutant};

/// Names the fault to bring back, by its place in the list, from 1.
pub(super) const VARIABLE: &str = "WAYPOST_FAULT";

/// Where what reads the variable is added.
pub(super) const ROOT: &str = "src/lib.rs";

/// What reads the variable, once.
pub(super) const READER: &str = r#"
/// The fault that is brought back now.
#[doc(hidden)]
pub fn fault_brought_back() -> usize {
    static FAULT: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *FAULT.get_or_init(|| std::env::var("WAYPOST_FAULT").ok().and_then(|fault| fault.parse().ok()).unwrap_or(0))
}
"#;

/// Where a function's body is, and its bodies with faults, each with its number.
type Faulty = (Range<usize>, Vec<(usize, String)>);

/// One file in which the faults can be chosen.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    /// The source.
    pub source: String,
    /// Of each fault in it, the lines of its own body, from 1.
    pub lines: BTreeMap<usize, Range<usize>>,
}

/// Whether a fault can be chosen at run time: it changes the inside of a function of the library
/// that is neither evaluated by the compiler nor returns a type that each body would have of its
/// own.
pub(super) fn can_choose(mutant: &Mutant, source: &str) -> bool {
    let is_of_the_library = mutant.file.starts_with("src")
        && mutant.file.extension().is_some_and(|extension| extension == "rs")
        && mutant.file != Path::new("src/main.rs")
        && !mutant.file.starts_with("src/bin");
    is_of_the_library && place(mutant, source).is_some()
}

/// The source of a file with all these faults of it, each under its number.
pub(super) fn between(source: &str, mutants: &BTreeMap<usize, &Mutant>) -> Chosen {
    let mut bodies: BTreeMap<usize, Faulty> = BTreeMap::new();
    for (&number, mutant) in mutants {
        let Some((body, change)) = place(mutant, source) else { continue };
        let changed =
            format!("{}{}{}", &source[body.start..change.start], mutant.instead.trim(), &source[change.end..body.end]);
        bodies.entry(body.start).or_insert_with(|| (body, Vec::new())).1.push((number, changed));
    }
    let mut chosen = Chosen { source: String::new(), lines: BTreeMap::new() };
    let mut copied = 0;
    for (body, faults) in bodies.into_values() {
        chosen.source.push_str(&source[copied..body.start]);
        chosen.source.push_str("\nmatch crate::fault_brought_back() {\n");
        for (number, changed) in faults {
            let first = chosen.source.lines().count() + 1;
            chosen.source.push_str(&format!("{number} => {{{changed}\n}}\n"));
            chosen.lines.insert(number, first..chosen.source.lines().count() + 1);
        }
        chosen.source.push_str(&format!("_ => {{{}\n}}\n}}\n", &source[body.clone()]));
        copied = body.end;
    }
    chosen.source.push_str(&source[copied..]);
    chosen
}

/// The body of the function that a fault is in, and what it changes there.
fn place(mutant: &Mutant, source: &str) -> Option<(Range<usize>, Range<usize>)> {
    let change = mutant.place(source).ok()?;
    let function = functions::outermost(source)
        .into_iter()
        .find(|function| function.body.start <= change.start && change.end <= function.body.end)?;
    let signature = &source[function.signature];
    let can_choose = !signature.starts_with("const ") && !signature.contains("-> impl ");
    can_choose.then_some((function.body, change))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mutant(file: &str, text: &str, instead: &str) -> Mutant {
        Mutant {
            fault: text.into(),
            file: file.into(),
            text: text.into(),
            instead: instead.into(),
            caught_by: vec!["a::test".into()],
            target: None,
        }
    }

    #[test]
    fn each_fault_has_a_body_of_its_own_and_the_lines_of_it_are_known() {
        let source = "const A: u8 = 1;\nfn f() -> u8 {\n    a() + b()\n}\nfn g() {}\n";
        let (one, two) = (mutant("src/a.rs", "a()", "c()"), mutant("src/a.rs", "b()", "d()"));
        let chosen = between(source, &BTreeMap::from([(3, &one), (7, &two)]));
        let lines: Vec<&str> = chosen.source.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let wanted = [
            "const A: u8 = 1;",
            "fn f() -> u8 {",
            "match crate::fault_brought_back() {",
            "3 => {",
            "c() + b()",
            "}",
            "7 => {",
            "a() + d()",
            "}",
            "_ => {",
            "a() + b()",
            "}",
            "}",
            "}",
            "fn g() {}",
        ];
        assert_eq!(lines, wanted);
        for (fault, text) in [(3, "c() + b()"), (7, "a() + d()")] {
            let line = chosen.source.lines().position(|line| line.trim() == text).unwrap() + 1;
            assert!(chosen.lines[&fault].contains(&line));
        }
    }

    #[test]
    fn what_is_in_no_function_of_the_library_is_tried_by_itself() {
        let source = "const A: u8 = 1;\nconst fn f() -> u8 { a() }\nfn g() -> impl Fn() { b() }\nfn h() { c() }\n";
        for (file, text, can) in [
            ("src/a.rs", "c()", true),
            ("src/a.rs", "u8 = 1", false),
            ("src/a.rs", "a()", false),
            ("src/a.rs", "b()", false),
            ("src/a.rs", "nowhere", false),
            ("src/main.rs", "c()", false),
            ("src/bin/b.rs", "c()", false),
            ("a.yaml", "c()", false),
        ] {
            assert_eq!(can_choose(&mutant(file, text, "x"), source), can, "{file} {text}");
        }
    }
}
