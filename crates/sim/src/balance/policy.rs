//! What a way of choosing is to the simulator.

use peers_core::ServerLoad;

/// A server that was chosen, and the policy's own number for the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Which server, by its place in the fleet.
    pub peer: usize,
    /// Comes back with the end of the call; what it means is the policy's business.
    pub ticket: usize,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer.
    Ok,
    /// With an error that is the server's fault.
    Failed,
}

/// A server that is to be probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Which server, by its place in the fleet.
    pub peer: usize,
    /// Comes back with the answer; what it means is the policy's business.
    pub ticket: usize,
}

/// One client's way of choosing a server. Times are nanoseconds since the run began.
pub trait Policy {
    /// Chooses a server for a call that goes out now; `None` if it finds none, and the call fails at once.
    fn choose(&mut self, now_ns: u64) -> Option<Choice>;

    /// Takes in that the call of `choice` ended after `rtt_ns`.
    fn done(&mut self, now_ns: u64, choice: Choice, rtt_ns: u64, outcome: Outcome);

    /// Names the servers to probe now; asked after every choice.
    fn probes(&mut self, _wanted: &mut Vec<Probe>) {}

    /// Takes in what a probed server said.
    fn probed(&mut self, _now_ns: u64, _probe: Probe, _load: ServerLoad) {}

    /// Adds to `changes` how often its breakers have changed so far, by servers.
    fn count_breaker_changes(&self, _changes: &mut [u64]) {}
}
