//! What is done to a swarm, and what is measured of it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use nix::sys::signal::Signal;

use super::cost::{cpu_time, memory, traffic};
use super::views::{Said, What};
use super::{Faults, Figures, Measure, SEEDS, Swarm};
use crate::process::name_of;

/// Longest wait for an agent to listen.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// Longest wait for all to see all.
pub(super) const MEET_LIMIT: Duration = Duration::from_secs(120);

/// Longest wait for news to be seen by all; whoever has not seen them then has missed them.
const NEWS_LIMIT: Duration = Duration::from_secs(30);

/// Longest wait for a death to be seen by all.
const DEATH_LIMIT: Duration = Duration::from_secs(90);

/// Pause between two events, in which the mesh comes to rest.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a partition lasts once everybody has seen it.
const PARTED: Duration = Duration::from_secs(5);

/// When each observer saw something happen, in order; those who did not are missing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Spread {
    seen: Vec<Duration>,
    missing: Vec<usize>,
    limit: Duration,
}

impl Spread {
    /// Returns when this share of the observers had seen it, in seconds; the time it was waited for if they never did.
    pub(crate) fn seen_by(&self, percent: usize) -> f64 {
        let observers = self.seen.len() + self.missing.len();
        let needed = (observers * percent).div_ceil(100).max(1);
        self.seen.get(needed - 1).unwrap_or(&self.limit).as_secs_f64()
    }

    pub(crate) fn missed(&self) -> usize {
        self.missing.len()
    }
}

