//! What a reply or a broken connection means. Bodies are looked at here and never quoted.

use reqwest::StatusCode;
use rustls::AlertDescription;

use super::connect::ResolveError;
use super::transport::Reply;
use crate::store::StoreError;
use crate::store::error::Transport as Cause;

/// What was asked, for the errors.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// read, write, …
    pub operation: &'static str,
    /// The API path.
    pub path: &'a str,
    /// The mount the path is in.
    pub mount: &'a str,
    /// The Vault namespace, empty for the root.
    pub namespace: &'a str,
    /// The size of our request.
    pub bytes: usize,
}

/// The meaning of a reply that is not a success.
pub fn judge(reply: &Reply, server: &str, asked: Asked<'_>) -> StoreError {
    let Asked { operation, path, mount, namespace, bytes } = asked;
    let (server, path) = (server.to_owned(), path.to_owned());
    let says = |words: &str| mentions(&reply.body, words);
    match reply.status.as_u16() {
        400 if says("check-and-set") => StoreError::CasMismatch { path },
        400 | 500 if says("too large") || says("high complexity") => StoreError::TooLarge { path, bytes },
        413 => StoreError::TooLarge { path, bytes },
        403 => StoreError::Forbidden { operation, path },
        404 if says("namespace not found") => StoreError::NamespaceMissing { namespace: namespace.to_owned() },
        404 if says("no handler for route") || says("versioned k/v") => {
            StoreError::MountMissing { mount: mount.to_owned() }
        }
        412 => StoreError::Stale { path },
        429 => StoreError::RateLimited { server },
        472 | 473 | 501 => StoreError::Standby { server },
        503 if says("sealed") => StoreError::Sealed { server },
        status @ 500..=599 => StoreError::Server { operation, path, status },
        status => StoreError::Rejected { operation, path, status },
    }
}

/// Whether a reply tells that the server itself is in trouble, not the request.
pub fn blames_server(reply: &Reply) -> bool {
    reply.status.is_server_error() && !mentions(&reply.body, "too large") || matches!(reply.status.as_u16(), 472 | 473)
}

/// Whether a health reply tells that requests are served, if need be by forwarding them.
pub fn serves(status: StatusCode) -> bool {
    // 429 is a standby and 473 a performance standby: both serve or forward. A proxy that hides the endpoint answers
    // 403, 404 or 405, which at least tells that somebody is there.
    !status.is_server_error() && status.as_u16() != 472
}

/// Why no reply came.
pub fn cause(error: &reqwest::Error) -> Cause {
    if error.is_timeout() {
        return Cause::Timeout;
    }
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(link) = source {
        if let Some(found) = link_cause(link) {
            return found;
        }
        source = link.source();
    }
    if error.is_connect() { Cause::Connect } else { Cause::Cut }
}

fn link_cause(link: &(dyn std::error::Error + 'static)) -> Option<Cause> {
    if let Some(error) = link.downcast_ref::<rustls::Error>() {
        let about_ours = is_about_our_certificate(&error.to_string());
        return Some(if about_ours { Cause::ClientCertificate } else { Cause::Tls });
    }
    if let Some(error) = link.downcast_ref::<ResolveError>() {
        return Some(match error {
            ResolveError::Unknown => Cause::Dns,
            ResolveError::OnlyLinkLocal => Cause::LinkLocal,
        });
    }
    let io = link.downcast_ref::<std::io::Error>()?;
    // An I/O error hides what it wraps: its `source` is that of the wrapped one.
    if let Some(found) = io.get_ref().and_then(|inner| link_cause(inner)) {
        return Some(found);
    }
    if is_about_our_certificate(&io.to_string()) {
        return Some(Cause::ClientCertificate);
    }
    match io.kind() {
        std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::ConnectionReset => Some(Cause::Connect),
        _ => None,
    }
}

/// Whether the error is an alert about the certificate that we showed or did not show: a server sends none about its own.
/// It is known by its text, because HTTP/2 keeps nothing else of it.
fn is_about_our_certificate(error: &str) -> bool {
    const ALERTS: [AlertDescription; 8] = [
        AlertDescription::CertificateRequired,
        AlertDescription::BadCertificate,
        AlertDescription::UnsupportedCertificate,
        AlertDescription::CertificateRevoked,
        AlertDescription::CertificateExpired,
        AlertDescription::CertificateUnknown,
        AlertDescription::UnknownCA,
        AlertDescription::AccessDenied,
    ];
    ALERTS.iter().any(|alert| rustls::Error::AlertReceived(*alert).to_string() == error)
}

/// Whether the body contains the words, whatever the case.
fn mentions(body: &[u8], words: &str) -> bool {
    body.windows(words.len()).any(|window| window.eq_ignore_ascii_case(words.as_bytes()))
}
