//! A store's spec, parsed once: the server's address, what is read to connect and to log in, and in
//! which namespace.

use std::sync::Arc;

use super::auth::{self, Declared, Method};
use super::fields::Fields;
use super::keys::KeyRef;
use super::vault::connect::{self, ConnectError};
use super::{StoreName, StoreRefusal};
use crate::api::selector::{CaProvider, CaProviderKind};
use crate::api::store_location::StoreLocation;
use crate::api::store_spec::{ClientTls, Headers, KvVersion, OpenBaoProvider, VaultProvider};
use crate::api::{StoreSpec, bounds};
use crate::domain::path::Mount;
use crate::domain::source::SourceKind;

#[cfg(test)]
mod tests;

/// The origin of the CA for the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaSource {
    /// The system's.
    System,
    /// In the spec.
    Bundle(Vec<u8>),
    /// A key of a Secret.
    Secret(KeyRef),
    /// A key of a ConfigMap.
    ConfigMap(KeyRef),
}

/// How to connect to a store's server, and how to log in.
#[derive(Clone, Debug)]
pub struct Connection {
    pub server: String,
    pub mount: Option<String>,
    pub namespace: Option<String>,
    pub login_namespace: Option<String>,
    pub ca: CaSource,
    pub client_certificate: Option<(KeyRef, KeyRef)>,
    pub headers: Headers,
    pub forward_inconsistent: bool,
    /// How to log in.
    pub auth: Arc<dyn Method>,
    /// Whether a credential is read in the consumer's namespace, so that each namespace has its own
    /// identity.
    pub referent: bool,
    /// Fields that have no effect beside others, for people.
    pub ignored: Vec<String>,
}

impl Connection {
    /// Where it leads, spelled as [`StoreClient::location`](super::StoreClient::location) does.
    pub fn location(&self) -> Result<StoreLocation, ConnectError> {
        let namespace = connect::namespace(self.namespace.as_deref())?;
        Ok(StoreLocation {
            server: connect::address(&self.server)?.as_str().trim_end_matches('/').to_owned(),
            namespace: namespace.and_then(|namespace| namespace.to_str().ok().map(str::to_owned)),
            path: self.mount.clone(),
            ..StoreLocation::default()
        })
    }

    /// Every key of a Secret or ConfigMap that the connection or its logins use.
    pub fn read_from(&self) -> impl Iterator<Item = (SourceKind, &KeyRef)> {
        let ca = match &self.ca {
            CaSource::Secret(key) => Some((SourceKind::Secret, key)),
            CaSource::ConfigMap(key) => Some((SourceKind::ConfigMap, key)),
            CaSource::System | CaSource::Bundle(_) => None,
        };
        let certificate = self.client_certificate.iter().flat_map(|(certificate, key)| [certificate, key]);
        self.auth.keys().into_iter().chain(certificate).map(|key| (SourceKind::Secret, key)).chain(ca)
    }
}

/// Parses the spec for a consumer in this namespace.
pub fn parse(store: &StoreName, spec: &StoreSpec, consumer: &str) -> Result<Connection, StoreRefusal> {
    let mut parser = Parser(Fields::new(store, consumer));
    if let Some(foreign) = spec.provider.foreign_names().next() {
        return Err(parser.0.unsupported(format!("provider {foreign:?}")));
    }
    let connection = match (&spec.provider.vault, &spec.provider.open_bao) {
        (Some(vault), None) => parser.vault(vault)?,
        (None, Some(openbao)) => parser.openbao(openbao)?,
        (Some(_), Some(_)) | (None, None) => {
            return Err(parser.0.invalid("set exactly one of `provider.vault` and `provider.openBao`"));
        }
    };
    if let Some(mount) = &connection.mount {
        Mount::parse(mount).map_err(|error| parser.0.invalid(format!("`path`: {}", error.of_mount())))?;
    }
    // Last, because more specific errors are better messages.
    bounds::check(spec).map_err(|error| parser.0.invalid(error.to_string()))?;
    Ok(Connection { referent: parser.0.is_referent(), ignored: parser.0.ignored(), ..connection })
}

