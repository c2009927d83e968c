//! Everything that gRPC promises, between two processes: ours, and tonic's own client or server at one end.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use grpc_client_factory::{Http3Mode, Protocol};
use hyper_util::rt::TokioIo;
use identity::{Credentials, ExpectedPeer};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Status;
use tonic::body::Body;
use tonic::transport::Endpoint;
use tower::{ServiceExt as _, service_fn};

use crate::calls::{self, Caller, Carrier, Compression, Make};
use crate::certificates::Certificates;
use crate::process::Process;
use crate::report::Report;
use crate::serve::Kind;

/// What everybody sends and takes.
const WHAT: (Compression, usize) = (Compression::Gzip, 8);

pub(crate) async fn hold(report: &mut Report) -> anyhow::Result<()> {
    let certificates = Certificates::new()?;
    certificates.issue("server")?;
    let client = certificates.issue("client")?;
    for (kind, mode, protocol) in [
        (Kind::Ours, Http3Mode::Only, Protocol::Http3),
        (Kind::Ours, Http3Mode::Off, Protocol::Http2),
        (Kind::Tonic, Http3Mode::Off, Protocol::Http2),
    ] {
        let mut server = start(kind, &certificates).await?;
        let caller = Caller::factory(&client, server.address, mode)?;
        let who = format!("our client, server of {kind}, {protocol}");
        calls::check(&caller, WHAT, &who, &mut server, report).await;
        caller.check_factory(protocol, &who, report).await;
        drop(caller);
        server.end().await?;
    }
    let mut server = start(Kind::Ours, &certificates).await?;
    let caller = Caller::new(tonic_channel(server.address, &client).await?, Make::Tonic);
    calls::check(&caller, WHAT, "tonic's client, our server, HTTP/2", &mut server, report).await;
    drop(caller);
    server.end().await
}

async fn start(kind: Kind, certificates: &Certificates) -> anyhow::Result<Process> {
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Process::start(kind, any, 1, certificates.folder()).await.with_context(|| format!("no server of {kind}"))
}

/// Returns tonic's own channel, over the same TLS.
async fn tonic_channel(address: SocketAddr, credentials: &Arc<Credentials>) -> anyhow::Result<Carrier> {
    let peer = ExpectedPeer::Node("server".parse()?);
    let tls = TlsConnector::from(credentials.client_config_for(&peer, &[b"h2"]));
    let connector = service_fn(move |_uri| {
        let tls = tls.clone();
        async move {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            tls.connect(address.ip().into(), tcp).await.map(TokioIo::new)
        }
    });
    // The encryption is the connector's: of that, tonic wants to know nothing.
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?.origin(format!("https://{address}").parse()?);
    let channel = endpoint.connect_with_connector(connector).await?;
    Ok(Carrier::new(
        channel.map_response(|response| response.map(Body::new)).map_err(|error| Status::from_error(Box::new(error))),
    ))
}
