//! Calls that come over gRPC.

use http::{HeaderValue, Request, Response};
use tonic::body::Body;
use tower::ServiceExt as _;

use crate::call::{Call, Reply};
use crate::dispatcher::Registered;
use crate::front::FrontOptions;
use crate::grpc;
use crate::grpc::answer::Manner;
use crate::grpc::compression::Algorithm;
use crate::grpc::unframe::{Side, Unframe};
use crate::late;
use crate::messages::Messages;
use crate::meta::RequestMeta;
use crate::status::Status;

/// Has `procedure` answer.
pub(crate) async fn serve(
    procedure: &Registered,
    content_type: HeaderValue,
    request: Request<Body>,
    options: &FrontOptions,
) -> Response<Body> {
    let compressed = match Algorithm::of(request.headers()) {
        Ok(algorithm) => algorithm,
        Err(status) => return grpc::failure(&status),
    };
    let manner = Manner { content_type, algorithm: compressed.of_answer(request.headers()) };
    let reply = match call(procedure, request, compressed, options) {
        Ok(call) => answer(procedure, call).await,
        Err(status) => Err(status),
    };
    manner.answer(reply)
}

fn call(
    procedure: &Registered,
    request: Request<Body>,
    compressed: Algorithm,
    options: &FrontOptions,
) -> Result<Call, Status> {
    let (head, body) = request.into_parts();
    let meta = RequestMeta::read(&head.headers)?;
    let deadline = late::deadline(late::time_left(&head.headers, &meta)?)?;
    let messages = Unframe::new(body, compressed, options.message_bytes_max, Side::Request);
    let (name, shape) = (procedure.name().clone(), procedure.shape());
    // Streams may be silent as long as they like.
    let messages = if shape.streams_requests() {
        Messages::stream(messages)
    } else {
        Messages::stream(late::arriving(options.body_timeout, messages))
    };
    Ok(Call { procedure: name, shape, meta, deadline, messages, extensions: head.extensions })
}

/// Answers within the deadline, the messages of the answer included.
async fn answer(procedure: &Registered, call: Call) -> Result<Reply, Status> {
    let deadline = call.deadline;
    let mut reply = late::within(deadline, procedure.handler().oneshot(call)).await?;
    reply.messages = late::until(deadline, reply.messages);
    Ok(reply)
}
