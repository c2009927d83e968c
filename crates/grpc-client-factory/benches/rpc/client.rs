//! Those who call.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use grpc_client_factory::{
    BalancedChannel, BalancedOptions, ChannelFactory as _, ClientFactory, FactoryOptions, Http3Mode, Profile, Target,
};
use hyper_util::rt::TokioIo;
use identity::Credentials;
use mesh_types::{BootEpoch, Features, Incarnation, Member, MemberState, MetadataVersion, NodeLifecycle, NodeMetadata};
use peers_core::{ChooserPorts, Peer, PeerSource, PeerUpdate, PeerUpdates};
use test_authority::Authority;
use test_rpc::rpc::echo_client::EchoClient;
use test_rpc::rpc::{EchoReply, EchoRequest};
use tokio::net::TcpStream;
use tokio::time::interval;
use tokio_rustls::TlsConnector;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use crate::BoxError;
use crate::contest::Route;
use crate::serve::{CONNECTION_WINDOW, MESSAGE_BYTES_MAX, NODE, STREAM_WINDOW};
use crate::servers::{Servers, expected};

/// Name of the profile of all channels.
pub(crate) const PROFILE: &str = "bench";

/// How long there may be no way, and how often it is tried meanwhile.
const PATIENCE: Duration = Duration::from_secs(20);
const TRIES: u32 = 400;

/// A client with its connection. Clones share it.
#[derive(Debug, Clone)]
pub(crate) enum Client {
    Tonic(EchoClient<Channel>),
    Factory(EchoClient<grpc_client_factory::Channel>),
    Balanced(EchoClient<BalancedChannel>),
}

impl Client {
    /// Connects, and makes the first call.
    pub(crate) async fn connect(route: Route, authority: &Authority, servers: &Servers) -> Result<Self, BoxError> {
        let credentials = authority.credentials("client")?;
        let mut client = match route {
            Route::Tonic => Self::Tonic(of(tonic(servers.tonic, credentials).await?)),
            Route::FactoryToTonic => Self::to(servers.tonic, credentials, Http3Mode::Off)?,
            Route::Http2 => Self::to(servers.mesh, credentials, Http3Mode::Off)?,
            Route::Http3 => Self::to(servers.mesh, credentials, Http3Mode::Only)?,
            Route::Balanced(mode) => Self::Balanced(of(balanced(servers.mesh, credentials, mode)?)),
        };
        client.call(EchoRequest::default()).await?;
        Ok(client)
    }

    /// Makes one call.
    pub(crate) async fn call(&mut self, request: EchoRequest) -> Result<EchoReply, Status> {
        let answered = match self {
            Self::Tonic(client) => client.unary(request).await,
            Self::Factory(client) => client.unary(request).await,
            Self::Balanced(client) => client.unary(request).await,
        };
        answered.map(tonic::Response::into_inner)
    }
}

impl Client {
    /// Connects tonic's channel without TLS, and makes calls until one is answered: what is between may still be looking for its way.
    pub(crate) async fn plain(address: SocketAddr) -> Result<Self, BoxError> {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))?
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW);
        let mut client = Self::Tonic(of(endpoint.connect_lazy()));
        let (mut ticks, mut tries) = (interval(PATIENCE / TRIES), 0);
        while let Err(status) = client.call(EchoRequest::default()).await {
            tries += 1;
            if tries == TRIES {
                return Err(status.into());
            }
            ticks.tick().await;
        }
        Ok(client)
    }

    /// A bare channel: nothing chooses, repeats or watches.
    fn to(address: SocketAddr, credentials: Arc<Credentials>, mode: Http3Mode) -> Result<Self, BoxError> {
        let channel = factory(credentials, mode)?.channel(&Target::new(address.into(), expected()?), PROFILE)?;
        Ok(Self::Factory(of(channel)))
    }
}

/// Returns the generated client, which takes as large a message as there is.
pub(crate) fn of<C>(channel: C) -> EchoClient<C>
where
    C: tonic::client::GrpcService<tonic::body::Body>,
    C::Error: Into<BoxError>,
    C::ResponseBody: http_body::Body<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static,
{
    EchoClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

/// Returns a factory of the data plane with one protocol.
pub(crate) fn factory(credentials: Arc<Credentials>, mode: Http3Mode) -> Result<ClientFactory, BoxError> {
    let mut profile = Profile::data_plane();
    profile.http3.mode = mode;
    let profiles = HashMap::from([(PROFILE.to_owned(), profile)]);
    Ok(ClientFactory::new(credentials, FactoryOptions { profiles, ..FactoryOptions::default() })?)
}

/// A channel that chooses, for each call, among the one peer that there is.
fn balanced(address: SocketAddr, credentials: Arc<Credentials>, mode: Http3Mode) -> Result<BalancedChannel, BoxError> {
    let spec = "adaptive".parse()?;
    let options = BalancedOptions::named(&spec, &ChooserPorts::default())?;
    let options = BalancedOptions { profile: PROFILE.to_owned(), ..options };
    Ok(factory(credentials, mode)?.balanced(&OnePeer(peer(address)?), options)?)
}

/// A source that has one peer, for good.
struct OnePeer(Peer);

impl PeerSource for OnePeer {
    fn subscribe(&self) -> PeerUpdates {
        let all = PeerUpdate::Reset(vec![self.0.clone()]);
        stream::once(std::future::ready(all)).chain(stream::pending()).boxed()
    }
}

#[expect(clippy::disallowed_methods, reason = "a member carries when it was last seen; nothing here reads it")]
fn peer(address: SocketAddr) -> Result<Peer, BoxError> {
    let metadata = NodeMetadata {
        role: "worker".parse()?,
        cluster: "alpha".parse()?,
        region: "local".parse()?,
        mesh_version: "1".into(),
        http3_support: true,
        endpoint: address.into(),
        labels: BTreeMap::new(),
        features: Features::default(),
        lifecycle: NodeLifecycle::default(),
        services: BTreeSet::new(),
        rpc_endpoint: None,
    };
    let member = Member {
        id: NODE.parse()?,
        boot_epoch: BootEpoch(1),
        incarnation: Incarnation(0),
        state: MemberState::Alive,
        metadata_version: MetadataVersion(1),
        metadata: Arc::new(metadata),
        last_seen: std::time::Instant::now(),
        rtt: None,
    };
    Peer::from_member(&member).ok_or_else(|| "a member that is alive is a peer".into())
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
