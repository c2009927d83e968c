//! The processes that serve.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, ensure};

use super::schedule::{GROUPS, SERVERS};
use crate::certificates::Certificates;
use crate::endpoints::{Condition, name};
use crate::process::Process;
use crate::serve::next;

const PROCESSES: usize = 4;
const EACH: usize = SERVERS / PROCESSES;

/// All servers, a quarter of them in each process.
pub(super) struct Servers(Vec<Process>);

impl Servers {
    pub(super) async fn start(certificates: &Certificates) -> anyhow::Result<Self> {
        let mut processes = Vec::new();
        for process in 0..PROCESSES {
            let first = process * EACH;
            for number in first..first + EACH {
                certificates.issue(&name(number))?;
            }
            let network = u8::try_from(process).context("there are too many processes")?;
            let address = SocketAddr::from((Ipv4Addr::new(127, 0, 16 + network, 1), 0)).to_string();
            let (first, count) = (first.to_string(), EACH.to_string());
            let args = ["endpoints", &address, &first, &count].map(AsRef::as_ref);
            let args: Vec<_> = args.into_iter().chain([certificates.folder().as_ref()]).collect();
            processes.push(Process::spawn(&args).await?);
        }
        Ok(Self(processes))
    }

    /// Returns where the servers are, in the order of their numbers.
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        let following = |first| std::iter::successors(Some(first), |address| next(*address).ok()).take(EACH);
        self.0.iter().flat_map(move |process| following(process.address))
    }

    /// Returns how many calls have come to each server.
    pub(super) async fn calls(&mut self) -> anyhow::Result<Vec<u64>> {
        let mut calls = Vec::with_capacity(SERVERS);
        for process in &mut self.0 {
            for number in process.tell("calls").await?.split(' ') {
                calls.push(number.parse()?);
            }
        }
        ensure!(calls.len() == SERVERS, "{} servers tell of their calls", calls.len());
        Ok(calls)
    }

    /// Makes a tenth of the servers ill or well.
    pub(super) async fn turn(&mut self, group: usize, condition: Condition) -> anyhow::Result<()> {
        let (from, to) = (group * SERVERS / GROUPS, (group + 1) * SERVERS / GROUPS);
        for (number, process) in self.0.iter_mut().enumerate() {
            let (from, to) = (from.max(number * EACH), to.min((number + 1) * EACH));
            if from < to {
                process.tell(&format!("turn {} {from} {to}", condition.word())).await?;
            }
        }
        Ok(())
    }

    /// Returns how much memory of all processes is resident.
    pub(super) async fn resident_mib(&mut self) -> anyhow::Result<u64> {
        let mut mib = 0;
        for process in &mut self.0 {
            mib += process.tell("resident").await?.parse::<u64>()?;
        }
        Ok(mib)
    }
}
