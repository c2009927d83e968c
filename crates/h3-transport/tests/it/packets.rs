//! The packets of a connection: how large they become, and how many it takes to keep one that rests.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use h3_transport::QuicOptions;
use test_authority::Authority;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::pair::{Outcome, Pair, answer, any_port, body_of, dialler, listen};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(20);

/// What fits into a frame of Ethernet beside the headers of IPv6 and UDP.
const ETHERNET: u16 = 1_452;

#[tokio::test]
async fn the_largest_packet_of_an_ordinary_path_is_found_with_one_that_tries_it() -> Outcome {
    let mut pair = Pair::connect(&QuicOptions::default()).await?;
    let found = async {
        while pair.quic.stats().path.current_mtu < ETHERNET {
            let (mut asking, mut answering, _) = pair.request().await?;
            answer(&mut answering, Bytes::new()).await?;
            body_of(&mut asking).await?;
        }
        Outcome::Ok(())
    };
    timeout(LIMIT, found).await??;
    assert_eq!(pair.quic.stats().path.sent_plpmtud_probes, 1);
    Ok(())
}

/// Carries packets between a client and a `server` that are no larger than those of a tunnel, and drops the others.
async fn carry(tunnel: UdpSocket, server: SocketAddr) -> io::Result<()> {
    /// What fits into a frame of Ethernet that goes through `VXLAN`.
    const TUNNEL: usize = 1_402;
    let beyond = UdpSocket::bind(any_port()).await?;
    beyond.connect(server).await?;
    let (mut asked, mut answered, mut client) = ([0; 2_048], [0; 2_048], None);
    loop {
        tokio::select! {
            received = tunnel.recv_from(&mut asked) => {
                let (bytes, from) = received?;
                client = Some(from);
                if bytes <= TUNNEL {
                    beyond.send(asked.get(..bytes).unwrap_or_default()).await?;
                }
            }
            received = beyond.recv(&mut answered) => {
                let bytes = received?;
                if let Some(client) = client.filter(|_| bytes <= TUNNEL) {
                    tunnel.send_to(answered.get(..bytes).unwrap_or_default(), client).await?;
                }
            }
        }
    }
}

#[tokio::test]
async fn through_a_tunnel_packets_become_half_as_much_larger() -> Outcome {
    let (authority, options) = (Authority::new()?, QuicOptions::default());
    let credentials = authority.credentials("server")?;
    let server = listen(any_port(), quinn::EndpointConfig::default(), &credentials, &options)?;
    let tunnel = UdpSocket::bind(any_port()).await?;
    let (entry, mut tasks) = (tunnel.local_addr()?, JoinSet::new());
    let address = server.local_addr()?;
    tasks.spawn(async move { carry(tunnel, address).await.expect("sockets of this machine") });
    tasks.spawn(async move {
        let connection = server.accept().await.expect("it is open").await.expect("it is welcome");
        while let Ok(mut stream) = connection.accept_uni().await {
            // What comes is for its acknowledgements.
            drop(stream.read_to_end(16).await);
        }
    });
    let client = dialler(&*authority.credentials("client")?, &options)?;
    let connection = client.connect(entry, "mesh")?.await?;
    let found = async {
        let mut turns = interval(Duration::from_millis(5));
        while connection.stats().path.current_mtu == 1_200 {
            turns.tick().await;
            let mut stream = connection.open_uni().await?;
            stream.write_all(b"onward").await?;
            stream.finish()?;
        }
        Outcome::Ok(())
    };
    timeout(LIMIT, found).await??;
    assert_eq!(connection.stats().path.current_mtu, 1_325);
    Ok(())
}

#[tokio::test]
async fn a_connection_that_rests_is_kept_by_its_client_alone() -> Outcome {
    let authority = Authority::new()?;
    let servers = QuicOptions { idle_timeout: Duration::from_secs(1), ..QuicOptions::default() };
    let clients = QuicOptions { keep_alive: Some(Duration::from_millis(50)), ..servers.clone() };
    let server = listen(any_port(), quinn::EndpointConfig::default(), &*authority.credentials("server")?, &servers)?;
    let client = dialler(&*authority.credentials("client")?, &clients)?;
    let accepted = async { Ok::<_, Box<dyn std::error::Error>>(server.accept().await.ok_or("closed")?.await?) };
    let dialled = async { Ok(client.connect(server.local_addr()?, "mesh")?.await?) };
    let (accepted, dialled) = tokio::try_join!(accepted, dialled)?;
    let asked = async {
        let mut turns = interval(Duration::from_millis(10));
        // Longer than the idle timeout.
        while dialled.stats().frame_tx.ping < 30 {
            turns.tick().await;
        }
    };
    timeout(LIMIT, asked).await?;
    assert_eq!((dialled.close_reason(), accepted.close_reason()), (None, None));
    Ok(())
}
