//! Many agents of one membership system on this machine, watched by one reader: ours, or Serf to compare with.
//!
//! Every agent is a process of its own with an address of its own on loopback. What it sees of the others comes as
//! lines on its standard output; the time of a line is when the reader had it, for each system alike.

mod cost;
mod faults;
mod figures;
mod language;
mod network;
mod reader;
mod renewal;
mod scenarios;
mod system;
mod views;

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub(crate) use faults::Faults;
pub(crate) use figures::{Figures, Measure, shown};
pub(crate) use network::Network;
pub(crate) use system::{System, find_serf, static_binary};

use crate::process::{Stopwatch, name_of};
use reader::Reader;
use views::{Said, Sighting, Views};

/// The agents through which others join: one in each half.
const SEEDS: [usize; 2] = [0, 1];

/// How often a wait looks whether it was interrupted.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Longest wait for an agent to end after it was told to.
const END_LIMIT: Duration = Duration::from_secs(30);

/// Lines of an agent's log that are shown when it ends by itself.
const LOG_TAIL_LINES: usize = 5;

/// Agents of one system. Dropping it kills those that still run.
#[derive(Debug)]
pub(crate) struct Swarm<'a> {
    system: &'a System,
    processes: Vec<Option<Child>>,
    /// How often an agent was started: what an earlier life of it still says is told apart.
    lives: Vec<u32>,
    reader: Reader,
    views: Views,
    clock: Stopwatch,
    interrupted: Arc<AtomicBool>,
}

impl<'a> Swarm<'a> {
    /// Makes a swarm of which no agent runs yet.
    ///
    /// # Errors
    /// The system gives no epoll or no thread.
    pub(crate) fn new(system: &'a System, interrupted: Arc<AtomicBool>) -> anyhow::Result<Self> {
        let clock = Stopwatch::start();
        let count = system.agents().len();
        Ok(Self {
            system,
            processes: std::iter::repeat_with(|| None).take(count).collect(),
            lives: vec![0; count],
            reader: Reader::start(system.language(), clock)?,
            views: Views::new(count),
            clock,
            interrupted,
        })
    }

    /// Starts an agent that does not run, and returns when.
    ///
    /// # Errors
    /// The program cannot be started.
    pub(crate) fn start(&mut self, agent: usize) -> anyhow::Result<Duration> {
        let log = std::fs::File::create(self.system.log(agent)).context("cannot write a log")?;
        let seeds: Vec<_> = SEEDS.into_iter().filter(|seed| *seed != agent && self.views.is_present(*seed)).collect();
        let mut command = self.system.agent_command(agent, &seeds);
        // A Ctrl-C is for the harness, which then ends its agents.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        self.views.begin(agent);
        self.lives[agent] += 1;
        let since = self.clock.elapsed();
        let mut child = command.spawn().with_context(|| format!("cannot start {}", name_of(&command)))?;
        let stdout = child.stdout.take().context("the agent has no stdout")?;
        self.processes[agent] = Some(child);
        self.reader.watch(stdout, agent, self.lives[agent])?;
        Ok(since)
    }

    /// Sends a signal to an agent that runs, and returns when. It counts as gone from now on.
    ///
    /// # Errors
    /// It does not run.
    pub(crate) fn signal(&mut self, agent: usize, signal: Signal) -> anyhow::Result<Duration> {
        let process = self.processes[agent].as_ref().context("the agent does not run")?;
        let pid = Pid::from_raw(i32::try_from(process.id()).context("the process id is out of range")?);
        self.views.end(agent);
        let since = self.clock.elapsed();
        kill(pid, signal).with_context(|| format!("cannot send {signal} to {}", self.name(agent)))?;
        Ok(since)
    }

    /// Waits until an agent that was told to end is gone.
    ///
    /// # Errors
    /// It does not end, or the run was interrupted.
    pub(crate) fn reap(&mut self, agent: usize) -> anyhow::Result<()> {
        let give_up = self.clock.elapsed() + END_LIMIT;
        let Some(mut process) = self.processes[agent].take() else { return Ok(()) };
        while process.try_wait().context("cannot wait for an agent")?.is_none() {
            if self.clock.elapsed() > give_up {
                self.processes[agent] = Some(process);
                bail!("{} did not end within {END_LIMIT:?}", self.name(agent));
            }
            self.pass(Duration::from_millis(5))?;
        }
        Ok(())
    }

    /// Returns the process ids of the agents that run.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.processes.iter().flatten().map(Child::id).collect()
    }

    /// Returns the agents that run, in order.
    pub(crate) fn running(&self) -> Vec<usize> {
        (0..self.processes.len()).filter(|agent| self.views.is_present(*agent)).collect()
    }

    pub(crate) const fn views(&self) -> &Views {
        &self.views
    }

    pub(crate) const fn system(&self) -> &System {
        self.system
    }

    /// Returns how often an agent that runs was declared away by another.
    pub(crate) const fn evictions(&self) -> usize {
        self.views.evictions()
    }

    /// Returns the time since the swarm was made: the clock of all its sightings.
    pub(crate) fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    pub(crate) fn name(&self, agent: usize) -> &str {
        &self.system.agents()[agent].name
    }

    /// Lets the swarm go on for `time`, and takes in what it says.
    ///
    /// # Errors
    /// Those of [`Swarm::next`].
    pub(crate) fn pass(&mut self, time: Duration) -> anyhow::Result<()> {
        let until = self.clock.elapsed() + time;
        while self.next(until)?.is_some() {}
        Ok(())
    }

    /// Waits for the next sighting until `deadline`, takes it into the views and returns it.
    ///
    /// # Errors
    /// An agent has ended by itself or lost events, or the run was interrupted.
    fn next(&mut self, deadline: Duration) -> anyhow::Result<Option<Sighting>> {
        loop {
            if self.interrupted.load(Ordering::Relaxed) {
                bail!("interrupted");
            }
            let left = deadline.saturating_sub(self.clock.elapsed());
            match self.reader.next(left.min(LOOK_EVERY))? {
                None if left.is_zero() => return Ok(None),
                None => {}
                // What an earlier life of it said, or one that was told to end, is of no interest any more.
                Some(Sighting { observer, life, .. })
                    if !self.views.is_present(observer) || self.lives[observer] != life => {}
                Some(Sighting { observer, said: Said::Ended, .. }) => {
                    let log = tail(&self.system.log(observer));
                    bail!("{} has ended by itself{log}", self.name(observer));
                }
                Some(Sighting { observer, said: Said::Missed { count }, .. }) => {
                    bail!("{} gave up {count} events: this machine is too busy to measure", self.name(observer));
                }
                Some(sighting) => {
                    self.views.take(&sighting);
                    return Ok(Some(sighting));
                }
            }
        }
    }
}

impl Drop for Swarm<'_> {
    fn drop(&mut self) {
        for process in self.processes.iter_mut().flatten() {
            // One that has just ended by itself is as gone as we want it.
            drop(process.kill());
        }
        for process in self.processes.iter_mut().flatten() {
            drop(process.wait());
        }
    }
}

/// Returns the last lines of a log, each on a line of its own, for the end of a message.
fn tail(log: &Path) -> String {
    match std::fs::read_to_string(log) {
        Ok(text) => {
            let lines: Vec<_> = text.lines().collect();
            lines.iter().skip(lines.len().saturating_sub(LOG_TAIL_LINES)).map(|line| format!("\n  {line}")).collect()
        }
        Err(error) => format!(" (its log `{}` cannot be read: {error})", log.display()),
    }
}
