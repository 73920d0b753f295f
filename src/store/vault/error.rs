//! The meaning of a reply or a broken connection. Bodies are read here and never quoted.

use reqwest::StatusCode;
use rustls::AlertDescription;

use super::connect::ResolveError;
use super::custom_metadata::PATCH;
use super::reply;
use super::transport::Reply;
use crate::domain::error_chain::first_known;
use crate::store::StoreError;
use crate::store::error::{Spoken, Transport as Cause};

/// The request, for errors.
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
    let errors = reply::errors(&reply.body);
    let says = |words: &str| errors.as_ref().is_some_and(|errors| errors.say(words));
    match reply.status.as_u16() {
        413 => StoreError::TooLarge { path, bytes },
        412 => StoreError::Stale { path },
        429 => StoreError::RateLimited { server },
        472 | 473 => StoreError::Standby { server },
        // KV answers a change of custom metadata like this if the entry does not exist, and nothing
        // else.
        404 if operation == PATCH && reply.body.is_empty() => StoreError::Rejected { operation, path, status: 404 },
        status @ (400..=499 | 501) if errors.is_none() => {
            StoreError::NotVault { server, status, speaks: spoken(status, &reply.body) }
        }
        400 if says("check-and-set parameter required") => StoreError::MetadataNeedsCas { path },
        400 if says("check-and-set") => StoreError::CasMismatch { path },
        400 | 500 if says("too large") || says("high complexity") => StoreError::TooLarge { path, bytes },
        403 => StoreError::Forbidden { operation, path },
        404 if says("namespace not found") => StoreError::NamespaceMissing { namespace: namespace.to_owned() },
        404 if says("no handler for route") || says("versioned k/v") => {
            StoreError::MountMissing { mount: mount.to_owned() }
        }
        501 => StoreError::Standby { server },
        503 if says("sealed") => StoreError::Sealed { server },
        status @ 500..=599 => StoreError::Server { operation, path, status },
        status => StoreError::Rejected { operation, path, status },
    }
}

/// What kind of server gave an answer that is not Vault's.
fn spoken(status: u16, body: &[u8]) -> Spoken {
    // The texts of Go, nginx and Apache for plain HTTP on a TLS port.
    let words = ["HTTP request to an HTTPS server", "plain HTTP request was sent to HTTPS port", "speaking plain HTTP"];
    match status == 400 && words.iter().any(|words| mentions(body, words)) {
        true => Spoken::Tls,
        false => Spoken::SomethingElse,
    }
}

/// Whether a reply blames the server itself, not the request.
pub fn blames_server(reply: &Reply) -> bool {
    reply.status.is_server_error() && !reply::errors(&reply.body).is_some_and(|errors| errors.say("too large"))
        || matches!(reply.status.as_u16(), 472 | 473)
}

/// Whether a health reply says that requests are served, possibly by forwarding them.
pub fn serves(status: StatusCode) -> bool {
    // 429 is a standby and 473 a performance standby: both serve or forward. A proxy that hides the
    // endpoint answers 403, 404 or 405, which at least shows that something answers.
    !status.is_server_error() && status.as_u16() != 472
}

/// Why no whole reply came from this server.
pub fn cause(server: &str, error: &reqwest::Error) -> Cause {
    if error.is_timeout() {
        return Cause::Timeout;
    }
    // The error has no URL where a reply is cut off.
    let is_plain = server.starts_with("http://");
    match first_known(error, link_cause) {
        Some(Cause::PlainReset) if !is_plain => Cause::Connect,
        Some(found) => found,
        None if error.is_connect() => Cause::Connect,
        None => Cause::Cut,
    }
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
    if is_about_our_certificate(&io.to_string()) {
        return Some(Cause::ClientCertificate);
    }
    match io.kind() {
        std::io::ErrorKind::ConnectionRefused => Some(Cause::Connect),
        std::io::ErrorKind::ConnectionReset => Some(Cause::PlainReset),
        _ => None,
    }
}

