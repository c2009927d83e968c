//! A path that loses packets when it is told to.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use crate::fixture::{Outcome, Served, held, within};
use crate::http3_client::Http3Client;
use test_rpc::rpc::echo_client::EchoClient;

/// Passes packets between one client and a server.
struct Relay {
    address: SocketAddr,
    /// How many of the server's next packets are lost.
    losing: Arc<AtomicUsize>,
    _running: JoinSet<io::Result<()>>,
}

impl Relay {
    async fn to(server: SocketAddr) -> io::Result<Self> {
        let client_side = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let server_side = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        server_side.connect(server).await?;
        let (address, losing) = (client_side.local_addr()?, Arc::new(AtomicUsize::new(0)));
        let mut running = JoinSet::new();
        running.spawn(pass(client_side, server_side, Arc::clone(&losing)));
        Ok(Self { address, losing, _running: running })
    }
}

async fn pass(client_side: UdpSocket, server_side: UdpSocket, losing: Arc<AtomicUsize>) -> io::Result<()> {
    let (mut up, mut down, mut client) = (vec![0; 65_536], vec![0; 65_536], None);
    loop {
        tokio::select! {
            packet = client_side.recv_from(&mut up) => {
                let (length, from) = packet?;
                client = Some(from);
                server_side.send(up.get(..length).unwrap_or_default()).await?;
            }
            packet = server_side.recv(&mut down) => {
                let length = packet?;
                let is_lost = losing.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok();
                if let Some(client) = client.filter(|_| !is_lost) {
                    client_side.send_to(down.get(..length).unwrap_or_default(), client).await?;
                }
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_lost_on_its_way_is_sent_again_before_the_connection_is_closed() -> Outcome {
    let served = Served::start()?;
    let relay = Relay::to(served.address()).await?;
    let credentials = served.authority.credentials("client")?;
    let client = Http3Client::connect(relay.address, &credentials).await?;
    let mut calling = EchoClient::with_origin(client, served.origin()?);
    let echo = served.echo.clone();
    let shutdown = served.shutdown.clone();
    let stopping = async {
        echo.wait_for(|calls| calls.begun == 1).await;
        // Many a retransmission long: more than a client is waited for that has all its answers.
        relay.losing.store(12, Ordering::Release);
        shutdown.cancel();
        echo.release();
        served.stop().await
    };
    let (answer, report) = within("the answer", async { tokio::join!(calling.unary(held()), stopping) }).await;
    assert_eq!(answer?.into_inner().payload, "held");
    assert_eq!(report?.cut_off, 0);
    assert_eq!(relay.losing.load(Ordering::Acquire), 0, "nothing was lost");
    Ok(())
}
