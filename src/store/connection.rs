//! A store's spec, parsed once: where the server is, what is read to reach it and to log in, and in which namespace.

use crate::api::bounds;
use crate::api::selector::{CaProvider, CaProviderKind, SecretKeySelector, ServiceAccountSelector};
use crate::api::store_auth::{AppRoleAuth, KubernetesAuth, OpenBaoAuth, VaultAuth};
use crate::api::store_spec::{ClientTls, Headers, KvVersion, OpenBaoProvider, VaultProvider};
use crate::api::{StoreKind, StoreSpec};
use crate::domain::path::Mount;

use super::{StoreName, StoreRefusal};

#[cfg(test)]
mod tests;

/// One key of a Secret, with the namespace that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRef {
    pub namespace: String,
    pub name: String,
    pub key: String,
}

/// Where the CA that vouches for the server comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaSource {
    /// The system's.
    System,
    /// The spec's own.
    Bundle(Vec<u8>),
    /// A key of a Secret.
    Secret(KeyRef),
    /// A key of a ConfigMap.
    ConfigMap(KeyRef),
}

/// How to log in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// Not at all: an agent before the server does.
    Nothing,
    /// With a token that stands in a Secret.
    Token(KeyRef),
    /// With a role id and a secret id.
    AppRole { mount: String, role_id: RoleId, secret_id: KeyRef },
    /// With a ServiceAccount's token.
    Kubernetes { mount: String, role: String, jwt: JwtSource },
}

/// Where a role id stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoleId {
    /// In the spec.
    Literal(String),
    /// In a Secret.
    Secret(KeyRef),
}

/// Whose ServiceAccount token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwtSource {
    /// One requested for this ServiceAccount.
    Requested { namespace: String, name: String, audiences: Vec<String> },
    /// One that stands in a Secret.
    Secret(KeyRef),
    /// That of our own pod.
    Own,
}

/// Everything a store's spec says about the way to the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    pub server: String,
    pub mount: Option<String>,
    pub namespace: Option<String>,
    pub login_namespace: Option<String>,
    pub ca: CaSource,
    pub client_certificate: Option<(KeyRef, KeyRef)>,
    pub headers: Headers,
    pub forward_inconsistent: bool,
    pub auth: AuthMethod,
    /// Whether a credential is read in the consumer's namespace, so that each namespace is an identity of its own.
    pub referent: bool,
}

impl Connection {
    /// Every key of a Secret that the connection or its logins are made with.
    pub fn secrets(&self) -> impl Iterator<Item = &KeyRef> {
        let ca = match &self.ca {
            CaSource::Secret(key) => Some(key),
            CaSource::System | CaSource::Bundle(_) | CaSource::ConfigMap(_) => None,
        };
        let certificate = self.client_certificate.iter().flat_map(|(certificate, key)| [certificate, key]);
        self.auth.secrets().into_iter().chain(ca).chain(certificate)
    }
}

impl AuthMethod {
    /// The keys of Secrets that hold the credential; none where each login gets another one.
    pub fn secrets(&self) -> Vec<&KeyRef> {
        match self {
            AuthMethod::Nothing => Vec::new(),
            AuthMethod::Token(key) => vec![key],
            AuthMethod::AppRole { role_id: RoleId::Literal(_), secret_id, .. } => vec![secret_id],
            AuthMethod::AppRole { role_id: RoleId::Secret(role_id), secret_id, .. } => vec![role_id, secret_id],
            AuthMethod::Kubernetes { jwt: JwtSource::Secret(key), .. } => vec![key],
            AuthMethod::Kubernetes { jwt: JwtSource::Requested { .. } | JwtSource::Own, .. } => Vec::new(),
        }
    }
}

/// Parses the spec for a consumer in that namespace.
pub fn parse(store: &StoreName, spec: &StoreSpec, consumer: &str) -> Result<Connection, StoreRefusal> {
    let mut parser = Parser { store, consumer, referent: false };
    if let Some(foreign) = spec.provider.foreign_names().next() {
        return Err(parser.unsupported(format!("provider {foreign:?}")));
    }
    let connection = match (&spec.provider.vault, &spec.provider.open_bao) {
        (Some(vault), None) => parser.vault(vault)?,
        (None, Some(openbao)) => parser.openbao(openbao)?,
        (Some(_), Some(_)) | (None, None) => {
            return Err(parser.invalid("set exactly one of `provider.vault` and `provider.openBao`"));
        }
    };
    if let Some(mount) = &connection.mount {
        Mount::parse(mount).map_err(|error| parser.invalid(format!("`path`: {error}")))?;
    }
    // Last: whatever has a rule of its own is better told by that.
    bounds::check(spec).map_err(|error| parser.invalid(error.to_string()))?;
    Ok(Connection { referent: parser.referent, ..connection })
}

