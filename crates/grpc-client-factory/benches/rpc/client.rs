//! Those who call.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use grpc_client_factory::{ChannelFactory as _, ClientFactory, FactoryOptions, Http3Mode, Profile, Target};
use hyper_util::rt::TokioIo;
use identity::Credentials;
use test_authority::Authority;
use test_rpc::rpc::echo_client::EchoClient;
use test_rpc::rpc::{EchoReply, EchoRequest};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::BoxError;
use crate::contest::Route;
use crate::serve::{CONNECTION_WINDOW, STREAM_WINDOW};
use crate::servers::{Servers, expected};

const PROFILE: &str = "bench";

/// A client with its connection, bare: nothing chooses, repeats or watches. Clones share the connection.
#[derive(Debug, Clone)]
pub(crate) enum Client {
    Tonic(EchoClient<Channel>),
    Factory(EchoClient<grpc_client_factory::Channel>),
}

impl Client {
    /// Connects, and makes the first call.
    pub(crate) async fn connect(route: Route, authority: &Authority, servers: &Servers) -> Result<Self, BoxError> {
        let credentials = authority.credentials("client")?;
        let mut client = match route {
            Route::Tonic => Self::Tonic(EchoClient::new(tonic(servers.tonic, credentials).await?)),
            Route::FactoryToTonic => factory(servers.tonic, credentials, Http3Mode::Off)?,
            Route::Http2 => factory(servers.mesh, credentials, Http3Mode::Off)?,
            Route::Http3 => factory(servers.mesh, credentials, Http3Mode::Only)?,
        };
        client.call(EchoRequest::default()).await?;
        Ok(client)
    }

    /// Makes one call.
    pub(crate) async fn call(&mut self, request: EchoRequest) -> Result<EchoReply, Status> {
        let answered = match self {
            Self::Tonic(client) => client.unary(request).await,
            Self::Factory(client) => client.unary(request).await,
        };
        answered.map(tonic::Response::into_inner)
    }
}

fn factory(address: SocketAddr, credentials: Arc<Credentials>, mode: Http3Mode) -> Result<Client, BoxError> {
    let mut profile = Profile::data_plane();
    profile.http3.mode = mode;
    let profiles = HashMap::from([(PROFILE.to_owned(), profile)]);
    let factory = ClientFactory::new(credentials, FactoryOptions { profiles, ..FactoryOptions::default() })?;
    let channel = factory.channel(&Target::new(address.into(), expected()?), PROFILE)?;
    Ok(Client::Factory(EchoClient::new(channel)))
}

/// Returns tonic's own channel with windows as ours, over the same TLS.
async fn tonic(address: SocketAddr, credentials: Arc<Credentials>) -> Result<Channel, BoxError> {
    let tls = TlsConnector::from(credentials.client_config_for(&expected()?, &[b"h2"]));
    let connector = tower::service_fn(move |_uri| {
        let tls = tls.clone();
        async move {
            let tcp = TcpStream::connect(address).await?;
            tcp.set_nodelay(true)?;
            tls.connect(address.ip().into(), tcp).await.map(TokioIo::new)
        }
    });
    // The encryption is the connector's: of that, tonic wants to know nothing.
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?
        .origin(format!("https://{address}").parse()?)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .http2_keep_alive_interval(Duration::from_secs(10));
    Ok(endpoint.connect_with_connector(connector).await?)
}
