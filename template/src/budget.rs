//! What one rendering may use (S13). A template that uses more ends with a clear error, before it
//! costs its neighbours anything.

use crate::error::Problem;
use crate::value::Map;

/// The limits of one rendering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Nodes that are evaluated, iterations, and elements that functions make or look at.
    pub steps: u64,
    /// Bytes of the result.
    pub output: usize,
    /// Bytes that all functions of one rendering make together.
    pub work: usize,
    /// Calls of templates within each other, and levels of nesting of a value.
    pub depth: usize,
}

impl Default for Budget {
    /// A Secret holds one MiB; nobody needs more than a few times that on the way.
    fn default() -> Self {
        Budget { steps: 1_000_000, output: 1 << 20, work: 16 << 20, depth: 100 }
    }
}

/// What is left of a [`Budget`].
pub struct Purse {
    limits: Budget,
    steps: u64,
    work: usize,
    depth: usize,
    changed: Vec<Map>,
}

/// A dict that a function changed may hold itself, and would never be wiped.
impl Drop for Purse {
    fn drop(&mut self) {
        self.changed.iter().for_each(Map::clear);
    }
}

impl Purse {
    /// All of it.
    pub fn of(limits: Budget) -> Self {
        Purse { limits, steps: 0, work: 0, depth: 0, changed: Vec::new() }
    }

    /// Remembers a dict that a function changes.
    pub fn change(&mut self, map: &Map) {
        self.changed.push(map.clone());
    }

    /// Takes steps.
    pub fn step(&mut self, count: usize) -> Result<(), Problem> {
        self.steps = self.steps.saturating_add(count as u64);
        match self.steps > self.limits.steps {
            true => Err(Problem::TooManySteps { limit: self.limits.steps }),
            false => Ok(()),
        }
    }

    /// Takes bytes that a function is about to make.
    pub fn make(&mut self, bytes: usize) -> Result<(), Problem> {
        self.work = self.work.saturating_add(bytes);
        match self.work > self.limits.work {
            true => Err(Problem::TooMuchWork { limit: self.limits.work }),
            false => Ok(()),
        }
    }

    /// Checks how large the result would be.
    pub fn output(&self, bytes: usize) -> Result<(), Problem> {
        match bytes > self.limits.output {
            true => Err(Problem::TooMuchOutput { limit: self.limits.output }),
            false => Ok(()),
        }
    }

    /// Goes one level down.
    pub fn descend(&mut self) -> Result<(), Problem> {
        self.depth += 1;
        match self.depth > self.limits.depth {
            true => Err(Problem::TooDeep { limit: self.limits.depth }),
            false => Ok(()),
        }
    }

    /// Comes back up.
    pub fn ascend(&mut self) {
        self.depth -= 1;
    }
}
