//! Calls of all shapes, the same by every protocol.

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _, stream};
use http_body_util::BodyExt as _;
use mesh_server::Options;
use test_rpc::Calls;
use test_rpc::rpc::{EchoReply, EchoRequest, Failure, StreamRequest, Summary};
use tokio::sync::mpsc;
use tonic::body::Body;
use tonic::{Code, Request};
use tower::{Service as _, ServiceExt as _};

use crate::fixture::{BoxError, By, Outcome, Served, held, options, says, within};

fn reply(text: &'static str, index: u64) -> EchoReply {
    EchoReply { payload: Bytes::from_static(text.as_bytes()), index }
}

async fn check_shapes(by: By) -> Outcome {
    let served = Served::start()?;
    let mut client = served.client(by).await?;
    assert_eq!(client.unary(says("a")).await?.into_inner(), reply("a", 0));
    let three = StreamRequest { each: Some(says("b")), count: 3, failure: None };
    let repeated: Vec<_> = client.server_stream(three).await?.into_inner().try_collect().await?;
    assert_eq!(repeated, [reply("b", 0), reply("b", 1), reply("b", 2)]);
    let sum = client.client_stream(stream::iter([says("c"), says("dd")])).await?.into_inner();
    assert_eq!(sum, Summary { messages: 2, bytes: 3 });
    let replies: Vec<_> = client.chat(stream::iter([says("e"), says("f")])).await?.into_inner().try_collect().await?;
    assert_eq!(replies, [reply("e", 0), reply("f", 1)]);
    assert_eq!(served.echo.calls(), Calls { begun: 4, ended: 4, dropped: 0 });
    Ok(())
}

#[tokio::test]
async fn every_shape_passes() -> Outcome {
    check_shapes(By::Tonic).await?;
    check_shapes(By::Http3).await
}

async fn check_failure(by: By) -> Outcome {
    let served = Served::start()?;
    let mut client = served.client(by).await?;
    let message = "not now: 100 % über".to_owned();
    let failure = Failure { code: 9, message: message.clone(), details: vec![0, 159, 146].into(), panic: false };
    let mut request = Request::new(EchoRequest { failure: Some(failure.clone()), ..says("a") });
    request.metadata_mut().insert_bin("echo-binary-bin", tonic::metadata::MetadataValue::from_bytes(&[0, 255]));
    let status = client.unary(request).await.expect_err("it was to fail");
    assert_eq!(
        (status.code(), status.message(), status.details()),
        (Code::FailedPrecondition, &*message, &[0, 159, 146][..])
    );
    let returned = status.metadata().get_bin("echo-binary-bin").ok_or("metadata did not come back")?.to_bytes()?;
    assert_eq!(returned, &[0, 255][..]);
    let after_one = StreamRequest { each: Some(says("b")), count: 1, failure: Some(failure) };
    let mut replies = client.server_stream(after_one).await?.into_inner();
    assert_eq!(replies.message().await?, Some(reply("b", 0)));
    let end = replies.message().await.expect_err("it was to fail after one");
    assert_eq!((end.code(), end.message()), (Code::FailedPrecondition, &*message));
    Ok(())
}

#[tokio::test]
async fn failures_come_with_message_details_and_metadata() -> Outcome {
    check_failure(By::Tonic).await?;
    check_failure(By::Http3).await
}

async fn check_large(by: By) -> Outcome {
    const SIZE: usize = 8 * 1024 * 1024;
    let served = Served::start()?;
    let payload: Bytes = (0..SIZE).zip((0..=250).cycle()).map(|(_, byte)| byte).collect();
    let request = EchoRequest { payload: payload.clone(), ..EchoRequest::default() };
    let reply = within("8 MiB", served.client(by).await?.unary(request)).await?.into_inner();
    assert!(reply.payload == payload, "{} bytes came back of {SIZE}", reply.payload.len());
    Ok(())
}

#[tokio::test]
async fn messages_of_8_mib_pass_both_ways() -> Outcome {
    check_large(By::Tonic).await?;
    check_large(By::Http3).await
}

#[tokio::test]
async fn handlers_know_who_calls_and_clients_of_tcp_hear_of_http3() -> Outcome {
    let served = Served::start()?;
    let credentials = served.authority.credentials("somebody")?;
    let port = served.address().port();
    for (by, who, alt_svc) in [
        (By::Http2, "somebody by http2", Some(format!("h3=\":{port}\"; ma=86400"))),
        (By::Http3, "somebody by http3", None),
    ] {
        let mut channel = served.channel(by, &credentials).await?;
        let request = http::Request::get(format!("https://{}/who", served.address())).body(Body::empty())?;
        let response = channel.ready().await?.call(request).await?;
        let told = response.headers().get(http::header::ALT_SVC).map(|value| value.as_bytes().to_owned());
        assert_eq!(told, alt_svc.map(String::into_bytes));
        assert_eq!(response.into_body().collect().await?.to_bytes(), who);
    }
    Ok(())
}

