//! Fleets, loads and troubles that the policies are compared in.

use super::chance::Chance;
use super::server::whole_ns;

/// Mean work of a request.
pub(crate) const WORK_MEAN_NS: f64 = 10e6;
/// Spread of the logarithm of the work.
pub(crate) const WORK_SIGMA: f64 = 1.0;
/// Cores of a server.
pub(crate) const CORES: u32 = 4;
/// Time a packet takes, each way.
pub(crate) const ONE_WAY_NS: u64 = 250_000;
/// Calls that begin before this are not judged.
pub(crate) const WARM_UP_S: u64 = 10;

const SECOND_NS: u64 = 1_000_000_000;
/// Mean time between two episodes of antagonists on one server.
const QUIET_S: f64 = 7.5;

/// A fleet, its clients, and what goes wrong.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Its name for the command line.
    pub name: &'static str,
    /// What it is, for people.
    pub title: &'static str,
    /// How many servers there are.
    pub servers: usize,
    /// How many clients there are; each chooses for itself.
    pub clients: usize,
    /// Work offered, as a share of the nominal capacity.
    pub load: f64,
    /// How long it runs, in seconds, the warm-up included.
    pub seconds: u64,
    /// What goes wrong.
    pub trouble: Trouble,
}

/// What goes wrong in a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nothing.
    None,
    /// Server 0 is ten times slower for thirty seconds.
    Slow,
    /// Every two seconds another twentieth of the servers turns five times slower, for four seconds.
    Rolling,
    /// Servers differ in speed, and at times lose cores to somebody else.
    Antagonists,
    /// Server 0 answers everything with an error at once, for thirty seconds.
    Failing,
    /// Every ten seconds another tenth of the servers turns sick for twenty seconds: five times slower, and nine calls of
    /// ten end with an error at once.
    Sick,
}

/// Something that happens to a server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Change {
    pub(crate) at_ns: u64,
    pub(crate) server: usize,
    pub(crate) effect: Effect,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Effect {
    /// The pace of a core; 1 is nominal.
    Speed(f64),
    /// How many cores are left.
    Cores(f64),
    /// The share of calls that it answers with an error at once.
    Fails(f64),
}

/// All scenarios, in the order of the report.
pub const SCENARIOS: [Scenario; 10] = [
    scenario("s0", "all equal", (100, 10), 0.70, Trouble::None),
    Scenario { seconds: 40, ..scenario("s0b", "all equal, many clients", (100, 200), 0.70, Trouble::None) },
    Scenario { seconds: 80, ..scenario("s1", "one server 10x slow from 20 to 50 s", (100, 10), 0.60, Trouble::Slow) },
    Scenario { seconds: 80, ..scenario("s1b", "the same, more clients", (100, 100), 0.60, Trouble::Slow) },
    scenario("s2", "every 2 s another 5 % of the servers is 5x slow, for 4 s", (200, 20), 0.65, Trouble::Rolling),
    scenario("s3", "unequal servers with antagonists", (200, 20), 0.65, Trouble::Antagonists),
    scenario("s3b", "the same, a client for each server", (200, 200), 0.65, Trouble::Antagonists),
    Scenario { seconds: 40, ..scenario("s3c", "the same, larger and busier", (300, 30), 0.75, Trouble::Antagonists) },
    scenario("s4", "one server fails at once from 20 to 50 s", (100, 10), 0.70, Trouble::Failing),
    Scenario {
        seconds: 130,
        ..scenario("s5", "every 10 s another tenth is sick for 20 s", (200, 20), 0.50, Trouble::Sick)
    },
];

/// Returns the scenarios that limits are read from, those whose trouble goes round cut to twenty seconds, or to sixty.
///
/// `s0` keeps its length: how even the load is shows only over more than a million calls.
#[must_use]
pub fn quick() -> Vec<Scenario> {
    let limited = SCENARIOS.into_iter().filter(|scenario| !["s0b", "s3c"].contains(&scenario.name));
    limited
        .map(|scenario| match scenario.trouble {
            Trouble::Rolling | Trouble::Antagonists => Scenario { seconds: 20, ..scenario },
            Trouble::Sick => Scenario { seconds: 60, ..scenario },
            Trouble::None | Trouble::Slow | Trouble::Failing => scenario,
        })
        .collect()
}

