//! How one logs in: the credential, and the request that turns it into a token.

use async_trait::async_trait;
use reqwest::Method;
use reqwest::header::HeaderValue;
use rustify::endpoint::Endpoint;
use vaultrs::api::auth::approle::requests::LoginWithApproleRequest;
use vaultrs::api::auth::kubernetes::requests::LoginWithKubernetesRequest;
use zeroize::Zeroizing;

use super::transport::{MAX_REPLY, Outgoing, Payload};
use crate::domain::secret::SecretBytes;
use crate::store::StoreError;
use crate::store::error::Applicant;
use crate::store::observer::Call;

/// A credential, ready to log in with.
pub enum Login {
    /// The server, or an agent before it, needs no token.
    Nothing,
    /// A token that somebody else made, and the name of the Secret it stands in; never renewed or revoked by us.
    Token { token: SecretBytes, source_name: String },
    /// A ServiceAccount's token.
    Kubernetes { mount: String, role: String, jwt: SecretBytes },
    /// A role id and a secret id, and the name of the Secret that the latter stands in.
    AppRole { mount: String, role_id: SecretBytes, secret_id: SecretBytes, source_name: String },
}

/// Where the credential comes from, read anew for each login.
#[async_trait]
pub trait LoginSource: Send + Sync {
    /// Reads the credential.
    async fn credential(&self) -> Result<Login, StoreError>;
}

impl Login {
    /// Everything in it that is secret.
    pub fn secrets(&self) -> Vec<&SecretBytes> {
        match self {
            Login::Nothing => Vec::new(),
            Login::Token { token, .. } => vec![token],
            Login::Kubernetes { jwt, .. } => vec![jwt],
            Login::AppRole { role_id, secret_id, .. } => vec![role_id, secret_id],
        }
    }
}

/// A request that logs in, and what is said when it is refused.
pub struct Application {
    pub request: Outgoing,
    pub refused: StoreError,
}

/// The request that logs in; none where no login is needed.
pub fn application(login: &Login, namespace: Option<&HeaderValue>) -> Result<Option<Application>, StoreError> {
    match login {
        Login::Nothing | Login::Token { .. } => Ok(None),
        Login::Kubernetes { mount, role, jwt } => {
            let endpoint = LoginWithKubernetesRequest {
                mount: mount.clone(),
                role: role.clone(),
                jwt: text(jwt, "the ServiceAccount's token")?,
            };
            let request = outgoing(Call::Login, &endpoint, None, namespace)?;
            let applicant = Applicant::ServiceAccount { role: role.clone() };
            Ok(Some(Application { request, refused: StoreError::LoginRefused { mount: mount.clone(), applicant } }))
        }
        Login::AppRole { mount, role_id, secret_id, source_name } => {
            let endpoint = LoginWithApproleRequest {
                mount: mount.clone(),
                role_id: text(role_id, "the role id")?,
                secret_id: text(secret_id, "the secret id")?,
            };
            let request = outgoing(Call::Login, &endpoint, None, namespace)?;
            let applicant = Applicant::AppRole { secret_id_in: source_name.clone() };
            Ok(Some(Application { request, refused: StoreError::LoginRefused { mount: mount.clone(), applicant } }))
        }
    }
}

/// A request as vaultrs describes it, for our own transport: vaultrs' client would send the token along any redirect,
/// read bodies of any size, and drop `Retry-After`.
pub fn outgoing(
    call: Call,
    endpoint: &impl Endpoint,
    token: Option<&HeaderValue>,
    namespace: Option<&HeaderValue>,
) -> Result<Outgoing, StoreError> {
    let path = endpoint.path().trim().trim_matches('/').to_owned();
    let malformed = || StoreError::Rejected { operation: "ask for", path: path.clone(), status: 400 };
    let body = endpoint.body().map_err(|_quotes_input| malformed())?.map(|body| Payload::json(Zeroizing::new(body)));
    let query = endpoint.query().map_err(|_quotes_input| malformed())?;
    let method: Method = endpoint.method().into();
    let (token, namespace) = (token.cloned(), namespace.cloned());
    Ok(Outgoing { call, method, path, query, body, token, namespace, largest: MAX_REPLY })
}

/// A token as a header. Files and Secrets often end in a newline, which no header can carry.
pub fn token_header(token: &SecretBytes) -> Result<HeaderValue, StoreError> {
    let unusable = |what: &str| StoreError::Credential { what: format!("the token {what}") };
    let trimmed = token.expose().trim_ascii();
    if trimmed.is_empty() {
        return Err(unusable("is empty"));
    }
    if !trimmed.iter().all(u8::is_ascii_graphic) {
        return Err(unusable("has characters that no token has: store it without quotes, spaces or a second line"));
    }
    let mut header = HeaderValue::from_bytes(trimmed).map_err(|_illegal| unusable("is not a header value"))?;
    header.set_sensitive(true);
    Ok(header)
}

fn text(secret: &SecretBytes, what: &str) -> Result<String, StoreError> {
    let not_text = || StoreError::Credential { what: format!("{what} is not text") };
    let text = secret.expose_utf8().ok_or_else(not_text)?.trim();
    match text.is_empty() {
        true => Err(StoreError::Credential { what: format!("{what} is empty") }),
        false => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_with_a_newline_is_trimmed_and_an_odd_one_is_an_error_without_the_token() {
        let header = token_header(&SecretBytes::from("s.abc\n")).unwrap();
        assert_eq!(header, "s.abc");
        assert!(!format!("{header:?}").contains("abc"));
        for odd in ["", "\n", "s.abc def", "s.abc\ns.def", "s.\u{fc}"] {
            let error = token_header(&SecretBytes::from(odd)).unwrap_err();
            assert!(!error.to_string().contains("abc"), "{error}");
        }
    }
}
