//! How GitOps tools read an object, by their own code: the kstatus library, and the checks that
//! Argo CD brings.

use std::{io::Write, process::Stdio, thread};

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::provision;

/// What a tool says of an object.
#[derive(Debug, Clone, Deserialize)]
pub struct Verdict {
    /// One word of the tool.
    pub status: String,
    /// Why, for people.
    pub message: String,
}

/// What the tools say of one object.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdicts {
    /// kstatus, by which Flux waits: `Current`, `InProgress`, `Failed` or `Terminating`.
    pub kstatus: Verdict,
    /// Argo CD: `Healthy`, `Progressing`, `Degraded`; `None` for a kind that it brings no check
    /// for. An object that is being deleted it takes for `Progressing` without asking the check.
    pub argo_cd: Option<Verdict>,
}

/// Judges objects, as JSON with their kind, in their order. The judges are built on first use.
///
/// # Errors
/// When the judges cannot be built, or one of them fails on an object.
pub fn judge(objects: &[Value]) -> anyhow::Result<Vec<Verdicts>> {
    let mut judges = provision::health()?.command();
    let mut child = judges
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("start the judges of health")?;
    let mut input = child.stdin.take().context("the judges read their input")?;
    let text: String = objects.iter().map(|object| format!("{object}\n")).collect();
    // Beside the reader: both pipes are short.
    let writer = thread::spawn(move || input.write_all(text.as_bytes()));
    let output = child.wait_with_output().context("wait for the judges of health")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    writer.join().ok().context("the writer does not panic")?.context("write to the judges of health")?;
    let verdicts = serde_json::Deserializer::from_slice(&output.stdout).into_iter();
    let verdicts: Vec<Verdicts> = verdicts.collect::<Result<_, _>>().context("read the verdicts")?;
    ensure!(verdicts.len() == objects.len(), "{} verdicts on {} objects", verdicts.len(), objects.len());
    Ok(verdicts)
}
