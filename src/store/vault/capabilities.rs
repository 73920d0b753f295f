//! The rights of a token on paths, asked once and without a session, for the command line.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::Method;
use reqwest::header::HeaderValue;
use thiserror::Error;
use zeroize::Zeroizing;

use super::access::Access;
use super::connect::ConnectError;
use super::error::{self, Asked};
use super::reply::{self, Data};
use super::transport::{Lagging, MAX_REPLY, Outgoing, Payload};
use crate::store::StoreError;
use crate::store::meter::Call;

const ENDPOINT: &str = "sys/capabilities-self";

/// Why the token's rights are not known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CapabilitiesError {
    /// The address or certificates are not valid.
    #[error(transparent)]
    Connect(ConnectError),
    /// The text has characters that a token cannot have.
    #[error("the token of {token_in} has characters that a token cannot have: check that it is the token itself")]
    Token {
        /// The variable or file with the token.
        token_in: &'static str,
    },
    /// The server.
    #[error(transparent)]
    Store(StoreError),
}

/// The rights, by path.
///
/// # Errors
/// [`CapabilitiesError`], without any part of the token.
pub async fn capabilities(
    access: &Access,
    paths: &[&str],
) -> Result<BTreeMap<String, BTreeSet<String>>, CapabilitiesError> {
    let transport = access.transport(Lagging::Refuse).map_err(CapabilitiesError::Connect)?;
    let unusable = CapabilitiesError::Token { token_in: access.token_in };
    let mut token = HeaderValue::from_bytes(access.token.expose()).map_err(|_illegal| unusable)?;
    token.set_sensitive(true);
    let body = serde_json::json!({ "paths": paths }).to_string().into_bytes();
    let request = Outgoing {
        call: Call::Capabilities,
        method: Method::POST,
        path: ENDPOINT.to_owned(),
        query: None,
        body: Some(Payload::json(Zeroizing::new(body))),
        token: Some(token),
        namespace: access.namespace().map_err(CapabilitiesError::Connect)?,
        largest: MAX_REPLY,
    };
    let reply = transport.send(&request).await.map_err(CapabilitiesError::Store)?;
    let (operation, namespace) = ("ask for the token's rights at", access.namespace.as_deref().unwrap_or_default());
    if !reply.status.is_success() {
        let asked = Asked { operation, path: ENDPOINT, mount: "", namespace, bytes: 0 };
        return Err(CapabilitiesError::Store(error::judge(&reply, transport.server(), asked)));
    }
    let held: Data<BTreeMap<String, BTreeSet<String>>> = reply::parse(&reply.body).ok_or_else(|| {
        let what = "it does not name the paths that were asked for";
        CapabilitiesError::Store(StoreError::BadReply { operation, path: ENDPOINT.to_owned(), what })
    })?;
    Ok(held.data)
}
