//! What befalls a mesh, and when: drawn from the seed before the run begins.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use super::{Band, STEP};
use crate::{Mesh, Settings, Weather};

/// Least and most troubles of a run.
const TROUBLES: RangeInclusive<u32> = 3..=14;

/// One thing that befalls a mesh.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// The network treats all packets like this.
    Weather {
        /// Longest time one way.
        slowest: Duration,
        /// Share lost.
        loss: f64,
        /// Share that arrives twice.
        duplication: f64,
        /// Share that is held up.
        reordering: f64,
    },
    /// A node loses this share of what is sent to it, and of what it sends.
    Deaf {
        /// The node.
        node: usize,
        /// Share lost on the way to it.
        ingress: Option<f64>,
        /// Share lost on the way from it.
        egress: Option<f64>,
    },
    /// The network is cut between these nodes and all others.
    Cut(BTreeSet<usize>),
    /// The network is whole again.
    Heal,
    /// A node stands still.
    Pause(usize, Duration),
    /// A node dies without a word.
    Crash(usize),
    /// A node starts.
    Start(usize),
    /// A node says goodbye.
    Leave(usize),
    /// A node changes what it says of itself.
    Label(usize, u32),
}

impl Fault {
    pub(super) fn apply(&self, mesh: &mut Mesh) {
        match self {
            Self::Weather { slowest, loss, duplication, reordering } => mesh.set_weather(Weather {
                latency: *slowest / 8..=*slowest,
                loss: *loss,
                duplication: *duplication,
                reordering: *reordering,
                held_up: *slowest * 10,
            }),
            Self::Deaf { node, ingress, egress } => {
                mesh.set_ingress_loss(*node, *ingress);
                mesh.set_egress_loss(*node, *egress);
            }
            Self::Cut(side) => mesh.partition_by(|number| side.contains(&number)),
            Self::Heal => mesh.heal(),
            Self::Pause(node, time) => mesh.pause(*node, *time),
            Self::Crash(node) => mesh.crash(*node),
            Self::Start(node) if mesh.core(*node).is_none() => mesh.start_node(*node, Duration::ZERO),
            Self::Leave(node) => mesh.leave(*node),
            Self::Label(node, value) if mesh.core(*node).is_some() => {
                mesh.set_label(*node, "turn", &value.to_string());
            }
            Self::Start(_) | Self::Label(..) => {}
        }
    }
}

/// What befalls a mesh, and when.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The mesh it befalls.
    pub settings: Settings,
    /// What happens before which step, in order.
    pub faults: Vec<(u32, Fault)>,
    /// Nodes that do not run any more at the end.
    pub down_at_the_end: BTreeSet<usize>,
}

impl Plan {
    /// Draws the plan of a seed.
    #[must_use]
    pub fn draw(band: &Band, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let nodes = rng.random_range(2..=band.most_nodes.max(2));
        let settings = Settings {
            nodes,
            seed: rng.random(),
            options: band.options.clone(),
            seeds: rng.random_range(1..=3),
            start_within: Duration::from_millis(rng.random_range(1..=2_000)),
            ..Settings::default()
        };
        let mut draft = Draft {
            rng,
            nodes,
            seeds: settings.seeds,
            calm_from: band.steps / 20 * 11,
            faults: Vec::new(),
            down: BTreeSet::new(),
        };
        for _ in 0..draft.rng.random_range(TROUBLES) {
            draft.add_trouble();
        }
        draft.calm_down();
        let Draft { mut faults, down, .. } = draft;
        // Stable: what was drawn first happens first within a step.
        faults.sort_by_key(|(at, _)| *at);
        Self { settings, faults, down_at_the_end: down }
    }
}

struct Draft {
    rng: SmallRng,
    nodes: usize,
    /// So many of the first nodes are the seeds: without any nobody new finds the mesh.
    seeds: usize,
    /// From this step on nothing more befalls the mesh.
    calm_from: u32,
    faults: Vec<(u32, Fault)>,
    /// Nodes that stay down.
    down: BTreeSet<usize>,
}

impl Draft {
    fn node(&mut self) -> usize {
        self.rng.random_range(0..self.nodes)
    }

    /// Draws when a trouble begins and ends.
    fn span(&mut self, longest: Duration) -> (u32, u32) {
        let begin = self.rng.random_range(0..self.calm_from.max(1));
        let longest_steps = u32::try_from(longest.as_millis() / STEP.as_millis()).unwrap_or(u32::MAX);
        let end = begin + self.rng.random_range(1..=longest_steps.max(1));
        (begin, end.min(self.calm_from))
    }

    fn add_trouble(&mut self) {
        let (begin, end) = self.span(Duration::from_secs(12));
        match self.rng.random_range(0..9) {
            0 => self.add_weather(begin),
            1 | 2 => self.add_deafness(begin, end),
            3 => {
                let share = self.rng.random_range(0.0..=0.5);
                let side = (0..self.nodes).filter(|_| self.rng.random_bool(share)).collect();
                self.faults.extend([(begin, Fault::Cut(side)), (end, Fault::Heal)]);
            }
            4 | 5 => {
                let (node, time) = (self.node(), STEP * (end - begin));
                self.faults.push((begin, Fault::Pause(node, time)));
            }
            6 => self.add_absence(begin, end, Fault::Crash),
            7 => self.add_absence(begin, end, Fault::Leave),
            _ => {
                for _ in 0..self.rng.random_range(1..=8) {
                    let label = Fault::Label(self.node(), self.rng.random());
                    self.faults.push((begin, label));
                }
            }
        }
    }

    fn add_weather(&mut self, begin: u32) {
        let slowest = Duration::from_micros(self.rng.random_range(200..50_000));
        let (loss, duplication, reordering) =
            (self.rng.random_range(0.0..0.3), self.rng.random_range(0.0..0.2), self.rng.random_range(0.0..0.2));
        self.faults.push((begin, Fault::Weather { slowest, loss, duplication, reordering }));
    }

    /// Up to a tenth of the nodes hear little, or are hardly heard.
    fn add_deafness(&mut self, begin: u32, end: u32) {
        for _ in 0..=self.nodes / 10 {
            let (node, share) = (self.node(), self.rng.random_range(0.5..=1.0));
            let (ingress, egress) = if self.rng.random_bool(0.5) { (Some(share), None) } else { (None, Some(share)) };
            self.faults.push((begin, Fault::Deaf { node, ingress, egress }));
            self.faults.push((end, Fault::Deaf { node, ingress: None, egress: None }));
        }
    }

    /// A node goes and comes back; of many, a few stay away.
    fn add_absence(&mut self, begin: u32, end: u32, fault: impl Fn(usize) -> Fault) {
        let node = self.node();
        self.faults.push((begin, fault(node)));
        let may_stay_away = node >= self.seeds && self.nodes >= 8 && self.down.len() < self.nodes / 8;
        if may_stay_away && self.rng.random_bool(0.3) {
            self.down.insert(node);
        } else {
            self.faults.push((end, Fault::Start(node)));
        }
    }

    /// Ends every trouble: whoever may run does, and the network is as good as new.
    fn calm_down(&mut self) {
        let at = self.calm_from;
        let Weather { latency, loss, duplication, reordering, .. } = Weather::default();
        self.faults.push((at, Fault::Weather { slowest: *latency.end(), loss, duplication, reordering }));
        self.faults.push((at, Fault::Heal));
        for node in 0..self.nodes {
            self.faults.push((at, Fault::Deaf { node, ingress: None, egress: None }));
            let last = if self.down.contains(&node) { Fault::Crash(node) } else { Fault::Start(node) };
            self.faults.push((at, last));
        }
    }
}
