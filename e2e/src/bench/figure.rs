//! One measured number with its floor and its bound, and how all of them are shown.

use std::fmt::Write;

use serde::Serialize;

/// A number that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: &'static str,
    /// In `unit`.
    pub value: f64,
    /// `ms`, `s`, `MiB`, or what is counted.
    pub unit: &'static str,
    /// The same by the least raw requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub floor: Option<f64>,
    /// What it may be at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound: Option<f64>,
    /// Whether it is within the bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Verdict>,
}

/// Whether a figure is within its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Within the bound.
    Pass,
    /// Beyond it.
    Over,
}

impl Figure {
    /// A number with neither floor nor bound.
    pub(super) fn new(name: &'static str, value: f64, unit: &'static str) -> Self {
        Figure { name, value, unit, floor: None, bound: None, verdict: None }
    }

    pub(super) fn beside(mut self, floor: f64) -> Self {
        self.floor = Some(floor);
        self
    }

    pub(super) fn at_most(mut self, bound: f64) -> Self {
        self.bound = Some(bound);
        self.verdict = Some(if self.value <= bound { Verdict::Pass } else { Verdict::Over });
        self
    }
}

/// The table for a person.
pub fn table(figures: &[Figure]) -> String {
    let mut text = format!("{:<44} {:>10} {:>10} {:>10}  {:<6} {}\n", "figure", "value", "floor", "bound", "", "unit");
    for figure in figures {
        let number = |value: Option<f64>| value.map(|value| format!("{value:.1}")).unwrap_or_default();
        let verdict = match figure.verdict {
            Some(Verdict::Pass) => "PASS",
            Some(Verdict::Over) => "over",
            None => "",
        };
        let _infallible = writeln!(
            text,
            "{:<44} {:>10} {:>10} {:>10}  {:<6} {}",
            figure.name,
            number(Some(figure.value)),
            number(figure.floor),
            number(figure.bound),
            verdict,
            figure.unit
        );
    }
    text
}

/// The same for a machine: a list of figures.
///
/// # Errors
/// When a number cannot be written as JSON.
pub fn json(figures: &[Figure]) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(figures)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_judged_by_its_bound() {
        let figure = |value| Figure::new("x", value, "ms").beside(3.0).at_most(25.0);
        assert_eq!(figure(25.0).verdict, Some(Verdict::Pass));
        assert_eq!(figure(25.1).verdict, Some(Verdict::Over));
        let text = table(&[figure(25.1), Figure::new("y", 1.0, "reads")]);
        assert!(text.contains("over") && !text.contains("PASS"), "{text}");
    }
}
