//! HTTP/3 over QUIC: what joins h3 to quinn, and the QUIC settings that both sides of the mesh share.
//!
//! [`Connection`] lets h3 speak over a QUIC connection. It never panics, whatever is dropped in the middle of what:
//! a stream that is dropped before its end is reset, with a code that says why, and never ends as if it were whole.
//! [`Stream::when_stopped`] tells a server of a client that gives up, which h3 cannot.
//!
//! [`QuicOptions`] say how connections carry their packets, [`bind_udp`] makes a socket with room for bursts, [`GatheredTimers`] let
//! connections rest cheaply, and a [`NodeSecret`] lets clients notice at once that a server has been started anew.
//!
//! h3 is pinned to one version: what it leaves to its user is not promised to stay. The module `traps` of the tests says
//! what to look at before another is taken.
//!
//! ```no_run
//! # async fn serve(connection: quinn::Connection) -> Result<(), Box<dyn std::error::Error>> {
//! use std::future::poll_fn;
//!
//! use bytes::Bytes;
//! use h3::frame::FrameStream;
//! use h3::stream::BufRecvStream;
//! use h3_transport::Connection;
//!
//! let mut connection = h3::server::Connection::<_, Bytes>::new(Connection::server(connection)).await?;
//! while let Some(stream) = poll_fn(|cx| connection.poll_accept_request_stream(cx)).await? {
//!     let stopped = stream.when_stopped();
//!     let request = connection.create_resolver(FrameStream::new(BufRecvStream::new(stream)));
//!     let (request, stream) = request.resolve_request().await?;
//! }
//! # Ok(())
//! # }
//! ```

mod connection;
mod error;
mod node_secret;
mod options;
mod recv_stream;
mod runtime;
mod send_stream;
mod socket;
mod stopped;
mod stream;

pub use connection::{Connection, Opener};
pub use node_secret::NodeSecret;
pub use options::QuicOptions;
pub use recv_stream::RecvStream;
pub use runtime::GatheredTimers;
pub use send_stream::SendStream;
pub use socket::bind_udp;
pub use stopped::{StreamEnd, WhenStopped};
pub use stream::Stream;
