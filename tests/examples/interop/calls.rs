//! Our factory, calling a server that others have made.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use grpc_client_factory::{
    Channel, ChannelFactory as _, ClientFactory, FactoryOptions, Http3Mode, Profile, Protocol, Target,
};
use identity::{Credentials, ExpectedPeer};
use test_rpc::rpc::echo_client::EchoClient;
use test_rpc::rpc::{EchoReply, EchoRequest, Failure, StreamRequest, Summary};
use tokio::sync::mpsc;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request};

use crate::report::Report;
use crate::script::Script;

type Echo = EchoClient<Channel>;
type Outcome = anyhow::Result<()>;

/// How a server is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Client {
    pub(crate) mode: Http3Mode,
    pub(crate) protocol: Protocol,
    pub(crate) compression: Compression,
    /// Size of the large message.
    pub(crate) mib: usize,
}

/// Whether messages are compressed for the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
}

/// Calls `server` in every way.
pub(crate) async fn check(
    credentials: &Arc<Credentials>,
    client: Client,
    server: &mut Script,
    report: &mut Report,
) -> Outcome {
    let mut profile = Profile::data_plane();
    profile.http3.mode = client.mode;
    let profiles = HashMap::from([("interop".to_owned(), profile)]);
    let factory =
        ClientFactory::new(Arc::clone(credentials) as _, FactoryOptions { profiles, ..FactoryOptions::default() })?;
    let channel = |node: &str| -> anyhow::Result<Channel> {
        let target = Target::new(server.address.into(), ExpectedPeer::Node(node.parse()?));
        Ok(factory.channel(&target, "interop")?)
    };
    let (ours, other) = (channel("server")?, channel("somebody")?);
    let echo = EchoClient::new(ours.clone()).max_decoding_message_size(64 << 20);
    let who = format!("we call {} over {}", server.what, client.protocol);

    report.check(&who, "unary with metadata", unary_with_metadata(echo.clone())).await;
    report.check(&who, "server stream", server_stream(echo.clone())).await;
    report.check(&who, "client stream", client_stream(echo.clone())).await;
    report.check(&who, "chat in turns", chat_in_turns(echo.clone())).await;
    report.check(&who, "failure with details and trailers", failure_with_details(echo.clone())).await;
    report.check(&who, "failure after replies", failure_after_replies(echo.clone())).await;
    report.check(&who, "deadline", deadline(echo.clone(), server)).await;
    report.check(&who, "cancelled unary", cancelled_unary(echo.clone(), server)).await;
    report.check(&who, "cancelled chat", cancelled_chat(echo.clone(), server)).await;
    if client.compression == Compression::Gzip {
        report.check(&who, "gzip both ways", gzip_both_ways(echo.clone())).await;
    }
    report.check(&who, &format!("{} MiB", client.mib), large(echo, client.mib)).await;
    report.check(&who, "all of it by one connection", async { by_one_connection(&ours, client.protocol) }).await;
    report.check(&who, "another identity is refused", other_identity(EchoClient::new(other))).await;
    Ok(())
}

fn says(text: &'static str) -> EchoRequest {
    EchoRequest { payload: Bytes::from_static(text.as_bytes()), ..EchoRequest::default() }
}

fn held() -> EchoRequest {
    EchoRequest { held: true, ..EchoRequest::default() }
}

fn reply(text: &'static str, index: u64) -> EchoReply {
    EchoReply { payload: Bytes::from_static(text.as_bytes()), index }
}

fn failure(code: Code, message: &str) -> Failure {
    Failure { code: code.into(), message: message.to_owned(), details: "why".into(), panic: false }
}

async fn unary_with_metadata(mut echo: Echo) -> Outcome {
    let mut request = Request::new(says("a"));
    request.metadata_mut().insert("echo-key", "value".parse()?);
    request.metadata_mut().insert_bin("echo-bin", MetadataValue::from_bytes(&[0, 255]));
    let answer = echo.unary(request).await?;
    let text = answer.metadata().get("echo-key").map(|value| value.as_bytes());
    ensure!(text == Some(b"value"), "the metadata is {:?}", answer.metadata());
    let binary = answer.metadata().get_bin("echo-bin").map(|value| value.to_bytes()).transpose()?;
    ensure!(binary.as_deref() == Some(&[0, 255]), "the metadata is {:?}", answer.metadata());
    ensure!(*answer.get_ref() == reply("a", 0), "the answer is {answer:?}");
    Ok(())
}

async fn server_stream(mut echo: Echo) -> Outcome {
    let three = StreamRequest { each: Some(says("b")), count: 3, failure: None };
    let replies: Vec<_> = echo.server_stream(three).await?.into_inner().try_collect().await?;
    ensure!(replies == [reply("b", 0), reply("b", 1), reply("b", 2)], "the replies are {replies:?}");
    Ok(())
}

async fn client_stream(mut echo: Echo) -> Outcome {
    let sum = echo.client_stream(stream::iter([says("c"), says("dd"), says("eee")])).await?.into_inner();
    ensure!(sum == Summary { messages: 3, bytes: 6 }, "the sum is {sum:?}");
    Ok(())
}

