//! Whole requests, and answers.

use std::iter;

use bytes::{Buf, Bytes};
use h3_transport::{QuicOptions, StreamEnd};
use http::{HeaderMap, HeaderValue};

use crate::pair::{Outcome, Pair, Receiver, Sender, answer, body_of};

/// Sends back what comes, then trailers.
async fn echo((mut sender, mut receiver): (Sender, Receiver)) -> Outcome {
    sender.send_response(http::Response::new(())).await?;
    while let Some(mut data) = receiver.recv_data().await? {
        sender.send_data(data.copy_to_bytes(data.remaining())).await?;
    }
    sender.send_trailers(trailers()).await?;
    Ok(sender.finish().await?)
}

fn trailers() -> HeaderMap {
    HeaderMap::from_iter([("grpc-status".parse().expect("a name"), HeaderValue::from_static("0"))])
}

#[tokio::test]
async fn a_body_many_times_the_window_passes_both_ways_with_its_trailers() -> Outcome {
    const SIZE: usize = 3_000_000;
    let options =
        QuicOptions { stream_window_bytes: 16 * 1024, send_window_bytes: 64 * 1024, ..QuicOptions::default() };
    let mut pair = Pair::connect(&options).await?;
    let sent: Bytes = (0..SIZE).zip((0..=255).cycle()).map(|(_, byte)| byte).collect();
    let stream = pair.client.send_request(http::Request::post("https://mesh/").body(())?).await?;
    let (mut sender, mut receiver) = stream.split();
    let accepted = pair.server.accept().await?.ok_or("the connection is closed")?.resolve_request().await?.1;
    let sending = async {
        sender.send_data(sent.clone()).await?;
        sender.finish().await
    };
    let receiving = async {
        receiver.recv_response().await?;
        let mut body = Vec::new();
        while let Some(mut data) = receiver.recv_data().await? {
            body.extend(iter::from_fn(|| data.has_remaining().then(|| data.get_u8())));
        }
        Ok((body, receiver.recv_trailers().await?))
    };
    let echoing = async {
        echo(accepted.split()).await.expect("the echo is whole");
        Ok(())
    };
    let ((), (body, came), ()) = tokio::try_join!(sending, receiving, echoing)?;
    assert!(body == sent, "{} bytes came of {SIZE}", body.len());
    assert_eq!(came, Some(trailers()));
    Ok(())
}

#[tokio::test]
async fn an_answer_is_acknowledged_once_the_client_has_it_whole() -> Outcome {
    let mut pair = Pair::connect(&QuicOptions::default()).await?;
    let (mut asking, mut answering, stopped) = pair.request().await?;
    answer(&mut answering, Bytes::from_static(b"all of it")).await?;
    assert_eq!(stopped.await, StreamEnd::Acknowledged);
    assert_eq!(body_of(&mut asking).await?, "all of it");
    Ok(())
}
