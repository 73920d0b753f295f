//! The server and the token of a command: from flags, else from where the tools of OpenBao and
//! Vault have them.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::domain::secret::SecretBytes;
use crate::manifest::{self, ReadError};
use crate::store::vault::VaultClient;
use crate::store::vault::access::Access;
use crate::store::vault::connect::ConnectError;

/// The variables of each setting; the first that is set counts. OpenBao's tool reads the same in
/// this order.
const ADDRESS: [&str; 2] = ["BAO_ADDR", "VAULT_ADDR"];
const CA_CERT: [&str; 2] = ["BAO_CACERT", "VAULT_CACERT"];
const NAMESPACE: [&str; 2] = ["BAO_NAMESPACE", "VAULT_NAMESPACE"];
/// There is no flag, because others can see the command line.
const TOKEN: [&str; 2] = ["BAO_TOKEN", "VAULT_TOKEN"];
/// The file in the home folder where `bao login` and `vault login` leave a token.
const TOKEN_FILE: &str = ".vault-token";

/// What errors say of a store, and what a command has instead; the empty word is the setting with
/// the address.
const WORDS: [(&str, &str); 9] = [
    ("the store's `caBundle` or `caProvider`", "`--ca-cert`"),
    ("a `caBundle` or `caProvider`", "`--ca-cert`"),
    ("give the store the CA", "give `--ca-cert` the CA"),
    ("the CA of the store", "the CA"),
    ("the store's `server`", ""),
    ("`server`", ""),
    ("the store's `path`", "the mount"),
    ("and log in with `auth`", "and set BAO_TOKEN or VAULT_TOKEN"),
    ("the role's policy", "the token's policy"),
];

/// The flags of a server.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Server {
    /// The server [default: BAO_ADDR, else VAULT_ADDR]. The token is that of BAO_TOKEN, else
    /// VAULT_TOKEN, else ~/.vault-token
    #[arg(long, value_name = "URL")]
    pub address: Option<String>,
    /// Certificates in PEM to trust instead of the system's [default: BAO_CACERT, else
    /// VAULT_CACERT]
    #[arg(long, value_name = "FILE")]
    pub ca_cert: Option<PathBuf>,
    /// The server's namespace [default: BAO_NAMESPACE, else VAULT_NAMESPACE]
    #[arg(long, value_name = "NAMESPACE")]
    pub vault_namespace: Option<String>,
}

/// Why there is no server to use.
#[derive(Debug, Error)]
pub enum NoServer {
    #[error("no server: set --address, BAO_ADDR or VAULT_ADDR")]
    Address,
    #[error("no token: set BAO_TOKEN or VAULT_TOKEN, or log in with `bao login` or `vault login`")]
    Token,
    #[error("{setting}: {error}")]
    Unreadable { setting: &'static str, error: ReadError },
}

/// Why there is no client.
#[derive(Debug, Error)]
pub enum NoClient {
    #[error(transparent)]
    Server(NoServer),
    #[error(transparent)]
    Connect(ConnectError),
}

/// Runs what asks servers.
///
/// # Errors
/// Why it cannot begin.
pub fn ask<T>(work: impl Future<Output = T>) -> Result<T, String> {
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        return Err("another TLS provider is installed already".to_owned());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map(|runtime| runtime.block_on(work)).map_err(|error| format!("cannot start: {}", error.kind()))
}

impl Server {
    /// A client with the caller's token.
    ///
    /// # Errors
    /// [`NoClient`], without any part of the token.
    pub fn client(&self) -> Result<VaultClient, NoClient> {
        self.access().map_err(NoClient::Server)?.client().map_err(NoClient::Connect)
    }

    /// Reads the certificates and the token.
    ///
    /// # Errors
    /// [`NoServer`], without any part of the token.
    pub fn access(&self) -> Result<Access, NoServer> {
        self.access_in(|name| std::env::var_os(name))
    }

    /// An error in the words of a command. Errors of clients name fields of a store, and a command
    /// has flags and variables instead.
    pub fn in_its_words(&self, error: &dyn Display) -> String {
        let is_set = |name: &&&str| std::env::var_os(name).is_some_and(|text| !text.is_empty());
        let variable = ADDRESS.iter().find(is_set).filter(|_| self.address.is_none());
        let address = format!("`{}`", variable.unwrap_or(&"--address"));
        WORDS.iter().fold(error.to_string(), |text, (field, setting)| {
            text.replace(field, if setting.is_empty() { &address } else { setting })
        })
    }

