//! HTTP clients that trust exactly the lab's CA.

use std::time::Duration;

use anyhow::Context;
use reqwest::{Certificate, Client};

/// A client bound to the caller's runtime; without a CA it trusts nobody, and speaks plain HTTP only.
pub(super) fn client(ca_pem: Option<&str>) -> anyhow::Result<Client> {
    let certificates = match ca_pem {
        Some(pem) => Certificate::from_pem_bundle(pem.as_bytes()).context("read the CA's certificate")?,
        None => Vec::new(),
    };
    Client::builder()
        .tls_certs_only(certificates)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(Duration::from_secs(5))
        .timeout(Duration::from_secs(30))
        .build()
        .context("make an HTTP client")
}