impl Swarm<'_> {
    /// Starts the first `count` agents: the seeds, then all others at once.
    ///
    /// # Errors
    /// An agent does not start or ends, or not all see all in time.
    pub(crate) fn meet(&mut self, count: usize, figures: &mut Figures) -> anyhow::Result<()> {
        for seed in SEEDS.into_iter().filter(|seed| *seed < count) {
            self.start(seed)?;
            self.until_ready(seed)?;
        }
        let before = traffic()?;
        let mut starts = Vec::new();
        for agent in SEEDS.len()..count {
            starts.push(self.start(agent)?);
        }
        let (Some(first), Some(last)) = (starts.first(), starts.last()) else { return Ok(()) };
        let met = self.until_all_see_all(MEET_LIMIT).with_context(|| format!("did not meet within {MEET_LIMIT:?}"))?;
        figures.add(Measure::TogetherFromLast, met.saturating_sub(*last).as_secs_f64());
        figures.add(Measure::TogetherFromFirst, met.saturating_sub(*first).as_secs_f64());
        figures.add(Measure::TogetherMegabytes, (traffic()?.bytes - before.bytes) as f64 / 1e6);
        Ok(())
    }

    /// Lets agents say something new of themselves, one after the other.
    ///
    /// # Errors
    /// The operator's command fails.
    pub(crate) fn updates(&mut self, times: usize, figures: &mut Figures) -> anyhow::Result<()> {
        for number in 0..times {
            let agent = self.pick(number);
            let mut command = self.system().update_command(agent, number + 1);
            command.stdin(Stdio::null()).stdout(Stdio::null());
            let since = self.now();
            let mut operator = command.spawn().with_context(|| format!("cannot start {}", name_of(&command)))?;
            let spread = self.spread(agent, What::Update, since, NEWS_LIMIT)?;
            let status = operator.wait().with_context(|| format!("cannot wait for {}", name_of(&command)))?;
            ensure!(status.success(), "{} failed: {status}", name_of(&command));
            figures.add(Measure::UpdateMost, spread.seen_by(95));
            figures.add(Measure::UpdateAll, spread.seen_by(100));
            self.pass(PAUSE)?;
        }
        Ok(())
    }

    /// Lets newcomers join and leave, one after the other: the agents `newcomers`, which do not run yet.
    ///
    /// # Errors
    /// A newcomer does not start or end.
    pub(crate) fn joins_and_leaves(
        &mut self,
        newcomers: impl IntoIterator<Item = usize>,
        figures: &mut Figures,
    ) -> anyhow::Result<()> {
        for newcomer in newcomers {
            let started = self.start(newcomer)?;
            let joined = self.spread(newcomer, What::Up, started, NEWS_LIMIT)?;
            figures.add(Measure::JoinMost, joined.seen_by(95));
            figures.add(Measure::JoinAll, joined.seen_by(100));
            self.until_all_see_all(MEET_LIMIT)?;
            self.pass(PAUSE)?;

            let told = self.signal(newcomer, self.system().goodbye())?;
            let left = self.spread(newcomer, What::Left, told, NEWS_LIMIT)?;
            figures.add(Measure::LeaveMost, left.seen_by(95));
            figures.add(Measure::LeaveAll, left.seen_by(100));
            figures.add(Measure::LeaveMissed, count(left.missed()));
            self.reap(newcomer)?;
            self.pass(PAUSE)?;
        }
        Ok(())
    }

    /// Kills agents, one after the other, and starts each again once everybody has seen it.
    ///
    /// # Errors
    /// An agent does not start again.
    pub(crate) fn kills(&mut self, times: usize, figures: &mut Figures) -> anyhow::Result<()> {
        for number in 0..times {
            let agent = self.pick(number);
            let killed = self.signal(agent, Signal::SIGKILL)?;
            let spread = self.spread(agent, What::Gone, killed, DEATH_LIMIT)?;
            figures.add(Measure::KillAll, spread.seen_by(100));
            self.reap(agent)?;
            self.start(agent)?;
            self.until_all_see_all(MEET_LIMIT)?;
            self.pass(PAUSE)?;
        }
        Ok(())
    }

    /// Lets the mesh be for `time`, and measures what that costs.
    ///
    /// # Errors
    /// /proc does not tell.
    pub(crate) fn rest(&mut self, time: Duration, figures: &mut Figures) -> anyhow::Result<()> {
        let pids = self.pids();
        let nodes = count(pids.len());
        let spent = || pids.iter().map(|pid| cpu_time(*pid)).sum::<anyhow::Result<Duration>>();
        let (sent, busy, since) = (traffic()?, spent()?, self.now());
        self.pass(time)?;
        let (sent_after, busy_after) = (traffic()?, spent()?);
        let seconds = (self.now() - since).as_secs_f64();
        let mesh_percent = 100.0 * busy_after.saturating_sub(busy).as_secs_f64() / seconds;
        figures.add(Measure::CpuMeshPercent, mesh_percent);
        figures.add(Measure::CpuPercent, mesh_percent / nodes);
        figures.add(Measure::WireBytes, (sent_after.bytes - sent.bytes) as f64 / seconds / nodes);
        figures.add(Measure::WirePackets, (sent_after.packets - sent.packets) as f64 / seconds / nodes);
        let memories = pids.iter().map(|pid| memory(*pid)).collect::<anyhow::Result<Vec<_>>>()?;
        let mib = |kib: u64| kib as f64 / 1024.0 / nodes;
        figures.add(Measure::RssMib, mib(memories.iter().map(|memory| memory.rss_kib).sum()));
        figures.add(Measure::PssMib, mib(memories.iter().map(|memory| memory.pss_kib).sum()));
        Ok(())
    }

    /// Parts the two halves until everybody has seen it, and lets them meet again.
    ///
    /// # Errors
    /// The halves never see it, or never become one again.
    pub(crate) fn partition(&mut self, faults: &Faults, figures: &mut Figures) -> anyhow::Result<()> {
        let (one, other): (Vec<_>, Vec<_>) = self.running().into_iter().partition(|agent| agent.is_multiple_of(2));
        let parted = self.now();
        faults.part()?;
        let blind = |swarm: &Self| swarm.views().is_blind(&one, &other) && swarm.views().is_blind(&other, &one);
        let seen = self.until(DEATH_LIMIT, blind).context("the partition was not seen by all")?;
        figures.add(Measure::PartitionSeen, seen.saturating_sub(parted).as_secs_f64());
        self.pass(PARTED)?;
        let healed = self.now();
        faults.heal()?;
        let met = self.until(MEET_LIMIT, |swarm| swarm.views().all_see_all());
        let everyone = self.running();
        let lost = everyone.iter().map(|observer| everyone.len() - 1 - self.views().seen_by(*observer)).max();
        figures.add(Measure::MembersLost, count(lost.unwrap_or_default()));
        figures.add(Measure::PartitionHealed, met.unwrap_or(MEET_LIMIT + healed).saturating_sub(healed).as_secs_f64());
        Ok(())
    }

    /// Stops and starts every agent in turn.
    ///
    /// # Errors
    /// An agent does not end or does not start again, or in the end not all see all.
    pub(crate) fn restart_all(&mut self, figures: &mut Figures) -> anyhow::Result<()> {
        let since = self.now();
        let before = self.evictions();
        for agent in self.running() {
            self.signal(agent, self.system().goodbye())?;
            self.reap(agent)?;
            self.start(agent)?;
            self.until_ready(agent)?;
        }
        self.until_all_see_all(MEET_LIMIT)?;
        figures.add(Measure::RestartsAll, (self.now() - since).as_secs_f64());
        figures.add(Measure::FalseEvictions, count(self.evictions() - before));
        Ok(())
    }

    /// Returns another agent that runs for each number, never a seed.
    fn pick(&self, number: usize) -> usize {
        let others: Vec<_> = self.running().into_iter().filter(|agent| !SEEDS.contains(agent)).collect();
        // A stride that has no divisor in common with any number of agents below it.
        others[(number * 37 + 11) % others.len()]
    }

    /// Waits until every other agent has seen `what` of `subject`.
    fn spread(&mut self, subject: usize, what: What, since: Duration, limit: Duration) -> anyhow::Result<Spread> {
        let mut missing: Vec<_> = self.running().into_iter().filter(|agent| *agent != subject).collect();
        let mut seen = Vec::with_capacity(missing.len());
        while !missing.is_empty() {
            let Some(sighting) = self.next(since + limit)? else { break };
            let is_it = sighting.said == Said::Saw { subject, what } && sighting.at >= since;
            if let Some(place) = missing.iter().position(|agent| is_it && *agent == sighting.observer) {
                missing.swap_remove(place);
                seen.push(sighting.at - since);
            }
        }
        seen.sort();
        Ok(Spread { seen, missing, limit })
    }

    fn until_ready(&mut self, agent: usize) -> anyhow::Result<()> {
        let give_up = self.now() + READY_LIMIT;
        while let Some(sighting) = self.next(give_up)? {
            if sighting.observer == agent && sighting.said == Said::Ready {
                return Ok(());
            }
        }
        bail!("{} does not listen after {READY_LIMIT:?}", self.name(agent));
    }

    /// Waits until all see all and returns when.
    pub(crate) fn until_all_see_all(&mut self, limit: Duration) -> anyhow::Result<Duration> {
        self.until(limit, |swarm| swarm.views().all_see_all()).with_context(|| {
            let running = self.running();
            let blind = running.iter().filter(|agent| self.views().seen_by(**agent) + 1 < running.len()).count();
            format!("{blind} of {} agents do not see all others", running.len())
        })
    }

    /// Waits until a condition on the views holds and returns when it came to hold.
    fn until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> anyhow::Result<Duration> {
        let mut at = self.now();
        let give_up = at + limit;
        while !holds(self) {
            match self.next(give_up)? {
                Some(sighting) => at = sighting.at,
                None => bail!("waited {limit:?}"),
            }
        }
        Ok(at)
    }
}

pub(super) fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_that_never_saw_it_took_the_whole_time() {
        let seen = (1..=19).map(Duration::from_secs).collect();
        let spread = Spread { seen, missing: vec![7], limit: Duration::from_secs(30) };
        let shares = [1, 50, 95, 96, 100].map(|percent| spread.seen_by(percent));
        assert_eq!(shares.map(|seconds| seconds.to_string()), ["1", "10", "19", "30", "30"]);
        assert_eq!(spread.missed(), 1);
    }
}
