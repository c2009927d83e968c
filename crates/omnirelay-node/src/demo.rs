//! The service that the nodes of a development mesh have, to be called.

use dispatcher::middleware::{CatchPanic, Metrics, Trace};
use dispatcher::{Dispatcher, Json, Procedure, ProcedureName, Request, Response};
use mesh_types::NodeId;

/// What the service has: the name of somebody as JSON, and a greeting back.
pub(crate) const HELLO: &str = "omnirelay.demo.v1.Greeter/Hello";

/// Returns the name of the procedure.
pub(crate) fn hello() -> ProcedureName {
    HELLO.parse().expect("a service and a procedure")
}

/// Returns the service, answered by `node`.
pub(crate) fn greeter(node: NodeId) -> Dispatcher {
    let greet = move |request: Request<String>| {
        let greeting = format!("Hello, {}! This is {node}.", request.message);
        async move { Ok(Response::new(greeting)) }
    };
    let procedures = Dispatcher::builder()
        .layer("metrics", Metrics::inbound())
        .layer("trace", Trace)
        .layer("catch-panic", CatchPanic)
        .procedure(Procedure::unary(hello(), Json, greet));
    procedures.build().expect("one procedure, which has nobody else's name")
}
