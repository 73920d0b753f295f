//! The controller's settings: flags and environment, which only this module reads.

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, ValueEnum};

use crate::domain::consent::Silence;
use crate::domain::convention::Mode;
use crate::domain::dns;
use crate::domain::target::Strangers;

/// The namespace file of a pod's ServiceAccount: the default namespace of the Lease.
const POD_NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

/// The class of the stores that a controller serves, unless a flag says otherwise.
pub const CONTROLLER_CLASS: &str = "default";

/// Settings of `waypost controller`. Each flag can also be set in the environment; the flag wins.
#[derive(Args, Clone, Debug)]
pub struct Config {
    /// Where /metrics is served.
    #[arg(long, env = "WAYPOST_METRICS_ADDR", default_value = "0.0.0.0:8080", value_parser = parse_address, value_name = "ADDR")]
    pub metrics_addr: SocketAddr,

    /// Where /livez and /readyz are served.
    #[arg(long, env = "WAYPOST_HEALTH_ADDR", default_value = "0.0.0.0:8082", value_parser = parse_address, value_name = "ADDR")]
    pub health_addr: SocketAddr,

    /// How many objects of one kind and one server are reconciled concurrently. A queue has twice
    /// as many slots, so that a server that hangs leaves half of them to others.
    #[arg(long, env = "WAYPOST_CONCURRENT", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256), value_name = "N")]
    pub concurrent: u16,

    /// Serve stores with this spec.controller.
    #[arg(long, env = "WAYPOST_CONTROLLER_CLASS", default_value = CONTROLLER_CLASS, value_name = "CLASS")]
    pub controller_class: String,

    /// Also serve stores without spec.controller. Set it to false beside another controller.
    #[arg(long, env = "WAYPOST_SERVE_UNCLASSIFIED", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub serve_unclassified: bool,

    /// Watch only this namespace, and cluster-scoped stores for it [default: all namespaces].
    #[arg(long, env = "WAYPOST_NAMESPACE", value_parser = parse_namespace, value_name = "NAMESPACE")]
    pub namespace: Option<String>,

    /// Maximum requests per second of a store's login on average, and at once.
    #[arg(long, env = "WAYPOST_STORE_REQUEST_RATE", default_value = "2000", value_parser = parse_rate, value_name = "N")]
    pub store_request_rate: NonZeroU32,

    /// How often status.refreshTime moves although nothing changed; 0 means at every refresh.
    #[arg(long, env = "WAYPOST_STATUS_HEARTBEAT", default_value = "1h", value_parser = parse_duration, value_name = "DURATION")]
    pub status_heartbeat: Duration,

    /// How long a deleted PushSecret waits if what it pushed may never be removable: its store does
    /// not exist or may not be used, its namespace is being deleted, or what to remove cannot be read.
    #[arg(long, env = "WAYPOST_CLEANUP_DEADLINE", default_value = "10m", value_parser = parse_duration, value_name = "DURATION")]
    pub cleanup_deadline: Duration,

    /// How strictly to apply the path convention (rules P1-P3 and V1-V8) while there is no
    /// PathConvention.
    #[arg(long, env = "WAYPOST_PATH_CONVENTION", default_value = "enforce", value_parser = parse_mode, value_name = "enforce|warn|off")]
    pub path_convention: Mode,

    /// Name of this cluster in claims. Needed if several clusters share one Vault and one was
    /// rebuilt [default: the UID of namespace kube-system].
    #[arg(long, env = "WAYPOST_CLUSTER_NAME", value_parser = parse_cluster_name, value_name = "NAME")]
    pub cluster_name: Option<String>,

    /// Adopt existing Secrets with a target's name that no controller owns, as External Secrets
    /// Operator does. Without it, only if the ExternalSecret is annotated waypost.io/adopt.
    #[arg(long, env = "WAYPOST_ADOPT_UNOWNED_TARGETS", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub adopt_unowned_targets: bool,

    /// Read only properties whose producer names the namespace as a consumer. Without it, a
    /// property without a consent may be read.
    #[arg(long, env = "WAYPOST_REQUIRE_CONSENT", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub require_consent: bool,

    /// How log lines are written.
    #[arg(long, env = "WAYPOST_LOG_FORMAT", default_value = "json", value_name = "FORMAT")]
    pub log_format: LogFormat,

    /// What to log: a level, or directives such as `info,waypost::push=debug`. Libraries that could
    /// log secrets stay capped.
    #[arg(long, env = "WAYPOST_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    pub log_level: String,

    /// Elect one active replica by a Lease.
    #[arg(long, env = "WAYPOST_LEADER_ELECT", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub leader_elect: bool,

