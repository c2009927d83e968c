//! One run: clients call, packets travel, servers work.

use std::collections::VecDeque;

use peers_core::{InFlight, ServerLoad, Tick};

use super::chance::Chance;
use super::fleet::Fleet;
use super::measure::Measured;
use super::policy::{Choice, Outcome, Policy, Probe};
use super::scenario::{CORES, Change, Effect, ONE_WAY_NS, Scenario, Trouble, WORK_MEAN_NS, WORK_SIGMA};
use super::server::{NEVER, Server, whole_ns};
use super::tally::Tally;

const SECOND_NS: u64 = 1_000_000_000;

/// Runs `scenario` with one policy for each client, made by `policy` from the client's number. The same seed gives
/// every policy the same calls, work and troubles.
pub fn simulate(scenario: &Scenario, seed: u64, policy: impl FnMut(usize) -> Box<dyn Policy>) -> Measured {
    let mut run = Run::new(scenario, seed, (0..scenario.clients).map(policy).collect());
    while run.step() {}
    run.tally.into_measured()
}

/// A call under way.
#[derive(Debug, Clone, Copy)]
struct Call {
    client: usize,
    choice: Choice,
    sent_ns: u64,
    outcome: Outcome,
}

/// A packet at its destination.
#[derive(Debug, Clone, Copy)]
enum Packet {
    Call(u32),
    Answer(u32),
    Probe { client: usize, probe: Probe },
    Load { client: usize, probe: Probe, load: ServerLoad },
}

/// The four things that can come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Change,
    End,
    Packet,
    Call,
}

struct Run<'a> {
    policies: Vec<Box<dyn Policy + 'a>>,
    fleet: Fleet,
    /// The share of calls that each server answers with an error.
    failing: Vec<f64>,
    watches_breakers: bool,
    changes: VecDeque<Change>,
    /// All packets take equally long, so they arrive in the order they were sent.
    wire: VecDeque<(u64, Packet)>,
    calls: Vec<Call>,
    /// What the calls are to the gauges of their servers, by the calls' numbers.
    in_flight: Vec<Option<InFlight>>,
    free: Vec<u32>,
    next_call_ns: u64,
    end_ns: u64,
    gap_ns: f64,
    arrivals: Chance,
    work: Chance,
    errors: Chance,
    wanted: Vec<Probe>,
    tally: Tally,
}

impl<'a> Run<'a> {
    fn new(scenario: &Scenario, seed: u64, policies: Vec<Box<dyn Policy + 'a>>) -> Self {
        let mut arrivals = Chance::new(seed, 0);
        Self {
            policies,
            fleet: Fleet::new((0..scenario.servers).map(|_| Server::new(CORES, 1.0)).collect()),
            failing: vec![0.0; scenario.servers],
            watches_breakers: matches!(scenario.trouble, Trouble::Failing | Trouble::Sick),
            changes: scenario.changes(seed).into(),
            wire: VecDeque::new(),
            calls: Vec::new(),
            in_flight: Vec::new(),
            free: Vec::new(),
            next_call_ns: whole_ns(arrivals.exponential(scenario.gap_ns())),
            end_ns: scenario.seconds * SECOND_NS,
            gap_ns: scenario.gap_ns(),
            arrivals,
            work: Chance::new(seed, 1),
            errors: Chance::new(seed, 4),
            wanted: Vec::new(),
            tally: Tally::new(scenario.servers, scenario.seconds),
        }
    }

    /// Does what comes next; returns whether there was anything.
    fn step(&mut self) -> bool {
        let next = [
            (self.changes.front().map_or(NEVER, |change| change.at_ns), Next::Change),
            (self.fleet.next_end().0, Next::End),
            (self.wire.front().map_or(NEVER, |(at_ns, _)| *at_ns), Next::Packet),
            (self.next_call_ns, Next::Call),
        ];
        let Some((now_ns, next)) = next.into_iter().min().filter(|(at_ns, _)| *at_ns != NEVER) else { return false };
        match next {
            Next::Change => self.change(),
            Next::End => self.end(now_ns),
            Next::Packet => self.deliver(now_ns),
            Next::Call => self.call(now_ns),
        }
        true
    }

    fn change(&mut self) {
        let Some(change) = self.changes.pop_front() else { return };
        match change.effect {
            Effect::Speed(speed) => {
                self.fleet.update(change.server, |server| server.set_speed(change.at_ns, speed));
            }
            Effect::Cores(cores) => {
                self.fleet.update(change.server, |server| server.set_cores(change.at_ns, cores));
            }
            Effect::Fails(share) => {
                self.failing[change.server] = share;
                self.tally.turned(change.at_ns, change.server, share > 0.0);
            }
        }
    }

