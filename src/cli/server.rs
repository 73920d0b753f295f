//! The server that a command asks, and the token that it asks with.

use std::path::PathBuf;

use thiserror::Error;

use crate::domain::secret::SecretBytes;
use crate::store::vault::access::Access;

/// Where the token is read; never from the command line, which others can see.
const TOKEN: &str = "VAULT_TOKEN";

/// A server, as its own command line takes it.
#[derive(clap::Args, Clone, Debug)]
pub struct Server {
    /// The server to ask, with the token in VAULT_TOKEN
    #[arg(long, env = "VAULT_ADDR", value_name = "URL")]
    pub address: Option<String>,
    /// Certificates in PEM to trust instead of the system's
    #[arg(long, env = "VAULT_CACERT", value_name = "FILE")]
    pub ca_cert: Option<PathBuf>,
    /// The server's namespace
    #[arg(long, env = "VAULT_NAMESPACE", value_name = "NAMESPACE")]
    pub vault_namespace: Option<String>,
}

/// Why it cannot be asked.
#[derive(Debug, Error)]
pub enum NoServer {
    #[error("no server to ask: name it with --address or VAULT_ADDR")]
    Address,
    #[error("no token to ask with: put it into {TOKEN}")]
    Token,
    #[error("cannot read {}: {cause}", file.display())]
    Certificates { file: PathBuf, cause: std::io::ErrorKind },
}

impl Server {
    /// Reads the certificates and the token.
    ///
    /// # Errors
    /// [`NoServer`]; nothing of the token is in it.
    pub fn access(&self) -> Result<Access, NoServer> {
        let ca = self.ca_cert.as_ref().map(|file| {
            std::fs::read(file).map_err(|error| NoServer::Certificates { file: file.clone(), cause: error.kind() })
        });
        let token = std::env::var(TOKEN).ok().filter(|token| !token.is_empty()).ok_or(NoServer::Token)?;
        Ok(Access {
            address: self.address.clone().ok_or(NoServer::Address)?,
            ca: ca.transpose()?,
            namespace: self.vault_namespace.clone(),
            token: SecretBytes::new(token.into_bytes()),
            token_in: TOKEN,
        })
    }
}
