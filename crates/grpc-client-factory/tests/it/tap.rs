//! Somebody who sits between a client and a server, and sees what passes.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::task::JoinSet;

use crate::support::bind_both;

/// What has passed: of TCP each direction of each connection, of UDP each packet.
#[derive(Default)]
pub(crate) struct Seen {
    pub(crate) streams: Vec<Vec<u8>>,
    pub(crate) packets: Vec<Vec<u8>>,
}

/// Carries TCP and UDP at one port to a server.
pub(crate) struct Tap {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _tasks: JoinSet<()>,
}

impl Tap {
    pub(crate) async fn to(server: SocketAddr) -> std::io::Result<Self> {
        let (listener, socket) = bind_both().await?;
        let address = listener.local_addr()?;
        let seen = Arc::<Mutex<Seen>>::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(carry_streams(listener, server, Arc::clone(&seen)));
        tasks.spawn(carry_packets(socket, server, Arc::clone(&seen)));
        Ok(Self { address, seen, _tasks: tasks })
    }

    pub(crate) fn seen(&self) -> MutexGuard<'_, Seen> {
        lock(&self.seen)
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn carry_streams(listener: TcpListener, server: SocketAddr, seen: Arc<Mutex<Seen>>) {
    let mut tasks = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        let Ok(far) = TcpStream::connect(server).await else { continue };
        let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
        tasks.spawn(carry_stream(near_read, far_write, Arc::clone(&seen)));
        tasks.spawn(carry_stream(far_read, near_write, Arc::clone(&seen)));
    }
}

async fn carry_stream(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, seen: Arc<Mutex<Seen>>) {
    let place = {
        let mut seen = lock(&seen);
        seen.streams.push(Vec::new());
        seen.streams.len() - 1
    };
    let mut buffer = vec![0; 16_384];
    while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
        lock(&seen).streams[place].extend(&buffer[..bytes]);
        if to.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}

async fn carry_packets(near: UdpSocket, server: SocketAddr, seen: Arc<Mutex<Seen>>) {
    let far = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    far.connect(server).await.expect("loopback");
    let (mut there, mut back) = (vec![0; 65_536], vec![0; 65_536]);
    let mut client = None;
    loop {
        tokio::select! {
            Ok((bytes, from)) = near.recv_from(&mut there) => {
                client = Some(from);
                lock(&seen).packets.push(there[..bytes].to_vec());
                drop(far.send(&there[..bytes]).await);
            }
            Ok(bytes) = far.recv(&mut back) => {
                lock(&seen).packets.push(back[..bytes].to_vec());
                if let Some(client) = client {
                    drop(near.send_to(&back[..bytes], client).await);
                }
            }
        }
    }
}
