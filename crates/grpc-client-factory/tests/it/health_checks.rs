//! HTTP/3 that does not work is noticed before calls have to find out.

use std::time::Duration;

use grpc_client_factory::{HealthCheckOptions, Profile, Protocol};
use metrics::set_default_local_recorder;
use telemetry::build_metrics;

use crate::quic::{Quic, Wire};
use crate::support::{Outcome, Pair, SERVER, channel, credentials, held, says, wait_until};

/// Asks often, and as long after a call as a busy machine takes; nobody else notices stalls, since there are no calls.
fn checked() -> Profile {
    let mut profile = Profile::control_plane();
    let (interval, timeout) = (Duration::from_millis(500), Duration::from_millis(200));
    profile.http3.health_check = Some(HealthCheckOptions { interval, timeout, failures: 2 });
    profile.http3.race_delay = Duration::from_secs(10);
    profile.http3.broken_min = Duration::from_millis(100);
    profile.connect_timeout = Duration::from_secs(20);
    profile
}

struct Checked {
    pair: Pair,
    quic: Quic,
    wire: Wire,
}

impl Checked {
    /// A pair with a connection over HTTP/3, on which no call is under way.
    async fn connected() -> Result<Self, Box<dyn std::error::Error>> {
        let pair = Pair::with(checked()).await;
        let credentials = credentials(&pair.authority, SERVER);
        let quic = Quic::start("127.0.0.1:0".parse()?, credentials, pair.serving.echo.clone());
        let wire = Wire::start(pair.serving.address, quic.address).await;
        pair.client().unary(says("a")).await?;
        assert_eq!(pair.channel().connection(), Some((Protocol::Http3, 0)));
        Ok(Self { pair, quic, wire })
    }

    async fn goes_over(&self, protocol: Protocol) {
        wait_until(|| self.pair.channel().connection() == Some((protocol, 0))).await;
    }
}

#[tokio::test]
async fn a_path_that_goes_bad_between_calls_is_left_before_the_next_and_taken_again_when_it_is_good() -> Outcome {
    let checked = Checked::connected().await?;
    let pair = &checked.pair;
    checked.wire.swallow();
    checked.goes_over(Protocol::Http2).await;
    pair.client().unary(says("b")).await?;
    assert_eq!((pair.serving.accepted(), pair.serving.echo.calls().begun), (1, 2));
    checked.wire.carry();
    checked.goes_over(Protocol::Http3).await;
    assert_eq!(pair.serving.echo.calls().begun, 2, "health checks are no calls of the service");
    Ok(())
}

#[tokio::test]
async fn a_server_that_answers_nobody_is_not_held_against_http3() -> Outcome {
    let (recorder, handle) = build_metrics()?;
    let _here = set_default_local_recorder(&recorder);
    let Checked { pair, quic: _quic, wire } = Checked::connected().await?;
    let Pair { serving, factory, .. } = pair;
    let channel = channel(&factory, &serving.target());
    // Nobody listens on TCP any more.
    drop(serving);
    wire.swallow();
    let failed = r#"grpc_outbound_health_checks_total{profile="test",result="failed"} "#;
    let is_enough = |count: &str| count.parse::<u32>().is_ok_and(|count| count > 2);
    wait_until(|| handle.render().lines().any(|line| line.strip_prefix(failed).is_some_and(is_enough))).await;
    assert_eq!(channel.connection(), Some((Protocol::Http3, 0)));
    Ok(())
}

#[tokio::test]
async fn a_factory_that_sleeps_since_nobody_calls_looks_after_the_next_call() -> Outcome {
    let (recorder, handle) = build_metrics()?;
    let _here = set_default_local_recorder(&recorder);
    let pair = Pair::with(Profile::control_plane()).await;
    let _quic = Quic::start(pair.serving.address, credentials(&pair.authority, SERVER), pair.serving.echo.clone());
    let looks = || {
        let text = handle.render();
        let counts =
            text.lines().filter_map(|line| line.strip_prefix("grpc_outbound_rtt_seconds_count")?.rsplit(' ').next());
        counts.filter_map(|count| count.parse::<u32>().ok()).sum::<u32>()
    };
    pair.client().unary(says("a")).await?;
    // Whoever has looked once since the call has nothing more to look after for minutes.
    wait_until(|| looks() > 0).await;
    let before = looks();
    let mut client = pair.client();
    tokio::select! {
        answer = client.unary(held()) => drop(answer?),
        () = wait_until(|| looks() > before) => {}
    }
    Ok(())
}
