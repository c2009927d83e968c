//! Connections to what listens on this machine.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::timeout;
use tokio_util::either::Either;

use super::endpoint::LocalEndpoint;

/// Longest wait for a connection: the other side is on this machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a call has no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum SendError {
    /// The service has not begun to answer.
    #[error("it does not take the call")]
    Unseen(#[source] Cause),
    /// Nobody knows what became of the call.
    #[error("it has broken the call off")]
    BrokenOff(#[source] Cause),
}

/// What lies behind a failure; calls that shared it each have it.
pub(crate) type Cause = Arc<dyn Error + Send + Sync>;

/// A connection to this machine, over whichever kind of socket.
pub(crate) type Connected = TokioIo<Either<TcpStream, UnixStream>>;

/// Connects to `endpoint`.
///
/// # Errors
/// Nobody listens there, or nobody accepts.
pub(crate) async fn dial(endpoint: &LocalEndpoint) -> io::Result<Connected> {
    let connected = async {
        Ok(match endpoint {
            LocalEndpoint::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Either::Left(stream)
            }
            LocalEndpoint::Unix(path) => Either::Right(UnixStream::connect(path).await?),
        })
    };
    match timeout(CONNECT_TIMEOUT, connected).await {
        Ok(connected) => connected.map(TokioIo::new),
        Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
    }
}
