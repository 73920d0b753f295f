//! The allowed addresses of a store, and the HTTP client for them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::redirect::Policy;
use reqwest::{Certificate, Identity, Url};
use thiserror::Error;
use zeroize::Zeroizing;

use crate::domain::secret::SecretBytes;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The timeout of a request, from the first byte sent to the last byte read.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(15);
/// Headers that only we set.
const RESERVED: [&str; 4] = ["x-vault-token", "x-vault-namespace", "x-waypost-resource", "host"];

/// What is wrong with a store's address, headers or certificates. It has names only, never a
/// header's or a certificate's content.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConnectError {
    #[error("`server` {address:?} is not an address: write `https://host:port`")]
    Address { address: String },
    #[error("`server` has a user, a password, a query or a fragment: remove them, and log in with `auth`")]
    AddressParts,
    #[error(
        "`server` {address:?} is a link-local address, where clouds serve their own credentials: name the server itself"
    )]
    LinkLocal { address: String },
    #[error(
        "`server` {address:?} is the address of the {of}: write scheme, host and port alone, such as `https://host:8200`"
    )]
    Endpoint { address: String, of: &'static str },
    #[error("only Waypost sets the header {name:?}: remove it from `headers` (use `auth` and `namespace`)")]
    ReservedHeader { name: String },
    #[error("header {name:?} is not a valid header name, or its value has characters that a header cannot have")]
    Header { name: String },
    #[error("the Vault namespace has characters that a header cannot have: write its path, such as `team-a`")]
    Namespace,
    #[error("the CA of the store ({source_name}) has no readable PEM certificate")]
    Ca { source_name: String },
    #[error("`tls`: certificate and key are not PEM, or do not belong together")]
    ClientCertificate,
    #[error(
        "no HTTP client can be built: without a `caBundle` or `caProvider` this needs the system's CA certificates"
    )]
    Client,
}

/// Pooled connections; clones share them.
pub type HttpClient = reqwest::Client;

/// A certificate and its key as PEM.
pub struct ClientCertificate {
    pub certificate: SecretBytes,
    pub key: SecretBytes,
}

/// Parses a store's `server`.
pub fn address(text: &str) -> Result<Url, ConnectError> {
    // A text with credentials must not be repeated in an error, whatever else is wrong with it.
    if text.contains('@') {
        return Err(ConnectError::AddressParts);
    }
    let wrong = || ConnectError::Address { address: text.to_owned() };
    let url = Url::parse(text).map_err(|_unparsable| wrong())?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err(ConnectError::AddressParts);
    }
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(wrong());
    }
    if names_link_local(&url) {
        return Err(ConnectError::LinkLocal { address: text.to_owned() });
    }
    match endpoint(&url) {
        Some(of) => Err(ConnectError::Endpoint { address: text.to_owned(), of }),
        None => Ok(url),
    }
}

/// What of a server the address names, where it names more than the server. A proxy may serve it
/// below a path.
fn endpoint(url: &Url) -> Option<&'static str> {
    let segments: Vec<&str> = url.path().split('/').filter(|segment| !segment.is_empty()).collect();
    let is_page = segments
        .iter()
        .enumerate()
        .any(|(at, segment)| *segment == "ui" && segments.get(at + 1).is_none_or(|next| *next == "vault"));
    match segments.last() {
        _ if is_page => Some("web page"),
        Some(&"v1") => Some("API"),
        Some(_) | None => None,
    }
}

/// Whether the host is written as a link-local address.
pub fn names_link_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().is_ok_and(is_link_local)
}

/// The store's own headers. Their values may be credentials, so they are marked sensitive.
pub fn headers<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> Result<HeaderMap, ConnectError> {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        if RESERVED.contains(&name.to_ascii_lowercase().as_str()) {
            return Err(ConnectError::ReservedHeader { name: name.clone() });
        }
        let wrong = || ConnectError::Header { name: name.clone() };
        let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_illegal| wrong())?;
        let mut value = HeaderValue::from_str(value).map_err(|_illegal| wrong())?;
        value.set_sensitive(true);
        headers.insert(header, value);
    }
    Ok(headers)
}

/// A Vault namespace as a header; `None` for the root.
pub fn namespace(text: Option<&str>) -> Result<Option<HeaderValue>, ConnectError> {
    let text = text.map(|text| text.trim_matches('/')).filter(|text| !text.is_empty());
    let Some(text) = text else { return Ok(None) };
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ConnectError::Namespace);
    }
    HeaderValue::from_str(text).map(Some).map_err(|_illegal| ConnectError::Namespace)
}

