//! How fast this machine is. Deadlines are stated for a usual machine; a slower or busier one gets
//! more time for them.

use std::{
    fmt,
    io::Write,
    num::NonZero,
    time::{Duration, Instant},
};

use anyhow::Context;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::{
    Api,
    api::{DeleteParams, ObjectMeta, PostParams},
};
use serde_json::json;
use tokio::sync::OnceCell;

use crate::lab::{Lab, MOUNT, VaultAdmin};

/// The most that a deadline is stretched, however slow the machine is.
pub const MOST: f64 = 12.0;

/// What the operations of [`Pace`] take where the deadlines were stated: on two cores of an AMD
/// EPYC that do little else.
const USUAL: Pace =
    Pace { objects: Duration::from_millis(12), value: Duration::from_millis(6), program: Duration::from_millis(70) };

/// Threads that want to run, for each core, while the tests have a usual machine for themselves.
const USUAL_CROWD: f64 = 3.0;

/// Of so many rounds the median counts; one more comes first, and opens connections.
const ROUNDS: usize = 5;

/// How long a few fixed operations take on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// To create a namespace and a Secret.
    objects: Duration,
    /// To write a value into OpenBao.
    value: Duration,
    /// To start a program and wait for its end.
    program: Duration,
}

static MEASURED: OnceCell<Pace> = OnceCell::const_new();

impl Pace {
    /// By how much a deadline is stretched on a machine of this pace: 1 on a usual or faster one.
    pub fn factor(&self) -> f64 {
        let slowdown = Duration::div_duration_f64;
        slowdown(self.objects, USUAL.objects)
            .max(slowdown(self.value, USUAL.value))
            .max(slowdown(self.program, USUAL.program))
            .clamp(1.0, MOST)
    }

    async fn measure(lab: &Lab) -> anyhow::Result<Self> {
        let (client, vault) = (lab.kube_admin().await?, lab.vault_admin()?);
        let mut rounds = Vec::new();
        for round in 0..=ROUNDS {
            let name = format!("pace-{round}-{:x}", std::process::id());
            rounds.push(Pace {
                objects: create_objects(&client, &name).await.context("measure the API server")?,
                value: write_value(&vault, &name).await.context("measure OpenBao")?,
                program: run_program(lab).context("measure kubectl")?,
            });
        }
        let median = |operation: fn(&Pace) -> Duration| {
            let mut measured: Vec<_> = rounds.iter().skip(1).map(operation).collect();
            measured.sort_unstable();
            measured[ROUNDS / 2]
        };
        Ok(Pace {
            objects: median(|pace| pace.objects),
            value: median(|pace| pace.value),
            program: median(|pace| pace.program),
        })
    }
}

impl fmt::Display for Pace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Pace { objects, value, program } = self;
        write!(f, "a namespace and a Secret take {objects:.0?} (usually {:.0?}), ", USUAL.objects)?;
        write!(f, "a KV write {value:.0?} ({:.0?}), kubectl {program:.0?} ({:.0?}): ", USUAL.value, USUAL.program)?;
        write!(f, "deadlines are {:.1} times as long", self.factor())
    }
}

/// Measures the machine by a lab that has just started. The first measure of a process counts, and
/// is printed.
///
/// # Errors
/// What the lab refused.
pub async fn measure(lab: &Lab) -> anyhow::Result<()> {
    let measure = async || {
        let pace = Pace::measure(lab).await?;
        // Straight to standard error, since the harness keeps what a test prints until it fails.
        writeln!(std::io::stderr().lock(), "This machine: {pace}.")?;
        anyhow::Ok(pace)
    };
    MEASURED.get_or_try_init(measure).await.map(drop)
}

/// By how much deadlines are stretched, as measured at the start; 1 before that.
pub fn factor() -> f64 {
    MEASURED.get().map_or(1.0, Pace::factor)
}

/// By how much deadlines are to be stretched for what else runs at this moment; 1 where the system
/// does not tell.
pub fn crowd() -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    running(&load).map_or(1.0, |running| crowd_of(running, cores))
}

/// The number of threads that run or want to, in what Linux says of its load.
fn running(load: &str) -> Option<u32> {
    let (running, _all) = load.split_whitespace().nth(3)?.split_once('/')?;
    running.parse().ok()
}

fn crowd_of(running: u32, cores: usize) -> f64 {
    f64::from(running) / cores as f64 / USUAL_CROWD
}

async fn create_objects(client: &kube::Client, name: &str) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let namespace = Namespace { metadata: metadata.clone(), ..Namespace::default() };
    namespaces.create(&PostParams::default(), &namespace).await?;
    let secrets: Api<Secret> = Api::namespaced(client.clone(), name);
    secrets.create(&PostParams::default(), &Secret { metadata, ..Secret::default() }).await?;
    let took = began.elapsed();
    namespaces.delete(name, &DeleteParams::default()).await?;
    Ok(took)
}

async fn write_value(vault: &VaultAdmin, path: &str) -> anyhow::Result<Duration> {
    let began = Instant::now();
    vault.write(MOUNT, path, &json!({ "pace": "measured" })).await?;
    let took = began.elapsed();
    vault.delete_metadata(MOUNT, path).await?;
    Ok(took)
}

fn run_program(lab: &Lab) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let output = lab.kubectl().args(["version", "--client"]).output()?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(began.elapsed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slower_machine_gets_more_time_by_its_slowest_operation_and_never_less_than_stated() {
        assert_eq!(USUAL.factor(), 1.0);
        let fast = Pace { objects: USUAL.objects / 2, value: USUAL.value / 2, program: USUAL.program / 2 };
        assert_eq!(fast.factor(), 1.0);
        for slow in [
            Pace { objects: USUAL.objects * 3, ..fast },
            Pace { value: USUAL.value * 3, ..fast },
            Pace { program: USUAL.program * 3, ..fast },
        ] {
            assert_eq!(slow.factor(), 3.0);
        }
        assert_eq!(Pace { value: USUAL.value * 100, ..fast }.factor(), MOST);
    }

    #[test]
    fn what_else_runs_is_counted_for_each_core() {
        assert_eq!(running("11.46 6.66 3.68 24/350 6761\n"), Some(24));
        assert_eq!(running(""), None);
        assert_eq!(crowd_of(24, 2), 4.0);
        assert_eq!(crowd_of(24, 8), 1.0);
    }
}
