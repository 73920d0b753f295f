//! A template: parsed once, rendered often.

use crate::budget::{Budget, Purse};
use crate::error::Fault;
use crate::exec;
use crate::syntax::{self, Trees};
use crate::value::{Data, Output};

/// A parsed template.
#[derive(Clone, Debug)]
pub struct Template {
    text: Vec<u8>,
    trees: Trees,
}

impl Template {
    /// Parses a text. Every function that it names exists, and every variable is set before.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub fn parse(text: impl Into<Vec<u8>>) -> Result<Self, Fault> {
        let text = text.into();
        let trees = syntax::parse(&text)?;
        Ok(Template { text, trees })
    }

    /// Renders it from these values.
    ///
    /// # Errors
    /// A missing key, what a function says of its arguments, or a spent budget; without any value.
    pub fn render(&self, data: &Data, budget: Budget) -> Result<Output, Fault> {
        exec::render(&self.trees, &self.text, data.root(), Purse::of(budget))
    }
}
