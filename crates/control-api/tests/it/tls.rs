//! Who gets in over TLS, who does not, and why it is said to be so.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::routing::get;
use axum::{Extension, Router};
use bootstrap::{DevCa, Validity};
use control_api::{Limits, PeerName, PeerRefused, Security, VerifyPeer};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use identity::Credentials;
use rustls::client::ResolvesClientCert;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, SignatureScheme};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use crate::mesh::Failure;
use crate::running::{DEADLINE, Running};

const HOUR: Duration = Duration::from_secs(3600);
const ALPN: [&[u8]; 2] = [b"h2", b"http/1.1"];
const HTTP1: &[&[u8]] = &[b"http/1.1"];

#[expect(clippy::disallowed_methods, reason = "the edge of the test: rustls asks the system for the time, too")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// Returns credentials that `ca` issued at `issued_at` for an hour.
fn credentials(ca: &DevCa, cluster: &str, node: &str, issued_at: SystemTime) -> Result<Credentials, Failure> {
    let id = format!("spiffe://mesh.example/cluster/{cluster}/role/worker/node/{node}").parse()?;
    let issued = ca.issue(&id, Validity::starting(issued_at, HOUR))?;
    let (certificate, key, ca) = (issued.certificate_pem(), issued.key_pem(), ca.trust_bundle_pem());
    Ok(Credentials::from_pem(certificate.as_bytes(), key.as_bytes(), ca.as_bytes(), issued_at)?)
}

fn new_ca() -> Result<DevCa, Failure> {
    Ok(DevCa::generate("mesh.example", Validity::starting(now() - 3 * HOUR, 24 * HOUR))?)
}

fn security(credentials: Credentials) -> Security {
    let config = credentials.server_config(&ALPN);
    let verify_peer: Arc<VerifyPeer> = Arc::new(move |chain: &[CertificateDer<'_>]| {
        let id = credentials.verify_peer(chain);
        let id = id.map_err(|error| PeerRefused { reason: error.reason().as_str(), source: error.into() })?;
        Ok(PeerName::new(&id.to_string(), id.node().clone(), id.role().clone()))
    });
    Security::MutualTls { config, verify_peer }
}

/// Sends one request over TLS as `config` has it, and returns all that comes back.
async fn talk(running: &Running, config: Arc<ClientConfig>) -> Result<String, Failure> {
    let unused = ServerName::try_from("unused")?;
    let tcp = TcpStream::connect(running.addr).await?;
    let mut tls = TlsConnector::from(config).connect(unused, tcp).await?;
    tls.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    timeout(DEADLINE, tls.read_to_string(&mut answer)).await??;
    Ok(answer)
}

#[tokio::test]
async fn a_member_with_its_certificate_is_answered_over_both_versions_of_http() -> Result<(), Failure> {
    let ca = new_ca()?;
    let running = Running::start(security(credentials(&ca, "alpha", "node-a", now())?), Limits::default()).await?;
    let client = credentials(&ca, "alpha", "node-b", now())?;
    let answer = talk(&running, client.client_config(HTTP1)).await?;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("mesh_gossip_links 2\n"), "{answer}");

    let tcp = TcpStream::connect(running.addr).await?;
    let connector = TlsConnector::from(client.client_config(&ALPN));
    let tls = connector.connect(ServerName::try_from("unused")?, tcp).await?;
    assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls)).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let request = Request::get(Uri::from_static("https://a/metrics")).body(Empty::<Bytes>::new())?;
    let response = timeout(DEADLINE, sender.send_request(request)).await??;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.into_body().collect().await?.to_bytes(), "mesh_gossip_links 2\n");
    // The HTTP/2 connection is still open: shutting down ends it, too.
    running.stop().await
}

