//! A server that is killed, and another that takes its port.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use h3_transport::{NodeSecret, QuicOptions};
use quinn::{ConnectionError, Endpoint};
use test_authority::Authority;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

use crate::pair::{any_port, dialler, listen};

/// How long anything may take; less than the idle timeout, which ends the connection in any case.
const LIMIT: Duration = Duration::from_secs(10);

/// A server on a runtime of its own. Ending the runtime is what killing the process would be: nothing is sent.
struct Server {
    runtime: Runtime,
    address: SocketAddr,
}

impl Server {
    fn start(authority: &Authority, secret: &NodeSecret, address: SocketAddr) -> Result<Self, Box<dyn Error>> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let entered = runtime.enter();
        let credentials = authority.credentials("server")?;
        let endpoint = listen(address, secret.endpoint_config(), &credentials, &QuicOptions::default())?;
        let bound = endpoint.local_addr()?;
        drop(runtime.spawn(hold(endpoint)));
        drop(entered);
        Ok(Self { runtime, address: bound })
    }

    fn kill(self) {
        self.runtime.shutdown_timeout(LIMIT);
    }
}

/// Accepts one connection, and never lets go of it.
async fn hold(endpoint: Endpoint) {
    let incoming = endpoint.accept().await.expect("the endpoint is open");
    let connection = incoming.await.expect("the client is welcome");
    connection.closed().await;
}

#[test]
fn a_server_started_anew_with_its_secret_resets_the_connections_it_had() -> Result<(), Box<dyn Error>> {
    let authority = Authority::new()?;
    let secret = NodeSecret::new(&[7; 32]);
    let server = Server::start(&authority, &secret, any_port())?;
    let address = server.address;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (_client, connection) = runtime.block_on(async {
        let client = dialler(&*authority.credentials("client")?, &QuicOptions::default())?;
        let connection = client.connect(address, "mesh")?.await?;
        Ok::<_, Box<dyn Error>>((client, connection))
    })?;
    server.kill();
    let again = Server::start(&authority, &NodeSecret::new(&[7; 32]), address)?;
    let ended = runtime.block_on(async {
        let mut stream = connection.open_uni().await?;
        stream.write_all(b"are you still there?").await?;
        Ok::<_, Box<dyn Error>>(timeout(LIMIT, connection.closed()).await?)
    })?;
    assert_eq!(ended, ConnectionError::Reset);
    again.kill();
    Ok(())
}
