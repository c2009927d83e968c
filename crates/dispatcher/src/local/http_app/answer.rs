//! What an answer of plain HTTP says.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tonic::Code;

use super::events::Events;
use super::pool::Answered;
use crate::call::Reply;
use crate::code;
use crate::encoding::Encoding;
use crate::header as ours;
use crate::messages::Messages;
use crate::meta::ResponseMeta;
use crate::procedure::Shape;
use crate::status::Status;

/// Most bytes of a message of an application, and of one to it.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Most bytes that are read of a failure.
const FAILURE_BYTES_MAX: usize = 16 * 1024;

/// Most characters of a failure in words that is not one of ours.
const FAILURE_CHARS_MAX: usize = 512;

/// Returns what the application has answered.
///
/// # Errors
/// A failure; an answer that cannot be read, breaks off or is too large.
pub(crate) async fn reply(response: Response<Answered>) -> Result<Reply, Status> {
    let (head, body) = response.into_parts();
    if !head.status.is_success() || code_of(&head.headers).is_some_and(|code| code != Code::Ok) {
        return Err(failure(&head, &beginning(body).await));
    }
    let mut meta =
        ResponseMeta::read(&head.headers).map_err(|error| Status::new(Code::Internal, format!("reply: {error}")))?;
    let messages = if is_events(&head.headers) {
        // Who streams events without a word on their encoding streams text, and that by custom is JSON.
        let encoding = meta.encoding.get_or_insert(Encoding::JSON);
        Messages::stream(Events::new(body, encoding.is_text()))
    } else {
        meta.shape = (head.status == StatusCode::ACCEPTED).then_some(Shape::Oneway);
        Messages::one(whole(body).await?)
    };
    Ok(Reply { meta, messages })
}

fn is_events(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.get(..17).is_some_and(|kind| kind.eq_ignore_ascii_case(b"text/event-stream"))
}

async fn whole(body: Answered) -> Result<Bytes, Status> {
    match Limited::new(body, MESSAGE_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => Err(broken_off(&*error)),
    }
}

/// Reads as much of the body of a failure as anybody looks at.
async fn beginning(mut body: Answered) -> Bytes {
    let mut read = BytesMut::new();
    while read.len() < FAILURE_BYTES_MAX
        && let Some(Ok(frame)) = body.frame().await
    {
        read.extend_from_slice(&frame.into_data().unwrap_or_default());
    }
    read.freeze()
}

/// A failure, in JSON as the contract has it.
#[derive(Debug, serde::Deserialize)]
struct Told {
    message: String,
    status: Option<String>,
    code: Option<String>,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
}

/// Reads a failure: from our headers; else from its body, if that has our JSON; else from the status of HTTP.
fn failure(head: &Parts, body: &[u8]) -> Status {
    let mut trailers = HeaderMap::new();
    for (name, value) in head.headers.iter().filter(|(name, _)| ours::is_free(name)) {
        trailers.append(name, value.clone());
    }
    let by_status = code::of_http(head.status);
    let told = serde_json::from_slice(body).map_or(None, |told: Told| Some(told));
    let code = code_of(&head.headers).or_else(|| told.as_ref()?.code());
    trailers.insert(tonic::Status::GRPC_STATUS, HeaderValue::from(code.unwrap_or(by_status) as i32));
    for (from, to) in [(ours::ERROR_MESSAGE, tonic::Status::GRPC_MESSAGE), (ours::ERROR_CODE, ours::GRPC_ERROR_CODE)] {
        if let Some(value) = head.headers.get(from) {
            trailers.insert(to, value.clone());
        }
    }
    // It reads the message, which is percent-encoded.
    let status = Status::of_trailers(&trailers).unwrap_or_else(|| Status::new(by_status, ""));
    match told {
        Some(told) => told.complete(status),
        None if status.message().is_empty() => with_message(&status, in_words(head, body)),
        None => status,
    }
}

/// Reads the failure in an event.
pub(crate) fn failure_of_event(data: &[u8]) -> Status {
    match serde_json::from_slice::<Told>(data) {
        Ok(told) => {
            let code = told.code().unwrap_or(Code::Unknown);
            told.complete(Status::new(code, ""))
        }
        Err(_other_data) => Status::new(Code::Unknown, shortened(data)),
    }
}

impl Told {
    fn code(&self) -> Option<Code> {
        self.status.as_deref().and_then(code::of_word).filter(|code| *code != Code::Ok)
    }

    /// Adds to `status` what it does not say yet.
    fn complete(self, status: Status) -> Status {
        let mut status = if status.message().is_empty() { with_message(&status, self.message) } else { status };
        let code = self.code.map(|code| (ours::GRPC_ERROR_CODE.as_str().to_owned(), code));
        for (name, text) in self.metadata.into_iter().chain(code) {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(text))
                && (ours::is_free(&name) || name == ours::GRPC_ERROR_CODE)
            {
                status.metadata_mut().insert(name, value);
            }
        }
        status
    }
}

fn code_of(headers: &HeaderMap) -> Option<Code> {
    headers.get(ours::STATUS)?.to_str().map_or(None, code::of_word)
}

fn with_message(status: &Status, message: String) -> Status {
    let mut with = Status::new(status.code(), message);
    *with.metadata_mut() = status.metadata().clone();
    with
}

fn in_words(head: &Parts, body: &[u8]) -> String {
    let kind = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let text = if kind.starts_with(b"text/html") { String::new() } else { shortened(body) };
    if text.is_empty() { format!("HTTP {}", head.status) } else { format!("HTTP {}: {text}", head.status) }
}

fn shortened(text: &[u8]) -> String {
    String::from_utf8_lossy(text).trim().chars().take(FAILURE_CHARS_MAX).collect()
}

pub(crate) fn too_large() -> Status {
    let text = format!("reply: message is larger than {MESSAGE_BYTES_MAX} bytes, the most that is taken");
    Status::new(Code::ResourceExhausted, text)
}

pub(crate) fn broken_off(error: &dyn std::error::Error) -> Status {
    Status::new(Code::Unavailable, format!("the answer has broken off: {error}"))
}