const fn scenario(
    name: &'static str,
    title: &'static str,
    (servers, clients): (usize, usize),
    load: f64,
    trouble: Trouble,
) -> Scenario {
    Scenario { name, title, servers, clients, load, seconds: 60, trouble }
}

impl Scenario {
    /// When the trouble of one server begins and ends, in seconds of the run.
    pub const TROUBLE_S: (usize, usize) = (20, 50);

    const ROLLING: Wave =
        Wave { every_s: 2, for_s: 4, parts: 20, begins: &[Effect::Speed(0.2)], ends: &[Effect::Speed(1.0)] };

    pub(crate) const SICK: Wave = Wave {
        every_s: 10,
        for_s: 20,
        parts: 10,
        begins: &[Effect::Speed(0.2), Effect::Fails(0.9)],
        ends: &[Effect::Speed(1.0), Effect::Fails(0.0)],
    };

    /// Returns the mean time between two calls of all clients together.
    pub(crate) fn gap_ns(&self) -> f64 {
        WORK_MEAN_NS / (self.load * f64::from(CORES) * self.servers as f64)
    }

    /// Returns everything that happens to servers, in the order of time.
    pub(crate) fn changes(&self, seed: u64) -> Vec<Change> {
        let mut chance = Chance::new(seed, 2);
        let mut changes = match self.trouble {
            Trouble::None => Vec::new(),
            Trouble::Slow => one_server(Effect::Speed(0.1), Effect::Speed(1.0)),
            Trouble::Failing => one_server(Effect::Fails(1.0), Effect::Fails(0.0)),
            Trouble::Rolling => Self::ROLLING.changes(self.servers, self.seconds),
            Trouble::Sick => Self::SICK.changes(self.servers, self.seconds),
            Trouble::Antagonists => {
                (0..self.servers).flat_map(|server| antagonists(server, self.seconds, &mut chance)).collect()
            }
        };
        changes.sort_by_key(|change: &Change| change.at_ns);
        changes
    }
}

fn one_server(begins: Effect, ends: Effect) -> Vec<Change> {
    let (from, to) = Scenario::TROUBLE_S;
    [(from, begins), (to, ends)].map(|(at, effect)| Change { at_ns: at as u64 * SECOND_NS, server: 0, effect }).to_vec()
}

/// Trouble that goes through the fleet, one part after the other.
pub(crate) struct Wave {
    /// Seconds from one part to the next.
    pub(crate) every_s: u64,
    /// Seconds that a part is in trouble.
    for_s: u64,
    /// How many parts there are.
    parts: usize,
    begins: &'static [Effect],
    ends: &'static [Effect],
}

impl Wave {
    fn changes(&self, servers: usize, seconds: u64) -> Vec<Change> {
        let size = servers / self.parts;
        let starts = (0..seconds).step_by(usize::try_from(self.every_s).unwrap_or(usize::MAX)).zip(0..);
        let one = |at_s: u64, server: usize, effects: &'static [Effect]| {
            effects.iter().map(move |effect| Change { at_ns: at_s * SECOND_NS, server, effect: *effect })
        };
        let troubled =
            starts.flat_map(|(at_s, turn)| (0..size).map(move |member| (at_s, (turn * size + member) % servers)));
        troubled
            .flat_map(|(at_s, server)| one(at_s, server, self.begins).chain(one(at_s + self.for_s, server, self.ends)))
            .collect()
    }
}

/// Returns the life of one server: a speed of its own, and at times a neighbour that takes 45 to 65 % of its cores for
/// one to four seconds.
fn antagonists(server: usize, seconds: u64, chance: &mut Chance) -> Vec<Change> {
    let own = Effect::Speed(chance.between(0.68, 1.32));
    let mut changes = vec![Change { at_ns: 0, server, effect: own }];
    let mut at_s = chance.exponential(QUIET_S);
    while at_s < seconds as f64 {
        let (left, length_s) = (chance.between(0.35, 0.55), chance.between(1.0, 4.0));
        let mut has_cores = |share: f64, from_s: f64| {
            let effect = Effect::Cores(f64::from(CORES) * share);
            changes.push(Change { at_ns: whole_ns(from_s * SECOND_NS as f64), server, effect });
        };
        has_cores(left, at_s);
        has_cores(1.0, at_s + length_s);
        at_s += length_s + chance.exponential(QUIET_S);
    }
    changes
}
