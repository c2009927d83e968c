//! The search for the mesh: seeds are dialled until somebody answers.

use std::time::{Duration, Instant};

use mesh_types::Endpoint;
use rand::RngExt;
use rand::seq::SliceRandom;

use crate::core::{Core, Phase, Timer};
use crate::exchange::Output;

/// First wait before seeds are dialled again; doubles up to the probe interval.
const FIRST_REDIAL: Duration = Duration::from_millis(50);

/// Most seeds dialled in one round.
const SEEDS_A_ROUND: usize = 8;

/// The search for the mesh.
#[derive(Debug, Default)]
pub(crate) struct Join {
    seeds: Vec<Endpoint>,
    redial: Duration,
}

impl Core {
    /// Returns the seeds at which nobody alive is known to listen.
    pub(crate) fn unknown_seeds(&self) -> Vec<Endpoint> {
        let is_known = |seed: &Endpoint| {
            self.table.iter().any(|(_, entry)| {
                entry.is_alive() && entry.metadata().is_some_and(|metadata| metadata.endpoint == *seed)
            })
        };
        self.join.seeds.iter().filter(|seed| !is_known(seed)).cloned().collect()
    }

    pub(crate) fn start_join(&mut self, seeds: Vec<Endpoint>, now: Instant) {
        let own = &self.own_record.metadata.endpoint;
        self.join.seeds = seeds.into_iter().filter(|seed| seed != own).collect();
        if self.phase == Phase::Joining {
            self.start_dialling(now);
        }
    }

    pub(crate) fn start_dialling(&mut self, now: Instant) {
        self.join.redial = FIRST_REDIAL;
        self.dial_seeds(now);
    }

    pub(crate) fn dial_seeds(&mut self, now: Instant) {
        if self.phase != Phase::Joining || self.join.seeds.is_empty() {
            return;
        }
        let mut seeds = self.join.seeds.clone();
        seeds.shuffle(&mut self.rng);
        for endpoint in seeds.into_iter().take(SEEDS_A_ROUND) {
            self.outputs.push_back(Output::Connect { endpoint });
        }
        // Joining again while joining must not dial twice as often.
        self.timers.retain(|(_, timer)| *timer != Timer::Join);
        let wait = self.join.redial.mul_f64(self.rng.random_range(0.75..1.25));
        self.schedule(now + wait, Timer::Join);
        self.join.redial = (self.join.redial * 2).min(self.options.interval);
    }
}
