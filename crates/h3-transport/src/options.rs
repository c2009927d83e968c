//! How QUIC connections carry their packets.

use std::time::Duration;

use quinn::{AckFrequencyConfig, IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

/// Streams of one direction that the other side may have open: control, QPACK encoder and decoder, and some that it
/// makes up (RFC 9114 §6.2.3).
const UNIDIRECTIONAL_STREAMS: u32 = 8;

/// How long the other side may wait before it acknowledges a packet that nothing follows.
///
/// The last packet before a silence is sent again once it has had time to be acknowledged: a call that is lost waits for this, and
/// with the 25 ms of RFC 9000 for five times as long. An answer within this time brings the acknowledgement along; a later one has had
/// a packet of its own for it.
const ACK_DELAY: Duration = Duration::from_millis(5);

/// Least step in the search for the largest packet that the path carries, in bytes: half of the way from what every path carries, 1,200,
/// to what fits into a frame of Ethernet, 1,452.
///
/// So the whole way is tried at once, by one packet and its acknowledgement, and a tunnel that carries less gets 1,325. With steps of 20, as
/// they are usual, each side sends four such packets one after the other: of the 26 packets of a connection with one call, that is every second.
const PACKET_STEP_BYTES: u16 = 127;

/// How QUIC connections carry their packets. Both sides have their own.
///
/// What a connection may receive is bounded by each stream's window alone: with a bound over all of them, a few streams
/// that nobody reads would stop all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuicOptions {
    /// Bytes of one stream that the other side may send ahead of the reader, default 1 MiB. A stream gets at most this
    /// much a round trip; each that is not read holds it in memory.
    pub stream_window_bytes: u32,
    /// Bytes that are kept for being sent again until they are acknowledged, for all streams of a connection, default
    /// 16 MiB. Fewer make senders wait on long paths.
    pub send_window_bytes: u64,
    /// Streams that the other side may have open at once, default 256: the calls under way of one client. The memory that
    /// one connection can take is this times [`QuicOptions::stream_window_bytes`].
    pub max_streams: u32,
    /// Silence after which a packet is sent that the other side has to acknowledge, default `None` for never. Less than
    /// [`QuicOptions::idle_timeout`], or idle connections end. One side is enough: a client keeps the connections that it wants to
    /// have, and a server none (RFC 9114 §5.1).
    pub keep_alive: Option<Duration>,
    /// Silence after which a connection is given up, default 30 s. The lesser of both sides' counts.
    pub idle_timeout: Duration,
    /// Round trip that is assumed before one was measured, default 100 ms: a first packet that gets lost is sent again
    /// after three times this.
    pub initial_rtt: Duration,
}

impl Default for QuicOptions {
    fn default() -> Self {
        Self {
            stream_window_bytes: 1024 * 1024,
            send_window_bytes: 16 * 1024 * 1024,
            max_streams: 256,
            keep_alive: None,
            idle_timeout: Duration::from_secs(30),
            initial_rtt: Duration::from_millis(100),
        }
    }
}

impl QuicOptions {
    /// Returns the same for quinn. An idle timeout of more than 49 days is 49 days.
    #[must_use]
    pub fn transport_config(&self) -> TransportConfig {
        let idle_ms = u32::try_from(self.idle_timeout.as_millis()).unwrap_or(u32::MAX);
        let mut acks = AckFrequencyConfig::default();
        // What comes out of order is acknowledged at once, as it is without this extension.
        acks.max_ack_delay(Some(ACK_DELAY)).reordering_threshold(VarInt::from_u32(1));
        let mut packet_search = MtuDiscoveryConfig::default();
        packet_search.minimum_change(PACKET_STEP_BYTES);
        let mut config = TransportConfig::default();
        config
            .mtu_discovery_config(Some(packet_search))
            .ack_frequency_config(Some(acks))
            .stream_receive_window(VarInt::from_u32(self.stream_window_bytes))
            .receive_window(VarInt::MAX)
            .send_window(self.send_window_bytes)
            .max_concurrent_bidi_streams(VarInt::from_u32(self.max_streams))
            .max_concurrent_uni_streams(VarInt::from_u32(UNIDIRECTIONAL_STREAMS))
            .keep_alive_interval(self.keep_alive)
            .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(idle_ms))))
            .initial_rtt(self.initial_rtt)
            // HTTP/3 as gRPC uses it has no datagrams.
            .datagram_receive_buffer_size(None);
        config
    }
}
