//! Calls that go out over gRPC.

use http::{HeaderValue, Method, Request, Response, Uri, header};
use tokio::time::Instant;
use tonic::Code;
use tonic::body::Body;

use crate::call::{Call, Reply};
use crate::grpc::answer::Framed;
use crate::grpc::compression::{ACCEPTED, Algorithm, GRPC_ACCEPT_ENCODING};
use crate::grpc::timeout;
use crate::grpc::unframe::{Side, Unframe};
use crate::header as ours;
use crate::messages::Messages;
use crate::meta::ResponseMeta;
use crate::status::Status;

/// Returns `call` as a request of gRPC to the path `/service/procedure`. What it says of time becomes `grpc-timeout`.
///
/// # Errors
/// The names have no form as a path, which those that exist do.
pub(crate) fn request(mut call: Call) -> Result<Request<Body>, Status> {
    let path = format!("/{}", call.procedure);
    let uri = Uri::try_from(&path).map_err(|error| {
        Status::new(Code::InvalidArgument, format!("procedure `{}` is no path: {error}", call.procedure))
    })?;
    let mut request = Request::new(Body::new(Framed::request(call.messages)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = uri;
    *request.extensions_mut() = call.extensions;
    let headers = request.headers_mut();
    // They count from when the call came, and now it is later.
    (call.meta.ttl, call.meta.deadline) = (None, None);
    call.meta.write(headers);
    let content_type = call.meta.encoding.and_then(|encoding| {
        let word = if encoding == crate::Encoding::PROTOBUF { "proto" } else { encoding.as_str() };
        HeaderValue::try_from(format!("application/grpc+{word}")).ok()
    });
    headers.insert(header::CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static("application/grpc")));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    headers.insert(GRPC_ACCEPT_ENCODING, ACCEPTED);
    for (name, text) in [(ours::SERVICE, call.procedure.service().as_str()), (ours::PROCEDURE, call.procedure.name())] {
        if let Ok(value) = HeaderValue::from_str(text) {
            headers.insert(name, value);
        }
    }
    if let Some(deadline) = call.deadline {
        headers.insert(timeout::NAME, timeout::header(deadline.saturating_duration_since(Instant::now())));
    }
    Ok(request)
}

/// Returns what an answer of gRPC says, if its messages are no larger than `limit`.
///
/// # Errors
/// It is a failure, or no answer of gRPC.
pub(crate) fn reply(response: Response<Body>, limit: usize) -> Result<Reply, Status> {
    let (head, body) = response.into_parts();
    if let Some(status) = Status::of_trailers(&head.headers) {
        // Trailers in the place of headers: there is no message.
        return if status.code() == Code::Ok { Ok(Reply::new(Messages::empty())) } else { Err(status) };
    }
    if head.status != http::StatusCode::OK || super::content_type(&head.headers).is_none() {
        let text = format!("answer is HTTP {} without a gRPC status", head.status);
        let code = if head.status.is_success() { Code::Unknown } else { crate::code::of_http(head.status) };
        return Err(Status::new(code, text));
    }
    let algorithm = Algorithm::of(&head.headers)
        .map_err(|status| Status::new(Code::Internal, format!("reply: {}", status.message())))?;
    let meta =
        ResponseMeta::read(&head.headers).map_err(|error| Status::new(Code::Internal, format!("reply: {error}")))?;
    let messages = Messages::stream(Unframe::new(body, algorithm, limit, Side::Reply));
    Ok(Reply { meta, messages })
}
