//! Where the applications of this machine call their node.

use std::convert::Infallible;
use std::fs;
use std::future::{Future, poll_fn};
use std::io;
use std::net;
use std::os;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2_transport::{Outlet, gather, read_ahead};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use lanes::{Lanes, Seat};
use mesh_server::Upgrades;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::{Service, ServiceExt as _};

use super::endpoint::LocalEndpoint;
use super::tasks::{Spawner, Tasks};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Most connections at a time; more wait in the system's queue.
const CONNECTIONS_MAX: usize = 1024;

/// Most calls at a time on one connection over HTTP/2.
const STREAMS_MAX: u32 = 1024;

/// Bytes of one request that the application may send ahead.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;

/// Longest wait for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after the system has refused a connection, as when there are too many files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why there is no listener.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LocalBindError {
    /// The address cannot be had.
    #[error("cannot listen at {endpoint}")]
    Bind {
        /// The address.
        endpoint: LocalEndpoint,
        /// What the system said.
        source: io::Error,
    },
    /// Another process listens there.
    #[error("another process listens at {endpoint}")]
    InUse {
        /// The address.
        endpoint: LocalEndpoint,
    },
}

/// A listener for the applications of this machine: HTTP/1 and HTTP/2 without encryption, on loopback or on a Unix socket.
#[derive(Debug)]
pub struct LocalListener {
    socket: Socket,
    endpoint: LocalEndpoint,
    lanes: Option<Lanes>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "it is there to be dropped")] SocketFile),
}

/// The file of a Unix socket, which goes with it.
#[derive(Debug)]
struct SocketFile(PathBuf);

impl LocalListener {
    /// Listens at `endpoint`; port 0 takes a free one. A socket that a process has left behind is replaced.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn bind(endpoint: LocalEndpoint) -> Result<Self, LocalBindError> {
        let failed = |source| LocalBindError::Bind { endpoint: endpoint.clone(), source };
        let (socket, endpoint) = match &endpoint {
            LocalEndpoint::Tcp(address) => {
                let listener = TcpListener::bind(address).await.map_err(failed)?;
                let bound = listener.local_addr().map_err(failed)?;
                (Socket::Tcp(listener), LocalEndpoint::Tcp(bound))
            }
            LocalEndpoint::Unix(path) => {
                if UnixStream::connect(path).await.is_ok() {
                    return Err(LocalBindError::InUse { endpoint });
                }
                remove_left_behind(path).map_err(failed)?;
                let listener = UnixListener::bind(path).map_err(failed)?;
                (Socket::Unix(listener, SocketFile(path.clone())), endpoint)
            }
        };
        Ok(Self { socket, endpoint, lanes: None })
    }

    /// Returns the listener, which deals its connections out to `lanes`. Without them they are served by the runtime that it is in.
    #[must_use]
    pub fn on(self, lanes: Lanes) -> Self {
        Self { lanes: Some(lanes), ..self }
    }

    /// Returns where it listens.
    #[must_use]
    pub const fn endpoint(&self) -> &LocalEndpoint {
        &self.endpoint
    }

    /// Serves `service` until `shutdown`. Calls under way then have `drain_timeout` to end; the rest is cut off.
    ///
    /// # Cancel safety
    /// Dropping the future closes the listener and all connections.
    pub async fn run<S, B>(self, service: S, drain_timeout: Duration, shutdown: CancellationToken)
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible, Future: Send> + Clone + Send + 'static,
        B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let (slots, mut connections) = (Arc::new(Semaphore::new(CONNECTIONS_MAX)), JoinSet::new());
        loop {
            let next = async {
                // Nobody closes it.
                let slot = Arc::clone(&slots).acquire_owned().await.map_err(io::Error::other)?;
                Ok::<_, io::Error>((self.accept().await?, slot))
            };
            let (stream, slot) = tokio::select! {
                () = shutdown.cancelled() => break,
                accepted = next => match accepted {
                    Ok(accepted) => accepted,
                    Err(error) => {
                        tracing::warn!(%error, endpoint = %self.endpoint, "cannot accept a connection");
                        sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            while connections.try_join_next().is_some() {}
            let seat = self.lanes.as_ref().map(Lanes::deal);
            let runtime = seat.as_ref().map_or_else(Handle::current, |seat| seat.runtime().clone());
            let (place, service, shutdown) = ((slot, seat), service.clone(), shutdown.clone());
            connections.spawn_on(begin(stream, place, service, shutdown), &runtime);
        }
        drop(self);
        let all = async { while connections.join_next().await.is_some() {} };
        if timeout(drain_timeout, all).await.is_err() {
            tracing::warn!(connections = connections.len(), "calls of applications are cut off");
        }
        connections.shutdown().await;
    }

    async fn accept(&self) -> io::Result<Stream> {
        match &self.socket {
            Socket::Tcp(listener) => {
                let (stream, _peer) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream.into_std()?))
            }
            Socket::Unix(listener, _) => Ok(Stream::Unix(listener.accept().await?.0.into_std()?)),
        }
    }
}

