//! Certificates that are renewed and revoked in a mesh that runs.

use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;

use super::scenarios::{MEET_LIMIT, count};
use super::system::Revoked;
use super::views::{Said, What};
use super::{Figures, Measure, Swarm};

/// Updates while links are begun anew, a second apart: by default they are within half a minute, and files are looked at every
/// two seconds.
const UPDATES: usize = 35;

/// How long links that still had an old certificate would take to be cut, and how long a revoked member tries to come back.
const WATCHED: Duration = Duration::from_secs(10);

/// Longest wait for all to have declared a revoked member gone.
const GONE_LIMIT: Duration = Duration::from_secs(60);

/// How often logs are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

impl Swarm<'_> {
    /// Gives every agent its second certificate while they go on telling news, and then revokes all first ones: a link
    /// that was not begun anew would be cut.
    ///
    /// # Errors
    /// Files cannot be written or read, or the operator's command fails.
    pub(crate) fn renew_all(&mut self, figures: &mut Figures) -> anyhow::Result<()> {
        let (suspicions, evictions) = (self.views().suspicions(), self.evictions());
        (0..self.system().agents().len()).try_for_each(|agent| self.system().renew(agent))?;
        let mut news = Figures::default();
        self.updates(UPDATES, &mut news)?;
        figures.add(Measure::RenewalSuspected, count(self.views().suspicions() - suspicions));
        figures.add(Measure::RenewalUpdateAll, news.worst(Measure::UpdateAll).context("there was no update")?);
        self.system().revoke(Revoked::Old)?;
        self.pass(WATCHED)?;
        figures.add(Measure::RenewalCut, count(self.links_cut()?));
        figures.add(Measure::FalseEvictions, count(self.evictions() - evictions));
        Ok(())
    }

    /// Lets the last agent join, revokes its second certificate, and lets it try again.
    ///
    /// # Errors
    /// It does not join, files cannot be written or read, or not all declare it gone.
    pub(crate) fn revoke_last(&mut self, figures: &mut Figures) -> anyhow::Result<()> {
        let member = self.system().agents().len() - 1;
        self.start(member)?;
        self.until_all_see_all(MEET_LIMIT)?;
        let (mut cut, since) = (self.links_cut()?, self.now());
        let (mut cut_at, mut gone_for) = (since, vec![false; member]);
        self.system().revoke(Revoked::OldAndLast)?;
        let others: Vec<_> = self.running().into_iter().filter(|agent| *agent != member).collect();
        while self.now() < since + GONE_LIMIT && !others.iter().all(|agent| gone_for[*agent]) {
            if let Some(sighting) = self.next(self.now() + LOOK_EVERY)?
                && sighting.said == (Said::Saw { subject: member, what: What::Gone })
            {
                gone_for[sighting.observer] = true;
            }
            let known = std::mem::replace(&mut cut, self.links_cut()?);
            cut_at = if cut > known { self.now() } else { cut_at };
        }
        figures.add(Measure::RevokedGone, (self.now() - since).as_secs_f64());
        figures.add(Measure::RevokedCut, (cut_at - since).as_secs_f64());
        self.signal(member, Signal::SIGKILL)?;
        self.reap(member)?;
        figures.add(Measure::RevokedBack, count(self.come_back(member)?));
        Ok(())
    }

    /// Starts a member that nobody is to let in, and returns how often one of the others saw it.
    fn come_back(&mut self, member: usize) -> anyhow::Result<usize> {
        self.start(member)?;
        let (mut seen, until) = (0, self.now() + WATCHED);
        while let Some(sighting) = self.next(until)? {
            let is_it = sighting.said == (Said::Saw { subject: member, what: What::Up });
            seen += usize::from(is_it && sighting.observer != member);
        }
        Ok(seen)
    }

    /// Returns how many links all agents that run have cut, as their audit logs tell.
    fn links_cut(&self) -> anyhow::Result<usize> {
        let of_agent = |agent| {
            let log = std::fs::read_to_string(self.system().log(agent)).context("cannot read a log")?;
            Ok(log.lines().filter(|line| line.contains("link cut")).count())
        };
        self.running().into_iter().map(of_agent).sum()
    }
}
