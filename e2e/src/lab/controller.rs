//! The `waypost` binary as a process: started as in a cluster, watched through its admin server.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::ExitStatus,
    time::Duration,
};

use anyhow::Context;

use super::{
    http,
    ports::Port,
    server::{Server, Signal},
};
use crate::{provision::Program, wait};

/// How long a start may take: leader election included.
const READY: Duration = Duration::from_secs(60);

/// What to start. Without more, `waypost controller` with its admin servers on loopback ports.
#[derive(Debug, Clone)]
pub struct ControllerOptions {
    binary: PathBuf,
    kubeconfig: PathBuf,
    args: Vec<String>,
    env: Vec<(String, String)>,
}

impl ControllerOptions {
    /// `binary` is the program (`env!("CARGO_BIN_EXE_waypost")` in its own tests), `kubeconfig`
    /// says as whom it runs.
    pub fn new(binary: impl Into<PathBuf>, kubeconfig: impl Into<PathBuf>) -> Self {
        ControllerOptions { binary: binary.into(), kubeconfig: kubeconfig.into(), args: Vec::new(), env: Vec::new() }
    }

    /// One more argument after `waypost controller`.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// One more variable of the environment, which is empty but for what a program needs to run.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
}

/// A running controller. Dropping it kills it.
#[derive(Debug)]
pub struct Controller {
    server: Server,
    metrics_url: String,
    health_url: String,
    _ports: [Port; 2],
}

impl Controller {
    /// Starts the controller; it is not ready yet. Its log goes to a file in `folder`, which must
    /// be its own.
    pub(super) fn start(
        tied: &Program,
        options: &ControllerOptions,
        folder: &Path,
        ports_folder: &Path,
    ) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let ports = [Port::reserve(ports_folder)?, Port::reserve(ports_folder)?];
        let [metrics, health] = &ports;
        let mut command = Program::at(&options.binary).command();
        command
            .arg("controller")
            .args(["--metrics-addr", &metrics.address(), "--health-addr", &health.address()])
            .args(&options.args)
            .env("KUBECONFIG", &options.kubeconfig)
            .env("HOME", folder)
            .envs(options.env.iter().map(|(name, value)| (name, value)));
        let name = options.binary.file_name().and_then(OsStr::to_str).unwrap_or("waypost");
        Ok(Controller {
            server: Server::start(tied, name, &command, folder)?,
            metrics_url: format!("http://{}/metrics", metrics.address()),
            health_url: format!("http://{}", health.address()),
            _ports: ports,
        })
    }

    /// Waits until `/readyz` answers 200.
    ///
    /// # Errors
    /// When the controller has ended or is not ready after a minute; the end of its log is in the
    /// error.
    pub async fn wait_ready(&self) -> anyhow::Result<()> {
        let waited = wait::until("the controller to be ready", READY, async || match self.server.exited() {
            Some(_) => Ok(Some(())),
            None => Ok((self.health("readyz").await? == 200).then_some(())),
        });
        waited.await.with_context(|| format!("the log ends:\n{}", self.server.log_tail()))?;
        self.server.check_running()
    }

    /// The status of `livez` or `readyz`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn health(&self, check: &str) -> anyhow::Result<u16> {
        let answer = http::client(None, None)?.get(format!("{}/{check}", self.health_url)).send().await;
        Ok(answer.with_context(|| format!("ask {check}"))?.status().as_u16())
    }

    /// The text of `/metrics`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn metrics(&self) -> anyhow::Result<String> {
        let answer = http::client(None, None)?.get(&self.metrics_url).send().await.context("ask for metrics")?;
        answer.error_for_status().context("ask for metrics")?.text().await.context("read the metrics")
    }

    /// The sum of all series of a metric whose labels contain each of `labels` (as `name="value"`);
    /// 0 if there is none.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> anyhow::Result<f64> {
        Ok(sum_of(&self.metrics().await?, name, labels))
    }

    /// Resident memory in KiB.
    ///
    /// # Errors
    /// When the controller has ended.
    pub fn rss_kib(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).context("the controller has ended")?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
        line.trim().trim_end_matches(" kB").parse().context("VmRSS is a number")
    }

    /// The process id of the controller itself.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// The file of everything it prints.
    pub fn log_file(&self) -> &Path {
        self.server.log()
    }

    /// Everything it has printed.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn log(&self) -> anyhow::Result<String> {
        let path = self.server.log();
        fs::read_to_string(path).with_context(|| format!("read {}", path.display()))
    }

    /// Asks it to end and waits; the exit code is the controller's.
    ///
    /// # Errors
    /// When it has not ended after `deadline`.
    pub async fn sigterm(&self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        self.server.signal(Signal::Term)?;
        self.server.wait_exit(deadline).await
    }

    /// Waits until it ends by itself; the exit code is the controller's.
    ///
    /// # Errors
    /// When it has not ended after `deadline`.
    pub async fn ended(&self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        self.server.wait_exit(deadline).await
    }

    /// Kills it, as a node that fails does.
    ///
    /// # Errors
    /// When it has ended before.
    pub async fn kill(&self) -> anyhow::Result<()> {
        self.server.signal(Signal::Kill)?;
        self.server.wait_exit(READY).await.map(drop)
    }

    /// Suspends or resumes it.
    ///
    /// # Errors
    /// When it has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        self.server.signal(signal)
    }
}

/// Reads the Prometheus text format: `name{labels} value`, comments apart.
fn sum_of(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    let series = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let wanted = series.filter(|rest| rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label)));
    wanted.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_summed_over_its_matching_series() {
        let text =
            "# HELP a x\na{b=\"1\",c=\"x\"} 2\na{b=\"1\",c=\"y\"} 3\na{b=\"2\"} 10\na_total{b=\"1\"} 100\nplain 7\n";
        assert_eq!(sum_of(text, "a", &["b=\"1\""]), 5.0);
        assert_eq!(sum_of(text, "plain", &[]), 7.0);
        assert_eq!(sum_of(text, "absent", &[]), 0.0);
    }
}
