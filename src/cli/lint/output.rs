//! Prints findings: as text with their line, as JSON, or as SARIF.

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde_json::{Value, json};

use crate::domain::convention::{RULES, Severity};
use crate::manifest::Located;

/// The output format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people.
    Text,
    /// For scripts.
    Json,
    /// For code review tools: SARIF 2.1.0.
    Sarif,
}

/// Whether text has colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    Terminal,
    None,
}

/// The findings in a format, ready to print.
pub fn render(found: &[Located], format: Format, colour: Colour) -> String {
    match format {
        Format::Text => found.iter().map(|located| text(located, colour) + "\n\n").collect(),
        Format::Json => pretty(&json!({
            "findings": found.iter().map(finding).collect::<Vec<_>>(),
            "errors": count(found, Severity::Error),
            "warnings": count(found, Severity::Warning),
        })),
        Format::Sarif => pretty(&sarif(found)),
    }
}

/// How many findings are of this severity.
pub fn count(found: &[Located], severity: Severity) -> usize {
    found.iter().filter(|l| l.problem.severity == severity).count()
}

fn text(located: &Located, colour: Colour) -> String {
    let renderer = match colour {
        Colour::Terminal => Renderer::styled(),
        Colour::None => Renderer::plain(),
    };
    let problem = &located.problem;
    let level = match problem.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let line = located.excerpt.as_deref().unwrap_or_default();
    let byte = |column: usize| line.char_indices().nth(column).map_or(line.len(), |(byte, _)| byte);
    let start = byte(located.column - 1);
    let end = byte(located.column - 1 + located.width).max(start);
    let title = level.primary_title(problem.message.as_str()).id(problem.rule.as_str());
    let mut group = match located.excerpt {
        Some(_) => title.element(
            Snippet::source(line)
                .path(located.file.as_str())
                .line_start(located.line)
                .annotation(AnnotationKind::Primary.span(start..end)),
        ),
        None => title.element(
            annotate_snippets::Origin::path(located.file.as_str()).line(located.line).char_column(located.column),
        ),
    };
    if let Some(fix) = &problem.fix {
        group = group.element(Level::HELP.message(fix.as_str()));
    }
    renderer.render(&[group])
}

fn finding(located: &Located) -> Value {
    let problem = &located.problem;
    json!({
        "file": located.file,
        "line": located.line,
        "column": located.column,
        "endColumn": located.column + located.width,
        "rule": problem.rule,
        "severity": problem.severity.to_string(),
        "message": problem.message,
        "fix": problem.fix,
    })
}

fn sarif(found: &[Located]) -> Value {
    let rules: Vec<Value> = RULES
        .iter()
        .map(|rule| {
            json!({
                "id": rule.id.to_string(),
                "shortDescription": {"text": rule.title},
                "fullDescription": {"text": rule.says},
                "help": {"text": rule.fix},
            })
        })
        .collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "waypost lint",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": found.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn result(located: &Located) -> Value {
    let problem = &located.problem;
    let message = match &problem.fix {
        Some(fix) => format!("{} ({fix})", problem.message),
        None => problem.message.clone(),
    };
    json!({
        "ruleId": problem.rule,
        "level": problem.severity.to_string(),
        "message": {"text": message},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": located.file},
            "region": {
                "startLine": located.line,
                "startColumn": located.column,
                "endColumn": located.column + located.width,
            },
        }}],
    })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
