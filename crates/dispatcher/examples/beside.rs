//! The service of `greeter` as an application beside a node, by which the mesh calls it: without certificate, on loopback.
//!
//! `cargo run -p dispatcher --example beside -- grpc://127.0.0.1:50052`, with `"greeter" = "grpc://127.0.0.1:50052"` among the `rpc.services`
//! of the node; then, at a node where applications call, `curl http://127.0.0.1:7420/greeter/hello --json '"Ada"'`.

use std::time::Duration;

use dispatcher::middleware::CatchPanic;
use dispatcher::{Dispatcher, Front, Json, LocalApp, LocalListener, Procedure, Request, Response, Status};
use mesh_server::CancellationToken;

async fn hello(request: Request<String>) -> Result<Response<String>, Status> {
    Ok(Response::new(format!("Hello, {}!", request.message)))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address: LocalApp = std::env::args().nth(1).ok_or("usage: beside ADDRESS")?.parse()?;
    let dispatcher = Dispatcher::builder()
        .layer("catch-panic", CatchPanic)
        .procedure(Procedure::unary("greeter/hello".parse()?, Json, hello))
        .build()?;
    let front = Front::builder(dispatcher).build();
    let listener = LocalListener::bind(address.endpoint).await?;
    let shutdown = CancellationToken::new();
    let interrupted = async { tokio::signal::ctrl_c().await.inspect(|()| shutdown.cancel()) };
    let ((), heard) = tokio::join!(listener.run(front, Duration::from_secs(10), shutdown.clone()), interrupted);
    Ok(heard?)
}
