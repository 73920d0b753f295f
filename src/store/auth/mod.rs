//! Login methods. Each is one file: which keys of Secrets it reads, what it sends, and what a
//! denied login means.

mod agent;
mod app_role;
mod kubernetes;
mod token;

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;

use self::agent::Agent;
use self::app_role::AppRole;
use self::kubernetes::Kubernetes;
use self::token::Token;
use super::fields::Fields;
use super::keys::KeyRef;
use super::{StoreError, StoreRefusal};
use crate::api::selector::SecretKeySelector;
use crate::api::store_auth::{AppRoleAuth, KubernetesAuth, OpenBaoAuth, VaultAuth};
use crate::cluster::Cluster;
use crate::domain::secret::SecretBytes;

/// A login method with its settings.
#[async_trait]
pub trait Method: Debug + Send + Sync {
    /// The keys of Secrets with the credential; empty if each login gets a new one.
    fn keys(&self) -> Vec<&KeyRef>;

    /// Reads the credential for one login.
    ///
    /// # Errors
    /// [`StoreError::Credential`] if there is no usable one, [`StoreError::CredentialUnread`] if it
    /// could not be read this time.
    async fn read(&self, cluster: &Cluster) -> Result<Login, StoreError>;
}

/// A credential, ready to log in with.
pub enum Login {
    /// No token is sent: the server needs none, or an agent in front of it adds one.
    Agent,
    /// A token that somebody else created, and the Secret and key that hold it. We never renew or
    /// revoke it.
    Token { token: SecretBytes, source_name: String },
    /// A request that is answered with a token.
    Application(Application),
}

/// The login request, and the texts for an error when it is denied.
pub struct Application {
    /// The auth mount; the request is sent to `auth/<mount>/login`.
    pub mount: String,
    /// The fields of the body.
    pub fields: Vec<(&'static str, SecretBytes)>,
    /// Who logs in, as in "role \"app\"".
    pub applicant: String,
    /// What to check if the login is denied.
    pub advice: String,
}

impl Login {
    /// All secret values in it.
    pub fn secrets(&self) -> Vec<&SecretBytes> {
        match self {
            Login::Agent => Vec::new(),
            Login::Token { token, .. } => vec![token],
            Login::Application(application) => application.fields.iter().map(|(_, secret)| secret).collect(),
        }
    }
}

impl Application {
    /// The error if the server denies the login.
    pub fn refused(&self) -> StoreError {
        StoreError::LoginRefused {
            mount: self.mount.clone(),
            applicant: self.applicant.clone(),
            advice: self.advice.clone(),
        }
    }
}

/// The origin of the credential, read again for each login.
#[async_trait]
pub trait LoginSource: Send + Sync {
    /// Reads the credential.
    async fn credential(&self) -> Result<Login, StoreError>;
}

/// The methods that a store's `auth` sets.
#[derive(Default)]
pub struct Declared<'a> {
    token: Option<&'a SecretKeySelector>,
    app_role: Option<&'a AppRoleAuth>,
    kubernetes: Option<&'a KubernetesAuth>,
    /// Methods that this version does not support.
    others: Vec<&'static str>,
}

impl Declared<'_> {
    /// The methods by their fields, in the order in which they count.
    fn methods(&self) -> Vec<&'static str> {
        let ours = set(&[
            ("tokenSecretRef", self.token.is_some()),
            ("appRole", self.app_role.is_some()),
            ("kubernetes", self.kubernetes.is_some()),
        ]);
        ours.into_iter().chain(self.others.iter().copied()).collect()
    }
}

impl<'a> From<&'a VaultAuth> for Declared<'a> {
    fn from(auth: &'a VaultAuth) -> Self {
        let others = [
            ("ldap", auth.ldap.is_some()),
            ("userPass", auth.user_pass.is_some()),
            ("jwt", auth.jwt.is_some()),
            ("cert", auth.cert.is_some()),
            ("iam", auth.iam.is_some()),
            ("gcp", auth.gcp.is_some()),
        ];
        Declared {
            token: auth.token_secret_ref.as_ref(),
            app_role: auth.app_role.as_ref(),
            kubernetes: auth.kubernetes.as_ref(),
            others: set(&others),
        }
    }
}

impl<'a> From<&'a OpenBaoAuth> for Declared<'a> {
    fn from(auth: &'a OpenBaoAuth) -> Self {
        Declared {
            token: auth.token_secret_ref.as_ref(),
            app_role: auth.app_role.as_ref(),
            kubernetes: auth.kubernetes.as_ref(),
            others: set(&[("userPass", auth.user_pass.is_some())]),
        }
    }
}

fn set(methods: &[(&'static str, bool)]) -> Vec<&'static str> {
    methods.iter().filter(|(_, set)| *set).map(|(method, _)| *method).collect()
}

/// The method to use: of several, the first in the order token, AppRole, Kubernetes. Without
/// `auth`, none is needed.
///
/// # Errors
/// No method is set, or none that this version supports, or its settings are wrong.
pub fn choose(declared: Option<Declared<'_>>, fields: &mut Fields<'_>) -> Result<Arc<dyn Method>, StoreRefusal> {
    let Some(declared) = declared else { return Ok(Arc::new(Agent)) };
    let methods = declared.methods();
    if let Some((first, others)) = methods.split_first() {
        others.iter().for_each(|other| fields.ignore(true, &format!("auth.{other}"), &format!("auth.{first}")));
    }
    if let Some(token) = declared.token {
        return Ok(Arc::new(Token::parse(token, fields)?));
    }
    if let Some(app_role) = declared.app_role {
        return Ok(Arc::new(AppRole::parse(app_role, fields)?));
    }
    if let Some(kubernetes) = declared.kubernetes {
        return Ok(Arc::new(Kubernetes::parse(kubernetes, fields)?));
    }
    match declared.others.first() {
        Some(method) => {
            Err(fields.unsupported(format!("auth method `{method}` (use `kubernetes`, `appRole` or `tokenSecretRef`)")))
        }
        None => {
            Err(fields
                .invalid("`auth` names no method: set `kubernetes`, `appRole` or `tokenSecretRef`, or remove `auth`"))
        }
    }
}

/// A credential as text, without the white space at the end of a file.
fn text(secret: &SecretBytes, what: &str) -> Result<SecretBytes, StoreError> {
    let not_text = || StoreError::Credential { what: format!("{what} is not text") };
    let text = secret.expose_utf8().ok_or_else(not_text)?.trim();
    let wrong = |is: &str| Err(StoreError::Credential { what: format!("{what} {is}") });
    match text {
        "" => wrong("is empty"),
        text if is_quoted(text.as_bytes()) => wrong(QUOTED),
        text => Ok(SecretBytes::from(text)),
    }
}

/// What is said of a credential that somebody copied with its quotes.
pub const QUOTED: &str = "is in quotes: store it without them";

/// Whether quotes are around it, as in a file of JSON or YAML.
pub fn is_quoted(text: &[u8]) -> bool {
    matches!(text, [b'"', .., b'"'] | [b'\'', .., b'\''])
}
