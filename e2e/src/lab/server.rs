//! One running server, tied to this process: when this process ends, however it ends, the server is
//! killed.

use std::{
    fs::{self, File},
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    time::Duration,
};

use anyhow::{Context, bail};
use parking_lot::{Mutex, MutexGuard};

use crate::{provision::Program, wait};

/// How long a server may take to report its process id, and to vanish after it was killed.
const DEADLINE: Duration = Duration::from_secs(20);

/// What a server can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// End in order.
    Term,
    /// End now.
    Kill,
    /// Stand still, as a process does whose machine is overloaded or suspended.
    Stop,
    /// Go on after [`Signal::Stop`].
    Cont,
    Hup,
}

impl Signal {
    fn line(self) -> &'static str {
        match self {
            Signal::Term => "TERM\n",
            Signal::Kill => "KILL\n",
            Signal::Stop => "STOP\n",
            Signal::Cont => "CONT\n",
            Signal::Hup => "HUP\n",
        }
    }
}

/// A running server with its log file. Dropping it kills it.
#[derive(Debug)]
pub struct Server {
    name: String,
    pid: u32,
    log: PathBuf,
    supervisor: Mutex<Supervisor>,
}

#[derive(Debug)]
struct Supervisor {
    child: Child,
    /// The server lives as long as this end is open.
    orders: Option<ChildStdin>,
}

impl Server {
    /// Starts `command` under `tied`; output is appended to `NAME.log` in `folder`.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(tied: &Program, name: &str, command: &Command, folder: &Path) -> anyhow::Result<Self> {
        let log = folder.join(format!("{name}.log"));
        let pid_file = folder.join(format!("{name}.pid"));
        let output =
            File::options().create(true).append(true).open(&log).with_context(|| format!("open {}", log.display()))?;
        match fs::remove_file(&pid_file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("remove {}", pid_file.display()));
            }
            Ok(()) | Err(_) => {}
        }
        let mut supervised = tied.command();
        supervised.arg("-pid").arg(&pid_file).arg(command.get_program()).args(command.get_args());
        for (variable, value) in command.get_envs() {
            match value {
                Some(value) => supervised.env(variable, value),
                None => supervised.env_remove(variable),
            };
        }
        if let Some(directory) = command.get_current_dir() {
            supervised.current_dir(directory);
        }
        // A group of its own: ^C at a terminal goes to this process alone, whose end then ends the
        // servers.
        supervised.process_group(0).stdin(Stdio::piped()).stdout(output.try_clone()?).stderr(output);
        let mut child = supervised.spawn().with_context(|| format!("start {name} under {tied}"))?;
        let orders = child.stdin.take();
        let mut server =
            Server { name: name.to_owned(), pid: 0, log, supervisor: Mutex::new(Supervisor { child, orders }) };
        server.pid = server.reported_pid(&pid_file)?;
        Ok(server)
    }

    fn reported_pid(&self, pid_file: &Path) -> anyhow::Result<u32> {
        let pid = wait::until_blocking(&format!("{} to start", self.name), DEADLINE, || {
            match fs::read_to_string(pid_file) {
                Ok(text) => text.trim().parse().ok().map(Some),
                Err(_) => self.exited().map(|_| None),
            }
        })?;
        pid.with_context(|| format!("{} did not start; its log says:\n{}", self.name, self.log_tail()))
    }

    /// The server's own process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The file that receives what the server prints.
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last 30 lines of the log.
    pub fn log_tail(&self) -> String {
        let text = fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the server has ended.
    pub fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let mut supervisor = self.supervisor();
        let orders = supervisor.orders.as_mut().with_context(|| format!("{} was stopped", self.name))?;
        orders.write_all(signal.line().as_bytes()).with_context(|| format!("{} has ended", self.name))
    }

    /// How the server ended (its exit code, or 128 plus the signal that ended it), or `None` while
    /// it runs.
    pub fn exited(&self) -> Option<ExitStatus> {
        self.supervisor().child.try_wait().ok().flatten()
    }

    /// An error with the end of the log if the server has ended.
    ///
    /// # Errors
    /// That one.
    pub fn check_running(&self) -> anyhow::Result<()> {
        match self.exited() {
            None => Ok(()),
            Some(status) => {
                bail!("{} ended ({status}); its log {} ends:\n{}", self.name, self.log.display(), self.log_tail())
            }
        }
    }

    /// Waits until the server has ended by itself or by a signal.
    ///
    /// # Errors
    /// After `deadline`.
    pub async fn wait_exit(&self, deadline: Duration) -> anyhow::Result<ExitStatus> {
        wait::until(&format!("{} to end", self.name), deadline, async || Ok(self.exited())).await
    }

    /// Asks the server to end, and kills it after `patience`.
    ///
    /// # Errors
    /// When it is still there after it was killed.
    pub async fn stop(&self, patience: Duration) -> anyhow::Result<ExitStatus> {
        if self.exited().is_none() {
            self.signal(Signal::Term)?;
        }
        if let Ok(status) = self.wait_exit(patience).await {
            return Ok(status);
        }
        self.signal(Signal::Kill)?;
        self.wait_exit(DEADLINE).await
    }

    fn supervisor(&self) -> MutexGuard<'_, Supervisor> {
        self.supervisor.lock()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let supervisor = self.supervisor.get_mut();
        drop(supervisor.orders.take());
        if let Err(error) = supervisor.child.wait() {
            tracing::warn!(server = self.name, %error, "could not wait for the server to end");
        }
    }
}
