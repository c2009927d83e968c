//! What the metrics say of calls and connections.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use metrics::set_default_local_recorder;
use telemetry::{build_metrics, catalogue};
use test_rpc::rpc::{EchoRequest, Failure, StreamRequest};
use tonic::Request;

use crate::support::{Outcome, Pair, held, profile, says};

const PREFIX: &str = "grpc_outbound_";

/// What was counted, times aside and without what is zero.
fn counted(text: &str) -> BTreeSet<String> {
    let is_count = |line: &&str| line.starts_with(PREFIX) && !line.contains("_seconds") && !line.ends_with(" 0");
    text.lines().filter(is_count).map(str::to_owned).collect()
}

/// All on one thread, which is where the recorder is.
#[tokio::test]
async fn every_call_is_counted_once_by_how_it_ended() -> Outcome {
    let (recorder, handle) = build_metrics()?;
    let _here = set_default_local_recorder(&recorder);
    let pair = Pair::with(profile(|profile| profile.retry.max_attempts = 2)).await;
    let mut client = pair.client();
    client.unary(says("a")).await?;
    let fails = |code| {
        let failure = Failure { code, ..Failure::default() };
        EchoRequest { failure: Some(failure), ..says("a") }
    };
    client.unary(fails(5)).await.unwrap_err();
    client.unary(fails(14)).await.unwrap_err();
    let mut late = Request::new(held());
    late.set_timeout(Duration::from_millis(50));
    client.unary(late).await.unwrap_err();
    let three = StreamRequest { each: Some(says("b")), count: 3, failure: None };
    client.server_stream(three.clone()).await?.into_inner().try_collect::<Vec<_>>().await?;
    let open = client.server_stream(StreamRequest { each: Some(held()), ..three }).await?;
    drop(open);

    let called = |method: &str, protocol: &str, status: &str| {
        format!(
            "grpc_outbound_requests_total{{profile=\"test\",service=\"omnirelay.test.v1.Echo\",method=\"{method}\",\
             protocol=\"{protocol}\",status=\"{status}\"}} 1"
        )
    };
    let expected = BTreeSet::from([
        called("Unary", "http2", "OK"),
        called("Unary", "http2", "NOT_FOUND"),
        called("Unary", "http2", "UNAVAILABLE"),
        called("Unary", "none", "DEADLINE_EXCEEDED"),
        called("ServerStream", "http2", "OK"),
        called("ServerStream", "http2", "CANCELLED"),
        "grpc_outbound_connections{profile=\"test\",protocol=\"http2\"} 1".to_owned(),
        "grpc_outbound_connects_total{profile=\"test\",protocol=\"http2\",result=\"connected\"} 1".to_owned(),
        "grpc_outbound_retries_total{profile=\"test\",kind=\"policy\"} 1".to_owned(),
    ]);
    let text = handle.render();
    assert_eq!(counted(&text), expected);
    let declared = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let unknown =
        |(name, _): &(&str, &str)| name.starts_with(PREFIX) && catalogue().iter().all(|metric| metric.name != *name);
    assert_eq!(declared.filter(unknown).collect::<Vec<_>>(), []);
    Ok(())
}
