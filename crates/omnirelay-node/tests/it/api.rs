//! A client of the control API that shows a certificate.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::time::SystemTime;

use identity::{CertificateFiles, Credentials};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::process::within_limit;

/// Loads the certificate of `client` from a folder.
pub(crate) fn credentials(folder: &Path, client: &str) -> Result<Credentials, Box<dyn Error>> {
    let of = |suffix: &str| folder.join(format!("{client}.{suffix}"));
    let files = CertificateFiles { certificate: of("pem"), key: of("key"), trust_bundle: folder.join("ca.pem") };
    #[expect(clippy::disallowed_methods, reason = "the node under test reads the clock of the system")]
    let now = SystemTime::now();
    Ok(Credentials::load(&files, now)?)
}

/// Sends a request of HTTP/1 that asks for the end of its connection; returns status and document.
pub(crate) async fn ask(
    credentials: &Credentials,
    address: SocketAddr,
    request: &str,
) -> Result<(u16, Value), Box<dyn Error>> {
    let (status, body) = fetch(credentials, address, request).await?;
    Ok((status, serde_json::from_str(&body)?))
}

/// Does the same where the answer is any text.
pub(crate) async fn fetch(
    credentials: &Credentials,
    address: SocketAddr,
    request: &str,
) -> Result<(u16, String), Box<dyn Error>> {
    let tcp = TcpStream::connect(address).await?;
    let connector = TlsConnector::from(credentials.client_config(&[b"http/1.1"]));
    let mut tls = connector.connect("unused".try_into()?, tcp).await?;
    tls.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    within_limit(tls.read_to_string(&mut answer)).await??;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    let status = head.split(' ').nth(1).ok_or("no status")?;
    Ok((status.parse()?, body.to_owned()))
}

/// Returns the request for what is at `path`.
pub(crate) fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
}

/// Returns the request that posts `body` to `path`.
pub(crate) fn post(path: &str, body: &Value) -> String {
    let body = body.to_string();
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}
