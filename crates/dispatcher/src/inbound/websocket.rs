//! Calls over a WebSocket: each message of the call is one of the socket.

use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _, stream};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use mesh_server::{Upgrade, Upgraded};
use peer_health::Readiness;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message, Utf8Bytes};
use tonic::Code;
use tonic::body::Body;
use tower::ServiceExt as _;

use crate::call::Call;
use crate::encoding::Encoding;
use crate::front::FrontOptions;
use crate::handler::Handler;
use crate::inbound::http::Callee;
use crate::late;
use crate::messages::Messages;
use crate::meta::RequestMeta;
use crate::procedure::Shape;
use crate::status::Status;
use crate::wire::Wire;

type Socket = WebSocketStream<Upgraded>;

/// The code of a close that tells of a failure is this and that of gRPC.
const FAILED: u16 = 4000;

/// Longest wait for the client's answer to a close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Most bytes of the reason in a close.
const REASON_BYTES_MAX: usize = 123;

/// Returns whether a request asks for a WebSocket.
pub(crate) fn is_asked(request: &Request<Body>) -> bool {
    let upgrade = request.headers().get(header::UPGRADE);
    upgrade.is_some_and(|what| what.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// Has `callee` answer, as a duplex procedure.
pub(crate) fn serve(
    callee: Callee,
    request: Request<Body>,
    options: &FrontOptions,
    readiness: &Readiness,
) -> Response<Body> {
    match begin(callee, request, options, readiness) {
        Ok(response) => response,
        Err(status) => Wire::Http.failure(&status),
    }
}

fn begin(
    callee: Callee,
    request: Request<Body>,
    options: &FrontOptions,
    readiness: &Readiness,
) -> Result<Response<Body>, Status> {
    let (mut head, _body) = request.into_parts();
    let accept = accept(&head)?;
    let Callee { name, shape, encoding, handler } = callee;
    if let Some(other) = shape.filter(|shape| *shape != Shape::Duplex) {
        let text = format!("procedure `{name}` is {other}: call it by POST, not as a WebSocket");
        return Err(Status::new(Code::InvalidArgument, text));
    }
    let upgrade = head
        .extensions
        .remove::<Upgrade>()
        .ok_or_else(|| Status::new(Code::Unimplemented, "WebSockets are served over HTTP/1.1 only"))?;
    let meta = RequestMeta::read(&head.headers)?;
    let deadline = late::deadline(late::time_left(&head.headers, &meta)?)?;
    let is_text = meta.encoding.as_ref().or(encoding.as_ref()).is_some_and(Encoding::is_text);
    let messages = Messages::empty();
    let call = Call { procedure: name, shape: Shape::Duplex, meta, deadline, messages, extensions: head.extensions };
    let (limit, active) = (options.message_bytes_max, readiness.begin_request());
    upgrade.then(move |io| async move {
        let config = WebSocketConfig::default().max_message_size(Some(limit)).max_frame_size(Some(limit));
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        converse(socket, handler, call, is_text).await;
        drop(active);
    });
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(response)
}

/// Checks the client's side of the handshake (RFC 6455, 4.2.1), and returns what ours says.
fn accept(head: &Parts) -> Result<HeaderValue, Status> {
    let invalid = |text: &str| Status::new(Code::InvalidArgument, text);
    if head.method != Method::GET {
        return Err(invalid("a WebSocket begins with GET"));
    }
    if head.headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(invalid("header `sec-websocket-version` is not 13, the one that there is"));
    }
    let key =
        head.headers.get(header::SEC_WEBSOCKET_KEY).ok_or_else(|| invalid("there is no header `sec-websocket-key`"))?;
    Ok(HeaderValue::try_from(derive_accept_key(key.as_bytes())).expect("base64 is visible ASCII"))
}

async fn converse(socket: Socket, handler: Handler, mut call: Call, is_text: bool) {
    let (mut replies, mut requests) = socket.split();
    // One message waits for its turn; the socket's window holds back the others.
    let (give, mut given) = mpsc::channel(1);
    call.messages = Messages::stream(stream::poll_fn(move |cx| given.poll_recv(cx)));
    let ended = tokio::select! {
        ended = answer(handler, call, &mut replies, is_text) => ended,
        gone = listen(&mut requests, give) => Err(gone),
    };
    let closing = async {
        replies.send(Message::Close(Some(close(&ended)))).await?;
        // The client answers with a close of its own; what it has sent before is of no use any more.
        while let Some(Ok(_unused)) = requests.next().await {}
        let mut whole = replies.reunite(requests).expect("both are halves of this socket");
        Ok::<_, Error>(whole.get_mut().shutdown().await?)
    };
    match timeout(CLOSE_TIMEOUT, closing).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "WebSocket has ended before its call"),
        Err(_elapsed) => tracing::debug!("WebSocket was not closed by its client"),
    }
}