    /// The same in the given environment.
    fn access_in(&self, variable: impl Fn(&str) -> Option<OsString>) -> Result<Access, NoServer> {
        let set = |names: [&'static str; 2]| {
            names.into_iter().find_map(|name| Some((name, variable(name).filter(|text| !text.is_empty())?)))
        };
        let text = |given: &Option<String>, names| {
            given.clone().or_else(|| Some(set(names)?.1.to_string_lossy().into_owned()))
        };
        let given = self.ca_cert.clone().map(|file| ("--ca-cert", file));
        let ca = given.or_else(|| set(CA_CERT).map(|(name, file)| (name, PathBuf::from(file))));
        let read_ca = |(setting, file): (&'static str, PathBuf)| {
            read(setting, &file).map(|pem| (format!("{setting} {}", file.display()), pem))
        };
        let ca = ca.map(read_ca).transpose()?;
        let address = text(&self.address, ADDRESS).ok_or(NoServer::Address)?;
        let (token, token_in) = match set(TOKEN) {
            Some((name, token)) => (SecretBytes::new(token.into_encoded_bytes()), name),
            None => (token_file(variable("HOME"))?, "~/.vault-token"),
        };
        Ok(Access { address, ca, namespace: text(&self.vault_namespace, NAMESPACE), token, token_in })
    }
}

fn read(setting: &'static str, file: &Path) -> Result<Vec<u8>, NoServer> {
    manifest::bytes(file).map_err(|error| NoServer::Unreadable { setting, error })
}

/// The token from a login; editors may add a newline.
fn token_file(home: Option<OsString>) -> Result<SecretBytes, NoServer> {
    let file = PathBuf::from(home.filter(|home| !home.is_empty()).ok_or(NoServer::Token)?).join(TOKEN_FILE);
    let written = match read("the token", &file) {
        Err(NoServer::Unreadable { error: ReadError::Missing { .. }, .. }) => return Err(NoServer::Token),
        written => SecretBytes::new(written?),
    };
    let token = written.expose().trim_ascii();
    match token.is_empty() {
        true => Err(NoServer::Token),
        false => Ok(SecretBytes::new(token.to_vec())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreError;
    use crate::store::error::Transport;

    /// The address, the token and where it is from, in this environment.
    fn asked(server: &Server, environment: &[(&str, &str)]) -> Result<(String, Vec<u8>, &'static str), String> {
        let found = |name: &str| environment.iter().find(|(set, _)| *set == name).map(|(_, text)| OsString::from(text));
        let access = server.access_in(found).map_err(|error| error.to_string())?;
        Ok((access.address, access.token.expose().to_vec(), access.token_in))
    }

    #[test]
    fn flags_go_before_openbao_s_variables_and_those_before_vault_s() {
        let token = ("VAULT_TOKEN", "v");
        let of_vault = [("VAULT_ADDR", "https://vault"), token];
        let both = [("BAO_ADDR", "https://bao"), ("VAULT_ADDR", "https://vault"), ("BAO_TOKEN", "b"), token];
        let none = Server::default();
        assert_eq!(asked(&none, &of_vault).unwrap(), ("https://vault".into(), b"v".to_vec(), "VAULT_TOKEN"));
        assert_eq!(asked(&none, &both).unwrap(), ("https://bao".into(), b"b".to_vec(), "BAO_TOKEN"));
        let flag = Server { address: Some("https://flag".into()), ..Server::default() };
        assert_eq!(asked(&flag, &both).unwrap().0, "https://flag");
        let emptied = [("BAO_ADDR", ""), ("BAO_TOKEN", ""), of_vault[0], token];
        assert_eq!(asked(&none, &emptied).unwrap().2, "VAULT_TOKEN", "an empty variable is none");
    }

    #[test]
    fn without_a_variable_the_token_is_the_one_that_a_login_left() {
        let home = std::env::temp_dir().join(format!("waypost-home-{}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        let environment = [("VAULT_ADDR", "https://vault"), ("HOME", home.to_str().unwrap())];
        let none = Server::default();
        assert!(asked(&none, &environment).unwrap_err().contains("bao login"), "no file");
        std::fs::write(home.join(TOKEN_FILE), "s.left\n").unwrap();
        assert_eq!(asked(&none, &environment).unwrap(), ("https://vault".into(), b"s.left".to_vec(), "~/.vault-token"));
        let set = [environment[0], environment[1], ("VAULT_TOKEN", "v")];
        assert_eq!(asked(&none, &set).unwrap().1, b"v", "a variable goes before the file");
        std::fs::write(home.join(TOKEN_FILE), "\n").unwrap();
        assert!(asked(&none, &environment).is_err(), "an empty file");
        std::fs::remove_dir_all(home).unwrap();
    }

    #[test]
    fn an_error_names_the_flags_and_variables_of_a_command() {
        let server = Server { address: Some("localhost:8200".into()), ..Server::default() };
        for (error, says) in [
            (
                StoreError::Unreachable { server: "https://v".into(), cause: Transport::Dns }.to_string(),
                "cannot reach https://v: its name does not resolve (check `--address`)",
            ),
            (
                ConnectError::Address { address: "v:8200".into() }.to_string(),
                "`--address` \"v:8200\" is not an address: write `https://host:port`",
            ),
            (
                ConnectError::Ca { source_name: "--ca-cert ca.pem".into() }.to_string(),
                "the CA (--ca-cert ca.pem) has no readable PEM certificate",
            ),
        ] {
            assert_eq!(server.in_its_words(&error), says);
        }
        let causes = [Transport::Dns, Transport::Connect, Transport::Tls, Transport::LinkLocal, Transport::Timeout];
        for cause in causes {
            let said = server.in_its_words(&StoreError::Unreachable { server: "https://v".into(), cause });
            assert!(!said.contains("store"), "{said}");
        }
    }

    #[test]
    fn certificates_that_cannot_be_read_are_named_with_their_setting() {
        let token = ("VAULT_TOKEN", "v");
        let none = Server::default();
        let said = asked(&none, &[("BAO_CACERT", "/nowhere/ca.pem"), token]).unwrap_err();
        assert_eq!(said, "BAO_CACERT: /nowhere/ca.pem does not exist: check the path");
        let folder = Server { ca_cert: Some(std::env::temp_dir()), ..Server::default() };
        let said = asked(&folder, &[token]).unwrap_err();
        assert!(said.starts_with("--ca-cert: ") && said.ends_with(" is a folder: name a file"), "{said}");
    }
}
