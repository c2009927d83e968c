//! Calls that come over plain HTTP.

use std::mem;

use futures_util::TryStreamExt as _;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use mesh_types::ServiceName;
use tonic::Code;
use tonic::body::Body;
use tower::ServiceExt as _;

use crate::call::{Call, Reply};
use crate::dispatcher::Registered;
use crate::encoding::Encoding;
use crate::forwarded::Forwarded;
use crate::front::FrontOptions;
use crate::handler::Handler;
use crate::inbound::events::Events;
use crate::late;
use crate::messages::Messages;
use crate::meta::{RequestMeta, ResponseMeta};
use crate::procedure::{ProcedureName, Shape};
use crate::status::Status;
use crate::wire::{Wire, write_ok};

/// Most bytes that are read of a body that is too large, behind those that fit.
const DISCARDED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Who answers a call.
pub(crate) struct Callee {
    pub(crate) name: ProcedureName,
    /// None if that is known only where the procedure is.
    pub(crate) shape: Option<Shape>,
    /// None if it looks for itself, or somebody else does.
    pub(crate) encoding: Option<Encoding>,
    pub(crate) handler: Handler,
}

impl Callee {
    /// Returns a procedure of this process.
    pub(crate) fn of(procedure: &Registered) -> Self {
        let (name, encoding) = (procedure.name().clone(), procedure.encoding().cloned());
        Self { name, shape: Some(procedure.shape()), encoding, handler: procedure.handler() }
    }

    /// Returns a procedure of somebody else.
    ///
    /// # Errors
    /// No procedure has such a name.
    pub(crate) fn elsewhere(service: ServiceName, name: &str, forwarded: Forwarded) -> Result<Self, Status> {
        let name =
            ProcedureName::new(service, name).map_err(|error| Status::new(Code::InvalidArgument, error.to_string()))?;
        Ok(Self { name, shape: None, encoding: None, handler: Handler::new(forwarded) })
    }
}

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// One message.
    Message,
    /// A stream of events.
    Events,
    /// Whichever of the two the procedure has.
    Either,
}

impl Asked {
    fn by(head: &Parts) -> Result<Self, Status> {
        let accepts = head.headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let (mut wants_events, mut takes_others) = (false, false);
        for kind in accepts.flat_map(|list| list.split(',')) {
            match kind.trim().starts_with("text/event-stream") {
                true => wants_events = true,
                false => takes_others = true,
            }
        }
        match head.method {
            Method::POST if wants_events && takes_others => Ok(Self::Either),
            Method::POST | Method::GET if wants_events => Ok(Self::Events),
            Method::POST => Ok(Self::Message),
            _ => Err(Status::new(
                Code::Unimplemented,
                format!(
                    "procedures are called by POST, or for a stream by `Accept: text/event-stream`; not by {}",
                    head.method
                ),
            )),
        }
    }

    /// Returns the shape in which a procedure is called, if its own is `known`.
    fn shape(self, name: &ProcedureName, known: Option<Shape>) -> Result<Shape, Status> {
        let how = match (self, known) {
            (Self::Message, None) => return Ok(Shape::Unary),
            (Self::Events | Self::Either, None) => return Ok(Shape::ServerStream),
            (Self::Message | Self::Either, Some(shape @ (Shape::Unary | Shape::Oneway)))
            | (Self::Events | Self::Either, Some(shape @ Shape::ServerStream)) => return Ok(shape),
            (Self::Events, Some(Shape::Unary | Shape::Oneway)) => "by POST",
            (Self::Message, Some(Shape::ServerStream)) => "with `Accept: text/event-stream`",
            (_, Some(Shape::Duplex)) => "as a WebSocket",
            (_, Some(Shape::ClientStream)) => "over gRPC",
        };
        let own = known.map_or("of another shape", Shape::as_str);
        Err(Status::new(Code::InvalidArgument, format!("procedure `{name}` is {own}: call it {how}")))
    }
}

/// Has `callee` answer.
pub(crate) async fn serve(callee: Callee, request: Request<Body>, options: &FrontOptions) -> Response<Body> {
    match answer(callee, request, options).await {
        Ok(response) => response,
        Err(status) => Wire::Http.failure(&status),
    }
}

