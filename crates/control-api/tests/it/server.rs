//! The listener on loopback, in plain text.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use control_api::{BindError, Limits, Security, Server};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::mesh::Failure;
use crate::running::{DEADLINE, Running};

/// Sends `request` and returns all that comes back until the server closes.
async fn talk(addr: SocketAddr, request: &str) -> Result<String, Failure> {
    let mut stream = TcpStream::connect(addr).await?;
    stream.write_all(request.as_bytes()).await?;
    read_all(&mut stream).await
}

async fn read_all(stream: &mut TcpStream) -> Result<String, Failure> {
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await??;
    Ok(answer)
}

#[tokio::test]
async fn plain_text_is_served_on_loopback_only() -> Result<(), Failure> {
    for ip in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED), IpAddr::from([10, 0, 0, 1])] {
        let addr = SocketAddr::new(ip, 0);
        let refused = Server::bind(addr, Security::PlaintextLoopback, Limits::default()).await;
        assert!(matches!(refused, Err(BindError::NotLoopback { addr: named }) if named == addr), "{refused:?}");
    }
    let running = Running::plain(Limits::default()).await?;
    let answer = talk(running.addr, "GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await?;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nmesh_gossip_links 2\n"), "{answer}");
    running.stop().await
}

#[tokio::test]
async fn a_port_in_use_is_named() -> Result<(), Failure> {
    let running = Running::plain(Limits::default()).await?;
    let refused = Server::bind(running.addr, Security::PlaintextLoopback, Limits::default()).await;
    assert!(
        matches!(&refused, Err(BindError::Plain { addr, source }) if *addr == running.addr && source.kind() == ErrorKind::AddrInUse),
        "{refused:?}"
    );
    running.stop().await
}

#[tokio::test]
async fn one_connection_more_than_the_limit_is_closed_and_a_freed_slot_is_used_again() -> Result<(), Failure> {
    let running = Running::plain(Limits { max_connections: 1, ..Limits::default() }).await?;
    let mut first = TcpStream::connect(running.addr).await?;
    // An answer proves that the first connection holds its slot.
    first.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await?;
    timeout(DEADLINE, first.read_u8()).await??;
    assert_eq!(read_all(&mut TcpStream::connect(running.addr).await?).await?, "");
    first.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await?;
    read_all(&mut first).await?;
    let free_again = async {
        // The server may see the end of the first connection only after the next one has come.
        while !talk(running.addr, "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await
            .is_ok_and(|answer| answer.starts_with("HTTP/1.1 200 OK\r\n"))
        {}
    };
    timeout(DEADLINE, free_again).await?;
    running.stop().await
}

#[tokio::test]
async fn a_client_that_sends_no_head_is_cut_off() -> Result<(), Failure> {
    let running = Running::plain(Limits { header_timeout: Duration::from_millis(20), ..Limits::default() }).await?;
    assert_eq!(talk(running.addr, "").await?, "");
    let half = talk(running.addr, "GET /healthz HTTP/1.1\r\nhost:").await?;
    assert!(half.is_empty() || half.starts_with("HTTP/1.1 408 "), "{half}");
    running.stop().await
}

#[tokio::test]
async fn a_connection_closes_at_the_end_of_its_lifetime() -> Result<(), Failure> {
    let connection_lifetime = Duration::from_millis(300);
    let limits = Limits { connection_lifetime, header_timeout: Duration::from_secs(60), ..Limits::default() };
    let running = Running::plain(limits).await?;
    let answer = talk(running.addr, "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").await?;
    assert!(answer.ends_with("mesh_gossip_links 2\n"), "{answer}");
    running.stop().await
}

#[tokio::test]
async fn shutdown_waits_for_requests_under_way_only_for_a_while() -> Result<(), Failure> {
    let drain_timeout = Duration::from_millis(50);
    let running = Running::plain(Limits { drain_timeout, ..Limits::default() }).await?;
    let addr = running.addr;
    // Idle connections end at once; one in the middle of a head is under way.
    let mut idle = TcpStream::connect(addr).await?;
    let mut stalled = TcpStream::connect(addr).await?;
    stalled.write_all(b"GET /healthz HTTP/1.1\r\nhost:").await?;
    talk(addr, "GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await?;
    running.stop().await?;
    assert_eq!(read_all(&mut idle).await?, "");
    assert!(TcpStream::connect(addr).await.is_err(), "the listener is still open");
    Ok(())
}
