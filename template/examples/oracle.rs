//! Compares random templates with Go's own engine, and prints the agreement by function:
//! `oracle PROGRAM CASES SEED`, where PROGRAM is the built `e2e/oracle` (`make oracle CASES=…`).

#[path = "../tests/oracle/table.rs"]
mod table;

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use waypost_template::{Budget, Data, Template};

use self::table::{Count, Table, Verdict};

/// How often Go is asked again where answers differ: a loop over a small map starts at one of eight
/// places, so that what depends on it does not stay the same.
const AGAIN: usize = 100;

/// Go has no limits, and what takes it a second is left out.
const BUDGET: Budget = Budget { steps: 100_000_000, output: 1 << 24, work: 1 << 30, depth: 100 };

#[derive(Deserialize)]
struct Case {
    template: String,
    data: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Answer {
    output: Option<String>,
    #[serde(default)]
    message: String,
}

/// The oracle, which answers one line with one line.
struct Oracle {
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [program, cases, seed] = &arguments[..] else {
        eprintln!("oracle: it takes PROGRAM CASES SEED");
        return ExitCode::FAILURE;
    };
    match compare(program, cases, seed) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("oracle: {program}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all answers are the same.
fn compare(program: &str, cases: &str, seed: &str) -> io::Result<bool> {
    let (mut generator, questions) =
        start(Command::new(program).args(["-as-waypost", "-generate", cases, "-seed", seed]))?;
    let (mut answering, mut oracle) = Oracle::start(program)?;
    let mut table = Table::default();
    for line in questions.lines() {
        let line = line?;
        let case: Case = serde_json::from_str(&line)?;
        oracle.ask(&line)?;
        let ours = case.rendered();
        let theirs = oracle.answer()?;
        let verdict = if theirs.is(&ours) {
            Verdict::Agrees
        } else if oracle.changes_its_mind(&line, &theirs)? {
            Verdict::LeftOut
        } else {
            println!("{}", case.shown(&theirs, &ours));
            Verdict::Differs
        };
        table.add(&case.text(), verdict);
    }
    let is_whole = generator.wait()?.success();
    drop(oracle);
    answering.wait()?;
    println!("{table}");
    println!("seed {seed}; left out: Go's own answer changes; never called: {}", table.uncalled().join(" "));
    let Count { cases, agree, left_out } = table.all();
    Ok(is_whole && agree + left_out == cases)
}

fn start(command: &mut Command) -> io::Result<(Child, BufReader<ChildStdout>)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    Ok((child, BufReader::new(output)))
}

impl Case {
    fn text(&self) -> Vec<u8> {
        decoded(&self.template)
    }

    fn rendered(&self) -> Result<Vec<u8>, String> {
        let values: Vec<(&str, Vec<u8>)> =
            self.data.iter().map(|(key, value)| (key.as_str(), decoded(value))).collect();
        let data = Data::of(values.iter().map(|(key, value)| (*key, value.as_slice())));
        let template = Template::parse(self.text()).map_err(|fault| fault.to_string())?;
        let output = template.render(&data, BUDGET).map_err(|fault| fault.to_string())?;
        Ok(output.to_vec())
    }

    fn shown(&self, theirs: &Answer, ours: &Result<Vec<u8>, String>) -> String {
        let text = |bytes: &[u8]| format!("{:?}", String::from_utf8_lossy(bytes));
        let data: Vec<String> =
            self.data.iter().map(|(key, value)| format!("{key}={}", text(&decoded(value)))).collect();
        let wants = match &theirs.output {
            Some(output) => text(&decoded(output)),
            None => format!("an error: {}", theirs.message),
        };
        let gives = ours.as_ref().map_or_else(|fault| format!("an error: {fault}"), |output| text(output));
        let template = String::from_utf8_lossy(&decoded(&self.template)).into_owned();
        format!("{template}\n  where {}\n  wants {wants}\n  gives {gives}\n", data.join(" "))
    }
}

impl Answer {
    fn is(&self, ours: &Result<Vec<u8>, String>) -> bool {
        self.output.as_deref().map(decoded).as_ref() == ours.as_ref().ok()
    }
}

impl Oracle {
    fn start(program: &str) -> io::Result<(Child, Self)> {
        let (mut child, output) = start(Command::new(program).arg("-as-waypost").stdin(Stdio::piped()))?;
        let input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        Ok((child, Oracle { input, output }))
    }

    fn ask(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.input, "{line}")
    }

    fn answer(&mut self) -> io::Result<Answer> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        Ok(serde_json::from_str(&line)?)
    }

    fn changes_its_mind(&mut self, line: &str, first: &Answer) -> io::Result<bool> {
        for _ in 0..AGAIN {
            self.ask(line)?;
            if self.answer()?.output != first.output {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

fn decoded(base64: &str) -> Vec<u8> {
    STANDARD.decode(base64).unwrap_or_default()
}
