//! A server and a person's token, for the command line.

use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::header::{HeaderMap, HeaderValue};

use super::answers::Answers;
use super::connect::{self, ConnectError};
use super::transport::{Lagging, Redirects, Settings, Transport};
use super::{ClientSettings, VaultClient};
use crate::domain::secret::SecretBytes;
use crate::store::auth::{Login, LoginSource};
use crate::store::meter::{NoMeter, StoreMeter};
use crate::store::{Identity, StoreError};

/// A server and a token.
pub struct Access {
    /// `https://host:port`.
    pub address: String,
    /// The only trusted certificates, as PEM, with the setting that they are from; the system's if
    /// `None`.
    pub ca: Option<(String, Vec<u8>)>,
    /// The server's namespace; `None` is the root.
    pub namespace: Option<String>,
    pub token: SecretBytes,
    /// The variable or file with the token.
    pub token_in: &'static str,
}

impl Access {
    /// A client for paths that name their own mount. It neither renews nor revokes the token.
    ///
    /// # Errors
    /// The address or certificates are not valid.
    pub fn client(&self) -> Result<VaultClient, ConnectError> {
        let namespace = self.namespace()?;
        let source = Given { token: self.token.duplicate(), token_in: self.token_in };
        Ok(VaultClient::new(
            self.transport(Lagging::Forward)?,
            ClientSettings {
                identity: Identity("command line".into()),
                mount: None,
                namespace: namespace.clone(),
                login_namespace: namespace,
                source: Arc::new(source),
                answers: Answers::default(),
            },
        ))
    }

    pub(super) fn namespace(&self) -> Result<Option<HeaderValue>, ConnectError> {
        connect::namespace(self.namespace.as_deref())
    }

    pub(super) fn transport(&self, lagging: Lagging) -> Result<Arc<Transport>, ConnectError> {
        let ca = self.ca.as_ref().map(|(name, pem)| (name.as_str(), pem.as_slice()));
        Ok(Transport::new(Settings {
            http: connect::client(ca, None)?,
            address: connect::address(&self.address)?,
            redirects: if ca.is_some() { Redirects::PinnedCa } else { Redirects::SameOrigin },
            headers: HeaderMap::new(),
            lagging,
            rate: NonZeroU32::MAX,
            pace: Arc::default(),
            meter: StoreMeter::new(self.address.clone(), Arc::new(NoMeter)),
            recovered: Arc::new(|| {}),
            troubled: Arc::new(|| {}),
        }))
    }
}

struct Given {
    token: SecretBytes,
    token_in: &'static str,
}

#[async_trait]
impl LoginSource for Given {
    async fn credential(&self) -> Result<Login, StoreError> {
        Ok(Login::Token { token: self.token.duplicate(), source_name: self.token_in.to_owned() })
    }
}