#[tokio::test]
async fn handlers_know_who_asks() -> Result<(), Failure> {
    let ca = new_ca()?;
    let who = Router::new().route("/metrics", get(async |Extension(peer): Extension<PeerName>| peer.to_string()));
    let running = Running::serve(security(credentials(&ca, "alpha", "node-a", now())?), Limits::default(), who).await?;
    let answer = talk(&running, credentials(&ca, "alpha", "node-b", now())?.client_config(HTTP1)).await?;
    assert!(answer.ends_with("\r\n\r\nspiffe://mesh.example/cluster/alpha/role/worker/node/node-b"), "{answer}");
    running.stop().await
}

/// Lets `client` try a server of cluster `alpha`, and checks that it gets nothing and is counted as `reason`.
async fn check<F>(ca: &DevCa, limits: Limits, reason: &str, client: impl FnOnce(Running) -> F) -> Result<(), Failure>
where
    F: Future<Output = Result<(Running, Result<String, Failure>), Failure>>,
{
    let (recorder, handle) = telemetry::build_metrics()?;
    let _recording = metrics::set_default_local_recorder(&recorder);
    let server = Running::start(security(credentials(ca, "alpha", "node-a", now())?), limits).await?;
    let (server, answer) = client(server).await?;
    assert!(!answer.as_ref().is_ok_and(|answer| answer.contains("200")), "{answer:?}");
    server.stop().await?;
    let counted = format!("omnirelay_control_refused_total{{reason=\"{reason}\"}} 1\n");
    let text = handle.render();
    assert!(text.contains(&counted), "no `{counted}` in\n{text}");
    Ok(())
}

/// Shows the server the certificate of `shown`, whatever CA it is of; nothing for `None`.
async fn check_certificate(ca: &DevCa, shown: Option<&Credentials>, reason: &str) -> Result<(), Failure> {
    let mut config = ClientConfig::clone(&*credentials(ca, "alpha", "node-b", now())?.client_config(HTTP1));
    config.client_auth_cert_resolver = match shown {
        Some(other) => Arc::clone(&other.client_config(HTTP1).client_auth_cert_resolver),
        None => Arc::new(Nothing),
    };
    check(ca, Limits::default(), reason, async |server| {
        let answer = talk(&server, Arc::new(config)).await;
        Ok((server, answer))
    })
    .await
}

#[derive(Debug)]
struct Nothing;

impl ResolvesClientCert for Nothing {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        None
    }

    fn has_certs(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn a_client_is_refused_for_its_certificate_and_counted_with_the_reason() -> Result<(), Failure> {
    let ca = new_ca()?;
    check_certificate(&ca, None, "no_certificate").await?;
    check_certificate(&ca, Some(&credentials(&new_ca()?, "alpha", "node-b", now())?), "unknown_ca").await?;
    check_certificate(&ca, Some(&credentials(&ca, "alpha", "node-b", now() - 2 * HOUR)?), "expired").await?;
    check_certificate(&ca, Some(&credentials(&ca, "beta", "node-b", now())?), "wrong_cluster").await
}

#[tokio::test]
async fn plain_http_at_a_tls_port_is_refused() -> Result<(), Failure> {
    check(&new_ca()?, Limits::default(), "not_tls", async |server| {
        let mut tcp = TcpStream::connect(server.addr).await?;
        tcp.write_all(b"GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        timeout(DEADLINE, tcp.read_to_end(&mut answer)).await??;
        Ok((server, Ok(String::from_utf8_lossy(&answer).into_owned())))
    })
    .await
}

#[tokio::test]
async fn a_client_that_stalls_in_the_handshake_is_cut_off() -> Result<(), Failure> {
    let limits = Limits { handshake_timeout: Duration::from_millis(50), ..Limits::default() };
    check(&new_ca()?, limits, "handshake_timeout", async |server| {
        let mut tcp = TcpStream::connect(server.addr).await?;
        let mut answer = String::new();
        timeout(DEADLINE, tcp.read_to_string(&mut answer)).await??;
        Ok((server, Ok(answer)))
    })
    .await
}
