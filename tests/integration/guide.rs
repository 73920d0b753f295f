//! Follows a guide of the documentation exactly: runs the commands of its sections in a shell of
//! the lab.

use std::fs;

use anyhow::{Context, ensure};
use waypost_e2e::lab::{Lab, repository};
use waypost_e2e::wait;

use crate::stage::LATER;

/// [`LATER`] as the guides state it.
const STATED: &str = "--timeout=60s";

/// A page with commands.
pub struct Guide<'a> {
    pub lab: &'a Lab,
    /// Below `docs/guides`.
    pub page: &'static str,
    /// The ClusterSecretStore that stands for the page's `vault-backend`.
    pub store: &'a str,
}

impl Guide<'_> {
    /// Runs the commands of a section as they stand there, with as much time as this machine needs.
    pub fn follow(&self, section: &str) -> anyhow::Result<()> {
        let page = fs::read_to_string(repository().join("docs/guides").join(self.page))?;
        let (_, rest) = page.split_once(&format!("\n## {section}\n")).context("the guide has no such section")?;
        let text = rest.split("\n## ").next().unwrap_or_default();
        let blocks: Vec<&str> =
            text.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("sh\n")).collect();
        ensure!(!blocks.is_empty(), "{section} has no commands");
        for block in blocks {
            let commands = block.replace("vault-backend", self.store).replace(STATED, &wait::kubectl_timeout(LATER));
            let output = self.lab.shell()?.args(["-c", &commands]).output()?;
            ensure!(output.status.success(), "{section}: {commands}\n{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(())
    }
}