    /// Lets a client call.
    fn call(&mut self, now_ns: u64) {
        let client = self.arrivals.below(self.policies.len());
        let next_ns = now_ns + whole_ns(self.arrivals.exponential(self.gap_ns)).max(1);
        self.next_call_ns = if next_ns < self.end_ns { next_ns } else { NEVER };
        self.read_breakers(now_ns);
        let Some(choice) = self.policies[client].choose(now_ns) else {
            self.tally.refused(now_ns);
            return;
        };
        self.tally.called(now_ns, choice.peer);
        let call = Call { client, choice, sent_ns: now_ns, outcome: Outcome::Ok };
        let number = self.keep(call);
        self.send(now_ns, Packet::Call(number));
        self.send_probes(now_ns, client);
    }

    fn send_probes(&mut self, now_ns: u64, client: usize) {
        let mut wanted = std::mem::take(&mut self.wanted);
        self.policies[client].probes(&mut wanted);
        self.tally.probed(wanted.len());
        for probe in wanted.drain(..) {
            self.send(now_ns, Packet::Probe { client, probe });
        }
        self.wanted = wanted;
    }

    fn send(&mut self, now_ns: u64, packet: Packet) {
        self.wire.push_back((now_ns + ONE_WAY_NS, packet));
    }

    fn keep(&mut self, call: Call) -> u32 {
        if let Some(number) = self.free.pop() {
            self.calls[number as usize] = call;
            return number;
        }
        self.calls.push(call);
        self.in_flight.push(None);
        u32::try_from(self.calls.len() - 1).unwrap_or(u32::MAX)
    }

    fn deliver(&mut self, now_ns: u64) {
        let Some((_, packet)) = self.wire.pop_front() else { return };
        match packet {
            Packet::Call(number) => self.serve(now_ns, number),
            Packet::Answer(number) => self.answer(now_ns, number),
            Packet::Probe { client, probe } => {
                let load = self.fleet.gauge(probe.peer).load(Tick::from_nanos(now_ns));
                self.send(now_ns, Packet::Load { client, probe, load });
            }
            Packet::Load { client, probe, load } => self.policies[client].probed(now_ns, probe, load),
        }
    }

    /// Lets a server take a call in. Every call draws its work, so that a failing server moves no other draw.
    fn serve(&mut self, now_ns: u64, number: u32) {
        let work_ns = self.work.log_normal(WORK_MEAN_NS, WORK_SIGMA);
        let call = &mut self.calls[number as usize];
        let peer = call.choice.peer;
        let in_flight = self.fleet.gauge(peer).start(Tick::from_nanos(now_ns));
        if self.failing[peer] > 0.0 && self.errors.unit() <= self.failing[peer] {
            call.outcome = Outcome::Failed;
            // It does not know that it fails: to its gauge it is fast.
            in_flight.finish(Tick::from_nanos(now_ns));
            self.send(now_ns, Packet::Answer(number));
        } else {
            self.in_flight[number as usize] = Some(in_flight);
            self.fleet.update(peer, |server| server.start(now_ns, number, work_ns));
        }
    }

    fn end(&mut self, now_ns: u64) {
        let place = self.fleet.next_end().1;
        let Some(number) = self.fleet.update(place, |server| server.end(now_ns)) else { return };
        if let Some(in_flight) = self.in_flight[number as usize].take() {
            in_flight.finish(Tick::from_nanos(now_ns));
        }
        self.send(now_ns, Packet::Answer(number));
    }

    fn answer(&mut self, now_ns: u64, number: u32) {
        let call = self.calls[number as usize];
        let took_ns = now_ns - call.sent_ns;
        self.policies[call.client].done(now_ns, call.choice, took_ns, call.outcome);
        self.tally.ended(call.sent_ns, took_ns, call.outcome);
        self.free.push(number);
    }

    /// Reads the breakers at the first call of a second, if there is anything that moves them.
    fn read_breakers(&mut self, now_ns: u64) {
        if self.watches_breakers && self.tally.is_new_second(now_ns) {
            let mut changes = vec![0; self.failing.len()];
            self.policies.iter().for_each(|policy| policy.count_breaker_changes(&mut changes));
            self.tally.breakers(now_ns, changes);
        }
    }
}
