//! Ends that lose no call.

use std::time::Duration;

use futures_util::future::join_all;
use h3::error::Code as Http3Code;
use mesh_server::Options;
use quinn::ConnectionError;
use test_rpc::Calls;
use test_rpc::rpc::StreamRequest;
use tokio::task::JoinSet;

use crate::fixture::{By, Outcome, Served, held, options, says, within};
use crate::http3_client::Http3Client;

pub(crate) async fn check_finished(by: By, options: Options) -> Outcome {
    const HELD: usize = 8;
    let served = Served::start_with(options)?;
    let client = served.client(by).await?;
    let mut unary = JoinSet::new();
    for _ in 0..HELD {
        let mut client = client.clone();
        unary.spawn(async move { client.unary(held()).await });
    }
    let forty = StreamRequest { each: Some(held()), count: 40, failure: None };
    let mut replies = client.clone().server_stream(forty).await?.into_inner();
    served.echo.wait_for(|calls| calls.begun == HELD as u64 + 1).await;
    served.shutdown.cancel();
    let echo = served.echo.clone();
    let stopping = served.stop();
    let finishing = async {
        // The server has told clients by now, or is about to; the calls are not over.
        tokio::task::yield_now().await;
        echo.release();
        let mut messages = 0;
        while let Some(reply) = replies.message().await? {
            assert_eq!((reply.index, &*reply.payload), (messages, &b"held"[..]));
            messages += 1;
        }
        while let Some(answered) = unary.join_next().await {
            assert_eq!(answered??.into_inner().payload, "held");
        }
        // What a client keeps when it has nothing more to do there.
        drop(client);
        Ok::<_, crate::fixture::BoxError>(messages)
    };
    let (report, messages) = tokio::try_join!(stopping, finishing)?;
    assert_eq!(messages, 40);
    assert_eq!((report.connections, report.cut_off), (1, 0));
    assert_eq!(echo.calls(), Calls { begun: 9, ended: 9, dropped: 0 });
    Ok(())
}

#[tokio::test]
async fn calls_under_way_are_finished() -> Outcome {
    check_finished(By::Tonic, options()).await?;
    check_finished(By::Http3, options()).await
}

/// Callers that go on until they are turned away: whatever was executed has been answered.
async fn check_under_load(by: By) -> Outcome {
    const CALLERS: usize = 32;
    let served = Served::start()?;
    let client = served.client(by).await?;
    let callers = (0..CALLERS).map(|_| {
        let mut client = client.clone();
        async move {
            let mut answered = 0;
            loop {
                match client.unary(says("a")).await {
                    Ok(_) => answered += 1,
                    Err(turned_away) => return (answered, turned_away),
                }
            }
        }
    });
    let (callers, echo) = (join_all(callers), served.echo.clone());
    let stopping = async {
        echo.wait_for(|calls| calls.ended >= 500).await;
        served.stop().await
    };
    let (ended, report) = within("the end", async { tokio::join!(callers, stopping) }).await;
    assert_eq!(report?.cut_off, 0);
    let answered: u64 = ended.iter().map(|(answered, _)| *answered).sum();
    let reasons: Vec<_> = ended.iter().map(|(_, turned_away)| turned_away.to_string()).collect();
    assert_eq!(echo.calls(), Calls { begun: answered, ended: answered, dropped: 0 }, "{reasons:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_executed_has_been_answered() -> Outcome {
    for _ in 0..3 {
        check_under_load(By::Http2).await?;
        check_under_load(By::Http3).await?;
    }
    Ok(())
}

async fn check_cut_off(by: By) -> Outcome {
    let served = Served::start_with(Options { drain_timeout: Duration::from_millis(50), ..options() })?;
    let mut client = served.client(by).await?;
    let echo = served.echo.clone();
    let calling = client.unary(held());
    let stopping = async {
        echo.wait_for(|calls| calls.begun == 1).await;
        served.stop().await
    };
    let (answered, report) = tokio::join!(calling, stopping);
    answered.expect_err("it is held");
    let report = report?;
    assert_eq!((report.connections, report.cut_off), (1, 1));
    assert_eq!(echo.calls(), Calls { begun: 1, ended: 0, dropped: 1 });
    Ok(())
}

#[tokio::test]
async fn calls_that_do_not_end_are_cut_off_in_time() -> Outcome {
    check_cut_off(By::Tonic).await?;
    check_cut_off(By::Http3).await
}

#[tokio::test]
async fn an_idle_server_stops_at_once() -> Outcome {
    let served = Served::start()?;
    let report = served.stop().await?;
    assert_eq!((report.connections, report.cut_off), (0, 0));
    Ok(())
}

#[tokio::test]
async fn a_server_that_has_stopped_has_given_its_port_back() -> Outcome {
    let served = Served::start()?;
    let address = served.address();
    for by in [By::Tonic, By::Http3] {
        served.client(by).await?.unary(says("a")).await?;
    }
    served.stop().await?;
    let next = Served::start_with(Options { address, ..options() })?;
    for by in [By::Tonic, By::Http3] {
        assert_eq!(next.client(by).await?.unary(says("b")).await?.into_inner().payload, "b");
    }
    Ok(())
}

#[tokio::test]
async fn an_old_connection_over_quic_finishes_its_calls_and_is_closed() -> Outcome {
    let served = Served::start_with(Options { max_connection_age: Some(Duration::from_millis(50)), ..options() })?;
    let credentials = served.authority.credentials("client")?;
    let client = Http3Client::connect(served.address(), &credentials).await?;
    let quic = client.quic.clone();
    match within("the close", quic.closed()).await {
        ConnectionError::ApplicationClosed(close) => {
            assert_eq!(close.error_code.into_inner(), Http3Code::H3_NO_ERROR.value());
        }
        other => return Err(other.into()),
    }
    Ok(())
}

#[tokio::test]
async fn a_client_of_tonic_outlives_the_age_of_its_connections() -> Outcome {
    let served = Served::start_with(Options { max_connection_age: Some(Duration::from_millis(20)), ..options() })?;
    let mut client = served.client(By::Tonic).await?;
    let first = served.handle.connections().first().map(|peer| peer.address());
    within("another connection", async {
        loop {
            client.unary(says("a")).await?;
            let now = served.handle.connections();
            if now.first().is_some_and(|peer| Some(peer.address()) != first) {
                return Ok::<_, tonic::Status>(());
            }
        }
    })
    .await?;
    Ok(())
}
