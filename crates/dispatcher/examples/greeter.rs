//! A service of the mesh, for gRPC and for plain HTTP alike, until it is interrupted.
//!
//! `cargo run -p dispatcher --example greeter -- node.pem node.key ca.pem`, then, with the certificate of another node,
//! `curl --cert … --key … --cacert … https://localhost:7070/greeter/hello --json '"Ada"'`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use dispatcher::middleware::{CatchPanic, Metrics, Trace};
use dispatcher::{Dispatcher, Front, Json, Procedure, Request, Response, Status};
use identity::{CertificateFiles, Credentials};
use mesh_server::{CancellationToken, Options, Server};

async fn hello(request: Request<String>) -> Result<Response<String>, Status> {
    Ok(Response::new(format!("Hello, {}!", request.message)))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut paths = std::env::args_os().skip(1).map(PathBuf::from);
    let mut path = || paths.next().ok_or("usage: greeter CERTIFICATE KEY TRUST-BUNDLE");
    let files = CertificateFiles { certificate: path()?, key: path()?, trust_bundle: path()? };
    #[expect(clippy::disallowed_methods, reason = "the edge: the certificate has its dates by the clock on the wall")]
    let credentials = Credentials::load(&files, SystemTime::now())?;

    let dispatcher = Dispatcher::builder()
        .layer("metrics", Metrics::inbound())
        .layer("trace", Trace)
        .layer("catch-panic", CatchPanic)
        .procedure(Procedure::unary("greeter/hello".parse()?, Json, hello))
        .build()?;
    let front = Front::builder(dispatcher).named("greeter".parse()?).build();
    let server = Server::bind(Options { address: "[::]:7070".parse()?, ..Options::default() }, Arc::new(credentials))?;
    let shutdown = CancellationToken::new();
    let interrupted = async { tokio::signal::ctrl_c().await.inspect(|()| shutdown.cancel()) };
    let (_report, heard) = tokio::join!(server.run(front, shutdown.clone()), interrupted);
    Ok(heard?)
}