/// Answers one message after the other, until there are no more.
async fn answer(
    handler: Handler,
    call: Call,
    replies: &mut SplitSink<Socket, Message>,
    is_text: bool,
) -> Result<(), Status> {
    let deadline = call.deadline;
    let reply = late::within(deadline, handler.oneshot(call)).await?;
    let mut messages = late::until(deadline, reply.messages);
    while let Some(message) = messages.next().await {
        let message = framed(message?, is_text)?;
        late::within(deadline, async { replies.send(message).await.map_err(|error| broken(&error)) }).await?;
    }
    Ok(())
}

fn framed(message: Bytes, is_text: bool) -> Result<Message, Status> {
    if !is_text {
        return Ok(Message::Binary(message));
    }
    let text = Utf8Bytes::try_from(message)
        .map_err(|error| Status::new(Code::Internal, format!("reply: message is not the text it is to be: {error}")))?;
    Ok(Message::Text(text))
}

/// Hands on what the client sends, until it breaks off. A client that closes in good order has sent all; its call goes on.
async fn listen(requests: &mut SplitStream<Socket>, give: mpsc::Sender<Result<Bytes, Status>>) -> Status {
    let mut give = Some(give);
    loop {
        let message = match requests.next().await {
            Some(Ok(Message::Text(text))) => Bytes::from(text),
            Some(Ok(Message::Binary(bytes))) => bytes,
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Ok(Message::Close(Some(CloseFrame { code: CloseCode::Normal | CloseCode::Status, .. }) | None))) => {
                give = None;
                continue;
            }
            Some(Ok(Message::Close(Some(close)))) => {
                return Status::new(Code::Cancelled, format!("the client has closed with code {}", close.code));
            }
            Some(Err(error)) => return broken(&error),
            None if give.is_none() => std::future::pending().await,
            None => return Status::new(Code::Cancelled, "the client is gone"),
        };
        if let Some(to) = &give
            && to.send(Ok(message)).await.is_err()
        {
            // The handler has heard enough: what still comes is thrown away, so that the close is heard.
            continue;
        }
    }
}

fn broken(error: &Error) -> Status {
    match error {
        Error::Capacity(_) => Status::new(Code::ResourceExhausted, format!("request: {error}")),
        Error::Utf8(_) | Error::Protocol(_) => Status::new(Code::InvalidArgument, format!("request: {error}")),
        _ => Status::new(Code::Cancelled, format!("the client is gone: {error}")),
    }
}

fn close(ended: &Result<(), Status>) -> CloseFrame {
    match ended {
        Ok(()) => CloseFrame { code: CloseCode::Normal, reason: Utf8Bytes::from_static("ok") },
        Err(status) => {
            let mut reason = status.to_string();
            reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
            let code = u16::try_from(status.code() as i32).unwrap_or_default();
            CloseFrame { code: CloseCode::from(FAILED + code), reason: reason.into() }
        }
    }
}
