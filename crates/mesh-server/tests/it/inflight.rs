//! The calls under way of a node that is to be emptied.

use http::header::RETRY_AFTER;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use test_rpc::Calls;
use test_rpc::rpc::StreamRequest;
use tokio::task::JoinSet;
use tonic::Code;
use tonic::body::Body;
use tower::ServiceExt as _;

use crate::fixture::{By, Outcome, Served, held, options, says, within};

async fn check_counted(by: By) -> Outcome {
    let served = Served::start_guarded(options())?;
    let mut client = served.client(by).await?;
    let mut under_way = JoinSet::new();
    for _ in 0..2 {
        let mut client = client.clone();
        under_way.spawn(async move { client.unary(held()).await });
    }
    // A stream is under way although its head was answered.
    let three = StreamRequest { each: Some(held()), count: 3, failure: None };
    let mut replies = client.server_stream(three).await?.into_inner();
    served.echo.wait_for(|calls| calls.begun == 3).await;
    assert_eq!(served.inflight.active(), 3);
    served.echo.release();
    within("the end of all calls", served.inflight.emptied()).await;
    while let Some(answered) = under_way.join_next().await {
        assert_eq!(answered??.into_inner().payload, "held");
    }
    while replies.message().await?.is_some() {}
    assert_eq!(served.inflight.active(), 0);
    // One that was given up is not under way.
    drop(client.server_stream(StreamRequest { each: Some(says("reply")), count: u64::MAX, failure: None }).await?);
    within("the end of the stream", served.inflight.emptied()).await;
    Ok(())
}

#[tokio::test]
async fn a_call_counts_until_the_end_of_its_answer() -> Outcome {
    check_counted(By::Tonic).await?;
    check_counted(By::Http3).await
}

async fn check_cut_off(by: By) -> Outcome {
    let served = Served::start_guarded(options())?;
    let mut client = served.client(by).await?;
    let mut unary = JoinSet::new();
    let mut holding = client.clone();
    unary.spawn(async move { holding.unary(held()).await });
    let endless = StreamRequest { each: Some(says("reply")), count: u64::MAX, failure: None };
    let mut replies = client.server_stream(endless).await?.into_inner();
    assert_eq!(replies.message().await?.ok_or("no reply")?.payload, "reply");
    served.echo.wait_for(|calls| calls.begun == 2).await;
    assert_eq!(served.inflight.cut_off(), 2);

    let told = "the node is drained, and the call took too long";
    let cut = within("the end of the call", unary.join_next()).await.ok_or("no call")??.expect_err("it was cut off");
    let retry_after = cut.metadata().get(RETRY_AFTER.as_str()).map(|value| value.as_bytes().to_vec());
    assert_eq!((cut.code(), cut.message(), retry_after), (Code::Unavailable, told, Some(b"1".to_vec())));
    let broken_off = loop {
        match within("the end of the stream", replies.message()).await {
            Ok(Some(_)) => {}
            Ok(None) => return Err("a stream that was cut off ended as if it were whole".into()),
            Err(status) => break status,
        }
    };
    assert_eq!((broken_off.code(), broken_off.message()), (Code::Unavailable, told));
    within("the end of all calls", served.inflight.emptied()).await;
    let dropped = within("the end of the handlers", served.echo.wait_for(|calls| calls.dropped == 2)).await;
    assert_eq!(dropped, Calls { begun: 2, ended: 0, dropped: 2 });
    // Those that come after it are not cut off.
    assert_eq!(client.unary(says("next")).await?.into_inner().payload, "next");
    Ok(())
}

#[tokio::test]
async fn calls_that_are_cut_off_are_told_so_and_their_handlers_dropped() -> Outcome {
    check_cut_off(By::Tonic).await?;
    check_cut_off(By::Http3).await
}

#[tokio::test]
async fn plain_http_is_told_when_to_come_back() -> Outcome {
    let served = Served::start_guarded(options())?;
    let channel = served.channel(By::Http2, &*served.authority.credentials("client")?).await?;
    let request = Request::get(format!("{}never", served.origin()?)).body(Body::empty())?;
    let mut asking = JoinSet::new();
    asking.spawn(channel.oneshot(request));
    within("the request", async {
        while served.inflight.active() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(served.inflight.cut_off(), 1);
    let answer = within("the answer", asking.join_next()).await.ok_or("no answer")???;
    let retry_after = answer.headers().get(RETRY_AFTER).map(|value| value.as_bytes().to_vec());
    assert_eq!((answer.status(), retry_after), (StatusCode::SERVICE_UNAVAILABLE, Some(b"1".to_vec())));
    let expected = "{\"message\":\"the node is drained, and the call took too long\",\"status\":\"UNAVAILABLE\",\"code\":\"draining\",\"metadata\":{}}";
    assert_eq!(answer.into_body().collect().await?.to_bytes(), expected);
    Ok(())
}
