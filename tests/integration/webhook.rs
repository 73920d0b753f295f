//! An admission webhook of a test's own, which denies whatever it is asked about. It runs in
//! threads, and as long as the process does.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use anyhow::Context;
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection};
use serde_json::{Value, json};

/// Where the API server finds it.
pub struct Webhook {
    /// Its address.
    pub url: String,
    /// The certificate to trust.
    pub ca_pem: String,
}

/// Starts a webhook that gives this text as its reason.
pub fn that_denies(text: &'static str) -> anyhow::Result<Webhook> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(["127.0.0.1".to_owned()])?;
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let certificate = params.self_signed(&key)?;
    let private = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = ServerConfig::builder().with_no_client_auth();
    let config = Arc::new(config.with_single_cert(vec![certificate.der().clone()], private)?);
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("https://{}/", listener.local_addr()?);
    // One thread for each connection: the API server may hold one open without a request.
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let config = config.clone();
            thread::spawn(move || answer(config, socket, text));
        }
    });
    Ok(Webhook { url, ca_pem: certificate.pem() })
}

/// Answers one request, and ends its connection.
fn answer(config: Arc<ServerConfig>, mut socket: TcpStream, text: &str) -> anyhow::Result<()> {
    let mut session = ServerConnection::new(config)?;
    let mut stream = rustls::Stream::new(&mut session, &mut socket);
    let review = review(&mut stream)?;
    let denied =
        json!({ "uid": review["request"]["uid"], "allowed": false, "status": { "code": 403, "message": text } });
    let body =
        json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": denied }).to_string();
    let head = format!("content-type: application/json\r\ncontent-length: {}\r\nconnection: close", body.len());
    write!(stream, "HTTP/1.1 200 OK\r\n{head}\r\n\r\n{body}")?;
    stream.conn.send_close_notify();
    stream.flush()?;
    Ok(())
}

/// The body of a request.
fn review(stream: impl Read) -> anyhow::Result<Value> {
    let mut request = BufReader::new(stream);
    let mut length = None;
    loop {
        let mut line = String::new();
        request.read_line(&mut line)?;
        match line.split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = Some(value.trim().parse()?),
            Some(_) => {}
            // The line of the request has no colon.
            None if line.trim().is_empty() => break,
            None => {}
        }
    }
    let mut body = vec![0; length.context("a request without content-length")?];
    request.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}
