//! Finds the kubeconfig, and says what is wrong with one. Nothing here quotes its text or what a
//! login program prints, because both have credentials.

use std::fmt::{self, Display, Formatter};
use std::io::{self, ErrorKind};
use std::path::Path;

use kube::Config;
use kube::client::AuthError;
use kube::config::{AuthInfo, InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError, LoadDataError};
use secrecy::ExposeSecret;
use thiserror::Error;

use crate::config::ClusterChoice;

/// How many contexts an error names.
const MOST_NAMED: usize = 8;

/// Why no cluster is configured.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// The kubeconfig cannot be used.
    #[error("cannot use {kubeconfig}: {what}")]
    Kubeconfig {
        /// Which.
        kubeconfig: String,
        /// What is wrong with it, and what to do.
        what: String,
    },
    /// No cluster is configured.
    #[error(
        "no cluster to talk to: {pod}, and there is no ~/.kube/config: name a file with --kubeconfig or KUBECONFIG"
    )]
    NoCluster {
        /// Why there is no pod's own access.
        pod: String,
    },
}

/// Where the access to the cluster comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The pod's own.
    Pod,
    Kubeconfig,
}

impl Display for Access {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Access::Pod => "as this pod",
            Access::Kubeconfig => "as the kubeconfig says",
        })
    }
}

/// The flag's file, else those of KUBECONFIG, else the pod's own access, else `~/.kube/config`. A
/// context belongs to a kubeconfig, so with one the pod's own access is not used.
///
/// # Errors
/// [`ConfigError`], without any part of a credential.
pub async fn config(cluster: &ClusterChoice) -> Result<(Config, Access), ConfigError> {
    let (name, read) = match &cluster.kubeconfig {
        Some(path) => (format!("kubeconfig {}", path.display()), Kubeconfig::read_from(path)),
        None => match Kubeconfig::from_env().transpose() {
            Some(read) => ("the kubeconfig of KUBECONFIG".to_owned(), read),
            None => match (Config::incluster(), &cluster.context) {
                (Ok(config), None) => return Ok((config, Access::Pod)),
                (Ok(_), Some(_)) => ("kubeconfig ~/.kube/config".to_owned(), Kubeconfig::read()),
                (Err(source), _) => match Kubeconfig::read() {
                    Err(KubeconfigError::FindPath) => return Err(no_cluster(&source)),
                    Err(KubeconfigError::ReadConfig(cause, _)) if cause.kind() == ErrorKind::NotFound => {
                        return Err(no_cluster(&source));
                    }
                    read => ("kubeconfig ~/.kube/config".to_owned(), read),
                },
            },
        },
    };
    let wrong = |what| ConfigError::Kubeconfig { kubeconfig: name, what };
    let kubeconfig = match read {
        Ok(kubeconfig) => kubeconfig,
        Err(error) => return Err(wrong(fault(&error, &[]))),
    };
    let contexts: Vec<String> = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
    let options = KubeConfigOptions { context: cluster.context.clone(), ..KubeConfigOptions::default() };
    let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
    config.map(|config| (config, Access::Kubeconfig)).map_err(|error| wrong(fault(&error, &contexts)))
}

fn no_cluster(source: &InClusterError) -> ConfigError {
    let pod = match source {
        InClusterError::ReadEnvironmentVariable(_) => "this does not run in a pod".to_owned(),
        other => format!("this pod has no access of its own ({other})"),
    };
    ConfigError::NoCluster { pod }
}

/// What is wrong with a kubeconfig that has these contexts.
fn fault(error: &KubeconfigError, contexts: &[String]) -> String {
    match error {
        KubeconfigError::ReadConfig(cause, path) => unread(path, cause),
        KubeconfigError::Parse(error) => match error.location() {
            Some(at) => {
                format!("line {} is not what a kubeconfig has there: correct it, or name another file", at.line())
            }
            None => "it is not YAML, or not a kubeconfig: correct it, or name another file".to_owned(),
        },
        KubeconfigError::LoadContext(name) if !name.is_empty() && !contexts.is_empty() => {
            format!("it has no context {name:?}: choose one with --context ({})", listed(contexts))
        }
        KubeconfigError::CurrentContextNotSet | KubeconfigError::LoadContext(_) if !contexts.is_empty() => {
            format!("it has no current context: choose one with --context ({})", listed(contexts))
        }
        KubeconfigError::CurrentContextNotSet | KubeconfigError::LoadContext(_) => {
            "it has no context: check that it is a kubeconfig".to_owned()
        }
        KubeconfigError::LoadClusterOfContext(name) => {
            format!("it has no cluster {name:?}, which the context names: correct the context")
        }
        KubeconfigError::FindPath => "the home folder is not known: set HOME, or name a file".to_owned(),
        KubeconfigError::MissingClusterUrl => "the context's cluster has no `server`: add it".to_owned(),
        KubeconfigError::ParseClusterUrl(_) => {
            "the `server` of the context's cluster is not an address: write `https://host:port`".to_owned()
        }
        KubeconfigError::ParseProxyUrl(_) => {
            "the `proxy-url` of the context's cluster is not an address: correct it".to_owned()
        }
        KubeconfigError::LoadCertificateAuthority(error) => unloaded("certificate-authority", error),
        KubeconfigError::LoadClientCertificate(error) => unloaded("client-certificate", error),
        KubeconfigError::LoadClientKey(error) => unloaded("client-key", error),
        KubeconfigError::ParseCertificates(_) => "its `certificate-authority` is not PEM: correct it".to_owned(),
        KubeconfigError::KindMismatch | KubeconfigError::ApiVersionMismatch => {
            "its files are of different kinds or versions: name one of them".to_owned()
        }
    }
}

