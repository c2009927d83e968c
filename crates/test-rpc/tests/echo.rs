//! The service does what it is asked, over a channel that is the server itself.

use std::error::Error;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use test_rpc::rpc::echo_client::EchoClient;
use test_rpc::rpc::echo_server::EchoServer;
use test_rpc::rpc::{EchoReply, EchoRequest, Failure, StreamRequest, Summary};
use test_rpc::{Calls, EchoService};
use tonic::{Code, Request};

type Outcome = Result<(), Box<dyn Error>>;

fn client(echo: &EchoService) -> EchoClient<EchoServer<EchoService>> {
    EchoClient::new(EchoServer::new(echo.clone()))
}

fn says(text: &'static str) -> EchoRequest {
    EchoRequest { payload: Bytes::from_static(text.as_bytes()), ..EchoRequest::default() }
}

fn reply(text: &'static str, index: u64) -> EchoReply {
    EchoReply { payload: Bytes::from_static(text.as_bytes()), index }
}

#[tokio::test]
async fn every_shape_answers() -> Outcome {
    let echo = EchoService::default();
    let mut client = client(&echo);
    let longer = EchoRequest { more_bytes: 2, ..says("a") };
    assert_eq!(client.unary(longer).await?.into_inner(), reply("a\0\0", 0));
    let three = StreamRequest { each: Some(says("b")), count: 3, failure: None };
    let repeated: Vec<_> = client.server_stream(three).await?.into_inner().try_collect().await?;
    assert_eq!(repeated, [reply("b", 0), reply("b", 1), reply("b", 2)]);
    let sum = client.client_stream(stream::iter([says("c"), says("dd")])).await?.into_inner();
    assert_eq!(sum, Summary { messages: 2, bytes: 3 });
    let replies: Vec<_> = client.chat(stream::iter([says("e"), says("f")])).await?.into_inner().try_collect().await?;
    assert_eq!(replies, [reply("e", 0), reply("f", 1)]);
    assert_eq!(echo.calls(), Calls { begun: 4, ended: 4, dropped: 0 });
    Ok(())
}

#[tokio::test]
async fn failures_come_with_details_and_metadata_comes_back() -> Outcome {
    let failure = Failure { code: 9, message: "not now".to_owned(), details: "why".into(), panic: false };
    let mut request = Request::new(EchoRequest { failure: Some(failure.clone()), ..says("a") });
    request.metadata_mut().insert("echo-key", "value".parse()?);
    request.metadata_mut().insert("other-key", "value".parse()?);
    let echo = EchoService::default();
    let status = client(&echo).unary(request).await.expect_err("it was to fail");
    assert_eq!((status.code(), status.message(), status.details()), (Code::FailedPrecondition, "not now", &b"why"[..]));
    assert_eq!(status.metadata().get("echo-key").map(|value| value.as_bytes()), Some(&b"value"[..]));
    assert!(status.metadata().get("other-key").is_none());
    let after_one = StreamRequest { each: Some(says("b")), count: 1, failure: Some(failure) };
    let mut replies = client(&echo).server_stream(after_one).await?.into_inner();
    assert_eq!(replies.next().await.transpose()?, Some(reply("b", 0)));
    let end = replies.next().await.transpose().expect_err("it was to fail after one");
    assert_eq!((end.code(), end.details()), (Code::FailedPrecondition, &b"why"[..]));
    Ok(())
}

#[tokio::test]
async fn a_handler_that_nobody_waits_for_counts_as_dropped() {
    let echo = EchoService::default();
    let mut client = client(&echo);
    {
        let mut call = pin!(client.unary(EchoRequest { held: true, ..says("a") }));
        poll_fn(|cx| match call.as_mut().poll(cx) {
            Poll::Pending => Poll::Ready(()),
            Poll::Ready(answered) => panic!("answered while held: {answered:?}"),
        })
        .await;
        assert_eq!(echo.calls().running(), 1);
    }
    assert_eq!(echo.wait_for(|calls| calls.dropped == 1).await, Calls { begun: 1, ended: 0, dropped: 1 });
    echo.release();
    let answer = client.unary(EchoRequest { held: true, ..says("a") }).await;
    assert_eq!(answer.map(|answer| answer.into_inner().index).map_err(|status| status.code()), Ok(0));
}
