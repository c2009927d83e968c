//! What callers may take up.

use std::io::ErrorKind;
use std::time::Duration;

use mesh_server::{Limits, Options};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tonic::{Code, Request};

use crate::fixture::{By, Outcome, Served, options, says, within};
use crate::tcp_client::connect;

fn limited(limits: Limits) -> Options {
    Options { limits, ..options() }
}

#[tokio::test]
async fn one_connection_too_many_is_refused_and_finds_room_later() -> Outcome {
    let served = Served::start_with(limited(Limits { max_connections: 1, ..Limits::default() }))?;
    let credentials = served.authority.credentials("client")?;
    let first = served.channel(By::Http2, &credentials).await?;
    served.wait_for_connections(1).await;
    assert!(served.channel(By::Http3, &credentials).await.is_err(), "QUIC found room beside TCP");
    drop(first);
    served.wait_for_connections(0).await;
    within("room", async { while served.channel(By::Http3, &credentials).await.is_err() {} }).await;
    Ok(())
}

#[tokio::test]
async fn a_client_that_stalls_its_handshake_is_hung_up_on() -> Outcome {
    let limits = Limits { handshake_timeout: Duration::from_secs(2), max_handshakes: 1, ..Limits::default() };
    let served = Served::start_with(limited(limits))?;
    let mut silent = TcpStream::connect(served.address()).await?;
    assert_eq!(within("the end", silent.read(&mut [0; 8])).await?, 0);
    // Its slot is free again: there is one only.
    let mut client = served.client(By::Http2).await?;
    assert_eq!(client.unary(says("a")).await?.into_inner().payload, "a");
    Ok(())
}

#[tokio::test]
async fn a_client_of_http1_that_says_nothing_is_hung_up_on() -> Outcome {
    let served = Served::start_with(limited(Limits { head_timeout: Duration::from_secs(1), ..Limits::default() }))?;
    let credentials = served.authority.credentials("client")?;
    let mut silent = connect(served.address(), credentials.client_config(&[b"http/1.1"])).await?;
    // Without a request there is nobody to say goodbye to in TLS.
    let end = within("the end", silent.read(&mut [0; 8])).await;
    assert!(matches!(&end, Err(error) if error.kind() == ErrorKind::UnexpectedEof), "{end:?}");
    Ok(())
}

async fn check_head(by: By) -> Outcome {
    let served = Served::start_with(limited(Limits { head_bytes: 16 * 1024, ..Limits::default() }))?;
    let mut client = served.client(by).await?;
    let mut large = Request::new(says("a"));
    large.metadata_mut().insert("echo-large", "x".repeat(32 * 1024).parse()?);
    let status = client.unary(large).await.expect_err("its head is too large");
    assert_ne!(status.code(), Code::Ok);
    assert_eq!(served.echo.calls().begun, 0, "the handler was called");
    assert_eq!(client.unary(says("still here")).await?.into_inner().payload, "still here");
    Ok(())
}

#[tokio::test]
async fn a_head_that_is_too_large_fails_its_own_call_only() -> Outcome {
    check_head(By::Http2).await?;
    check_head(By::Http3).await
}

#[tokio::test]
async fn a_server_may_do_without_http3() -> Outcome {
    let served = Served::start_with(Options { quic: None, ..options() })?;
    let mut client = served.client(By::Tonic).await?;
    let answer = client.unary(says("a")).await?;
    assert!(answer.metadata().get("alt-svc").is_none(), "there is nothing to advertise");
    Ok(())
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() -> Outcome {
    let served = Served::start()?;
    let again = Options { address: served.address(), ..options() };
    let refused = Served::start_with(again).err().ok_or("the port was given twice")?;
    assert_eq!(refused.to_string(), format!("cannot listen on TCP at {}", served.address()));
    Ok(())
}
