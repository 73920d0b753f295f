//! A shell for commands as people type them.

use std::{env, ffi::OsString, fs, os::unix::fs::PermissionsExt, path::Path, process::Command};

use anyhow::Context;

use super::{VaultAccess, folder, product::repository};
use crate::provision::{Program, Programs};

/// A shell whose `kubectl` and `bao` point at these servers; its own files are in `home`.
pub(super) fn shell(
    programs: &Programs,
    kubeconfig: &Path,
    vault: &VaultAccess,
    home: &Path,
) -> anyhow::Result<Command> {
    scripts(&[("kubectl", &programs.kubectl), ("bao", &programs.bao)], home)?;
    let ca_file = home.join("ca.pem");
    let mut shell = Program::at("bash").command();
    shell.args(["-euo", "pipefail"]).current_dir(repository());
    shell.env("PATH", search_path(home)?).env("HOME", home).env("KUBECONFIG", kubeconfig);
    // `bao` may be Vault's binary.
    for brand in ["BAO", "VAULT"] {
        shell.env(format!("{brand}_ADDR"), &vault.address).env(format!("{brand}_TOKEN"), &vault.token);
        if let Some(pem) = &vault.ca_pem {
            folder::write_private(&ca_file, pem)?;
            shell.env(format!("{brand}_CACERT"), &ca_file);
        }
    }
    Ok(shell)
}

/// Writes a script for each program, by the name that people type.
pub(super) fn scripts(programs: &[(&str, &Program)], folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    for (name, program) in programs {
        let script = folder.join(name);
        fs::write(&script, program.script()).with_context(|| format!("write {}", script.display()))?;
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).context("make a script executable")?;
    }
    Ok(())
}

/// The scripts come first.
fn search_path(scripts: &Path) -> anyhow::Result<OsString> {
    let ambient = env::var_os("PATH").unwrap_or_default();
    let folders = std::iter::once(scripts.to_owned()).chain(env::split_paths(&ambient));
    env::join_paths(folders).context("put the scripts on PATH")
}