/// A client for one (address, CA, client certificate). With the store's own CA, the system's
/// certificates are neither needed nor trusted.
pub fn client(
    ca: Option<(&str, &[u8])>,
    identity: Option<&ClientCertificate>,
) -> Result<reqwest::Client, ConnectError> {
    let mut builder = reqwest::Client::builder()
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(REQUEST_TIMEOUT)
        .no_proxy()
        .tcp_keepalive(Duration::from_secs(15))
        .http2_keep_alive_interval(Duration::from_secs(10))
        .http2_keep_alive_timeout(Duration::from_secs(5))
        .dns_resolver(GuardedResolver)
        .user_agent(concat!("waypost/", env!("CARGO_PKG_VERSION")));
    if let Some((source_name, pem)) = ca {
        let wrong = || ConnectError::Ca { source_name: source_name.to_owned() };
        let certificates = Certificate::from_pem_bundle(pem).map_err(|_quotes_input| wrong())?;
        if certificates.is_empty() {
            return Err(wrong());
        }
        builder = builder.tls_certs_only(certificates);
    }
    if let Some(identity) = identity {
        let mut pem = Zeroizing::new(Vec::with_capacity(identity.certificate.len() + identity.key.len() + 1));
        pem.extend_from_slice(identity.certificate.expose());
        pem.push(b'\n');
        pem.extend_from_slice(identity.key.expose());
        let identity = Identity::from_pem(&pem).map_err(|_quotes_input| ConnectError::ClientCertificate)?;
        builder = builder.identity(identity);
    }
    builder.build().map_err(|_quotes_input| match (ca, identity) {
        (Some((source_name, _)), None) => ConnectError::Ca { source_name: source_name.to_owned() },
        (_, Some(_)) => ConnectError::ClientCertificate,
        (None, None) => ConnectError::Client,
    })
}

/// Resolves as the system does, and drops link-local addresses.
struct GuardedResolver;

/// Why a name cannot be resolved.
#[derive(Debug, Error)]
pub enum ResolveError {
    #[error("the name does not resolve")]
    Unknown,
    #[error("every address of this name is link-local")]
    OnlyLinkLocal,
}

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0))
                .await
                .map_err(|_no_kind_of_its_own| ResolveError::Unknown)?
                .collect();
            let fit: Vec<SocketAddr> = found.into_iter().filter(|address| !is_link_local(address.ip())).collect();
            match fit.is_empty() {
                true => Err(ResolveError::OnlyLinkLocal.into()),
                false => Ok(Box::new(fit.into_iter()) as Addrs),
            }
        })
    }
}

/// 169.254.0.0/16, fe80::/10, their mapped forms, and the metadata address of one cloud outside
/// them.
fn is_link_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_unicast_link_local() || address.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_judged() {
        for good in ["https://vault.example:8200", "http://127.0.0.1:8200", "https://host/vault/", "https://[::1]:8200"]
        {
            assert!(address(good).is_ok(), "{good}");
        }
        for link_local in [
            "http://169.254.169.254",
            "https://[fe80::1]:8200",
            "https://[::ffff:169.254.169.254]/x",
            "http://2852039166/",
        ] {
            assert!(matches!(address(link_local), Err(ConnectError::LinkLocal { .. })), "{link_local}");
        }
        for wrong in ["vault", "ftp://host", "unix:///run/x", ""] {
            assert!(matches!(address(wrong), Err(ConnectError::Address { .. })), "{wrong}");
        }
        for credentials in
            ["https://me:s3cret@host", "https://host/?token=s3cret", "https://h/#s3cret", "me:s3cret@host"]
        {
            let error = address(credentials).unwrap_err();
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn r5_the_address_of_an_endpoint_is_not_that_of_the_server() {
        for (text, told) in [
            ("https://host/v1", "API"),
            ("https://host:8200/v1/", "API"),
            ("https://host/vault/v1", "API"),
            ("https://host/ui", "web page"),
            ("https://host/ui/vault/auth", "web page"),
            ("https://host/vault/ui/", "web page"),
        ] {
            let error = address(text).unwrap_err();
            assert!(matches!(&error, ConnectError::Endpoint { of, .. } if *of == told), "{text}: {error}");
        }
        for good in ["https://host/v1/vault", "https://host/ui/team", "https://host/v2"] {
            assert!(address(good).is_ok(), "{good}");
        }
    }

    #[test]
    fn our_own_headers_are_refused_in_every_spelling() {
        let pair = |name: &str, value: &str| std::collections::BTreeMap::from([(name.to_owned(), value.to_owned())]);
        for name in ["X-Vault-Token", "x-vault-TOKEN", "X-Vault-Namespace", "HOST"] {
            assert!(matches!(headers(&pair(name, "x")), Err(ConnectError::ReservedHeader { .. })), "{name}");
        }
        let error = headers(&pair("X-Proxy-Key", "s3cret\n")).unwrap_err();
        assert!(!error.to_string().contains("s3cret"), "{error}");
        let fine = headers(&pair("X-Proxy-Key", "s3cret")).unwrap();
        assert!(!format!("{fine:?}").contains("s3cret"));
    }

    #[test]
    fn namespaces_become_headers() {
        assert_eq!(namespace(Some("/team-a/")).unwrap().unwrap(), "team-a");
        assert_eq!(namespace(Some("/")).unwrap(), None);
        assert_eq!(namespace(Some("a\nb")), Err(ConnectError::Namespace));
    }
}
