//! HTTP clients that trust exactly the lab's CA.

use std::time::Duration;

use anyhow::Context;
use reqwest::{Certificate, Client, Identity};

use crate::wait;

const CONNECT: Duration = Duration::from_secs(5);
/// From the beginning of a request to the end of its answer.
const ANSWER: Duration = Duration::from_secs(30);

/// A client bound to the caller's runtime; without a CA it trusts nobody, and speaks plain HTTP
/// only. `identity_pem` holds the certificate and the key that it shows.
pub(super) fn client(ca_pem: Option<&str>, identity_pem: Option<&str>) -> anyhow::Result<Client> {
    let certificates = match ca_pem {
        Some(pem) => Certificate::from_pem_bundle(pem.as_bytes()).context("read the CA's certificate")?,
        None => Vec::new(),
    };
    let mut builder = Client::builder();
    if let Some(pem) = identity_pem {
        builder = builder.identity(Identity::from_pem(pem.as_bytes()).context("read the client's certificate")?);
    }
    builder
        .tls_certs_only(certificates)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(wait::stretched(CONNECT))
        .timeout(wait::stretched(ANSWER))
        .build()
        .context("make an HTTP client")
}