struct Parser<'a>(Fields<'a>);

impl Parser<'_> {
    fn vault(&mut self, vault: &VaultProvider) -> Result<Connection, StoreRefusal> {
        self.version(vault.version())?;
        let login_namespace = vault.auth.as_ref().and_then(|auth| auth.namespace.clone());
        Ok(Connection {
            server: vault.server.clone(),
            mount: vault.path.clone(),
            namespace: vault.namespace.clone(),
            login_namespace: login_namespace.or_else(|| vault.namespace.clone()),
            ca: self.ca(vault.ca_bundle.as_ref().map(|bundle| &bundle.0), vault.ca_provider.as_ref())?,
            client_certificate: self.client_certificate(vault.tls.as_ref())?,
            headers: vault.headers.clone(),
            forward_inconsistent: vault.forward_inconsistent == Some(true) && vault.read_your_writes == Some(true),
            auth: auth::choose(vault.auth.as_ref().map(Declared::from), &mut self.0)?,
            referent: false,
            ignored: Vec::new(),
        })
    }

    fn openbao(&mut self, openbao: &OpenBaoProvider) -> Result<Connection, StoreRefusal> {
        self.version(openbao.version())?;
        let login_namespace = openbao.auth.as_ref().and_then(|auth| auth.namespace.clone());
        Ok(Connection {
            server: openbao.server.clone(),
            mount: openbao.path.clone(),
            namespace: openbao.namespace.clone(),
            login_namespace: login_namespace.or_else(|| openbao.namespace.clone()),
            ca: self.ca(openbao.ca_bundle.as_ref().map(|bundle| &bundle.0), openbao.ca_provider.as_ref())?,
            client_certificate: self.client_certificate(openbao.tls.as_ref())?,
            headers: Headers::default(),
            forward_inconsistent: false,
            auth: auth::choose(openbao.auth.as_ref().map(Declared::from), &mut self.0)?,
            referent: false,
            ignored: Vec::new(),
        })
    }

    fn version(&self, version: KvVersion) -> Result<(), StoreRefusal> {
        match version {
            KvVersion::V2 => Ok(()),
            KvVersion::V1 => Err(self
                .0
                .unsupported("KV version 1 (`version: v1`; it has no check-and-set: upgrade the mount to v2)")),
        }
    }

    fn ca(&mut self, bundle: Option<&Vec<u8>>, provider: Option<&CaProvider>) -> Result<CaSource, StoreRefusal> {
        match (bundle.filter(|bundle| !bundle.is_empty()), provider) {
            (Some(bundle), provider) => {
                self.0.ignore(provider.is_some(), "caProvider", "caBundle");
                Ok(CaSource::Bundle(bundle.clone()))
            }
            (None, Some(provider)) => self.ca_provider(provider),
            (None, None) => Ok(CaSource::System),
        }
    }

    fn ca_provider(&mut self, provider: &CaProvider) -> Result<CaSource, StoreRefusal> {
        let key = KeyRef {
            namespace: self.0.namespace(provider.namespace.as_deref(), "caProvider")?,
            name: provider.name.clone(),
            key: provider.key.clone().unwrap_or_else(|| "ca.crt".to_owned()),
        };
        Ok(match provider.type_ {
            CaProviderKind::Secret => CaSource::Secret(key),
            CaProviderKind::ConfigMap => CaSource::ConfigMap(key),
        })
    }

    fn client_certificate(&mut self, tls: Option<&ClientTls>) -> Result<Option<(KeyRef, KeyRef)>, StoreRefusal> {
        let Some(tls) = tls else { return Ok(None) };
        match (&tls.cert_secret_ref, &tls.key_secret_ref) {
            (Some(certificate), Some(key)) => Ok(Some((
                self.0.key(certificate, "tls.certSecretRef", Some("tls.crt"))?,
                self.0.key(key, "tls.keySecretRef", Some("tls.key"))?,
            ))),
            (None, None) => Ok(None),
            (Some(_), None) | (None, Some(_)) => {
                Err(self.0.invalid("`tls` needs both `certSecretRef` and `keySecretRef`"))
            }
        }
    }
}
