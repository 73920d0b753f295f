//! The command line: one module a command.

pub mod claims;
pub mod lint;
pub mod policy;
mod server;
pub mod terminal;

use clap::{Parser, Subcommand};

use crate::config::Config;

/// Distributes operator-generated Secrets between namespaces through Vault or OpenBao, with the External Secrets API.
#[derive(Parser, Debug)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const CONTROLLER: &str = "\
Examples:
  waypost controller                                    in a pod
  waypost controller --context=kind-dev --leader-elect=false --log-format=text
  waypost controller --namespace=team-a --metrics-addr=127.0.0.1:8080";

const LINT: &str = "\
Examples:
  waypost lint deploy/                                  every manifest below a folder
  waypost lint --exclude='**/samples/**' --exclude=old deploy/
  kustomize build overlays/prod | waypost lint -
  helm template chart/ | waypost lint -
  waypost lint --path-convention=warn --format=sarif deploy/ > waypost.sarif";

const POLICY: &str = "\
Examples:
  waypost policy publisher deploy/ | bao policy write waypost-publisher -
  waypost policy consumer --namespace=team-a deploy/
  waypost policy publisher --check deploy/              has my token these rights?";

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the controller, in a cluster or beside one: the cluster is that of --kubeconfig, KUBECONFIG, the pod, or ~/.kube/config.
    #[command(after_help = CONTROLLER)]
    Controller(Box<Config>),
    /// Judge manifests before a cluster sees them, as the API server and the controller will: fields, rules, names, what this version
    /// does not do, and the path convention.
    ///
    /// In folders, templates of Helm charts and patches of kustomizations are skipped: render them first.
    /// Exit code: 0 when there are no errors (warnings are shown), 1 when there are, 2 when a file cannot be read.
    #[command(after_help = LINT)]
    Lint(lint::Args),
    /// Print the Vault policy that manifests need, and nothing more: a rule for each path, with who needs it.
    ///
    /// A login with this policy can do for these PushSecrets or ExternalSecrets all that the controller does. A path that is
    /// added later needs the policy printed anew. Exit code: 0, or 2 when a file cannot be read or understood. With --check: 0 when
    /// the token has every right, 1 when it lacks one, 2 when that cannot be told.
    #[command(after_help = POLICY)]
    Policy(policy::Args),
    /// Say who owns properties of paths, and give what a lost cluster owned to the one that took its place.
    Claims(claims::Args),
}
