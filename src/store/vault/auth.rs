//! The requests of a session, and the token as a header.

use std::collections::BTreeMap;

use reqwest::Method;
use reqwest::header::HeaderValue;
use rustify::endpoint::Endpoint;
use zeroize::Zeroizing;

use super::transport::{Outgoing, Payload, largest};
use crate::domain::secret::SecretBytes;
use crate::store::StoreError;
use crate::store::auth::{Application, QUOTED, is_quoted};
use crate::store::meter::Call;

/// The maximum number of bytes with which JSON escapes one byte of text.
const MOST_ESCAPED: usize = 6;

/// The request that logs in.
pub fn login(application: &Application, namespace: Option<&HeaderValue>) -> Result<Outgoing, StoreError> {
    let fields = application.fields.iter();
    let sized = fields.clone().map(|(name, secret)| name.len() + MOST_ESCAPED * secret.len() + r#""":"","#.len());
    // Reserved at once, because a growing buffer leaves copies behind.
    let mut body = Zeroizing::new(Vec::with_capacity(2 + sized.sum::<usize>()));
    let texts: BTreeMap<&str, &str> =
        fields.filter_map(|(name, secret)| Some((*name, secret.expose_utf8()?))).collect();
    let path = format!("auth/{}/login", application.mount);
    let malformed = |_quotes_input| StoreError::Rejected { operation: "ask for", path: path.clone(), status: 400 };
    serde_json::to_writer(&mut *body, &texts).map_err(malformed)?;
    Ok(Outgoing {
        call: Call::Login,
        method: Method::POST,
        path,
        query: None,
        body: Some(Payload::json(body)),
        token: None,
        namespace: namespace.cloned(),
        largest: largest(Call::Login),
    })
}

/// A request of vaultrs for our own transport. vaultrs' client would send the token along any
/// redirect, read bodies of any size, and drop `Retry-After`.
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
    Ok(Outgoing { call, method, path, query, body, token, namespace, largest: largest(call) })
}

/// A token as a header. Files and Secrets often end in a newline, which no header can carry.
/// `source_name` is where it comes from.
pub fn token_header(token: &SecretBytes, source_name: &str) -> Result<HeaderValue, StoreError> {
    let unusable = |what: &str| StoreError::Credential { what: format!("the token in {source_name} {what}") };
    let trimmed = token.expose().trim_ascii();
    if trimmed.is_empty() {
        return Err(unusable("is empty"));
    }
    if is_quoted(trimmed) {
        return Err(unusable(QUOTED));
    }
    if !trimmed.iter().all(u8::is_ascii_graphic) {
        return Err(unusable("has characters that no token has: store it without spaces or a second line"));
    }
    let mut header = HeaderValue::from_bytes(trimmed).map_err(|_illegal| unusable("is not a header value"))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r7_a_token_with_a_newline_is_trimmed_and_an_odd_one_is_an_error_with_its_secret_and_without_the_token() {
        let header = token_header(&SecretBytes::from("s.abc\n"), "Secret ns/name").unwrap();
        assert_eq!(header, "s.abc");
        assert!(!format!("{header:?}").contains("abc"));
        for odd in ["", "\n", "s.abc def", "s.abc\ns.def", "s.\u{fc}", "\"s.abc\"", "'s.abc'\n"] {
            let error =
                token_header(&SecretBytes::from(odd), "Secret ns/name (key \"token\")").unwrap_err().to_string();
            assert!(!error.contains("abc") && error.contains("Secret ns/name (key \"token\")"), "{error}");
        }
    }
}
