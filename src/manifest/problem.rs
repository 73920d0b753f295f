//! A problem in a manifest, and its position.

use std::fmt;
use std::ops::Range;

use super::source::Source;
use crate::domain::convention::{Finding, Severity};

/// A problem in a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// A rule of the convention (`V5`), a fact of Kubernetes (`K1`), or a kind of mistake
    /// (`unknown-field`).
    pub rule: String,
    pub severity: Severity,
    /// The bytes in the file.
    pub span: Range<usize>,
    pub message: String,
    pub fix: Option<String>,
}

impl Problem {
    pub fn error(rule: &str, span: Range<usize>, message: String, fix: Option<String>) -> Self {
        Self { rule: rule.to_owned(), severity: Severity::Error, span, message, fix }
    }

    /// A finding of the convention, with its span.
    pub fn of(finding: Finding, span: Range<usize>) -> Self {
        Self {
            rule: finding.rule.to_string(),
            severity: finding.severity,
            span,
            message: finding.message,
            fix: finding.fix,
        }
    }
}

/// A problem with its position in a file, in lines and columns from 1.
#[derive(Clone, Debug)]
pub struct Located {
    pub file: String,
    pub line: usize,
    pub column: usize,
    /// The line itself, unless it may have a secret value.
    pub excerpt: Option<String>,
    /// The width of the problem in the line, in characters from `column`; at least 1.
    pub width: usize,
    pub problem: Problem,
}

impl Located {
    /// Finds the line and column of a problem of a file.
    pub fn of(source: &Source, problem: Problem) -> Self {
        Self::beside(&[], source, problem)
    }

    /// The same, without an excerpt of a line that has any of these `secret` bytes.
    pub fn beside(secret: &[Range<usize>], source: &Source, problem: Problem) -> Self {
        let (file, text) = (&source.name, source.text.as_str());
        let start = floor(text, problem.span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let rest = &text[line_start..];
        let line_text = rest.split(['\n', '\r']).next().unwrap_or_default();
        let line_end = line_start + line_text.len();
        let end = floor(text, problem.span.end).min(line_end);
        let is_shown =
            problem.rule != "syntax" && secret.iter().all(|span| span.end <= line_start || line_end <= span.start);
        Self {
            file: file.clone(),
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            excerpt: is_shown.then(|| line_text.to_owned()),
            width: text.get(start..end).map_or(0, |s| s.trim_end().chars().count()).max(1),
            problem,
        }
    }
}

impl fmt::Display for Located {
    /// One line, in the format of compilers.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.problem.message)?;
        match &self.problem.fix {
            Some(fix) => write!(f, ": {fix}"),
            None => Ok(()),
        }
    }
}

fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}
