//! What the metrics say of calls and connections.

use std::collections::BTreeSet;

use ::metrics::set_default_local_recorder;
use mesh_server::{Limits, Options};
use metrics_exporter_prometheus::PrometheusBuilder;
use telemetry::{Kind, catalogue};
use test_authority::{Authority, Holder};
use test_rpc::rpc::{EchoRequest, Failure};
use tokio::time::timeout;

use crate::fixture::{By, LIMIT, Outcome, Served, held, options, says};

/// What was counted of calls to `Unary` by `protocol`, and of the connections that did not come about.
fn expected() -> BTreeSet<String> {
    let of = |protocol: &str| {
        let status = |status: &str| {
            format!(
                "grpc_inbound_requests_total{{service=\"omnirelay.test.v1.Echo\",method=\"Unary\",\
                 protocol=\"{protocol}\",status=\"{status}\"}} 1"
            )
        };
        let other = format!(
            "grpc_inbound_requests_total{{service=\"other\",method=\"other\",protocol=\"{protocol}\",\
             status=\"UNIMPLEMENTED\"}} 1"
        );
        let late = format!("grpc_inbound_deadline_exceeded_total{{protocol=\"{protocol}\"}} 1");
        let cancelled = format!("grpc_inbound_cancelled_total{{protocol=\"{protocol}\"}} 1");
        [status("OK"), status("NOT_FOUND"), status("DEADLINE_EXCEEDED"), status("CANCELLED"), other, late, cancelled]
    };
    let connections = [
        "grpc_inbound_address_checks_total 2".to_owned(),
        "grpc_inbound_handshake_failures_total{transport=\"tcp\",reason=\"unknown_ca\"} 1".to_owned(),
        "grpc_inbound_handshake_failures_total{transport=\"tcp\",reason=\"wrong_cluster\"} 1".to_owned(),
    ];
    of("http2").into_iter().chain(of("http3")).chain(connections).collect()
}

fn counted(text: &str) -> BTreeSet<String> {
    let is_count =
        |line: &&str| line.starts_with("grpc_inbound") && !line.contains("_seconds") && !line.ends_with(" 0");
    text.lines().filter(is_count).map(str::to_owned).collect()
}

fn unknown_names(text: &str) -> Vec<&str> {
    let declared = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let kind_of = |name: &str| catalogue().iter().find(|metric| metric.name == name).map(|metric| metric.kind);
    let is_known = |name: &str, kind: &str| match kind_of(name) {
        Some(Kind::Counter) => kind == "counter",
        Some(Kind::Gauge) => kind == "gauge",
        // Without the catalogue's buckets, the exporter of this test makes summaries.
        Some(Kind::Histogram { .. }) => kind == "summary",
        None => false,
    };
    declared.filter(|(name, kind)| !is_known(name, kind)).map(|(name, _)| name).collect()
}

/// All on one thread, which is where the recorder is.
#[tokio::test]
async fn every_call_is_counted_once_by_how_it_ended() -> Outcome {
    let recorder = PrometheusBuilder::new().build_recorder();
    let metrics = recorder.handle();
    let _recording = set_default_local_recorder(&recorder);
    let proving = Limits { retry_above: 0, ..Limits::default() };
    let served = Served::start_with(Options { limits: proving, ..options() })?;
    for (by, begun) in [(By::Http2, 4), (By::Http3, 8)] {
        let mut client = served.client(by).await?;
        client.unary(says("a")).await?;
        let failure = Failure { code: 5, ..Failure::default() };
        client.unary(EchoRequest { failure: Some(failure), ..says("b") }).await.expect_err("it fails");
        let mut late = tonic::Request::new(held());
        late.metadata_mut().insert("grpc-timeout", "20m".parse()?);
        client.unary(late).await.expect_err("it is late");
        tokio::select! {
            _ = client.unary(held()) => {}
            _ = served.echo.wait_for(|calls| calls.begun == begun) => {}
        }
        let credentials = served.authority.credentials("client")?;
        let mut unknown = tonic::client::Grpc::with_origin(served.channel(by, &credentials).await?, served.origin()?);
        unknown.ready().await?;
        let path = "/made.up/Name".parse()?;
        let codec = tonic_prost::ProstCodec::<EchoRequest, EchoRequest>::default();
        unknown.unary(tonic::Request::new(says("c")), path, codec).await.expect_err("nobody serves it");
    }
    let stranger = Authority::new()?.credentials("stranger")?;
    served.client_of(By::Http2, &stranger).await.err().ok_or("a stranger was let in")?;
    let neighbour = Holder { cluster: "other".to_owned(), ..Holder::new("neighbour") };
    // It believes to be connected until it has heard.
    drop(served.client_of(By::Http2, &*served.authority.credentials_with(&neighbour)?).await);
    let all_counted = async {
        while counted(&metrics.render()) != expected() {
            tokio::task::yield_now().await;
        }
    };
    // If it is not so by then, the comparison below says what is missing.
    drop(timeout(LIMIT, all_counted).await);
    served.stop().await?;
    assert_eq!(counted(&metrics.render()), expected());
    assert_eq!(unknown_names(&metrics.render()), Vec::<&str>::new());
    Ok(())
}
