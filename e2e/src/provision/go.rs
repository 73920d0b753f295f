//! Programs built from Go modules, keyed by everything that decides their bytes.

use std::{
    collections::VecDeque,
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use sha2::{Digest, Sha256};

use super::cache;

/// One program of a Go module in a folder of this crate.
pub(super) struct GoProgram {
    name: &'static str,
    /// The folder of the module, in this crate.
    module: &'static str,
    package: &'static str,
    link_flags: &'static str,
    /// What a person reads while it is built.
    hint: &'static str,
}

/// etcd, kube-apiserver, kube-controller-manager and kubectl.
pub(super) const CONTROL_PLANE: GoProgram = GoProgram {
    name: "controlplane",
    module: "controlplane",
    package: ".",
    // Clients parse the version that the server and kubectl report, and the modules themselves
    // carry none.
    link_flags: "-s -w \
        -X k8s.io/component-base/version.gitVersion=v1.36.3 \
        -X k8s.io/component-base/version.gitMajor=1 \
        -X k8s.io/component-base/version.gitMinor=36 \
        -X k8s.io/component-base/version.gitCommit=v1.36.3 \
        -X k8s.io/component-base/version.gitTreeState=clean \
        -X k8s.io/client-go/pkg/version.gitVersion=v1.36.3 \
        -X k8s.io/client-go/pkg/version.gitMajor=1 \
        -X k8s.io/client-go/pkg/version.gitMinor=36",
    hint: "about six minutes on two cores, once per machine",
};

/// The supervisor of every server.
pub(super) const TIED: GoProgram =
    GoProgram { name: "tied", module: "tied", package: ".", link_flags: "-s -w", hint: "some seconds" };

/// Helm, for tests of the chart.
pub(super) const HELM: GoProgram = GoProgram {
    name: "helm",
    module: "helm",
    package: "helm.sh/helm/v4/cmd/helm",
    link_flags: "-s -w",
    hint: "about two minutes on two cores, once per machine",
};

/// What GitOps tools read objects with, for tests of our status.
pub(super) const HEALTH: GoProgram = GoProgram {
    name: "health",
    module: "health",
    package: ".",
    link_flags: "-s -w",
    hint: "about half a minute on two cores, once per machine",
};

/// What judges our templates.
pub(super) const ORACLE: GoProgram = GoProgram {
    name: "oracle",
    module: "oracle",
    package: ".",
    link_flags: "-s -w",
    hint: "about a minute on two cores, once per machine",
};

/// How often progress is reported.
const REPORT: Duration = Duration::from_secs(5);

impl GoProgram {
    /// The path of the built program; builds it if this machine has not yet.
    pub(super) fn provision(&self) -> anyhow::Result<PathBuf> {
        let module = Path::new(env!("CARGO_MANIFEST_DIR")).join(self.module);
        let toolchain = toolchain()?;
        let key = self.key(&module, &toolchain)?;
        cache::entry(&format!("{}-{key}", self.name), |partial| self.build(&module, partial))
    }

    /// A digest of the sources, the module's requirements, the link flags, and the toolchain with
    /// its platform.
    fn key(&self, module: &Path, toolchain: &str) -> anyhow::Result<String> {
        let mut digest = Sha256::new();
        for part in [self.package, self.link_flags, toolchain] {
            digest.update(part.as_bytes());
            digest.update([0]);
        }
        for file in source_files(module)? {
            let content = fs::read(&file).with_context(|| format!("read {}", file.display()))?;
            digest.update(Sha256::digest(&content));
        }
        Ok(digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect())
    }

    fn build(&self, module: &Path, output: &Path) -> anyhow::Result<()> {
        eprintln!("{}: building ({})", self.name, self.hint);
        let mut child = Command::new("go")
            .args(["build", "-v", "-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", self.link_flags, "-o"])
            .arg(output)
            .arg(self.package)
            .current_dir(module)
            .env("CGO_ENABLED", "0")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("start go: install Go 1.26 or newer")?;
        let stderr = child.stderr.take().context("the build's output was asked for")?;
        let last_lines = self.report_progress(BufReader::new(stderr).lines().map_while(Result::ok));
        let status = child.wait().context("wait for go build")?;
        if !status.success() {
            let lines = Vec::from(last_lines).join("\n");
            bail!("go build of {} failed ({status}); its last lines:\n{lines}", module.display());
        }
        Ok(())
    }

    /// Counts what `go build -v` prints (a line for each module fetched and each package compiled),
    /// and keeps the last lines.
    fn report_progress(&self, lines: impl Iterator<Item = String>) -> VecDeque<String> {
        let (start, mut reported) = (Instant::now(), Instant::now());
        let (mut fetched, mut compiled) = (0_u32, 0_u32);
        let mut last = VecDeque::new();
        for line in lines {
            match line.starts_with("go: downloading") {
                true => fetched += 1,
                false => compiled += 1,
            }
            last.push_back(line);
            if last.len() > 20 {
                last.pop_front();
            }
            if reported.elapsed() >= REPORT {
                reported = Instant::now();
                let seconds = start.elapsed().as_secs();
                eprintln!("{}: {seconds} s, {fetched} modules fetched, {compiled} packages compiled", self.name);
            }
        }
        eprintln!("{}: done after {} s", self.name, start.elapsed().as_secs());
        last
    }
}

/// The toolchain's version and the platform it builds for, as `go env` prints them.
fn toolchain() -> anyhow::Result<String> {
    let output = Command::new("go")
        .args(["env", "GOVERSION", "GOOS", "GOARCH"])
        .output()
        .context("start go: install Go 1.26 or newer")?;
    ensure!(output.status.success(), "go env failed: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).context("go env printed something that is not text")
}

/// The module's Go files and its go.mod and go.sum, in one order on every machine.
fn source_files(module: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(module).with_context(|| format!("read {}", module.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| ["go", "mod", "sum"].iter().any(|wanted| extension == *wanted)) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_follows_flags_toolchain_and_sources() {
        let module = std::env::temp_dir().join(format!("waypost-go-{}", std::process::id()));
        fs::create_dir_all(&module).unwrap();
        fs::write(module.join("main.go"), "package main").unwrap();
        let program = |link_flags| GoProgram { name: "x", module: "x", package: ".", link_flags, hint: "" };
        let first = program("-s").key(&module, "go1.26 linux amd64").unwrap();
        let others = [
            program("-w").key(&module, "go1.26 linux amd64").unwrap(),
            program("-s").key(&module, "go1.27 linux amd64").unwrap(),
            {
                fs::write(module.join("go.sum"), "x").unwrap();
                program("-s").key(&module, "go1.26 linux amd64").unwrap()
            },
        ];
        fs::remove_dir_all(&module).unwrap();
        assert!(others.iter().all(|other| *other != first), "{first} is among {others:?}");
    }
}
