//! The demo's output: numbered steps, explanations, commands and their output.

use std::time::{Duration, Instant};

/// Prints to standard output, and knows how long the demo has taken.
pub(super) struct Narrator {
    started: Instant,
    steps: u32,
}

impl Narrator {
    pub(super) fn begin() -> Self {
        Narrator { started: Instant::now(), steps: 0 }
    }

    /// The headline of the next step.
    pub(super) fn step(&mut self, text: &str) {
        self.steps += 1;
        println!("\n== {}. {text}", self.steps);
    }

    /// A line of explanation.
    pub(super) fn say(&self, text: &str) {
        println!("   {text}");
    }

    /// A command as one would type it.
    pub(super) fn command(&self, program: &str, args: &[&str]) {
        println!("$ {program} {}", args.join(" "));
    }

    /// What a command printed.
    pub(super) fn output(&self, text: &str) {
        for line in text.trim_end().lines() {
            println!("{line}");
        }
    }

    /// Since the beginning.
    pub(super) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}
