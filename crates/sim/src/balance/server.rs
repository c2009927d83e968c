//! One server: cores that its requests share fairly.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use peers_core::LoadGauge;

/// No request: nothing will end.
pub(crate) const NEVER: u64 = u64::MAX;

/// A server under processor sharing: each of its requests gets a core's worth of time or, when there are more requests
/// than cores, its fair part of all cores.
///
/// Work is counted in *attained service*, the nanoseconds a request present from the start would have got: a request
/// ends when that has grown by its own work, so a change of pace moves no other request in the queue.
#[derive(Debug)]
pub(crate) struct Server {
    cores: f64,
    /// Pace of one core; 1 is nominal.
    speed: f64,
    attained_ns: f64,
    updated_ns: u64,
    /// Attained service at the end, as bits that sort like the number, and the request.
    running: BinaryHeap<Reverse<(u64, u32)>>,
    /// What it answers probes with: the server's half of our own probing.
    pub(crate) gauge: LoadGauge,
}

impl Server {
    pub(crate) fn new(cores: u32, speed: f64) -> Self {
        let running = BinaryHeap::with_capacity(64);
        Self { cores: f64::from(cores), speed, attained_ns: 0.0, updated_ns: 0, running, gauge: LoadGauge::new() }
    }

    pub(crate) fn set_speed(&mut self, now_ns: u64, speed: f64) {
        self.advance(now_ns);
        self.speed = speed;
    }

    pub(crate) fn set_cores(&mut self, now_ns: u64, cores: f64) {
        self.advance(now_ns);
        self.cores = cores;
    }

    /// Takes a request in.
    pub(crate) fn start(&mut self, now_ns: u64, request: u32, work_ns: f64) {
        self.advance(now_ns);
        self.running.push(Reverse(((self.attained_ns + work_ns).to_bits(), request)));
    }

    /// Ends the request that is due, as [`Server::next_end_ns`] said.
    pub(crate) fn end(&mut self, now_ns: u64) -> Option<u32> {
        self.advance(now_ns);
        let Reverse((end, request)) = self.running.pop()?;
        // The clock has whole nanoseconds; attained service does not.
        self.attained_ns = self.attained_ns.max(f64::from_bits(end));
        Some(request)
    }

    /// Returns when the next request ends if nothing changes.
    pub(crate) fn next_end_ns(&self) -> u64 {
        let Some(Reverse((end, _))) = self.running.peek() else { return NEVER };
        let left_ns = (f64::from_bits(*end) - self.attained_ns).max(0.0);
        self.updated_ns + whole_ns((left_ns / self.pace()).ceil())
    }

    pub(crate) fn in_flight(&self) -> u32 {
        u32::try_from(self.running.len()).unwrap_or(u32::MAX)
    }

    fn pace(&self) -> f64 {
        self.speed * (self.cores / f64::from(self.in_flight())).min(1.0)
    }

    fn advance(&mut self, now_ns: u64) {
        if self.in_flight() > 0 {
            self.attained_ns += (now_ns - self.updated_ns) as f64 * self.pace();
        }
        self.updated_ns = now_ns;
    }
}

/// Returns a length as whole nanoseconds; it is not negative.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "lengths of a run: below 2^53, above 0")]
pub(crate) const fn whole_ns(length_ns: f64) -> u64 {
    length_ns as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_share_cores_only_when_there_are_too_few() {
        let mut server = Server::new(2, 1.0);
        server.start(0, 1, 100.0);
        server.start(0, 2, 200.0);
        assert_eq!(server.next_end_ns(), 100);
        // Two cores for three: each gets two thirds.
        server.start(40, 3, 200.0);
        assert_eq!(server.next_end_ns(), 40 + 90);
        assert_eq!(server.end(130), Some(1));
        assert_eq!(server.next_end_ns(), 130 + 100);
        assert_eq!(server.end(230), Some(2));
        assert_eq!((server.next_end_ns(), server.end(270)), (270, Some(3)));
        assert_eq!((server.next_end_ns(), server.in_flight()), (NEVER, 0));
    }

    #[test]
    fn a_slower_server_takes_longer_for_what_is_left() {
        let mut server = Server::new(4, 1.0);
        server.start(0, 1, 100.0);
        server.set_speed(50, 0.1);
        assert_eq!(server.next_end_ns(), 50 + 500);
        server.set_speed(300, 1.0);
        assert_eq!(server.next_end_ns(), 300 + 25);
    }
}
