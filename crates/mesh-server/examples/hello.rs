//! Serves a tonic service on HTTP/3 and HTTP/2 at one port, to callers of the mesh only, until it is interrupted.
//!
//! `cargo run -p mesh-server --example hello -- node.pem node.key ca.pem`

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use identity::{CertificateFiles, Credentials};
use mesh_server::{CancellationToken, Options, Server};
use test_rpc::{EchoService, rpc::echo_server::EchoServer};
use tonic::service::Routes;

#[expect(clippy::print_stdout, reason = "an example talks to whoever tries it")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let mut path = || paths.next().ok_or("usage: hello CERTIFICATE KEY TRUST-BUNDLE");
    let files = CertificateFiles { certificate: path()?, key: path()?, trust_bundle: path()? };
    #[expect(clippy::disallowed_methods, reason = "the edge: the certificate has its dates by the clock on the wall")]
    let credentials = Credentials::load(&files, SystemTime::now())?;

    let server = Server::bind(Options::default(), Arc::new(credentials))?;
    let (address, shutdown) = (server.local_addr(), CancellationToken::new());
    let interrupted = async { tokio::signal::ctrl_c().await.inspect(|()| shutdown.cancel()) };
    println!("listening on {address}");
    let routes = Routes::new(EchoServer::new(EchoService::default()));
    let (report, heard) = tokio::join!(server.run(routes, shutdown.clone()), interrupted);
    println!("stopped: {report:?}");
    Ok(heard?)
}
