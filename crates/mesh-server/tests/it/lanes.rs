//! Connections that are dealt out to lanes.

use std::num::NonZeroUsize;

use http_body_util::BodyExt as _;
use lanes::Lanes;
use mesh_server::Options;
use tonic::body::Body;
use tower::{Service as _, ServiceExt as _};

use crate::drain::check_finished;
use crate::fixture::{BoxError, By, Channel, Outcome, Served, options, within};

fn two_lanes() -> Result<Lanes, BoxError> {
    Ok(Lanes::start(NonZeroUsize::MIN.saturating_add(1))?)
}

fn on(lanes: Lanes) -> Options {
    Options { lanes: Some(lanes), ..options() }
}

/// Returns the name of the thread that answers on a connection.
async fn thread_of(served: &Served, channel: &mut Channel) -> Result<String, BoxError> {
    let request = http::Request::get(format!("https://{}/thread", served.address())).body(Body::empty())?;
    let name = channel.ready().await?.call(request).await?.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(name.to_vec())?)
}

#[tokio::test]
async fn all_calls_of_a_connection_are_answered_on_its_lane_whichever_protocol_they_come_by() -> Outcome {
    for by in [By::Http2, By::Http3] {
        let lanes = two_lanes()?;
        let served = Served::start_with(on(lanes.clone()))?;
        let credentials = served.authority.credentials("client")?;
        let mut first = served.channel(by, &credentials).await?;
        let mut second = served.channel(by, &credentials).await?;
        for _ in 0..2 {
            assert_eq!(thread_of(&served, &mut first).await?, "lane-0", "{by:?}");
            assert_eq!(thread_of(&served, &mut second).await?, "lane-1", "{by:?}");
        }
        drop(first);
        within("a free place", async {
            while !format!("{lanes:?}").ends_with("[0, 1] }") {
                tokio::task::yield_now().await;
            }
        })
        .await;
        let mut third = served.channel(by, &credentials).await?;
        assert_eq!(thread_of(&served, &mut third).await?, "lane-0", "{by:?}");
    }
    Ok(())
}

#[tokio::test]
async fn calls_under_way_on_lanes_are_finished_when_the_server_stops() -> Outcome {
    check_finished(By::Tonic, on(two_lanes()?)).await?;
    check_finished(By::Http3, on(two_lanes()?)).await
}