struct Parser<'a> {
    store: &'a StoreName,
    consumer: &'a str,
    referent: bool,
}

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
            auth: self.vault_auth(vault.auth.as_ref())?,
            referent: false,
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
            auth: self.openbao_auth(openbao.auth.as_ref())?,
            referent: false,
        })
    }

    fn version(&self, version: KvVersion) -> Result<(), StoreRefusal> {
        match version {
            KvVersion::V2 => Ok(()),
            KvVersion::V1 => {
                Err(self.unsupported("KV version 1 (`version: v1`; it has no check-and-set: upgrade the mount to v2)"))
            }
        }
    }

    /// When several methods are set the first counts, in this order.
    fn vault_auth(&mut self, auth: Option<&VaultAuth>) -> Result<AuthMethod, StoreRefusal> {
        let Some(auth) = auth else { return Ok(AuthMethod::Nothing) };
        if let Some(method) = self.common_auth(&auth.token_secret_ref, &auth.app_role, &auth.kubernetes)? {
            return Ok(method);
        }
        let others = [
            ("ldap", auth.ldap.is_some()),
            ("userPass", auth.user_pass.is_some()),
            ("jwt", auth.jwt.is_some()),
            ("cert", auth.cert.is_some()),
            ("iam", auth.iam.is_some()),
            ("gcp", auth.gcp.is_some()),
        ];
        match others.iter().find(|(_, set)| *set) {
            Some((method, _)) => Err(self.unsupported_auth(method)),
            None => Err(self.no_auth()),
        }
    }

    fn openbao_auth(&mut self, auth: Option<&OpenBaoAuth>) -> Result<AuthMethod, StoreRefusal> {
        let Some(auth) = auth else { return Ok(AuthMethod::Nothing) };
        match self.common_auth(&auth.token_secret_ref, &auth.app_role, &auth.kubernetes)? {
            Some(method) => Ok(method),
            None if auth.user_pass.is_some() => Err(self.unsupported_auth("userPass")),
            None => Err(self.no_auth()),
        }
    }

    fn common_auth(
        &mut self,
        token: &Option<SecretKeySelector>,
        app_role: &Option<AppRoleAuth>,
        kubernetes: &Option<KubernetesAuth>,
    ) -> Result<Option<AuthMethod>, StoreRefusal> {
        if let Some(token) = token {
            return Ok(Some(AuthMethod::Token(self.key(token, "auth.tokenSecretRef", Some("token"))?)));
        }
        if let Some(app_role) = app_role {
            return self.app_role(app_role).map(Some);
        }
        kubernetes.as_ref().map(|kubernetes| self.kubernetes(kubernetes)).transpose()
    }

    fn app_role(&mut self, auth: &AppRoleAuth) -> Result<AuthMethod, StoreRefusal> {
        let role_id = match (&auth.role_id, &auth.role_ref) {
            (Some(literal), _) => RoleId::Literal(literal.clone()),
            (None, Some(reference)) => RoleId::Secret(self.key(reference, "auth.appRole.roleRef", None)?),
            (None, None) => return Err(self.invalid("`auth.appRole` needs `roleId` or `roleRef`")),
        };
        let secret_id = self.key(&auth.secret_ref, "auth.appRole.secretRef", None)?;
        Ok(AuthMethod::AppRole { mount: self.auth_mount(auth.path())?, role_id, secret_id })
    }

    fn kubernetes(&mut self, auth: &KubernetesAuth) -> Result<AuthMethod, StoreRefusal> {
        let jwt = match (&auth.service_account_ref, &auth.secret_ref) {
            (Some(account), _) => self.requested(account)?,
            (None, Some(secret)) => JwtSource::Secret(self.key(secret, "auth.kubernetes.secretRef", Some("token"))?),
            // Whoever may write a SecretStore chooses the server that gets the token: it must not be ours.
            (None, None) if self.store.kind == StoreKind::SecretStore => {
                return Err(self.invalid(
                    "only a ClusterSecretStore may log in as Waypost's own ServiceAccount: set `auth.kubernetes.serviceAccountRef`",
                ));
            }
            (None, None) => JwtSource::Own,
        };
        Ok(AuthMethod::Kubernetes { mount: self.auth_mount(auth.mount_path())?, role: auth.role.clone(), jwt })
    }

    fn requested(&mut self, account: &ServiceAccountSelector) -> Result<JwtSource, StoreRefusal> {
        let namespace = self.namespace(account.namespace.as_deref(), "auth.kubernetes.serviceAccountRef")?;
        Ok(JwtSource::Requested { namespace, name: account.name.clone(), audiences: account.audiences.clone() })
    }

    fn auth_mount(&self, text: &str) -> Result<String, StoreRefusal> {
        let text = text.strip_prefix('/').unwrap_or(text);
        let mount = Mount::parse(text).map_err(|error| self.invalid(format!("the mount of `auth`: {error}")))?;
        Ok(mount.to_string())
    }

    fn ca(&mut self, bundle: Option<&Vec<u8>>, provider: Option<&CaProvider>) -> Result<CaSource, StoreRefusal> {
        match (bundle.filter(|bundle| !bundle.is_empty()), provider) {
            (Some(bundle), _) => Ok(CaSource::Bundle(bundle.clone())),
            (None, Some(provider)) => self.ca_provider(provider),
            (None, None) => Ok(CaSource::System),
        }
    }

    fn ca_provider(&mut self, provider: &CaProvider) -> Result<CaSource, StoreRefusal> {
        let key = KeyRef {
            namespace: self.namespace(provider.namespace.as_deref(), "caProvider")?,
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
                self.key(certificate, "tls.certSecretRef", Some("tls.crt"))?,
                self.key(key, "tls.keySecretRef", Some("tls.key"))?,
            ))),
            (None, None) => Ok(None),
            (Some(_), None) | (None, Some(_)) => {
                Err(self.invalid("`tls` needs both `certSecretRef` and `keySecretRef`"))
            }
        }
    }

    fn key(&mut self, selector: &SecretKeySelector, field: &str, usual: Option<&str>) -> Result<KeyRef, StoreRefusal> {
        let name = selector.name.clone().ok_or_else(|| self.invalid(format!("`{field}` names no Secret")))?;
        let key = selector.key.clone().or_else(|| usual.map(str::to_owned));
        let key = key.ok_or_else(|| self.invalid(format!("`{field}` names no key of Secret {name:?}")))?;
        Ok(KeyRef { namespace: self.namespace(selector.namespace.as_deref(), field)?, name, key })
    }

    /// A SecretStore reads in its own namespace only; a ClusterSecretStore where it says, else where the consumer is.
    fn namespace(&mut self, named: Option<&str>, field: &str) -> Result<String, StoreRefusal> {
        match (self.store.kind, &self.store.namespace, named) {
            (StoreKind::SecretStore, Some(own), None) => Ok(own.clone()),
            (StoreKind::SecretStore, Some(own), Some(named)) if own == named => Ok(own.clone()),
            (StoreKind::SecretStore, _, _) => Err(self.invalid(format!(
                "`{field}` names another namespace, which only a ClusterSecretStore may: remove `namespace`"
            ))),
            (StoreKind::ClusterSecretStore, _, Some(named)) => Ok(named.to_owned()),
            (StoreKind::ClusterSecretStore, _, None) => {
                self.referent = true;
                Ok(self.consumer.to_owned())
            }
        }
    }

    fn unsupported_auth(&self, method: &str) -> StoreRefusal {
        self.unsupported(format!("auth method `{method}` (use `kubernetes`, `appRole` or `tokenSecretRef`)"))
    }

    fn no_auth(&self) -> StoreRefusal {
        self.invalid("`auth` names no method: set `kubernetes`, `appRole` or `tokenSecretRef`, or remove `auth`")
    }

    fn invalid(&self, what: impl Into<String>) -> StoreRefusal {
        StoreRefusal::Invalid { store: self.store.clone(), what: what.into() }
    }

    fn unsupported(&self, what: impl Into<String>) -> StoreRefusal {
        StoreRefusal::Unsupported { store: self.store.clone(), what: what.into() }
    }
}
