//! Calls over gRPC, as generated clients make them.

use std::time::Duration;

use bytes::Bytes;
use dispatcher::{Body, Code, Dispatcher, Front, Readiness};
use futures_util::{TryStreamExt as _, stream};
use grpc_client_factory::{Channel, Http3Mode};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use test_rpc::EchoService;
use test_rpc::rpc::echo_client::EchoClient;
use test_rpc::rpc::echo_server::EchoServer;
use test_rpc::rpc::{EchoReply, EchoRequest, Failure, StreamRequest, Summary};
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataValue;
use tower::ServiceExt as _;

use crate::bad_input::raw;
use crate::echo;
use crate::fixture::{BoxError, Outcome, Served, forwarding, within};

const ECHO: &str = "omnirelay.test.v1.Echo";

fn says(text: &'static str) -> EchoRequest {
    EchoRequest { payload: Bytes::from_static(text.as_bytes()), ..EchoRequest::default() }
}

fn reply(text: &'static str, index: u64) -> EchoReply {
    EchoReply { payload: Bytes::from_static(text.as_bytes()), index }
}

fn front() -> Result<Front, BoxError> {
    Ok(Front::builder(echo::procedures().build()?).build())
}

/// Makes a call of each shape, and some that fail.
async fn check_calls(front: Front, mode: Http3Mode) -> Outcome {
    let served = Served::start(front)?;
    let mut client = EchoClient::new(served.channel(mode)?);
    let mut request = tonic::Request::new(says("a"));
    request.metadata_mut().insert_bin("echo-bin", MetadataValue::from_bytes(&[0, 255]));
    let answer = within("an answer", client.unary(request)).await?;
    let returned = answer.metadata().get_bin("echo-bin").ok_or("metadata did not come back")?.to_bytes()?;
    assert_eq!((&returned[..], answer.into_inner()), (&[0, 255][..], reply("a", 0)));

    let three = StreamRequest { each: Some(says("b")), count: 3, failure: None };
    let repeated: Vec<_> = client.server_stream(three).await?.into_inner().try_collect().await?;
    assert_eq!(repeated, [reply("b", 0), reply("b", 1), reply("b", 2)]);
    let sum = client.client_stream(stream::iter([says("c"), says("dd")])).await?.into_inner();
    assert_eq!(sum, Summary { messages: 2, bytes: 3 });
    let replies: Vec<_> = client.chat(stream::iter([says("e"), says("f")])).await?.into_inner().try_collect().await?;
    assert_eq!(replies, [reply("e", 0), reply("f", 1)]);
    check_failures(client).await?;
    served.stop().await
}

async fn check_failures(mut client: EchoClient<Channel>) -> Outcome {
    let failure =
        Failure { code: 9, message: "not now: 100 % über".to_owned(), details: vec![0, 159].into(), panic: false };
    let status = client.unary(EchoRequest { failure: Some(failure.clone()), ..says("g") }).await.expect_err("it fails");
    let told = (status.code(), status.message(), status.details());
    assert_eq!(told, (Code::FailedPrecondition, "not now: 100 % über", &[0, 159][..]));
    let after_one = StreamRequest { each: Some(says("h")), count: 1, failure: Some(failure) };
    let mut ends = client.server_stream(after_one).await?.into_inner();
    assert_eq!(ends.message().await?, Some(reply("h", 0)));
    let end = ends.message().await.expect_err("it fails after one");
    assert_eq!((end.code(), end.details()), (Code::FailedPrecondition, &[0, 159][..]));

    let mut late = tonic::Request::new(EchoRequest { held: true, ..says("i") });
    late.set_timeout(Duration::from_millis(50));
    let overdue = within("the deadline", client.unary(late)).await.expect_err("nobody answers");
    assert_eq!(overdue.code(), Code::DeadlineExceeded);
    Ok(())
}

#[tokio::test]
async fn procedures_answer_calls_of_every_shape_over_http2_and_http3() -> Outcome {
    check_calls(front()?, Http3Mode::Off).await?;
    check_calls(front()?, Http3Mode::Only).await
}

#[tokio::test]
async fn what_others_serve_is_passed_through_in_every_shape() -> Outcome {
    check_calls(forwarding(front()?, ECHO), Http3Mode::Off).await?;
    check_calls(forwarding(front()?, ECHO), Http3Mode::Only).await
}