    /// The Lease's namespace [default: the pod's namespace, or external-secrets outside a cluster].
    #[arg(long, env = "WAYPOST_LEADER_ELECTION_NAMESPACE", value_parser = parse_namespace, value_name = "NAMESPACE")]
    pub leader_election_namespace: Option<String>,

    /// The Lease's name.
    #[arg(long, env = "WAYPOST_LEADER_ELECTION_ID", default_value = "waypost-controller", value_name = "NAME")]
    pub leader_election_id: String,

    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterChoice,

    /// Export traces by OTLP to this endpoint; the other OTEL_* variables of the standard are
    /// honoured too.
    #[arg(long, env = "OTEL_EXPORTER_OTLP_ENDPOINT", value_name = "URL")]
    pub otlp_endpoint: Option<String>,
}

/// The settings of reconcilers.
pub struct Settings {
    /// How often `status.refreshTime` moves although nothing changed; zero means at every refresh.
    pub status_heartbeat: Duration,
    /// How long a deleted PushSecret waits for a clean-up that may never be possible.
    pub cleanup_deadline: Duration,
    /// This cluster's name in claims.
    pub cluster: String,
    /// What to do with an existing Secret without an owner, unless the resource says otherwise.
    pub strangers: Strangers,
    /// What a property without a consent means.
    pub silence: Silence,
}

/// The cluster to use.
#[derive(Args, Clone, Debug, Default)]
pub struct ClusterChoice {
    /// The kubeconfig to use [default: the files of KUBECONFIG, else the cluster that this runs in,
    /// else ~/.kube/config]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The context of the kubeconfig to use [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line, for machines.
    Json,
    /// Plain lines, for people.
    Text,
}

impl Config {
    /// The namespace of the Lease.
    pub fn lease_namespace(&self) -> String {
        self.leader_election_namespace
            .clone()
            .or_else(|| std::fs::read_to_string(POD_NAMESPACE_FILE).ok().map(|text| text.trim().to_owned()))
            .unwrap_or_else(|| "external-secrets".to_owned())
    }
}

fn parse_mode(text: &str) -> Result<Mode, String> {
    text.parse().map_err(|_unknown| "must be enforce, warn or off".to_owned())
}

fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_other| "must be an IP address and a port, such as 127.0.0.1:8080 or [::]:8080".to_owned())
}

fn parse_namespace(text: &str) -> Result<String, String> {
    match dns::is_label(text) {
        true => Ok(text.to_owned()),
        false => Err("must be the name of one namespace: lowercase letters, digits and hyphens".to_owned()),
    }
}

fn parse_rate(text: &str) -> Result<NonZeroU32, String> {
    text.parse().map_err(|_other| "must be a whole number of requests per second, at least 1".to_owned())
}

/// A claim's value has room for 63 characters, and its fields are separated by spaces.
pub(crate) fn parse_cluster_name(text: &str) -> Result<String, String> {
    let fits = |character: char| character.is_ascii_alphanumeric() || "._-".contains(character);
    match !text.is_empty() && text.len() <= 63 && text.chars().all(fits) {
        true => Ok(text.to_owned()),
        false => Err("must be 1 to 63 letters, digits, dots, underscores or hyphens".to_owned()),
    }
}

/// A humantime duration, without the units that people confuse with minutes and that are too long
/// for any setting.
fn parse_duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.contains('M') || text.contains('y') {
        return Err("months and years are not durations here; write minutes as `m`, days as `d`".to_owned());
    }
    humantime::parse_duration(text).map_err(|_other| "is not a duration: write it like 30s, 5m or 1h".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_not_a_minute() {
        assert_eq!(parse_duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(parse_duration("0"), Ok(Duration::ZERO));
        assert!(parse_duration("5M").is_err());
        assert!(parse_duration("soon").is_err());
    }

    #[test]
    fn addresses_namespaces_and_rates_say_what_to_write() {
        assert!(parse_address("[::]:8080").is_ok() && parse_rate("1").is_ok() && parse_namespace("team-a").is_ok());
        assert!(parse_address("localhost:8080").is_err_and(|said| said.contains("127.0.0.1:8080")));
        assert!(parse_rate("0").is_err_and(|said| said.contains("at least 1")));
        assert!(parse_namespace("team-a,team-b").is_err_and(|said| said.contains("one namespace")));
    }

    #[test]
    fn a_cluster_name_fits_into_a_claim() {
        assert_eq!(parse_cluster_name("eu-1.prod"), Ok("eu-1.prod".to_owned()));
        for wrong in ["", "two words", &"x".repeat(64)] {
            assert!(parse_cluster_name(wrong).is_err(), "{wrong:?}");
        }
    }
}
