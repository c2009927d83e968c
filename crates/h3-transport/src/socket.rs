//! A UDP socket with room for bursts.

use std::io;
use std::net::{SocketAddr, UdpSocket};

use socket2::{Domain, Protocol, Socket, Type};

/// Binds a UDP socket for quinn and asks the system for `buffer_bytes` of room each way. Port 0 takes a free one.
///
/// Packets that find no room are lost and sent again, which shows in the slowest calls. The system may grant less than is
/// asked for; that is logged as a warning, with what to change.
///
/// # Errors
/// The address is in use, or not this machine's.
pub fn bind_udp(address: SocketAddr, buffer_bytes: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_recv_buffer_size(buffer_bytes)?;
    socket.set_send_buffer_size(buffer_bytes)?;
    warn_if_less("receive", "net.core.rmem_max", buffer_bytes, socket.recv_buffer_size()?);
    warn_if_less("send", "net.core.wmem_max", buffer_bytes, socket.send_buffer_size()?);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn warn_if_less(direction: &str, limit: &str, asked_bytes: usize, reported_bytes: usize) {
    if let Some(granted_bytes) = shortfall(asked_bytes, reported_bytes) {
        tracing::warn!(
            asked_bytes,
            granted_bytes,
            "the system gives UDP sockets a small {direction} buffer: raise {limit}, or bursts lose packets"
        );
    }
}

/// Returns how much was granted if that is less than was asked for. The system reports twice what it grants (socket(7)).
const fn shortfall(asked_bytes: usize, reported_bytes: usize) -> Option<usize> {
    let granted_bytes = reported_bytes / 2;
    if granted_bytes < asked_bytes { Some(granted_bytes) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_short_if_half_of_what_is_reported_is_less_than_was_asked_for() {
        let of = |asked, reported| shortfall(asked, reported);
        assert_eq!((of(4096, 8192), of(4096, 8191), of(4096, 425_984)), (None, Some(4095), None));
        assert_eq!(of(4 * 1024 * 1024, 425_984), Some(212_992));
    }

    #[test]
    fn what_the_system_grants_is_what_the_socket_has() -> io::Result<()> {
        let small = bind_udp("127.0.0.1:0".parse().expect("an address"), 64 * 1024)?;
        let reported = socket2::SockRef::from(&small).recv_buffer_size()?;
        assert_eq!(shortfall(64 * 1024, reported), None);
        Ok(())
    }
}
