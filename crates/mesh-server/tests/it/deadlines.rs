//! `grpc-timeout`, kept by the server: the clients here leave it to it.

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use test_rpc::rpc::{EchoRequest, StreamRequest};
use tonic::{Code, Request};

use crate::fixture::{By, Outcome, Served, held, says, within};

fn with_timeout<T>(
    message: T,
    timeout: &'static str,
) -> Result<Request<T>, tonic::metadata::errors::InvalidMetadataValue> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("grpc-timeout", timeout.parse()?);
    Ok(request)
}

async fn check_before_the_head(by: By) -> Outcome {
    let served = Served::start()?;
    let mut client = served.client(by).await?;
    let status = within("the deadline", client.unary(with_timeout(held(), "50m")?)).await.expect_err("it is held");
    assert_eq!((status.code(), status.message()), (Code::DeadlineExceeded, "the deadline has passed"));
    within("the handler to be dropped", served.echo.wait_for(|calls| calls.dropped == 1)).await;
    assert_eq!(client.unary(with_timeout(says("in time"), "20S")?).await?.into_inner().payload, "in time");
    Ok(())
}

#[tokio::test]
async fn a_late_call_is_answered_with_a_status_and_its_handler_dropped() -> Outcome {
    check_before_the_head(By::Http2).await?;
    check_before_the_head(By::Http3).await
}

/// Answers one message, holds the next, and is reset; its caller goes on waiting and sending.
async fn check_after_the_head(by: By) -> Outcome {
    let served = Served::start()?;
    let mut client = served.client(by).await?;
    let requests = stream::iter([says("a"), held()]).chain(stream::pending());
    let mut replies = client.chat(with_timeout(requests, "1S")?).await?.into_inner();
    assert_eq!(replies.message().await?.map(|reply| reply.payload), Some(Bytes::from_static(b"a")));
    let reset = within("the reset", replies.message()).await.expect_err("the second is held");
    // RST_STREAM with CANCEL, or RESET_STREAM with H3_REQUEST_CANCELLED.
    assert!(reset.code() == Code::Cancelled || format!("{reset:?}").contains("CANCEL, Remote"), "{reset:?}");
    within("the handler to be dropped", served.echo.wait_for(|calls| calls.dropped == 1)).await;
    assert_eq!(client.unary(says("still here")).await?.into_inner().payload, "still here");
    Ok(())
}

#[tokio::test]
async fn an_answer_that_is_late_is_reset_in_the_middle() -> Outcome {
    check_after_the_head(By::Http2).await?;
    check_after_the_head(By::Http3).await
}

/// A caller that takes the head and then reads nothing: the answer fills its window and waits.
async fn check_unread(by: By) -> Outcome {
    let served = Served::start()?;
    let mut client = served.client(by).await?;
    let each = EchoRequest { more_bytes: 1024 * 1024, ..EchoRequest::default() };
    let endless = StreamRequest { each: Some(each), count: u64::MAX, failure: None };
    let _unread = client.server_stream(with_timeout(endless, "1S")?).await?;
    within("the handler to be dropped", served.echo.wait_for(|calls| calls.dropped == 1)).await;
    assert_eq!(client.unary(says("still here")).await?.into_inner().payload, "still here");
    Ok(())
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_reset_too() -> Outcome {
    check_unread(By::Http2).await?;
    check_unread(By::Http3).await
}

async fn check_malformed(by: By) -> Outcome {
    let served = Served::start()?;
    let status = served.client(by).await?.unary(with_timeout(says("a"), "soon")?).await.expect_err("it is malformed");
    assert_eq!((status.code(), status.message()), (Code::Internal, "the call has a grpc-timeout that is none"));
    assert_eq!(served.echo.calls().begun, 0, "the handler was called");
    Ok(())
}

#[tokio::test]
async fn a_malformed_timeout_is_refused() -> Outcome {
    check_malformed(By::Http2).await?;
    check_malformed(By::Http3).await
}

#[tokio::test]
async fn a_client_of_tonic_whose_deadline_comes_leaves_no_handler_behind() -> Outcome {
    let served = Served::start()?;
    let mut client = served.client(By::Tonic).await?;
    let late = within("the deadline", client.unary(with_timeout(held(), "50m")?)).await;
    // Which side's clock comes first is a matter of chance; tonic has another word for it than the server.
    let code = late.expect_err("it is held").code();
    assert!(matches!(code, Code::DeadlineExceeded | Code::Cancelled), "{code:?}");
    within("the handler to be dropped", served.echo.wait_for(|calls| calls.dropped == 1)).await;
    Ok(())
}
