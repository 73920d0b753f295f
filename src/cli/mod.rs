//! The command line: one module per command.

pub mod claims;
pub mod lint;
pub mod policy;
pub mod render;
mod server;
pub mod terminal;

use clap::{Parser, Subcommand};

use crate::config::Config;
use crate::domain::path::Mount;

/// Distributes operator-generated Secrets between namespaces through Vault or OpenBao, with the
/// External Secrets API.
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
  waypost lint --path-convention=warn --format=sarif deploy/ > waypost.sarif
  waypost lint --controller-class=waypost --serve-unclassified=false deploy/";

const POLICY: &str = "\
Examples:
  waypost policy publisher deploy/ | bao policy write waypost-publisher -
  waypost policy consumer --namespace=team-a deploy/
  waypost policy publisher --check deploy/              does my token have these rights?";

const RENDER: &str = "\
Examples:
  waypost render orders.yaml                            which sample values does it need?
  waypost render --values=values.yaml orders.yaml
  waypost render --values=values.yaml --show-values orders.yaml
  kustomize build overlays/prod | waypost render --values=values.yaml --name=shop/orders -
  waypost render --values=values.yaml --target=expected.yaml orders.yaml      in CI
  waypost render --live orders.yaml                     what would change in the cluster?
  waypost render --values=values.yaml --with=source.yaml push.yaml

Values:
  # Each remote key, with the properties that stand there.
  platform-data/orders/shop: {username: app, password: s3cret}";

/// The commands.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Run the controller, in a cluster or outside it: the cluster is that of --kubeconfig,
    /// KUBECONFIG, the pod, or ~/.kube/config.
    ///
    /// It runs until SIGTERM or SIGINT. Exit code: 0 after one of these; 1 if it cannot start, loses
    /// the Lease, or cannot go on; 2 if a flag is wrong.
    #[command(after_help = CONTROLLER)]
    Controller(Box<Config>),
    /// Check manifests before a cluster sees them, as the API server and the controller will:
    /// fields, rules, names, unsupported features, and the path convention.
    ///
    /// In folders, templates of Helm charts and patches of kustomizations are skipped: render them
    /// first. Exit code: 0 if there are no errors (warnings are shown), 1 if there are, 2 if a file
    /// cannot be read.
    #[command(after_help = LINT)]
    Lint(lint::Args),
    /// Print the least Vault policy for manifests: a rule for each path, and who needs it.
    ///
    /// A login with this policy can do everything that the controller does for these PushSecrets or
    /// ExternalSecrets. Print the policy again when you add a path. Exit code: 0, or 2 if a file
    /// cannot be read or parsed, or if nothing needs a path. With --check: 0 if the token has every
    /// right, 1 if it lacks one, 2 if this cannot be determined.
    #[command(after_help = POLICY)]
    Policy(policy::Args),
    /// Render what an ExternalSecret or a PushSecret makes, from sample values or from your server,
    /// and compare it with what is there.
    ///
    /// For an ExternalSecret it prints the target's type, labels, annotations and keys with their
    /// sizes, for a PushSecret the paths and properties; values stay hidden without --show-values.
    /// The controller's own code decides, so what is refused here is refused there. Nothing is
    /// written. Exit code: 0 if everything is rendered and, if there is something to compare with,
    /// equal; 1 if something cannot be rendered; 2 if a file cannot be read or parsed, a flag is
    /// wrong, or there is nothing to render or no server to ask; 3 if something differs.
    #[command(after_help = RENDER)]
    Render(Box<render::Args>),
    /// List the owners of properties, and transfer the claims of a lost cluster to its successor.
    Claims(claims::Args),
}

/// Parses the mount of `--store-path`.
fn mount(text: &str) -> Result<String, String> {
    Mount::parse(text).map(|mount| mount.as_str().to_owned()).map_err(|error| error.of_mount())
}