/// A connection that no runtime has taken in.
enum Stream {
    Tcp(net::TcpStream),
    Unix(os::unix::net::UnixStream),
}

impl Stream {
    /// Makes it one of the runtime that this is called in.
    fn enter(self) -> io::Result<Either<TcpStream, UnixStream>> {
        match self {
            Self::Tcp(stream) => TcpStream::from_std(stream).map(Either::Left),
            Self::Unix(stream) => UnixStream::from_std(stream).map(Either::Right),
        }
    }
}

/// Removes the file of a socket that nobody listens at, and nothing else.
fn remove_left_behind(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(file) if file.file_type().is_socket() => fs::remove_file(path),
        Ok(_other) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::debug!(%error, path = %self.0.display(), "the file of a socket stays behind");
        }
    }
}

/// Serves a connection for as long as it lasts, and holds its place.
async fn begin<S, B>(
    stream: Stream,
    place: (OwnedSemaphorePermit, Option<Seat>),
    service: S,
    shutdown: CancellationToken,
) where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible, Future: Send> + Clone + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    match stream.enter() {
        Ok(stream) => serve(stream, service, shutdown).await,
        Err(error) => tracing::warn!(%error, "cannot serve a connection of an application"),
    }
    drop(place);
}

async fn serve<T, S, B>(stream: T, service: S, shutdown: CancellationToken)
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible, Future: Send> + Clone + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let tasks = Arc::new(Tasks::default());
    let builder = builder(Spawner(Arc::downgrade(&tasks)));
    let upgrades = Upgrades::default();
    let offered = upgrades.clone();
    let service = TowerToHyperService::new(service.map_request(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        offered.offer(request.extensions_mut());
        request
    }));
    let (io, outlet) = gather(read_ahead(stream));
    let mut connection = pin!(builder.serve_connection_with_upgrades(TokioIo::new(io), service));
    let ended = tokio::select! {
        ended = run(connection.as_mut(), &outlet) => Some(ended),
        () = shutdown.cancelled() => None,
    };
    let ended = match ended {
        Some(ended) => ended,
        None => {
            connection.as_mut().graceful_shutdown();
            run(connection, &outlet).await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = &*error, "a connection of an application has ended");
    }
    if let Some(mut work) = upgrades.take() {
        run(Pin::new(&mut work), &outlet).await;
    }
    drop(tasks);
}

fn builder(executor: Spawner) -> auto::Builder<Spawner> {
    let mut builder = auto::Builder::new(executor);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(256 * STREAM_WINDOW_BYTES)
        .max_header_list_size(64 * 1024);
    builder
}

/// Polls a connection to its end, and sends after each turn what it has written.
async fn run<C: Future, I: AsyncWrite + Unpin>(mut connection: Pin<&mut C>, outlet: &Outlet<I>) -> C::Output {
    poll_fn(|cx| {
        let turn = connection.as_mut().poll(cx);
        outlet.after(turn, cx)
    })
    .await
}
