//! What comes back from a call.

use std::error::Error;

use dispatcher::{Code, Status, code, header};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::body::Bytes;
use hyper::header::HeaderMap;
use hyper::{Response, StatusCode};
use serde_json::Value;

use crate::rpc::frames::{Frames, MESSAGE_BYTES_MAX};
use crate::rpc::spec::Wire;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// What a call that succeeded has said beside its messages.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) headers: HeaderMap,
    pub(crate) trailers: HeaderMap,
}

/// How a call failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// Somebody has answered so, or there was no answer.
    #[error("{0}")]
    Status(Status),
    /// There was no listener, or not one that speaks like that.
    #[error("cannot call {at}")]
    Way { at: String, source: BoxError },
}

impl CallError {
    /// Returns the word of its class.
    pub(crate) fn class(&self) -> &'static str {
        match self {
            Self::Status(status) => status.word(),
            Self::Way { .. } => "no-connection",
        }
    }
}

/// Reads an answer to its end, and hands on its messages as they come.
pub(crate) async fn read(
    response: Response<Body>,
    wire: Wire,
    message: impl FnMut(Bytes),
) -> Result<Answer, CallError> {
    match wire {
        Wire::Grpc => grpc(response, message).await,
        Wire::Http => http(response, message).await,
    }
}

async fn grpc(response: Response<Body>, mut message: impl FnMut(Bytes)) -> Result<Answer, CallError> {
    let (head, mut body) = response.into_parts();
    if head.status != StatusCode::OK {
        let text = format!("the answer is {} of plain HTTP, not gRPC", head.status);
        return Err(CallError::Status(Status::new(code::of_http(head.status), text)));
    }
    if let Some(status) = Status::of_trailers(&head.headers) {
        return ended(status, Answer { headers: head.headers, trailers: HeaderMap::new() });
    }
    let mut frames = Frames::default();
    while let Some(frame) = body.frame().await {
        match frame.map_err(broken)?.into_data() {
            Ok(data) => frames.take(&data, &mut message).map_err(|error| internal(&error))?,
            Err(other) => {
                let trailers = other.into_trailers().unwrap_or_default();
                let status = Status::of_trailers(&trailers);
                let status = status.unwrap_or_else(|| Status::new(Code::Unknown, "the answer has no status"));
                if status.code() == Code::Ok {
                    frames.end().map_err(|error| internal(&error))?;
                }
                return ended(status, Answer { headers: head.headers, trailers });
            }
        }
    }
    Err(CallError::Status(Status::new(Code::Unknown, "the answer ended without a status")))
}

fn ended(status: Status, answer: Answer) -> Result<Answer, CallError> {
    if status.code() == Code::Ok { Ok(answer) } else { Err(CallError::Status(status)) }
}

async fn http(response: Response<Body>, mut message: impl FnMut(Bytes)) -> Result<Answer, CallError> {
    let (head, mut body) = response.into_parts();
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.map_err(broken)?.into_data() {
            whole.extend_from_slice(&data);
            if whole.len() > MESSAGE_BYTES_MAX {
                let text = format!("the answer is larger than {MESSAGE_BYTES_MAX} bytes");
                return Err(CallError::Status(Status::new(Code::ResourceExhausted, text)));
            }
        }
    }
    if head.status.is_success() {
        // A call that nobody waits for is only taken.
        if head.status != StatusCode::ACCEPTED {
            message(whole.into());
        }
        return Ok(Answer { headers: head.headers, trailers: HeaderMap::new() });
    }
    Err(CallError::Status(http_status(head.status, &head.headers, &whole)))
}

/// Returns how a call over plain HTTP failed: by our header, else by the status of HTTP.
fn http_status(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Status {
    let word = headers.get(header::STATUS).and_then(|word| code::of_word(word.to_str().ok()?));
    // An answer in another form is shown as it is, in part.
    let message = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|body| Some(body.get("message")?.as_str()?.to_owned()))
        .unwrap_or_else(|| String::from_utf8_lossy(body).chars().take(200).collect());
    let message = if message.is_empty() { status.to_string() } else { message };
    Status::new(word.unwrap_or_else(|| code::of_http(status)), message)
}

/// Returns how a call failed whose answer broke off: its transport may know more.
fn broken(error: BoxError) -> CallError {
    match error.downcast::<tonic::Status>() {
        Ok(status) => CallError::Status((*status).into()),
        Err(error) => CallError::Status(Status::new(Code::Unavailable, format!("the answer broke off: {error}"))),
    }
}

fn internal(error: &dyn Error) -> CallError {
    CallError::Status(Status::new(Code::Internal, error.to_string()))
}
