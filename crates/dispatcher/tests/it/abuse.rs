//! Callers that are slow, or that never stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dispatcher::{Code, Dispatcher, Front, Procedure, Protobuf, Readiness, Request, Response};
use futures_util::stream;
use grpc_client_factory::Http3Mode;
use http_body_util::StreamBody;
use test_rpc::rpc::echo_client::EchoClient;
use test_rpc::rpc::{EchoReply, EchoRequest, StreamRequest};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tower::ServiceExt as _;

use crate::echo;
use crate::fixture::{Outcome, Served, within};
use crate::grpc::{active, status_of};

const UNARY: &str = "/omnirelay.test.v1.Echo/Unary";

#[tokio::test(start_paused = true)]
async fn a_caller_that_never_sends_its_message_is_not_waited_for() -> Outcome {
    let front = Front::builder(echo::procedures().build()?).build();
    let begun = Ok::<_, std::io::Error>(http_body::Frame::data(Bytes::from_static(b"\0\0\0\0\x09half")));
    let body = StreamBody::new(futures_util::StreamExt::chain(stream::iter([begun]), stream::pending()));
    let request = http::Request::post(UNARY).header("content-type", "application/grpc").body(body)?;
    let began = Instant::now();
    let Ok(response) = front.oneshot(request).await;
    let status = status_of(response.headers()).ok_or("no status")?;
    let text = "the request did not arrive as a whole within 30s";
    assert_eq!((status.code(), status.message()), (Code::DeadlineExceeded, text));
    assert_eq!(began.elapsed(), Duration::from_secs(30));
    Ok(())
}

/// Has a server send without an end to a caller that does not read, while others call.
async fn check_unread(mode: Http3Mode) -> Outcome {
    const MESSAGE_BYTES: usize = 64 * 1024;
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sent);
    let endless = move |_: Request<StreamRequest>| {
        let counted = Arc::clone(&counted);
        let replies = stream::repeat_with(move || {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok(EchoReply { payload: Bytes::from_static(&[7; MESSAGE_BYTES]), index: 0 })
        });
        async { Ok(Response::new(replies)) }
    };
    let other = |request: Request<EchoRequest>| async move {
        Ok(Response::new(EchoReply { payload: request.message.payload, index: 0 }))
    };
    let dispatcher = Dispatcher::builder()
        .procedure(Procedure::server_stream("omnirelay.test.v1.Echo/ServerStream".parse()?, Protobuf, endless))
        .procedure(Procedure::unary("omnirelay.test.v1.Echo/Unary".parse()?, Protobuf, other))
        .build()?;
    let served = Served::start(Front::builder(dispatcher).build())?;
    let mut client = EchoClient::new(served.channel(mode)?);
    let mut unread = client.server_stream(StreamRequest::default()).await?.into_inner();
    assert_eq!(unread.message().await?.map(|first| first.payload.len()), Some(MESSAGE_BYTES));
    for _ in 0..50 {
        within("a call beside it", client.unary(EchoRequest::default())).await?;
    }
    // The caller's window, the server's buffers, and what is on its way between.
    let bytes = sent.load(Ordering::Relaxed) * MESSAGE_BYTES;
    assert!(bytes < 16 * 1024 * 1024, "{bytes} bytes were made for nobody");
    drop(unread);
    served.stop().await
}

#[tokio::test]
async fn a_caller_that_does_not_read_holds_back_its_own_call_only() -> Outcome {
    check_unread(Http3Mode::Off).await?;
    check_unread(Http3Mode::Only).await
}

#[tokio::test]
async fn a_flood_of_calls_that_are_reset_leaves_nothing_behind() -> Outcome {
    const CALLS: usize = 5_000;
    let readiness = Readiness::new("worker");
    let front = Front::builder(echo::procedures().build()?).readiness(readiness.clone()).build();
    let served = Served::start(front)?;
    let (mut calls, connection) = h2::client::handshake(served.tls(b"h2").await?).await?;
    let mut driver = JoinSet::new();
    driver.spawn(connection);
    for _ in 0..CALLS {
        // The server may have had enough of it before.
        let Ok(ready) = within("a turn", calls.clone().ready()).await else { break };
        calls = ready;
        let request = http::Request::post(format!("https://mesh{UNARY}")).header("content-type", "application/grpc");
        let Ok((_answer, mut message)) = calls.send_request(request.body(())?, false) else { break };
        message.send_reset(h2::Reason::CANCEL);
    }
    let request = EchoRequest { payload: Bytes::from_static(b"still here"), ..EchoRequest::default() };
    let mut other = EchoClient::new(served.channel(Http3Mode::Off)?);
    assert_eq!(within("an answer", other.unary(request)).await?.into_inner().payload, "still here");
    within("the calls to be gone", async {
        while active(&readiness).is_ok_and(|active| active > 0) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop((calls, driver));
    served.stop().await
}
