//! Serves gRPC and HTTP to the mesh: HTTP/3, HTTP/2 and HTTP/1 at one port, mutual TLS, and a drain that loses no call.
//!
//! A [`Server`] listens on TCP and on UDP at the same port number, and gives every request, whichever way it came, to one
//! tower service: tonic's `Routes`, an axum `Router`, or any other. Each caller has shown a certificate; who it is comes
//! with the request as a [`PeerIdentity`] among its extensions. Nothing is ever served in plain text.
//!
//! What a gRPC server owes its callers is done here, for all protocols alike: `grpc-timeout` is kept, a call that is
//! cancelled drops its handler, a handler that panics fails its own call only, and a server that stops finishes the calls
//! under way and tells clients to send the others elsewhere. Certificates are taken anew for each handshake; whoever is
//! no longer trusted is cut off in the middle of a connection.
//!
//! An [`Inflight`] around the service counts the calls under way and cuts off those that take too long, for a node that is to be
//! emptied while it goes on listening.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use mesh_server::{CancellationToken, Options, PeerIdentity, Server};
//!
//! # async fn serve(credentials: identity::Credentials) -> Result<(), Box<dyn std::error::Error>> {
//! let who = |axum::Extension(peer): axum::Extension<PeerIdentity>| async move { peer.spiffe_id().to_string() };
//! let router = axum::Router::new().route("/who", axum::routing::get(who));
//!
//! let server = Server::bind(Options::default(), Arc::new(credentials))?;
//! let shutdown = CancellationToken::new();
//! let report = server.run(router, shutdown).await;
//! println!("{} connections were cut off", report.cut_off);
//! # Ok(())
//! # }
//! ```

mod answer;
mod audit;
mod bind;
mod body;
mod call;
mod follow;
mod grpc_timeout;
mod guarded;
mod handle;
mod http3;
mod inflight;
mod linger;
mod meter;
mod methods;
mod options;
mod peer;
mod quic;
mod record;
mod registry;
mod run;
mod serve;
mod server;
mod span;
mod streams;
mod tcp;
mod timing;
mod upgrade;

pub use answer::Answer;
pub use bind::BindError;
pub use body::Body;
pub use grpc_timeout::{MalformedTimeout, grpc_timeout};
pub use guarded::GuardedBody;
pub use h3_transport::{NodeSecret, QuicOptions};
pub use handle::{DrainReport, Handle};
pub use inflight::{Guarded, Inflight};
pub use methods::Methods;
pub use options::{Http2Options, Limits, Options};
pub use peer::{PeerIdentity, Protocol};
pub use serve::Serve;
pub use server::Server;
pub use tokio_util::sync::CancellationToken;
pub use upgrade::{Upgrade, Upgraded, Upgrades};
