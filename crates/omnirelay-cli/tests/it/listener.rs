//! A listener that takes calls: of this machine, in plain text, or of a node.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use dispatcher::{Code, Dispatcher, Front, Json, Procedure, Raw, Request, Response, Status};
use futures_util::stream;
use hyper::body::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use identity::Credentials;
use mesh_server::{CancellationToken, Options, Server};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::node::Failure;

/// A listener that takes calls; dropping it ends it.
pub(crate) struct Listener {
    pub(crate) addr: SocketAddr,
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
        let (listener, front) = (TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?, front()?);
        let addr = listener.local_addr()?;
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let service = TowerToHyperService::new(front.clone());
                connections.spawn(async {
                    let builder = auto::Builder::new(TokioExecutor::new());
                    // How a connection of a command ends is that command's business.
                    drop(builder.serve_connection(TokioIo::new(tcp), service).await);
                });
            }
        });
        Ok(Self { addr, _tasks: tasks })
    }

    /// Takes calls of the mesh, as the node of `credentials`.
    pub(crate) fn of_a_node(credentials: Credentials) -> Result<Self, Failure> {
        let options = Options {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            udp_buffer_bytes: 128 * 1024,
            ..Options::default()
        };
        let server = Server::bind(options, Arc::new(credentials))?;
        let (addr, front) = (server.local_addr(), front()?);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            server.run(front, CancellationToken::new()).await;
        });
        Ok(Self { addr, _tasks: tasks })
    }
}