#[tokio::test]
async fn services_of_tonic_answer_beside_the_procedures() -> Outcome {
    let front = Front::builder(Dispatcher::default()).grpc_service(EchoServer::new(EchoService::default()));
    let front = front.build();
    let late = [("rpc-deadline", "2001-01-01T00:00:00Z")];
    let (code, _message) = raw(&front, &late, "/omnirelay.test.v1.Echo/Unary", b"\0\0\0\0\0").await?;
    assert_eq!(code, Code::DeadlineExceeded);
    check_calls(front, Http3Mode::Off).await
}

#[tokio::test]
async fn messages_may_be_gzip_both_ways() -> Outcome {
    let served = Served::start(front()?)?;
    let mut client = EchoClient::new(served.channel(Http3Mode::Off)?)
        .send_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Gzip);
    let request = EchoRequest { payload: vec![7; 100_000].into(), ..EchoRequest::default() };
    let answer = client.unary(request.clone()).await?;
    assert_eq!(answer.metadata().get("grpc-encoding").map(|it| it.as_bytes().to_vec()), Some(b"gzip".to_vec()));
    assert_eq!(answer.into_inner().payload, request.payload);
    served.stop().await
}

pub(crate) fn status_of(headers: &HeaderMap) -> Option<dispatcher::Status> {
    dispatcher::Status::of_trailers(headers)
}

#[tokio::test]
async fn a_node_that_drains_takes_no_calls_but_finishes_its_own() -> Outcome {
    let readiness = Readiness::new("worker");
    let front = Front::builder(echo::procedures().build()?).readiness(readiness.clone()).build();
    let path = format!("/{ECHO}/Unary");
    let request =
        || Request::post(&path).header("content-type", "application/grpc").body(Full::from(&b"\0\0\0\0\0"[..]));
    let Ok(begun) = front.clone().oneshot(request()?).await;
    assert_eq!(active(&readiness)?, 1);
    readiness.set_draining(true);
    let Ok(late) = front.clone().oneshot(request()?).await;
    let status = status_of(late.headers()).ok_or("no status")?;
    assert_eq!(
        (status.code(), status.message()),
        (Code::Unavailable, "the node is draining and takes no new calls; call another")
    );
    let told = |name: &str| late.headers().get(name).map(|value| value.as_bytes().to_vec());
    assert_eq!((told("retry-after"), told("omnirelay-not-processed")), (Some(b"1".to_vec()), Some(b"1".to_vec())));
    let trailers = begun.into_body().collect().await?.trailers().cloned().ok_or("no trailers")?;
    assert_eq!(status_of(&trailers).map(|ended| ended.code()), Some(Code::Ok));
    assert_eq!(active(&readiness)?, 0);

    // What begins on this node and ends elsewhere goes on.
    let other = Front::builder(echo::procedures().build()?).build();
    let to = crate::fixture::To(other, ECHO.parse()?);
    let outward = Front::builder(Dispatcher::default()).readiness(readiness).forward(std::sync::Arc::new(to)).build();
    assert_eq!(raw(&outward, &[], &path, b"\0\0\0\0\0").await?.0, Code::Ok);
    Ok(())
}

pub(crate) fn active(readiness: &Readiness) -> Result<u64, BoxError> {
    let health = serde_json::to_value(readiness.health())?;
    health["activeRequests"].as_u64().ok_or_else(|| "no number".into())
}

#[tokio::test]
async fn the_answers_trailers_say_how_it_went_in_our_words_too() -> Outcome {
    let request = Request::post(format!("/{ECHO}/Unary")).header("content-type", "application/grpc+proto");
    let Ok(response) = front()?.oneshot(request.body(Body::new(Full::from(&b"\0\0\0\0\0"[..])))?).await;
    assert_eq!(response.headers().get("content-type").map(|it| it.as_bytes()), Some(&b"application/grpc+proto"[..]));
    let trailers = response.into_body().collect().await?.trailers().cloned().ok_or("no trailers")?;
    let told = |name: &str| trailers.get(name).and_then(|value| value.to_str().ok());
    let names = ["grpc-status", "omnirelay-status", "omnirelay-encoding", "omnirelay-transport"];
    assert_eq!(names.map(told), [Some("0"), Some("ok"), Some("protobuf"), Some("grpc")]);
    Ok(())
}