async fn check_cancelled(by: By) -> Outcome {
    let served = Served::start()?;
    let mut client = served.client(by).await?;
    let mut waiting = Box::pin({
        let mut client = client.clone();
        async move { client.unary(held()).await }
    });
    tokio::select! {
        answered = &mut waiting => panic!("answered while held: {answered:?}"),
        _ = served.echo.wait_for(|calls| calls.begun == 1) => {}
    }
    drop(waiting);
    within("the unary handler to be dropped", served.echo.wait_for(|calls| calls.dropped == 1)).await;

    let silent = StreamRequest { each: Some(held()), count: 1, failure: None };
    drop(client.server_stream(silent).await?);
    within("the handler of the stream to be dropped", served.echo.wait_for(|calls| calls.dropped == 2)).await;

    assert_eq!(client.unary(says("still here")).await?.into_inner(), reply("still here", 0));
    assert_eq!(served.handle.connections().len(), 1, "the connection outlives its calls");
    Ok(())
}

#[tokio::test]
async fn a_call_that_is_cancelled_drops_its_handler_and_nothing_else() -> Outcome {
    check_cancelled(By::Tonic).await?;
    check_cancelled(By::Http3).await
}

/// A request of which one message is there, and more to come as long as the sender lives.
async fn unfinished(
    text: &'static str,
) -> Result<(mpsc::Sender<EchoRequest>, impl Stream<Item = EchoRequest>), BoxError> {
    let (messages, queue) = mpsc::channel(1);
    messages.send(says(text)).await?;
    Ok((messages, stream::unfold(queue, |mut queue| async { Some((queue.recv().await?, queue)) })))
}

/// hyper's client does not cancel while the request goes on; with it this is seen to by `cargo xtask interop grpc`.
#[tokio::test]
async fn requests_that_are_cancelled_in_the_middle_never_look_complete() -> Outcome {
    let served = Served::start()?;
    let mut client = served.client(By::Http3).await?;
    // Often enough for the server to notice either direction first.
    for begun in (0..20).step_by(2) {
        let (_to_upload, pieces) = unfinished("a").await?;
        let mut upload = Box::pin(client.client_stream(pieces));
        tokio::select! {
            answered = &mut upload => panic!("answered in the middle: {answered:?}"),
            _ = served.echo.wait_for(|calls| calls.begun == begun + 1) => {}
        }
        drop(upload);
        let (_to_say, said) = unfinished("b").await?;
        let mut replies = client.chat(said).await?.into_inner();
        assert_eq!(replies.message().await?, Some(reply("b", 0)));
        drop(replies);
        let gone = served.echo.wait_for(|calls| calls.running() == 0);
        assert_eq!(within("the handlers to be gone", gone).await.ended, 0, "a part was taken for the whole");
    }
    Ok(())
}

async fn check_panic(by: By) -> Outcome {
    let served = Served::start()?;
    let mut client = served.client(by).await?;
    let failure = Failure { panic: true, message: "a secret".to_owned(), ..Failure::default() };
    let status =
        client.unary(EchoRequest { failure: Some(failure.clone()), ..says("a") }).await.expect_err("it panics");
    assert_eq!((status.code(), status.message()), (Code::Internal, "the handler has panicked"));
    let (messages, queue) = mpsc::channel(1);
    let requests = stream::unfold(queue, |mut queue: mpsc::Receiver<_>| async { Some((queue.recv().await?, queue)) });
    messages.send(says("b")).await?;
    let mut replies = client.chat(requests).await?.into_inner();
    assert_eq!(replies.message().await?, Some(reply("b", 0)));
    messages.send(EchoRequest { failure: Some(failure), ..says("c") }).await?;
    let end = replies.message().await.expect_err("it panics after one");
    assert_eq!((end.code(), end.message()), (Code::Internal, "the handler has panicked"));
    assert_eq!(client.unary(says("still here")).await?.into_inner(), reply("still here", 0));
    Ok(())
}

#[tokio::test]
async fn a_handler_that_panics_fails_its_own_call_only() -> Outcome {
    check_panic(By::Tonic).await?;
    check_panic(By::Http3).await
}

/// Twenty calls send more than their windows hold to handlers that do not read; then others are made.
async fn check_stalled(by: By) -> Outcome {
    const STALLED: u64 = 20;
    let mut small =
        Options { http2: mesh_server::Http2Options { stream_window_bytes: 65_535, ..Default::default() }, ..options() };
    if let Some(quic) = &mut small.quic {
        quic.stream_window_bytes = 65_535;
    }
    let served = Served::start_with(small)?;
    let client = served.client(by).await?;
    let filling = EchoRequest { payload: vec![0; 256 * 1024].into(), ..held() };
    let stalled = (0..STALLED).map(|_| {
        let (mut client, filling) = (client.clone(), filling.clone());
        async move { client.client_stream(stream::iter([held(), filling.clone(), filling])).await }
    });
    let mut stalled = futures_util::future::join_all(stalled);
    tokio::select! {
        _ = &mut stalled => panic!("answered while held"),
        _ = served.echo.wait_for(|calls| calls.begun == STALLED) => {}
    }
    let mut others = client.clone();
    let calls = async {
        for _ in 0..50 {
            others.unary(EchoRequest { payload: vec![0; 32 * 1024].into(), ..EchoRequest::default() }).await?;
        }
        Ok::<_, tonic::Status>(())
    };
    tokio::select! {
        _ = &mut stalled => panic!("answered while held"),
        done = within("calls beside stalled ones", calls) => done?,
    }
    served.echo.release();
    for answered in within("the stalled calls", stalled).await {
        assert_eq!(answered?.into_inner().messages, 3);
    }
    Ok(())
}

#[tokio::test]
async fn stalled_calls_stop_no_other_call_of_their_connection() -> Outcome {
    check_stalled(By::Tonic).await?;
    check_stalled(By::Http3).await
}
