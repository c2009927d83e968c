//! Meshes under faults drawn from a seed, held to the protocol's invariants after every step.

mod checker;
mod plan;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use membership::Options;

pub use checker::Violation;
pub use plan::{Fault, Plan};

use crate::Mesh;
use checker::Checker;

/// Virtual time of one step.
pub const STEP: Duration = Duration::from_millis(10);

/// Which runs to make.
#[derive(Debug, Clone)]
pub struct Band {
    /// Steps of [`STEP`] a run. Faults begin and end in the first 55 % of them; then the mesh has to settle.
    pub steps: u32,
    /// Nodes of a run: from 2 to this, as the seed decides.
    pub most_nodes: usize,
    /// How every node is tuned.
    pub options: Options,
}

/// How one run went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its seed.
    pub seed: u64,
    /// How many nodes it had.
    pub nodes: usize,
    /// Hash over all events: the same seed must give the same.
    pub hash: u64,
    /// Packets sent.
    pub packets: u64,
    /// How often each kind of event happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// The first invariant that broke.
    pub violation: Option<Violation>,
}

impl Band {
    /// Runs one seed.
    #[must_use]
    pub fn run(&self, seed: u64) -> Outcome {
        self.run_logged(seed, false).0
    }

    /// Runs one seed; the mesh as it was at the end, with its log if that is wanted.
    #[must_use]
    pub fn run_logged(&self, seed: u64, keeps_log: bool) -> (Outcome, Mesh) {
        let plan = Plan::draw(self, seed);
        let mut settings = plan.settings.clone();
        settings.keeps_log = keeps_log;
        let mut mesh = Mesh::start(settings);
        let violation = play(&plan, &mut mesh, self.steps).err();
        let outcome = Outcome {
            seed,
            nodes: mesh.size(),
            hash: mesh.log_hash(),
            packets: mesh.packets(),
            counts: mesh.counts().clone(),
            violation,
        };
        (outcome, mesh)
    }

    /// Runs one seed twice: a run that does not repeat itself is a violation of its own.
    #[must_use]
    pub fn run_twice(&self, seed: u64) -> Outcome {
        let first = self.run(seed);
        let second = self.run(seed);
        if first == second {
            return first;
        }
        let what = format!("two runs differ: hashes {:016x} and {:016x}", first.hash, second.hash);
        Outcome { violation: Some(Violation { step: self.steps, what }), ..first }
    }
}

fn play(plan: &Plan, mesh: &mut Mesh, steps: u32) -> Result<(), Violation> {
    let mut checker = Checker::new(mesh.size());
    let mut faults = plan.faults.iter().peekable();
    for step in 0..steps {
        while let Some((_, fault)) = faults.next_if(|(at, _)| *at <= step) {
            fault.apply(mesh);
        }
        mesh.run_for(STEP);
        checker.check(mesh, step)?;
    }
    checker.check_settled(mesh, steps, &plan.down_at_the_end)
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {} ({} nodes): hash {:016x}, {} packets", self.seed, self.nodes, self.hash, self.packets)?;
        match &self.violation {
            Some(violation) => write!(f, "; BROKEN {violation}"),
            None => Ok(()),
        }
    }
}
