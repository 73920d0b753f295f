//! Renders a configuration file of 2 KiB beside Go's own engine. Both compile it once. They take
//! turns, so that what else the machine does weighs on both.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::Write;
use std::process::Stdio;
use std::time::Instant;

use anyhow::{Context, ensure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use waypost_template::{Budget, Data, Template};

use super::figure::Figure;
use crate::provision::{self, Program};

const TEMPLATE: &str = include_str!("../../oracle/bench/my.cnf.tmpl");
const VALUES: &str = include_str!("../../oracle/bench/values.json");

/// Turns of each engine. The median of the turns counts.
const TURNS: usize = 11;

/// What a turn took for each render, and the last one's output.
#[derive(Deserialize)]
struct Turn {
    nanoseconds: u64,
    output: String,
}

/// Measures so many renders in each turn.
pub(super) fn measure(renders: usize) -> anyhow::Result<Vec<Figure>> {
    let values: BTreeMap<String, String> = serde_json::from_str(VALUES).context("read the values")?;
    let oracle = provision::oracle()?;
    let (mut ours, mut go) = (Vec::new(), Vec::new());
    for _ in 0..TURNS {
        let (rendered, judged) = (of_ours(&values, renders)?, of_go(&oracle, &values, renders)?);
        ensure!(rendered.output == judged.output, "Go renders the template of the benchmark to other bytes");
        ours.push(rendered.nanoseconds);
        go.push(judged.nanoseconds);
    }
    let (ours, go) = (median(ours), median(go));
    Ok(vec![
        Figure::new("render of 2 KiB, beside Go's engine", ours, "ns").beside(go).at_most(go),
        Figure::new("render of 2 KiB, of Go's time", 100.0 * ours / go, "%").at_most(100.0),
    ])
}

fn of_ours(values: &BTreeMap<String, String>, renders: usize) -> anyhow::Result<Turn> {
    let template = Template::parse(TEMPLATE)?;
    let data = Data::of(values.iter().map(|(key, value)| (key.as_str(), value.as_bytes())));
    let start = Instant::now();
    for _ in 1..renders {
        black_box(template.render(&data, Budget::default())?);
    }
    let output = template.render(&data, Budget::default())?;
    let nanoseconds = start.elapsed().as_nanos() as u64 / renders as u64;
    Ok(Turn { nanoseconds, output: STANDARD.encode(&*output) })
}

fn of_go(oracle: &Program, values: &BTreeMap<String, String>, renders: usize) -> anyhow::Result<Turn> {
    let mut command = oracle.command();
    command.args(["-bench", &renders.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("start {oracle}"))?;
    let data: BTreeMap<&String, String> = values.iter().map(|(key, value)| (key, STANDARD.encode(value))).collect();
    let question = json!({ "template": STANDARD.encode(TEMPLATE), "data": data });
    let mut input = child.stdin.take().context("the oracle's input was asked for")?;
    input.write_all(question.to_string().as_bytes())?;
    drop(input);
    let answer = child.wait_with_output()?;
    ensure!(answer.status.success(), "{oracle} failed ({})", answer.status);
    Ok(serde_json::from_slice(&answer.stdout)?)
}

fn median(mut nanoseconds: Vec<u64>) -> f64 {
    nanoseconds.sort_unstable();
    nanoseconds[nanoseconds.len() / 2] as f64
}
