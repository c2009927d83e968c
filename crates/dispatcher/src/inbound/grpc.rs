//! Calls that come over gRPC.

use http::{HeaderValue, Request, Response};
use tonic::body::Body;
use tower::ServiceExt as _;

use crate::call::{Call, Reply};
use crate::dispatcher::Registered;
use crate::grpc;
use crate::grpc::answer::Manner;
use crate::grpc::compression::Algorithm;
use crate::grpc::unframe::{Side, Unframe};
use crate::header;
use crate::late;
use crate::messages::Messages;
use crate::meta::RequestMeta;
use crate::procedure::Shape;
use crate::status::Status;

/// Has `procedure` answer, if messages are no larger than `limit`.
pub(crate) async fn serve(
    procedure: &Registered,
    content_type: HeaderValue,
    request: Request<Body>,
    limit: usize,
) -> Response<Body> {
    let compressed = match Algorithm::of(request.headers()) {
        Ok(algorithm) => algorithm,
        Err(status) => return grpc::failure(&status),
    };
    let manner = Manner { content_type, algorithm: compressed.of_answer(request.headers()) };
    let reply = match call(procedure, request, compressed, limit) {
        Ok(call) => answer(procedure, call).await,
        Err(status) => Err(status),
    };
    let mut response = manner.answer(reply);
    if procedure.shape() == Shape::Oneway {
        // Who translates for plain HTTP answers 202 by it.
        response.headers_mut().insert(header::SHAPE, HeaderValue::from_static(Shape::Oneway.as_str()));
    }
    response
}

fn call(procedure: &Registered, request: Request<Body>, compressed: Algorithm, limit: usize) -> Result<Call, Status> {
    let (head, body) = request.into_parts();
    let meta = RequestMeta::read(&head.headers)?;
    let deadline = late::deadline(late::time_left(&head.headers, &meta)?)?;
    let messages = Messages::stream(Unframe::new(body, compressed, limit, Side::Request));
    let (name, shape) = (procedure.name().clone(), procedure.shape());
    Ok(Call { procedure: name, shape, meta, deadline, messages, extensions: head.extensions })
}

/// Answers within the deadline, the messages of the answer included.
async fn answer(procedure: &Registered, call: Call) -> Result<Reply, Status> {
    let deadline = call.deadline;
    let mut reply = late::within(deadline, procedure.handler().oneshot(call)).await?;
    reply.messages = late::until(deadline, reply.messages);
    Ok(reply)
}
