//! Hears of packets that reached a host and nobody on it.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd as _;

use nix::libc::ECONNREFUSED;
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::broadcast;

/// Room for what the system says beside an error: who sent it, and whatever else the socket was told to have said of its packets.
const CONTROL_BYTES_MAX: usize = 512;

/// What hosts say of packets that were sent to a port of theirs at which nobody listens (ICMP, RFC 1122 §4.1.3.3): the queue of
/// errors of a socket. Packets are not read here.
///
/// A server whose process has died is known that way as soon as something is sent to it. Anybody who knows our port may say the same, so
/// it is a reason to look, and no proof.
#[derive(Debug)]
pub(crate) struct Refusals {
    socket: AsyncFd<UdpSocket>,
}

impl Refusals {
    /// Has the system keep what hosts say of the packets of `socket`. Call it within the runtime.
    pub(crate) fn of(socket: &UdpSocket) -> io::Result<Self> {
        match socket.local_addr()? {
            SocketAddr::V4(_) => setsockopt(socket, Ipv4RecvErr, &true)?,
            SocketAddr::V6(_) => setsockopt(socket, Ipv6RecvErr, &true)?,
        }
        // Errors are always told of; with this interest, packets are not.
        #[expect(
            deprecated,
            reason = "what it is deprecated for cannot be: a socket keeps its descriptor until it is dropped"
        )]
        let socket = AsyncFd::with_interest(socket.try_clone()?, Interest::PRIORITY)?;
        Ok(Self { socket })
    }

    /// Tells `refused` where nobody listens, until the socket fails.
    pub(crate) async fn tell(self, refused: broadcast::Sender<SocketAddr>) {
        loop {
            match self.next().await {
                // Nobody needs to be there to hear it.
                Ok(address) => drop(refused.send(address)),
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "servers that are gone are noticed late");
                    return;
                }
            }
        }
    }

    /// # Cancel safety
    /// Dropping the future loses nothing.
    async fn next(&self) -> io::Result<SocketAddr> {
        loop {
            let mut ready = self.socket.ready(Interest::ERROR).await?;
            if let Ok(said) = ready.try_io(|socket| read(socket.get_ref()))
                && let Some(address) = said?
            {
                return Ok(address);
            }
        }
    }
}

/// Takes the first error off the queue of `socket`; returns where its packet was sent to, if nobody listens there.
fn read(socket: &UdpSocket) -> io::Result<Option<SocketAddr>> {
    let mut control = vec![0; CONTROL_BYTES_MAX];
    let mut packet = [0; 1];
    let mut pieces = [IoSliceMut::new(&mut packet)];
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut pieces, Some(&mut control), flags)?;
    let is_refused = message.cmsgs()?.any(|said| match said {
        ControlMessageOwned::Ipv4RecvErr(error, _) | ControlMessageOwned::Ipv6RecvErr(error, _) => {
            error.ee_errno == ECONNREFUSED.unsigned_abs()
        }
        _ => false,
    });
    Ok(message.address.filter(|_| is_refused).as_ref().and_then(address))
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|v4| SocketAddr::V4(SocketAddrV4::from(*v4)));
    v4.or_else(|| storage.as_sockaddr_in6().map(|v6| SocketAddr::V6(SocketAddrV6::from(*v6))))
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use h3_transport::bind_udp;
    use tokio::time::timeout;

    use super::*;

    /// Sends to a port of this machine at which nobody listens, and says where that is and what is heard.
    async fn send_to_nobody(at: SocketAddr, from: SocketAddr) -> io::Result<(SocketAddr, SocketAddr)> {
        let gone = UdpSocket::bind(at)?.local_addr()?;
        let (socket, there) = (bind_udp(from, 64 * 1024)?, UdpSocket::bind(at)?);
        // As quinn does it, which asks for more to be said of each packet.
        let _options = quinn::udp::UdpSocketState::new((&socket).into())?;
        let refusals = Refusals::of(&socket)?;
        socket.send_to(b"to somebody", there.local_addr()?)?;
        socket.send_to(b"to nobody", gone)?;
        let heard = timeout(Duration::from_secs(20), refusals.next()).await.expect("the system says so at once")?;
        Ok((gone, heard))
    }

    #[tokio::test]
    async fn a_host_says_where_nobody_listens() -> io::Result<()> {
        let v4 = ((Ipv4Addr::LOCALHOST, 0).into(), (Ipv4Addr::UNSPECIFIED, 0).into());
        let v6 = ((Ipv6Addr::LOCALHOST, 0).into(), (Ipv6Addr::UNSPECIFIED, 0).into());
        for (at, from) in [v4, v6] {
            let (gone, heard) = send_to_nobody(at, from).await?;
            assert_eq!(gone, heard);
        }
        Ok(())
    }
}