async fn answer(callee: Callee, request: Request<Body>, options: &FrontOptions) -> Result<Response<Body>, Status> {
    let (head, body) = request.into_parts();
    let asked = Asked::by(&head)?;
    let Callee { name, shape: known, handler, .. } = callee;
    let shape = asked.shape(&name, known)?;
    let meta = RequestMeta::read(&head.headers)?;
    let deadline = late::deadline(late::time_left(&head.headers, &meta)?)?;
    refuse_compressed(&head.headers)?;
    let encoding = meta.encoding.clone();
    let whole = Box::pin(late::arriving(options.body_timeout, Box::pin(whole(body, options.message_bytes_max))));
    let messages = Messages::stream(whole);
    let mut call = Call { procedure: name, shape, meta, deadline, messages, extensions: head.extensions };
    late::within(deadline, async {
        if known.is_none() {
            // Nobody else is to wait for a message that comes slowly, or not at all; and what is wrong with it is told in our words.
            call.messages = Messages::one(mem::take(&mut call.messages).only().await?);
        }
        let reply = handler.oneshot(call).await?;
        let replies = late::until(deadline, reply.messages);
        let encoding = reply.meta.encoding.clone().or(encoding);
        match shape {
            Shape::ServerStream => Ok(events(&reply.meta, replies, encoding.as_ref(), options)),
            _ => message(Reply { meta: reply.meta, messages: replies }, encoding.as_ref()).await,
        }
    })
    .await
}

/// Reads a body as one message of up to `limit` bytes.
fn whole(body: Body, limit: usize) -> impl futures_core::Stream<Item = Result<bytes::Bytes, Status>> {
    futures_util::stream::once(async move {
        let too_large = || {
            Status::new(
                Code::ResourceExhausted,
                format!("request: body is larger than {limit} bytes, the most that is taken"),
            )
        };
        let is_announced = http_body::Body::size_hint(&body).lower() > u64::try_from(limit).unwrap_or(u64::MAX);
        let mut pieces = body.into_data_stream().map_err(Status::from);
        if is_announced {
            discard(&mut pieces).await?;
            return Err(too_large());
        }
        let Some(first) = pieces.try_next().await? else { return Ok(bytes::Bytes::new()) };
        let Some(second) = pieces.try_next().await? else { return fits(first, limit).ok_or_else(too_large) };
        let mut message = bytes::BytesMut::from(first);
        let mut next = Some(second);
        while let Some(piece) = next {
            message.extend_from_slice(&piece);
            if message.len() > limit {
                drop(message);
                discard(&mut pieces).await?;
                return Err(too_large());
            }
            next = pieces.try_next().await?;
        }
        Ok(message.freeze())
    })
}

/// Reads what is of no use any more, up to a bound: callers that cannot go on sending do not look for an answer.
async fn discard(
    pieces: &mut (impl futures_core::Stream<Item = Result<bytes::Bytes, Status>> + Unpin),
) -> Result<(), Status> {
    let mut read = 0;
    while read < DISCARDED_BYTES_MAX
        && let Some(piece) = pieces.try_next().await?
    {
        read += piece.len();
    }
    Ok(())
}

fn fits(message: bytes::Bytes, limit: usize) -> Option<bytes::Bytes> {
    (message.len() <= limit).then_some(message)
}

fn refuse_compressed(headers: &HeaderMap) -> Result<(), Status> {
    match headers.get(header::CONTENT_ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity" | b"") => Ok(()),
        Some(other) => {
            let text = format!(
                "body is compressed as {:?}; over plain HTTP none is taken that is",
                String::from_utf8_lossy(other)
            );
            Err(Status::new(Code::Unimplemented, text))
        }
    }
}

/// Answers with the one message that there is, or with nothing but that it was taken.
async fn message(reply: Reply, encoding: Option<&Encoding>) -> Result<Response<Body>, Status> {
    let Reply { meta, messages } = reply;
    let message = messages.only().await.map_err(|status| match status.code() {
        Code::InvalidArgument if status.message().ends_with("is to be one") => Status::new(
            Code::Internal,
            format!("reply: {}; a stream is asked for with `Accept: text/event-stream`", status.message()),
        ),
        _ => status,
    })?;
    let mut response = Response::new(Body::empty());
    if meta.shape == Some(Shape::Oneway) {
        *response.status_mut() = StatusCode::ACCEPTED;
    } else {
        let kind = encoding.unwrap_or(&Encoding::RAW).content_type();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        *response.body_mut() = Body::new(Full::new(message));
    }
    write_head(&meta, encoding, &mut response);
    write_ok(response.headers_mut());
    Ok(response)
}

fn events(
    meta: &ResponseMeta,
    messages: Messages,
    encoding: Option<&Encoding>,
    options: &FrontOptions,
) -> Response<Body> {
    // What is not text is in base64: who reads it has to be told.
    let encoding = encoding.unwrap_or(&Encoding::RAW);
    let events = Events::new(messages, encoding.is_text(), options.events_keep_alive);
    let mut response = Response::new(Body::new(events));
    write_head(meta, Some(encoding), &mut response);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

fn write_head(meta: &ResponseMeta, encoding: Option<&Encoding>, response: &mut Response<Body>) {
    let meta = ResponseMeta { encoding: encoding.cloned(), ..meta.clone() };
    meta.write(response.headers_mut());
    response.headers_mut().insert(crate::header::TRANSPORT, HeaderValue::from_static("http"));
}
