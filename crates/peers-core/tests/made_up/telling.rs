//! Peers that tell their load at once.

use std::sync::Arc;

use peers_core::{LoadGauge, LoadProbe, Peer, ProbeTicket, Tick};

/// Answers every probe on the spot, for all peers alike, with what one gauge says.
#[derive(Default)]
pub(crate) struct Telling(LoadGauge);

impl LoadProbe for Telling {
    fn request(&self, _peer: &Arc<Peer>, ticket: ProbeTicket) {
        self.0.start(Tick::ZERO).finish(Tick::from_nanos(3_000_000));
        ticket.answer(self.0.load(Tick::from_nanos(3_000_000)));
    }
}
