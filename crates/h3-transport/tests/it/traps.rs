//! What h3 0.0.8 and quinn 0.11 leave to their user, and what was made of it.
//!
//! Before another version of h3 is taken, look at each of these again, and at what the servers and channels on top do:
//! 1. The last `SendRequest` that is dropped closes the connection, with all streams on it.
//! 2. `server::Connection::shutdown(0)` announces the last request's own ID, which tells its client to send it again.
//! 3. After our GOAWAY, `accept` does not return `None` when the last request ends.
//! 4. A stream that ends without response headers is a connection error at the client, and quinn ends streams on drop.
//! 5. `send_data` that is cancelled leaves half a frame behind.
//! 6. A GOAWAY that came shows at the client in `ConnectionState::is_closing` only.
//! 7. QPACK uses its static table only.
//! 8. There is no word for a client that stops an answer: see `Stream::when_stopped`.

use std::future::poll_fn;
use std::path::Path;
use std::pin::pin;
use std::{env, fs};

use bytes::Bytes;
use h3::error::Code;
use h3_transport::{QuicOptions, StreamEnd};

use crate::pair::{Outcome, Pair, answer, body_of};

#[test]
fn the_version_of_h3_is_the_one_whose_traps_are_known() -> Outcome {
    let lock = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../Cargo.lock"))?;
    let mut lines = lock.lines();
    let mut versions = Vec::new();
    while let Some(line) = lines.next() {
        if line == "name = \"h3\"" {
            versions.extend(lines.next());
        }
    }
    assert_eq!(versions, ["version = \"0.0.8\""], "look at the list at the top of this file again");
    Ok(())
}

#[tokio::test]
async fn an_answer_dropped_while_it_is_read_cancels_its_stream_and_no_other() -> Outcome {
    let mut pair = Pair::connect(&QuicOptions::default()).await?;
    let (mut asking, mut answering, stopped) = pair.request().await?;
    answering.send_response(http::Response::new(())).await?;
    asking.recv_response().await?;
    {
        let mut reading = pin!(asking.recv_data());
        poll_fn(|cx| {
            assert!(reading.as_mut().poll(cx).is_pending(), "there is nothing to read yet");
            std::task::Poll::Ready(())
        })
        .await;
    }
    drop(asking);
    assert_eq!(stopped.await, StreamEnd::Stopped(Code::H3_REQUEST_CANCELLED.value()));
    let (mut asking_again, mut answering_again, _) = pair.request().await?;
    answer(&mut answering_again, Bytes::from_static(b"still here")).await?;
    assert_eq!(body_of(&mut asking_again).await?, "still here");
    Ok(())
}

#[tokio::test]
async fn a_request_that_gets_no_answer_fails_alone() -> Outcome {
    let mut pair = Pair::connect(&QuicOptions::default()).await?;
    let (mut asking, answering, _) = pair.request().await?;
    drop(answering);
    match asking.recv_response().await {
        Err(h3::error::StreamError::RemoteTerminate { code, .. }) => assert_eq!(code, Code::H3_INTERNAL_ERROR),
        other => panic!("not reset: {other:?}"),
    }
    let (mut asking_again, mut answering_again, _) = pair.request().await?;
    answer(&mut answering_again, Bytes::from_static(b"still here")).await?;
    assert_eq!(body_of(&mut asking_again).await?, "still here");
    assert_eq!(pair.quic.close_reason(), None);
    Ok(())
}

#[tokio::test]
async fn half_a_frame_is_never_followed_by_another() -> Outcome {
    let options = QuicOptions { stream_window_bytes: 1024, ..QuicOptions::default() };
    let mut pair = Pair::connect(&options).await?;
    let (mut asking, mut answering, _) = pair.request().await?;
    answering.send_response(http::Response::new(())).await?;
    {
        let mut sending = pin!(answering.send_data(Bytes::from(vec![1; 64 * 1024])));
        poll_fn(|cx| {
            assert!(sending.as_mut().poll(cx).is_pending(), "more than the window was sent");
            std::task::Poll::Ready(())
        })
        .await;
    }
    answering.send_data(Bytes::from_static(b"next")).await.expect_err("it would end up inside the first frame");
    drop(answering);
    body_of(&mut asking).await.expect_err("the answer is cut off, and not passed off as whole");
    Ok(())
}

#[tokio::test]
async fn a_rejected_request_may_be_sent_again() -> Outcome {
    let mut pair = Pair::connect(&QuicOptions::default()).await?;
    let mut asking = pair.client.send_request(http::Request::post("https://mesh/").body(())?).await?;
    let accepted = poll_fn(|cx| pair.server.poll_accept_request_stream(cx)).await?;
    accepted.ok_or("the connection is closed")?.reject(Code::H3_REQUEST_REJECTED);
    match asking.recv_response().await {
        Err(h3::error::StreamError::RemoteTerminate { code, .. }) => assert_eq!(code, Code::H3_REQUEST_REJECTED),
        other => panic!("not rejected: {other:?}"),
    }
    Ok(())
}
