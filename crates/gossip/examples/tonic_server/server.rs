//! A tonic server that is a member of the mesh.

use std::sync::Arc;

use futures_util::{StreamExt as _, TryFutureExt as _, TryStreamExt as _};
use gossip::{Options, Service};
use identity::{CredentialSource, live_server_config};
use peers_core::{PeerSource as _, PeerUpdate};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

/// Serves gRPC on `listener` with mutual TLS, and gossips, until `shutdown`. Calls `on_peers` whenever peers come, change or go.
pub(crate) async fn serve(
    listener: TcpListener,
    mut options: Options,
    credentials: Arc<dyn CredentialSource>,
    on_peers: impl Fn(PeerUpdate),
    shutdown: CancellationToken,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    // What gossip adds to the server: it says where gRPC is, joins, and learns where the others serve theirs.
    options.labels.insert("peer.endpoints".to_owned(), format!("h2@{}", listener.local_addr()?));
    let gossip = Service::bind(options, Arc::clone(&credentials))?;
    let mut peers = gossip.handle().subscribe();
    let follow = async {
        while let Some(update) = peers.next().await {
            on_peers(update);
        }
        Ok(())
    };

    // The server as it was, behind the same certificate, which is taken anew for each handshake.
    let (_reporter, health) = tonic_health::server::health_reporter();
    let tls = TlsAcceptor::from(live_server_config(credentials, &[b"h2"]));
    let handshakes = TcpIncoming::from(listener).map_ok(|tcp| tls.accept(tcp)).try_buffer_unordered(64);
    let calls = Server::builder().add_service(health).serve_with_incoming_shutdown(handshakes, shutdown.cancelled());

    // Each ends the others if it fails.
    tokio::try_join!(gossip.run(shutdown.clone()).err_into(), calls.err_into(), follow).map(|_all| ())
}
