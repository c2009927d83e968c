//! Our server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, ensure};
use axum::extract::{Path, State};
use axum::routing::get;
use identity::Credentials;
use mesh_server::{CancellationToken, DrainReport, Options, Server};
use test_rpc::EchoService;
use test_rpc::rpc::echo_server::EchoServer;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;

use crate::report::LIMIT;

const MESSAGE_BYTES: usize = 16 << 20;

/// Our server with the echo service, and with what becomes of its calls at `/calls/…`.
pub(crate) struct Serving {
    address: SocketAddr,
    shutdown: CancellationToken,
    running: JoinSet<DrainReport>,
}

impl Serving {
    pub(crate) fn start(credentials: Arc<Credentials>) -> anyhow::Result<Self> {
        let options = Options { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), ..Options::default() };
        let server = Server::bind(options, credentials)?;
        let (address, shutdown, echo) = (server.local_addr(), CancellationToken::new(), EchoService::default());
        let service = EchoServer::new(echo.clone())
            .max_decoding_message_size(MESSAGE_BYTES)
            .max_encoding_message_size(MESSAGE_BYTES)
            .accept_compressed(CompressionEncoding::Gzip)
            .send_compressed(CompressionEncoding::Gzip);
        let watched = axum::Router::new()
            .route("/calls/running/{count}", get(running))
            .route("/calls/dropped/{count}", get(dropped))
            .with_state(echo);
        let router = Routes::new(service).into_axum_router().merge(watched);
        let mut running = JoinSet::new();
        running.spawn(server.run(router, shutdown.clone()));
        Ok(Self { address, shutdown, running })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.shutdown.cancel();
        let report = timeout(LIMIT, self.running.join_next()).await?.context("the server has ended before")??;
        ensure!(report.cut_off == 0, "connections were open that nobody needed: {report:?}");
        Ok(())
    }
}

async fn running(State(echo): State<EchoService>, Path(count): Path<u64>) -> String {
    echo.wait_for(|calls| calls.running() >= count).await.running().to_string()
}

async fn dropped(State(echo): State<EchoService>, Path(count): Path<u64>) -> String {
    echo.wait_for(|calls| calls.dropped >= count).await.dropped.to_string()
}
