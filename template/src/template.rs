//! A template: parsed once, rendered often.

use std::collections::BTreeSet;

use crate::budget::{Budget, Purse};
use crate::calls;
use crate::check::{self, Flaw};
use crate::error::{Fault, Position};
use crate::exec;
use crate::piece::{self, Piece};
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

    /// The pieces of a template that only puts fields, or entries of them, between texts.
    ///
    /// # Errors
    /// The position of the first thing that is neither.
    pub fn pieces(&self) -> Result<Vec<Piece>, Position> {
        piece::of(&self.trees, &self.text)
    }

    /// The functions that it calls somewhere.
    pub fn calls(&self) -> BTreeSet<&str> {
        calls::of(&self.trees)
    }

    /// What is wrong with it whatever its values are, if these are the `keys` of its data; without
    /// them, any key may be there.
    pub fn flaws(&self, keys: Option<&BTreeSet<String>>) -> Vec<Flaw> {
        check::flaws(&self.trees, &self.text, keys)
    }

    /// Renders it from these values.
    ///
    /// # Errors
    /// A missing key, what a function says of its arguments, or a spent budget; without any value.
    pub fn render(&self, data: &Data, budget: Budget) -> Result<Output, Fault> {
        exec::render(&self.trees, &self.text, data.root(), Purse::of(budget))
    }
}
