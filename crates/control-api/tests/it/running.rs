//! A server that runs beside the test.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use control_api::{Limits, Readiness, Security, Server, router};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::mesh::{Failure, ports};

/// Longer than anything here may take.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn plain(limits: Limits) -> Result<Self, Failure> {
        Self::start(Security::PlaintextLoopback, limits).await
    }

    pub(crate) async fn start(security: Security, limits: Limits) -> Result<Self, Failure> {
        Self::serve(security, limits, router(ports(Readiness::new("worker"))?)).await
    }

    #[expect(clippy::disallowed_methods, reason = "the test joins it in `stop`")]
    pub(crate) async fn serve(security: Security, limits: Limits, router: Router) -> Result<Self, Failure> {
        let server = Server::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), security, limits).await?;
        let (addr, shutdown) = (server.local_addr(), CancellationToken::new());
        let running = server.run(router, shutdown.clone());
        Ok(Self { addr, shutdown, server: tokio::spawn(running) })
    }

    pub(crate) async fn stop(self) -> Result<(), Failure> {
        self.shutdown.cancel();
        Ok(timeout(DEADLINE, self.server).await??)
    }
}
