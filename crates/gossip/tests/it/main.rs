//! Real nodes on real sockets: how they meet, part and turn strangers away.

mod binding;
mod deaths;
mod departures;
mod embedding;
mod files;
mod following;
mod hellos;
mod links;
mod meeting;
mod messages;
mod prober;
mod raw;
mod raw_peer;
mod refusal;
mod renewable;
mod revocation;
mod rotation;
mod strangers;
mod user_events;
mod versions;

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

/// What ends a test early.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Longer than anything here may take, on a busy machine too.
const LIMIT: Duration = Duration::from_secs(20);

/// Returns an address at which nobody listens. All else is on 127.0.0.1: a test that takes another address of loopback,
/// and no other test does, has it for itself.
fn unused_address(ip: [u8; 4]) -> Result<SocketAddr, Failure> {
    Ok(UdpSocket::bind(SocketAddr::from((ip, 0)))?.local_addr()?)
}
