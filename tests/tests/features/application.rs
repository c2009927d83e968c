//! An application beside a node: a gRPC server of tonic's own, without TLS.

use std::net::{Ipv4Addr, SocketAddr};

use test_rpc::EchoService;
use test_rpc::rpc::echo_server::EchoServer;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::Failure;

/// The name of its service.
pub(crate) const SERVICE: &str = "omnirelay.test.v1.Echo";

/// An application that serves `test_rpc`.
pub(crate) struct Application {
    pub(crate) echo: EchoService,
    pub(crate) address: SocketAddr,
    _running: JoinSet<Result<(), tonic::transport::Error>>,
}

impl Application {
    pub(crate) async fn start() -> Result<Self, Failure> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (echo, address, mut running) = (EchoService::default(), listener.local_addr()?, JoinSet::new());
        let serving = Server::builder().add_service(EchoServer::new(echo.clone()));
        running.spawn(serving.serve_with_incoming(TcpIncoming::from(listener)));
        Ok(Self { echo, address, _running: running })
    }
}
