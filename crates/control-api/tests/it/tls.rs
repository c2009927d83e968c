//! Who gets in over TLS, by which protocol, and who does not.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use axum::{Extension, Router};
use bytes::{Buf as _, Bytes};
use control_api::{BindError, Limits, PeerName, Security, Server};
use h3_transport::Connection;
use http_body_util::{BodyExt as _, Empty};
use hyper::{Request, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo};
use identity::Credentials;
use quinn::crypto::rustls::QuicClientConfig;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use test_authority::{Authority, Holder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::mesh::Failure;
use crate::running::{DEADLINE, Running};

type Outcome = Result<(), Failure>;

const WHO: &str = "https://node-a/who";

/// Serves `/who`, which says who asks, as a node of `authority` does.
async fn serve(authority: &Authority, limits: Limits) -> Result<Running, Failure> {
    let credentials = authority.credentials("node-a")?;
    let who = Router::new().route("/who", get(async |Extension(peer): Extension<PeerName>| peer.to_string()));
    Running::serve(Security::MutualTls { credentials, node_secret: None }, limits, who).await
}

fn operator(authority: &Authority) -> Result<Arc<Credentials>, Failure> {
    Ok(authority.credentials_with(&Holder { role: "operator".to_owned(), ..Holder::new("alice") })?)
}

async fn connect(running: &Running, config: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, Failure> {
    let tcp = TcpStream::connect(running.addr).await?;
    Ok(TlsConnector::from(config).connect(ServerName::try_from("unused")?, tcp).await?)
}

async fn by_http1(running: &Running, config: Arc<ClientConfig>) -> Result<String, Failure> {
    let mut tls = connect(running, config).await?;
    tls.write_all(b"GET /who HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    timeout(DEADLINE, tls.read_to_string(&mut answer)).await??;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no head")?;
    if head.starts_with("HTTP/1.1 200 ") { Ok(body.to_owned()) } else { Err(answer.into()) }
}

async fn by_http2(running: &Running, client: &Credentials) -> Result<String, Failure> {
    let tls = connect(running, client.client_config(&[b"h2"])).await?;
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls));
    let (mut sender, connection) = handshake.await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(connection);
    let request = Request::get(WHO).body(Empty::<Bytes>::new())?;
    let response = timeout(DEADLINE, sender.send_request(request)).await??;
    assert_eq!(response.status(), StatusCode::OK);
    Ok(String::from_utf8(response.into_body().collect().await?.to_bytes().to_vec())?)
}

async fn by_http3(running: &Running, client: &Credentials) -> Result<String, Failure> {
    let crypto = QuicClientConfig::try_from(client.client_config(&[b"h3"]))?;
    let endpoint = quinn::Endpoint::client(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let connecting = endpoint.connect_with(quinn::ClientConfig::new(Arc::new(crypto)), running.addr, "unused")?;
    let quic = timeout(DEADLINE, connecting).await??;
    let (mut driver, mut requests) = h3::client::builder().build::<_, _, Bytes>(Connection::client(quic)).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { driver.wait_idle().await });
    let mut stream = requests.send_request(Request::get(WHO).body(())?).await?;
    stream.finish().await?;
    assert_eq!(timeout(DEADLINE, stream.recv_response()).await??.status(), StatusCode::OK);
    let mut body = Vec::new();
    while let Some(mut data) = stream.recv_data().await? {
        body.extend_from_slice(&data.copy_to_bytes(data.remaining()));
    }
    Ok(String::from_utf8(body)?)
}

#[tokio::test]
async fn whoever_has_a_certificate_of_the_mesh_is_known_by_it_over_every_version_of_http_at_one_port() -> Outcome {
    let authority = Authority::new()?;
    let running = serve(&authority, Limits::default()).await?;
    let client = operator(&authority)?;
    let alice = "spiffe://mesh.test/cluster/test/role/operator/node/alice";
    assert_eq!(by_http1(&running, client.client_config(&[b"http/1.1"])).await?, alice);
    assert_eq!(by_http2(&running, &client).await?, alice);
    assert_eq!(by_http3(&running, &client).await?, alice);
    running.stop().await
}