fn listed(contexts: &[String]) -> String {
    let named = contexts.iter().take(MOST_NAMED).cloned().collect::<Vec<_>>().join(", ");
    match contexts.len().saturating_sub(MOST_NAMED) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn unloaded(field: &str, error: &LoadDataError) -> String {
    match error {
        LoadDataError::ReadFile(cause, path) => format!("its `{field}`: {}", unread(path, cause)),
        LoadDataError::DecodeBase64(_) => format!("its `{field}-data` is not base64: correct it"),
        LoadDataError::NoBase64DataOrFile => format!("its `{field}` is empty: correct it"),
    }
}

fn unread(path: &Path, cause: &io::Error) -> String {
    let path = path.display();
    match cause.kind() {
        ErrorKind::NotFound => format!("{path} does not exist: check the path"),
        ErrorKind::IsADirectory => format!("{path} is a folder: name a file"),
        ErrorKind::InvalidData => format!("{path} is not text: name a kubeconfig"),
        kind => format!("{path} cannot be read ({kind}): check its permissions"),
    }
}

/// Whether a token can be sent. The library panics over one that cannot.
pub fn is_sendable(user: &AuthInfo) -> bool {
    let token = user.token.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
    token.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

/// What is wrong with the token of a user that cannot be sent.
pub fn unsendable(user: &AuthInfo) -> String {
    let whose = match program(user) {
        "" => "the token of its user".to_owned(),
        program => format!("the token that the login program {program:?} prints"),
    };
    format!("{whose} has characters that a token cannot have: check for a line break")
}

fn program(user: &AuthInfo) -> &str {
    user.exec.as_ref().and_then(|exec| exec.command.as_deref()).unwrap_or_default()
}

/// Why no client can be created for a user.
pub fn unusable(error: &kube::Error, user: &AuthInfo) -> String {
    let program = program(user);
    match error {
        kube::Error::Auth(AuthError::AuthExecStart(cause)) => {
            let why = if cause.kind() == ErrorKind::NotFound { "is not installed" } else { "cannot be started" };
            format!("the login program {program:?} {why}: install it, or choose another context")
        }
        kube::Error::Auth(AuthError::AuthExecRun { out, .. }) => {
            format!("the login program {program:?} failed ({}): run it yourself to see why", out.status)
        }
        kube::Error::Auth(AuthError::ReadTokenFile(cause, path)) => unread(path, cause),
        kube::Error::Auth(_) if !program.is_empty() => {
            format!("the login program {program:?} prints no usable credential: run it yourself to see what it prints")
        }
        kube::Error::Auth(_) => {
            "this way to log in is not supported: use a token, a client certificate or a login program".to_owned()
        }
        kube::Error::RustlsTls(_) => {
            "its CA, client certificate or key cannot be used: check that they are PEM, and that the key belongs to the certificate".to_owned()
        }
        kube::Error::InferKubeconfig(error) => fault(error, &[]),
        _other => "it has a setting that cannot be used: check it with kubectl".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;

    /// A folder of this test's own, removed with it.
    struct Folder(PathBuf);

    impl Folder {
        fn new(test: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("waypost-{test}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Folder(folder)
        }

        /// What is said of a kubeconfig with this text, or of a client made from it.
        async fn said(&self, text: &str, context: Option<&str>) -> String {
            let file = self.0.join("config");
            std::fs::write(&file, text).unwrap();
            let choice = ClusterChoice { kubeconfig: Some(file), context: context.map(str::to_owned) };
            match super::super::client::connect(&choice, Default::default()).await {
                Ok(_) => "usable".to_owned(),
                Err(error) => error.to_string(),
            }
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _left = std::fs::remove_dir_all(&self.0);
        }
    }

    const USABLE: &str = r#"
apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "http://127.0.0.1:9"}}]
users: [{name: u, user: {token: s3cr3t}}]
contexts: [{name: one, context: {cluster: c, user: u}}, {name: two, context: {cluster: gone, user: u}}]
current-context: one
"#;

    #[tokio::test]
    async fn what_is_wrong_with_a_kubeconfig_is_named_and_no_credential_is_quoted() {
        let folder = Folder::new("wrong-kubeconfig");
        assert_eq!(folder.said(USABLE, None).await, "usable");
        let exec = |script: &str| {
            format!(
                "exec: {{apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, {script:?}], interactiveMode: Never}}"
            )
        };
        let credential = json!({
            "apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential",
            "status": { "token": "s3cr3t\n" },
        });
        let credential = format!("printf %s '{credential}'");
        let user = |user: &str| USABLE.replace("token: s3cr3t", user);
        for (text, context, says) in [
            (USABLE.to_owned(), Some("three"), "it has no context \"three\": choose one with --context (one, two)"),
            (USABLE.to_owned(), Some("two"), "it has no cluster \"gone\""),
            (USABLE.replace("current-context: one", ""), None, "it has no current context: choose one with --context"),
            (String::new(), None, "it has no context: check that it is a kubeconfig"),
            (USABLE.replace("token: s3cr3t", "token: [s3cr3t, x"), None, "line 5 is not what a kubeconfig has there"),
            (USABLE.replace("token: s3cr3t", "token: {a: s3cr3t}"), None, "line 5 is not what a kubeconfig has there"),
            (USABLE.replace("http://", "ht tp//"), None, "write `https://host:port`"),
            (user("token: \"s3cr3t\\n\""), None, "has characters that a token cannot have"),
            (user("client-certificate: /nowhere, client-key: /nowhere"), None, "/nowhere does not exist"),
            (
                user("client-certificate-data: s3cr3t!, client-key-data: s3cr3t!"),
                None,
                "`client-certificate-data` is not base64",
            ),
            (user("client-certificate-data: czNjcjN0, client-key-data: czNjcjN0"), None, "check that they are PEM"),
            (user("tokenFile: /nowhere"), None, "/nowhere does not exist"),
            (user("auth-provider: {name: gcp}"), None, "this way to log in is not supported"),
            (user(&exec(&credential)), None, "the token that the login program \"sh\" prints has characters"),
            (user(&exec("echo s3cr3t")), None, "the login program \"sh\" prints no usable credential"),
            (user(&exec("echo s3cr3t; exit 3")), None, "the login program \"sh\" failed (exit status: 3)"),
            (
                user(&exec("").replace("command: sh", "command: no-such-program")),
                None,
                "\"no-such-program\" is not installed",
            ),
        ] {
            let said = folder.said(&text, context).await;
            assert!(said.contains(says), "{says:?} is not in {said:?}");
            assert!(!said.contains("s3cr3t") && !said.contains("os error"), "{said}");
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_named_with_what_to_do() {
        let folder = Folder::new("unread-kubeconfig");
        let binary = folder.0.join("binary");
        std::fs::write(&binary, [0x80, 0x81, 0x82]).unwrap();
        for (file, says) in [
            (folder.0.join("gone"), "does not exist: check the path"),
            (folder.0.clone(), "is a folder: name a file"),
            (binary, "is not text"),
        ] {
            let choice = ClusterChoice { kubeconfig: Some(file.clone()), context: None };
            let said = config(&choice).await.unwrap_err().to_string();
            assert!(said.contains(says) && said.contains(&file.display().to_string()), "{said}");
            assert!(!said.contains("os error"), "{said}");
        }
    }

    #[tokio::test]
    async fn the_kubeconfig_and_the_context_that_are_asked_for_are_used() {
        let folder = Folder::new("chosen-kubeconfig");
        let file = folder.0.join("config");
        let second = "clusters: [{name: gone, cluster: {server: \"http://127.0.0.2:9\"}}, ";
        std::fs::write(&file, USABLE.replace("clusters: [", second)).unwrap();
        for (context, host) in [(None, "127.0.0.1"), (Some("two"), "127.0.0.2")] {
            let choice = ClusterChoice { kubeconfig: Some(file.clone()), context: context.map(str::to_owned) };
            assert_eq!(config(&choice).await.unwrap().0.cluster_url.host(), Some(host));
        }
    }
}