/// Whether the error is an alert about our client certificate or its absence; a server sends none
/// about its own. It is recognised by its text, because HTTP/2 keeps nothing else of it.
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

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;
    use zeroize::Zeroizing;

    use super::*;

    fn meaning(status: u16, body: &str) -> StoreError {
        let reply = Reply {
            status: StatusCode::from_u16(status).unwrap(),
            body: Zeroizing::new(body.as_bytes().to_vec()),
            retry_after: None,
        };
        judge(&reply, "https://v", Asked { operation: "read", path: "p", mount: "m", namespace: "n", bytes: 7 })
    }

    /// As Go does it: what it reads is no handshake, and it closes with the rest unread.
    #[tokio::test]
    async fn r5_a_plain_connection_that_is_reset_may_lead_to_a_server_with_tls() {
        let _installed_before = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let server = async {
            let (mut connection, _) = listener.accept().await.unwrap();
            connection.read_exact(&mut [0; 5]).await.unwrap();
        };
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let asked = client.post(&address).body("x".repeat(10_000)).send();
        let (reply, ()) = tokio::join!(asked, server);
        assert_eq!(cause(&address, &reply.unwrap_err()), Cause::PlainReset);
        drop(listener);
        let refused = client.get(&address).send().await;
        assert_eq!(cause(&address, &refused.unwrap_err()), Cause::Connect);
    }

    #[test]
    fn words_count_in_errors_alone_and_never_in_metadata_or_values() {
        let words = [
            "no handler for route",
            "namespace not found",
            "check-and-set parameter required",
            "check-and-set",
            "request too large",
            "sealed",
            "Invalid path for a versioned K/V",
        ];
        for word in words {
            let data =
                serde_json::json!({ "data": { "data": null, "metadata": { "custom_metadata": { "note": word } } } });
            let told = serde_json::json!({ "errors": [word] });
            for status in [400, 404, 503] {
                let labelled = meaning(status, &data.to_string());
                assert!(
                    matches!(labelled, StoreError::Rejected { .. } | StoreError::Server { .. }),
                    "{status} {word}: {labelled}"
                );
            }
            let hits = [400, 404, 500, 503].map(|status| meaning(status, &told.to_string()));
            let meant = |error: &StoreError| !matches!(error, StoreError::Rejected { .. } | StoreError::Server { .. });
            assert!(hits.iter().any(meant), "{word} means something where the server says it");
        }
    }

    #[test]
    fn what_no_vault_answers_is_called_so_whatever_its_status() {
        for (status, body) in [
            (400, "Client sent an HTTP request to an HTTPS server.\n"),
            (403, "<html>403 Forbidden</html>"),
            (404, "404 page not found\n"),
            (404, "{\"detail\": \"Not Found\"}"),
            (404, ""),
            (405, ""),
            (501, "<html>Unsupported method ('POST')</html>"),
        ] {
            let error = meaning(status, body);
            assert!(matches!(error, StoreError::NotVault { .. }), "{status} {body}: {error}");
            assert!(error.to_string().contains("`server`"), "{error}");
            assert_eq!(error.to_string().contains("write `https"), status == 400, "{error}");
        }
        let absent = meaning(404, "{\"errors\":[]}");
        assert!(matches!(absent, StoreError::Rejected { status: 404, .. }), "{absent}");
    }

    #[test]
    fn a_condition_that_is_asked_for_is_not_one_that_was_lost() {
        let told = |text: &str| meaning(400, &serde_json::json!({ "errors": [text] }).to_string());
        let required = told("metadata check-and-set parameter required for this call");
        assert!(matches!(required, StoreError::MetadataNeedsCas { .. }), "{required}");
        for lost in [
            "check-and-set parameter did not match the current version",
            "metadata check-and-set parameter does not match the current version",
        ] {
            assert!(matches!(told(lost), StoreError::CasMismatch { .. }), "{lost}");
        }
    }
}