/// Lets `client` try a server, and checks that it gets nothing and is counted as `reason`.
async fn check<F>(authority: &Authority, limits: Limits, reason: &str, client: impl FnOnce(Running) -> F) -> Outcome
where
    F: Future<Output = Result<(Running, Result<String, Failure>), Failure>>,
{
    let (recorder, handle) = telemetry::build_metrics()?;
    let _recording = metrics::set_default_local_recorder(&recorder);
    let (server, answer) = client(serve(authority, limits).await?).await?;
    assert!(!answer.as_ref().is_ok_and(|answer| answer.contains("spiffe://")), "{answer:?}");
    server.stop().await?;
    let counted = format!("grpc_inbound_handshake_failures_total{{transport=\"tcp\",reason=\"{reason}\"}} 1\n");
    let text = handle.render();
    assert!(text.contains(&counted), "no `{counted}` in\n{text}");
    Ok(())
}

/// Asks with the certificate of `shown`, and checks that it is refused for `reason`.
async fn check_certificate(authority: &Authority, shown: &Credentials, reason: &str) -> Outcome {
    let config = shown.client_config(&[b"http/1.1"]);
    check(authority, Limits::default(), reason, async |server| {
        let answer = by_http1(&server, config).await;
        Ok((server, answer))
    })
    .await
}

#[tokio::test]
async fn a_client_is_refused_for_its_certificate_and_counted_with_the_reason() -> Outcome {
    let authority = Authority::new()?;
    let also_trusts = vec![authority.trust_bundle_pem()];
    let stranger = Authority::new()?.credentials_with(&Holder { also_trusts, ..Holder::new("stranger") })?;
    check_certificate(&authority, &stranger, "unknown_ca").await?;
    let neighbour = authority.credentials_with(&Holder { cluster: "other".to_owned(), ..Holder::new("node-b") })?;
    check_certificate(&authority, &neighbour, "wrong_cluster").await
}

#[tokio::test]
async fn plain_http_at_a_tls_port_is_refused() -> Outcome {
    check(&Authority::new()?, Limits::default(), "handshake", async |server| {
        let mut tcp = TcpStream::connect(server.addr).await?;
        tcp.write_all(b"GET /who HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await?;
        let mut answer = Vec::new();
        timeout(DEADLINE, tcp.read_to_end(&mut answer)).await??;
        Ok((server, Ok(String::from_utf8_lossy(&answer).into_owned())))
    })
    .await
}

#[tokio::test]
async fn a_client_that_stalls_in_the_handshake_is_cut_off() -> Outcome {
    let limits = Limits { handshake_timeout: Duration::from_millis(50), ..Limits::default() };
    check(&Authority::new()?, limits, "handshake_timeout", async |server| {
        let mut tcp = TcpStream::connect(server.addr).await?;
        let mut answer = String::new();
        timeout(DEADLINE, tcp.read_to_string(&mut answer)).await??;
        Ok((server, Ok(answer)))
    })
    .await
}

#[tokio::test]
async fn a_connection_over_tls_closes_at_the_end_of_its_lifetime() -> Outcome {
    let authority = Authority::new()?;
    let connection_lifetime = Duration::from_millis(300);
    let limits = Limits { connection_lifetime, header_timeout: Duration::from_secs(60), ..Limits::default() };
    let running = serve(&authority, limits).await?;
    let mut tls = connect(&running, operator(&authority)?.client_config(&[b"http/1.1"])).await?;
    tls.write_all(b"GET /who HTTP/1.1\r\nhost: a\r\n\r\n").await?;
    let mut answer = String::new();
    timeout(DEADLINE, tls.read_to_string(&mut answer)).await??;
    assert!(answer.ends_with("/role/operator/node/alice"), "{answer}");
    running.stop().await
}

#[tokio::test]
async fn a_port_in_use_on_udp_is_named() -> Outcome {
    let udp = UdpSocket::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
    let addr = udp.local_addr()?;
    let security = Security::MutualTls { credentials: Authority::new()?.credentials("node-a")?, node_secret: None };
    let refused = Server::bind(addr, security, Limits::default()).await;
    assert!(
        matches!(&refused, Err(BindError::Mesh { addr: named, source }) if *named == addr && source.to_string() == format!("cannot listen on UDP at {addr}")),
        "{refused:?}"
    );
    Ok(())
}
