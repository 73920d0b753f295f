//! The programs a lab starts: found where the user says, or built and installed into the user's
//! cache once per machine.

mod cache;
mod go;
mod openbao;

use std::{
    env,
    ffi::{OsStr, OsString},
    fmt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;

pub use cache::cache_folder;

/// A program and the arguments that come before all others.
#[derive(Debug, Clone)]
pub struct Program {
    path: PathBuf,
    first_args: Vec<OsString>,
}

impl Program {
    /// A program that needs no arguments of its own.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Program { path: path.into(), first_args: Vec::new() }
    }

    /// What a shell runs to start the program with the arguments that it was given itself.
    pub fn script(&self) -> String {
        let words = std::iter::once(self.path.as_os_str()).chain(self.first_args.iter().map(OsString::as_os_str));
        let quoted: Vec<_> = words.map(quoted).collect();
        format!("#!/bin/sh\nexec {} \"$@\"\n", quoted.join(" "))
    }

    /// A command that starts the program in an environment without anything that could point it at
    /// somebody's real cluster.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command.args(&self.first_args);
        clean_environment(&mut command);
        command
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.path.display())?;
        self.first_args.iter().try_for_each(|arg| write!(f, " {}", arg.display()))
    }
}

/// A word as a shell takes it literally.
pub(crate) fn quoted(word: impl AsRef<OsStr>) -> String {
    format!("'{}'", word.as_ref().to_string_lossy().replace('\'', r"'\''"))
}

/// Everything a lab starts.
#[derive(Debug, Clone)]
pub struct Programs {
    pub etcd: Program,
    pub kube_apiserver: Program,
    pub kube_controller_manager: Program,
    pub kubectl: Program,
    /// `bao`, or `vault` if the user chose it.
    pub bao: Program,
    /// Ends a server when the process that started it ends.
    pub tied: Program,
}

impl Programs {
    /// Finds all programs, and builds and installs what is missing, with progress on standard
    /// error.
    ///
    /// `KUBEBUILDER_ASSETS` names a folder whose `etcd`, `kube-apiserver`,
    /// `kube-controller-manager` and `kubectl` are used; `WAYPOST_BAO` names another OpenBao or
    /// Vault binary, by its path or as `bao` or `vault` of PATH.
    ///
    /// # Errors
    /// What could not be built or found, with what to install.
    pub fn provision() -> anyhow::Result<Self> {
        let tied = Program::at(go::TIED.provision()?);
        let bao = Program::at(openbao::provision(env::var_os("WAYPOST_BAO"))?);
        let assets = env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
        let named = |name: &str| kubernetes_program(assets.as_deref(), name);
        Ok(Programs {
            etcd: named("etcd")?,
            kube_apiserver: named("kube-apiserver")?,
            kube_controller_manager: named("kube-controller-manager")?,
            kubectl: named("kubectl")?,
            bao,
            tied,
        })
    }
}

/// Helm of the version our chart is tested with, built on first use.
///
/// # Errors
/// What the build lacks.
pub fn helm() -> anyhow::Result<Program> {
    go::HELM.provision().map(Program::at)
}

/// The judges of [`crate::health`], built on first use.
///
/// # Errors
/// What the build lacks.
pub fn health() -> anyhow::Result<Program> {
    go::HEALTH.provision().map(Program::at)
}

/// Go's own engine of templates, built on first use.
///
/// # Errors
/// What the build lacks.
pub fn oracle() -> anyhow::Result<Program> {
    go::ORACLE.provision().map(Program::at)
}

fn kubernetes_program(assets: Option<&Path>, name: &str) -> anyhow::Result<Program> {
    if let Some(path) = assets.map(|folder| folder.join(name)).filter(|path| path.is_file()) {
        return Ok(Program::at(path));
    }
    let path = go::CONTROL_PLANE.provision().with_context(|| format!("provide {name}"))?;
    Ok(Program { path, first_args: vec![name.into()] })
}

/// Leaves only what a program needs to run at all: an ambient `KUBECONFIG`, `VAULT_*`, `BAO_*`,
/// proxy or `OTEL_*` must not reach it.
fn clean_environment(command: &mut Command) {
    command.env_clear();
    for name in ["PATH", "TMPDIR", "LANG", "RUST_BACKTRACE", "LLVM_PROFILE_FILE"] {
        if let Some(value) = env::var_os(name) {
            command.env(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_of_the_assets_folder_is_used_as_it_is() {
        let folder = env::temp_dir().join(format!("waypost-assets-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("etcd"), "").unwrap();
        let program = kubernetes_program(Some(&folder), "etcd").unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(program.path, folder.join("etcd"));
        assert!(program.first_args.is_empty());
    }

    #[test]
    fn a_script_starts_the_program_whatever_its_path_and_arguments() {
        let program = Program { path: "printf".into(), first_args: vec!["%s|".into(), "it's one".into()] };
        let output = Command::new("sh").args(["-c", &program.script(), "sh", "two words"]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "it's one|two words|");
    }

    #[test]
    fn ambient_addresses_and_credentials_do_not_reach_a_program() {
        let command = Program::at("true").command();
        let passed: Vec<_> = command.get_envs().filter(|(_, value)| value.is_some()).map(|(name, _)| name).collect();
        assert!(passed.iter().any(|name| *name == "PATH"));
        assert!(passed.iter().all(|name| {
            ["PATH", "TMPDIR", "LANG", "RUST_BACKTRACE", "LLVM_PROFILE_FILE"].iter().any(|allowed| name == allowed)
        }));
    }
}