fn queue() -> (mpsc::Sender<EchoRequest>, impl stream::Stream<Item = EchoRequest> + Send + 'static) {
    let (say, said) = mpsc::channel(1);
    (say, stream::unfold(said, |mut said| async move { Some((said.recv().await?, said)) }))
}

async fn chat_in_turns(mut echo: Echo) -> Outcome {
    let (say, said) = queue();
    say.send(says("one")).await?;
    let mut replies = echo.chat(said).await?.into_inner();
    for (index, word) in ["one", "two", "three"].into_iter().enumerate() {
        if index > 0 {
            say.send(says(word)).await?;
        }
        let answer = replies.message().await?;
        ensure!(answer == Some(reply(word, index as u64)), "the reply is {answer:?}");
    }
    drop(say);
    ensure!(replies.message().await?.is_none(), "there is one reply more");
    Ok(())
}

async fn failure_with_details(mut echo: Echo) -> Outcome {
    let failure = Some(failure(Code::FailedPrecondition, "nöt now"));
    let mut request = Request::new(EchoRequest { failure, ..says("a") });
    request.metadata_mut().insert("echo-key", "value".parse()?);
    let Err(status) = echo.unary(request).await else { anyhow::bail!("it did not fail") };
    let found = (status.code(), status.message(), status.details());
    ensure!(found == (Code::FailedPrecondition, "nöt now", b"why"), "the status is {found:?}");
    let text = status.metadata().get("echo-key").map(|value| value.as_bytes());
    ensure!(text == Some(b"value"), "the metadata is {:?}", status.metadata());
    Ok(())
}

async fn failure_after_replies(mut echo: Echo) -> Outcome {
    let failure = Some(failure(Code::Aborted, "enough"));
    let two = StreamRequest { each: Some(says("b")), count: 2, failure };
    let replies = echo.server_stream(two).await?.into_inner();
    let replies: Vec<_> = replies.map(|reply| reply.map_err(|status| status.code())).collect().await;
    ensure!(replies == [Ok(reply("b", 0)), Ok(reply("b", 1)), Err(Code::Aborted)], "the replies are {replies:?}");
    Ok(())
}

async fn deadline(mut echo: Echo, server: &mut Script) -> Outcome {
    let mut request = Request::new(held());
    request.set_timeout(Duration::from_millis(500));
    let Err(status) = echo.unary(request).await else { anyhow::bail!("it did not fail") };
    ensure!(status.code() == Code::DeadlineExceeded, "the status is {status:?}");
    server.says("held").await?;
    server.says("dropped").await
}

async fn cancelled_unary(mut echo: Echo, server: &mut Script) -> Outcome {
    let begun = tokio::select! {
        answer = echo.unary(held()) => anyhow::bail!("there is an answer: {answer:?}"),
        begun = server.says("held") => begun,
    };
    begun?;
    server.says("dropped").await
}

async fn cancelled_chat(mut echo: Echo, server: &mut Script) -> Outcome {
    let (say, said) = queue();
    say.send(says("one")).await?;
    let mut replies = echo.chat(said).await?.into_inner();
    ensure!(replies.message().await? == Some(reply("one", 0)), "the reply is another");
    say.send(held()).await?;
    server.says("held").await?;
    drop(replies);
    server.says("dropped").await
}

async fn gzip_both_ways(echo: Echo) -> Outcome {
    let gzip = CompressionEncoding::Gzip;
    let mut echo = echo.send_compressed(gzip).accept_compressed(gzip);
    let payload = Bytes::from(vec![7; 100_000]);
    let mut request = Request::new(EchoRequest { payload: payload.clone(), ..EchoRequest::default() });
    request.metadata_mut().insert("compressed", "gzip".parse()?);
    let answer = echo.unary(request).await?;
    let encoding = answer.metadata().get("grpc-encoding").map(|value| value.as_bytes().to_vec());
    ensure!(encoding.as_deref() == Some(b"gzip"), "the answer is encoded as {encoding:?}");
    ensure!(answer.get_ref().payload == payload, "the payload is another");
    Ok(())
}

async fn large(mut echo: Echo, mib: usize) -> Outcome {
    let payload: Bytes = (0..=u8::MAX).cycle().take(mib << 20).collect();
    let answer = echo.unary(EchoRequest { payload: payload.clone(), ..EchoRequest::default() }).await?.into_inner();
    ensure!(answer.payload == payload, "the payload is another");
    Ok(())
}

fn by_one_connection(channel: &Channel, protocol: Protocol) -> Outcome {
    let connection = channel.connection();
    ensure!(connection == Some((protocol, 0)), "the connection is {connection:?}");
    Ok(())
}

async fn other_identity(mut echo: Echo) -> Outcome {
    let Err(status) = echo.unary(says("a")).await else { anyhow::bail!("it did not fail") };
    ensure!(status.code() == Code::Unauthenticated, "the status is {status:?}");
    Ok(())
}
