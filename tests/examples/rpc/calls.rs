//! Everything that gRPC promises, asked of one server by one client.

use std::collections::HashMap;
use std::net::SocketAddr;
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
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use tower::ServiceExt as _;
use tower::util::BoxCloneSyncService;

use crate::report::Report;

/// What carries calls, whoever has made it.
pub(crate) type Carrier = BoxCloneSyncService<http::Request<Body>, http::Response<Body>, Status>;
pub(crate) type Echo = EchoClient<Carrier>;
type Outcome = anyhow::Result<()>;

/// Largest message that is taken.
const MESSAGE_BYTES: usize = 64 << 20;

/// Whether messages are compressed for the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    None,
    Gzip,
}

/// A server of another process, as far as it tells what becomes of calls.
pub(crate) trait Witness {
    /// Waits until the one call that is held has reached its handler.
    async fn saw_held(&mut self) -> Outcome;
    /// Waits until its handler was dropped.
    async fn saw_dropped(&mut self) -> Outcome;
}

/// Who has made a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    Ours,
    /// tonic lets go of a late call by itself, with a code of its own unless the server is quicker; and it does not tell the server
    /// that a chat is given up while its requests go on.
    Tonic,
}

impl Make {
    /// Returns what late calls may end with.
    const fn late(self) -> &'static [Code] {
        match self {
            Self::Ours => &[Code::DeadlineExceeded],
            Self::Tonic => &[Code::DeadlineExceeded, Code::Cancelled],
        }
    }
}

/// A client.
pub(crate) struct Caller {
    echo: Echo,
    /// Ours, and where it calls; others have none.
    factory: Option<(Channel, SocketAddr)>,
    make: Make,
}

impl Caller {
    /// A client that calls through `carrier`.
    pub(crate) fn new(carrier: Carrier, make: Make) -> Self {
        Self { echo: EchoClient::new(carrier).max_decoding_message_size(MESSAGE_BYTES), factory: None, make }
    }

    /// A client of ours that calls the node `server`.
    pub(crate) fn factory(
        credentials: &Arc<Credentials>,
        address: SocketAddr,
        mode: Http3Mode,
    ) -> anyhow::Result<Self> {
        let mut profile = Profile::data_plane();
        profile.http3.mode = mode;
        let profiles = HashMap::from([("calls".to_owned(), profile)]);
        let options = FactoryOptions { profiles, ..FactoryOptions::default() };
        let factory = ClientFactory::new(Arc::clone(credentials) as _, options)?;
        let channel = channel_to(&factory, address, "server")?;
        Ok(Self { factory: Some((channel.clone(), address)), ..Self::new(carrier(channel), Make::Ours) })
    }

    /// Checks what only our own factory tells.
    pub(crate) async fn check_factory(&self, protocol: Protocol, who: &str, report: &mut Report) {
        let Some((channel, address)) = &self.factory else { return };
        report.check(who, "all of it by one connection", async { by_one_connection(channel, protocol) }).await;
        report.check(who, "another identity is refused", other_identity(channel.factory(), *address)).await;
    }
}

/// Hides who has made a channel.
pub(crate) fn carrier(channel: Channel) -> Carrier {
    Carrier::new(channel.map_response(|response| response.map(Body::new)))
}

fn channel_to(factory: &ClientFactory, address: SocketAddr, node: &str) -> anyhow::Result<Channel> {
    let target = Target::new(address.into(), ExpectedPeer::Node(node.parse()?));
    Ok(factory.channel(&target, "calls")?)
}

/// Calls a server in every way; the large message has `mib` MiB.
pub(crate) async fn check(
    caller: &Caller,
    (compression, mib): (Compression, usize),
    who: &str,
    server: &mut impl Witness,
    report: &mut Report,
) {
    let echo = caller.echo.clone();
    report.check(who, "unary with metadata", unary_with_metadata(echo.clone())).await;
    report.check(who, "server stream", server_stream(echo.clone())).await;
    report.check(who, "client stream", client_stream(echo.clone())).await;
    report.check(who, "chat in turns", chat_in_turns(echo.clone())).await;
    report.check(who, "failure with details and trailers", failure_with_details(echo.clone())).await;
    report.check(who, "failure after replies", failure_after_replies(echo.clone())).await;
    report.check(who, "deadline", deadline(echo.clone(), caller.make, server)).await;
    report.check(who, "cancelled unary", cancelled_unary(echo.clone(), server)).await;
    report.check(who, "cancelled chat", cancelled_chat(echo.clone(), caller.make, server)).await;
    if compression == Compression::Gzip {
        report.check(who, "gzip both ways", gzip_both_ways(echo.clone())).await;
    }
    report.check(who, &format!("{mib} MiB"), large(echo, mib)).await;
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

async fn deadline(mut echo: Echo, make: Make, server: &mut impl Witness) -> Outcome {
    let mut request = Request::new(held());
    request.set_timeout(Duration::from_millis(500));
    let (answer, held) = tokio::join!(echo.unary(request), server.saw_held());
    held?;
    let Err(status) = answer else { anyhow::bail!("it did not fail") };
    ensure!(make.late().contains(&status.code()), "the status is {status:?}");
    server.saw_dropped().await
}

async fn cancelled_unary(mut echo: Echo, server: &mut impl Witness) -> Outcome {
    let begun = tokio::select! {
        answer = echo.unary(held()) => anyhow::bail!("there is an answer: {answer:?}"),
        begun = server.saw_held() => begun,
    };
    begun?;
    server.saw_dropped().await
}

async fn cancelled_chat(mut echo: Echo, make: Make, server: &mut impl Witness) -> Outcome {
    let (say, said) = queue();
    say.send(says("one")).await?;
    let mut replies = echo.chat(said).await?.into_inner();
    ensure!(replies.message().await? == Some(reply("one", 0)), "the reply is another");
    say.send(held()).await?;
    server.saw_held().await?;
    drop(replies);
    let _going_on = (make == Make::Ours).then_some(say);
    server.saw_dropped().await
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

async fn other_identity(factory: &ClientFactory, address: SocketAddr) -> Outcome {
    let channel = channel_to(factory, address, "somebody")?;
    let Err(status) = EchoClient::new(channel).unary(says("a")).await else { anyhow::bail!("it did not fail") };
    ensure!(status.code() == Code::Unauthenticated, "the status is {status:?}");
    Ok(())
}
