//! A listener that takes calls: of this machine, in plain text, or of a node.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use dispatcher::{
    Code, Dispatcher, Front, Json, LocalEndpoint, LocalListener, Procedure, Raw, Request, Response, Status,
};
use futures_util::stream;
use hyper::body::Bytes;
use identity::Credentials;
use mesh_server::{CancellationToken, Options, Server};
use tokio::task::JoinSet;

use crate::node::Failure;

/// A listener that takes calls; dropping it ends it.
pub(crate) struct Listener {
    /// What `--via` takes.
    pub(crate) via: String,
    _tasks: JoinSet<()>,
}

/// Numbers over JSON, and bytes as they are.
fn front() -> Result<Front, Failure> {
    let double = |request: Request<u32>| async move {
        let mut response = Response::new(2 * request.message);
        response.meta.headers = request.meta.headers;
        Ok(response)
    };
    let count = |request: Request<u32>| async move { Ok(Response::new(stream::iter((0..request.message).map(Ok)))) };
    let fail = |_: Request<()>| async { Err::<Response<()>, _>(Status::new(Code::OutOfRange, "0 is nothing")) };
    let wait = |_: Request<()>| std::future::pending::<Result<Response<()>, Status>>();
    let echo = |request: Request<Bytes>| async move { Ok(Response::new(request.message)) };
    let procedures = Dispatcher::builder()
        .procedure(Procedure::unary("numbers/double".parse()?, Json, double))
        .procedure(Procedure::server_stream("numbers/count".parse()?, Json, count))
        .procedure(Procedure::unary("numbers/fail".parse()?, Json, fail))
        .procedure(Procedure::unary("numbers/wait".parse()?, Json, wait))
        .procedure(Procedure::unary("bytes/echo".parse()?, Raw, echo));
    Ok(Front::builder(procedures.build()?).build())
}

impl Listener {
    /// Takes calls of this machine, in plain text.
    pub(crate) async fn local() -> Result<Self, Failure> {
        Self::at(LocalEndpoint::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))).await
    }

    /// The same at an endpoint.
    pub(crate) async fn at(endpoint: LocalEndpoint) -> Result<Self, Failure> {
        let (listener, front) = (LocalListener::bind(endpoint).await?, front()?);
        let via = listener.endpoint().to_string();
        let mut tasks = JoinSet::new();
        tasks.spawn(listener.run(front, Duration::ZERO, CancellationToken::new()));
        Ok(Self { via, _tasks: tasks })
    }

    /// Takes calls of the mesh, as the node of `credentials`.
    pub(crate) fn of_a_node(credentials: Credentials) -> Result<Self, Failure> {
        let options = Options {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            udp_buffer_bytes: 128 * 1024,
            ..Options::default()
        };
        let server = Server::bind(options, Arc::new(credentials))?;
        let (via, front) = (format!("https://{}", server.local_addr()), front()?);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            server.run(front, CancellationToken::new()).await;
        });
        Ok(Self { via, _tasks: tasks })
    }
}
