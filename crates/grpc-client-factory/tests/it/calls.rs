//! What a call may look like.

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use grpc_client_factory::{Profile, Protocol};
use test_rpc::Calls;
use test_rpc::rpc::{EchoReply, EchoRequest, Failure, StreamRequest, Summary};
use tokio::time::timeout;
use tonic::{Code, Request};

use crate::support::{Outcome, PATIENCE, Pair, held, over_http2, says};

fn reply(text: &'static str, index: u64) -> EchoReply {
    EchoReply { payload: Bytes::from_static(text.as_bytes()), index }
}

#[tokio::test]
async fn every_shape_answers_over_one_connection() -> Outcome {
    let pair = Pair::new().await;
    let mut client = pair.client();
    assert_eq!(client.unary(says("a")).await?.into_inner(), reply("a", 0));
    let three = StreamRequest { each: Some(says("b")), count: 3, failure: None };
    let repeated: Vec<_> = client.server_stream(three).await?.into_inner().try_collect().await?;
    assert_eq!(repeated, [reply("b", 0), reply("b", 1), reply("b", 2)]);
    let sum = client.client_stream(stream::iter([says("c"), says("dd"), says("eee")])).await?.into_inner();
    assert_eq!(sum, Summary { messages: 3, bytes: 6 });
    let replies: Vec<_> = client.chat(stream::iter([says("f"), says("g")])).await?.into_inner().try_collect().await?;
    assert_eq!(replies, [reply("f", 0), reply("g", 1)]);
    assert_eq!(pair.serving.echo.calls(), Calls { begun: 4, ended: 4, dropped: 0 });
    assert_eq!((pair.serving.accepted(), pair.channel().connection()), (1, Some((Protocol::Http2, 0))));
    Ok(())
}

#[tokio::test]
async fn a_chat_goes_back_and_forth() -> Outcome {
    let pair = Pair::new().await;
    let (say, said) = tokio::sync::mpsc::channel(1);
    let said = stream::unfold(said, |mut said| async move { Some((said.recv().await?, said)) });
    let mut replies = pair.client().chat(said).await?.into_inner();
    for (index, word) in ["one", "two", "three"].into_iter().enumerate() {
        say.send(says(word)).await?;
        assert_eq!(replies.message().await?, Some(reply(word, index as u64)));
    }
    drop(say);
    assert_eq!(replies.message().await?, None);
    Ok(())
}

#[tokio::test]
async fn failures_come_with_details_and_metadata() -> Outcome {
    let pair = Pair::new().await;
    let failure = Failure { code: 9, message: "nöt now".to_owned(), details: "why".into(), panic: false };
    let mut request = Request::new(EchoRequest { failure: Some(failure.clone()), ..says("a") });
    request.metadata_mut().insert("echo-key", "value".parse()?);
    request.metadata_mut().insert_bin("echo-bin", tonic::metadata::MetadataValue::from_bytes(&[0, 255]));
    let status = pair.client().unary(request).await.unwrap_err();
    assert_eq!((status.code(), status.message(), status.details()), (Code::FailedPrecondition, "nöt now", &b"why"[..]));
    assert_eq!(status.metadata().get("echo-key").map(|value| value.as_bytes()), Some(&b"value"[..]));
    let binary = status.metadata().get_bin("echo-bin").map(|value| value.to_bytes()).transpose()?;
    assert_eq!(binary.as_deref(), Some(&[0, 255][..]));

    let after_two = StreamRequest { each: Some(says("b")), count: 2, failure: Some(failure) };
    let stream = pair.client().server_stream(after_two).await?.into_inner();
    let outcomes: Vec<_> = stream.map(|reply| reply.map_err(|failed| failed.code())).collect().await;
    assert_eq!(outcomes, [Ok(reply("b", 0)), Ok(reply("b", 1)), Err(Code::FailedPrecondition)]);
    Ok(())
}

#[tokio::test]
async fn a_large_message_comes_back_whole() -> Outcome {
    let pair = Pair::with(over_http2(Profile::data_plane())).await;
    let bytes: Vec<u8> = (0..8 << 20).map(|place: u32| place.to_le_bytes()[1]).collect();
    let mut client = pair.client().max_decoding_message_size(64 << 20);
    let request = EchoRequest { payload: bytes.clone().into(), ..EchoRequest::default() };
    let answer = client.unary(request).await?.into_inner();
    assert!(answer.payload == bytes);
    Ok(())
}

async fn check_chat_given_up(pair: &Pair) -> Outcome {
    let (say, said) = tokio::sync::mpsc::channel(1);
    let said = stream::unfold(said, |mut said| async move { Some((said.recv().await?, said)) });
    say.send(says("a")).await?;
    let mut replies = pair.client().chat(said).await?.into_inner();
    assert_eq!(replies.message().await?, Some(reply("a", 0)));
    drop(replies);
    let gone = pair.serving.echo.wait_for(|calls| calls.running() == 0);
    assert!(timeout(PATIENCE, gone).await.is_ok(), "the server was never told");
    // The caller hears of it, too, whatever it has left to say.
    assert!(timeout(PATIENCE, say.closed()).await.is_ok(), "the rest is still wanted");
    Ok(())
}

#[tokio::test]
async fn a_chat_that_is_given_up_ends_at_the_server_though_its_requests_go_on() -> Outcome {
    let pair = Pair::new().await;
    check_chat_given_up(&pair).await?;
    check_chat_given_up(&pair).await?;
    assert_eq!((pair.serving.echo.calls().begun, pair.serving.accepted()), (2, 1));
    Ok(())
}

#[tokio::test]
async fn a_call_that_is_given_up_ends_at_the_server_and_leaves_the_connection() -> Outcome {
    let pair = Pair::new().await;
    let echo = &pair.serving.echo;
    let mut client = pair.client();
    let call = async {
        tokio::select! {
            answer = client.unary(held()) => answer.map(|_| ()),
            _ = echo.wait_for(|calls| calls.running() == 1) => Ok(()),
        }
    };
    call.await?;
    echo.wait_for(|calls| calls.dropped == 1).await;

    let for_ever = StreamRequest { each: Some(held()), count: 1, failure: None };
    let stream = pair.client().server_stream(for_ever).await?;
    assert_eq!(pair.channel().connection(), Some((Protocol::Http2, 1)));
    drop(stream);
    echo.wait_for(|calls| calls.dropped == 2).await;
    assert_eq!(pair.client().unary(says("a")).await?.into_inner(), reply("a", 0));
    assert_eq!(pair.serving.accepted(), 1);
    Ok(())
}
