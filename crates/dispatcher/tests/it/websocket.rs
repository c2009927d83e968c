//! Calls over a WebSocket.

use bytes::Bytes;
use dispatcher::{
    Code, Dispatcher, Front, FrontOptions, Incoming, Json, Procedure, Raw, Readiness, Request, Response, Status,
};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::fixture::{BoxError, Outcome, Served, Socket, forwarding, within};

fn chats() -> Result<Dispatcher, BoxError> {
    let double = |request: Request<Incoming<u32>>| async move {
        let doubled = request.message.map(|number| match number? {
            0 => Err(Status::new(Code::OutOfRange, "0 is nothing to double")),
            number => Ok(2 * number),
        });
        Ok(Response::new(doubled))
    };
    let same = |request: Request<Incoming<Bytes>>| async move { Ok(Response::new(request.message)) };
    let greet = |_: Request<Incoming<Bytes>>| async move {
        Ok(Response::new(futures_util::stream::iter([Ok(Bytes::from_static(b"hello"))])))
    };
    let unary = |request: Request<u32>| async move { Ok(Response::new(request.message)) };
    Ok(Dispatcher::builder()
        .procedure(Procedure::duplex("chat/double".parse()?, Json, double))
        .procedure(Procedure::duplex("chat/same".parse()?, Raw, same))
        .procedure(Procedure::duplex("chat/greet".parse()?, Raw, greet))
        .procedure(Procedure::unary("chat/unary".parse()?, Json, unary))
        .build()?)
}

fn close(code: u16, reason: &str) -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::from(code), reason: reason.into() }))
}

/// Sends what is to be sent, and returns the next that comes.
async fn turn(socket: &mut Socket, message: Message) -> Result<Message, BoxError> {
    socket.send(message).await?;
    Ok(within("a message", socket.next()).await.ok_or("the socket has ended")??)
}

async fn check(front: Front) -> Outcome {
    let served = Served::start(front)?;
    let mut numbers = served.websocket("/chat/double", &[("rpc-encoding", "json")]).await?;
    assert_eq!(turn(&mut numbers, Message::text("21")).await?, Message::text("42"));
    assert_eq!(turn(&mut numbers, Message::binary("4")).await?, Message::text("8"));
    assert_eq!(turn(&mut numbers, Message::text("0")).await?, close(4011, "out-of-range: 0 is nothing to double"));
    let mut bytes = served.websocket("/chat/same", &[]).await?;
    assert_eq!(turn(&mut bytes, Message::binary(&[0, 255][..])).await?, Message::binary(&[0, 255][..]));
    let mut ends = served.websocket("/chat/greet", &[]).await?;
    assert_eq!(turn(&mut ends, Message::binary("x")).await?, Message::binary("hello"));
    assert_eq!(within("the close", ends.next()).await.transpose()?, Some(close(1000, "ok")));
    // A server that stops waits for its sockets.
    drop((numbers, bytes, ends));
    served.stop().await
}

#[tokio::test]
async fn a_websocket_is_a_duplex_call() -> Outcome {
    check(Front::builder(chats()?).build()).await?;
    check(forwarding(Front::builder(chats()?).build(), "chat")).await
}

#[tokio::test]
async fn what_is_wrong_with_a_websocket_is_told_in_its_close_or_before() -> Outcome {
    let options = FrontOptions { message_bytes_max: 8, ..FrontOptions::default() };
    let served = Served::start(Front::builder(chats()?).options(options).build())?;
    let mut large = served.websocket("/chat/same", &[]).await?;
    let told = turn(&mut large, Message::binary("nine bytes")).await?;
    assert_eq!(told, close(4008, "resource-exhausted: request: Space limit exceeded: Message too long: 10 > 8"));
    let mut wrong = served.websocket("/chat/double", &[]).await?;
    let reason = "invalid-argument: request: message is not valid json: expected ident at line 1 column 2";
    assert_eq!(turn(&mut wrong, Message::text("nil")).await?, close(4003, reason));
    let mut late = served.websocket("/chat/same", &[("rpc-ttl-ms", "50")]).await?;
    assert_eq!(
        within("the deadline", late.next()).await.transpose()?,
        Some(close(4004, "deadline-exceeded: the deadline has passed"))
    );
    for path in ["/chat/unary", "/chat/gone"] {
        let refused = served.websocket(path, &[]).await.map(drop).map_err(|error| error.to_string());
        let status = if path.ends_with("unary") { "400 Bad Request" } else { "501 Not Implemented" };
        assert_eq!(refused, Err(format!("HTTP error: {status}")));
    }
    drop((large, wrong, late));
    served.stop().await
}

#[tokio::test]
async fn a_client_that_goes_gives_its_call_up() -> Outcome {
    let readiness = Readiness::new("worker");
    let served = Served::start(Front::builder(chats()?).readiness(readiness.clone()).build())?;
    let mut socket = served.websocket("/chat/same", &[]).await?;
    assert_eq!(turn(&mut socket, Message::binary("a")).await?, Message::binary("a"));
    drop(socket);
    within("the call to end", async {
        while serde_json::to_value(readiness.health()).is_ok_and(|health| health["activeRequests"] != 0) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    served.stop().await
}
