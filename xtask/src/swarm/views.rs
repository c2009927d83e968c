//! What each agent sees of the others, as its lines have told.

use std::time::Duration;

/// What an agent saw happen to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// It is there: new, or again.
    Up,
    /// It misses answers.
    Suspect,
    /// It was declared away: unreachable here, failed with Serf.
    Gone,
    /// It was away so long that this life of it is over.
    Dead,
    /// It said goodbye.
    Left,
    /// It says something else of itself.
    Update,
}

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// The agent listens.
    Ready,
    /// It saw something happen to the agent of this number.
    Saw { subject: usize, what: What },
    /// It gave up events, since they were not read fast enough.
    Missed { count: u64 },
    /// It says nothing any more: the process has ended.
    Ended,
}

/// One line, and when the reader had it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sighting {
    pub(crate) at: Duration,
    pub(crate) observer: usize,
    /// Which life of the observer.
    pub(crate) life: u32,
    pub(crate) said: Said,
}

/// Who sees whom.
#[derive(Debug)]
pub(crate) struct Views {
    present: Vec<bool>,
    /// By observer, then by subject; nobody is counted as seeing itself.
    sees: Vec<Vec<bool>>,
    /// How many of those that run see another that runs, by pairs.
    pairs: usize,
    evictions: usize,
    suspicions: usize,
}

impl Views {
    pub(crate) fn new(agents: usize) -> Self {
        Self {
            present: vec![false; agents],
            sees: vec![vec![false; agents]; agents],
            pairs: 0,
            evictions: 0,
            suspicions: 0,
        }
    }

    /// An agent is started: it runs, and sees nobody yet.
    pub(crate) fn begin(&mut self, agent: usize) {
        self.present[agent] = true;
        self.sees[agent].fill(false);
        self.count_pairs();
    }

    /// An agent is told to end, or killed.
    pub(crate) fn end(&mut self, agent: usize) {
        self.present[agent] = false;
        self.count_pairs();
    }

    pub(crate) fn is_present(&self, agent: usize) -> bool {
        self.present[agent]
    }

    pub(crate) fn take(&mut self, sighting: &Sighting) {
        let Said::Saw { subject, what } = sighting.said else { return };
        let observer = sighting.observer;
        if subject == observer {
            return;
        }
        let is_pair = self.present[observer] && self.present[subject];
        let seen_before = self.sees[observer][subject];
        match what {
            What::Up => {
                self.sees[observer][subject] = true;
                self.pairs += usize::from(is_pair && !seen_before);
            }
            What::Gone | What::Dead | What::Left => {
                self.sees[observer][subject] = false;
                self.pairs -= usize::from(is_pair && seen_before);
                self.evictions += usize::from(is_pair && what != What::Left);
            }
            What::Suspect => self.suspicions += usize::from(is_pair),
            What::Update => {}
        }
    }

    fn count_pairs(&mut self) {
        let observers = (0..self.present.len()).filter(|observer| self.present[*observer]);
        self.pairs = observers.map(|observer| self.seen_by(observer)).sum();
    }

    /// Returns how often an agent that runs was declared away by another.
    pub(crate) const fn evictions(&self) -> usize {
        self.evictions
    }

    /// Returns how often an agent that runs was suspected by another.
    pub(crate) const fn suspicions(&self) -> usize {
        self.suspicions
    }

    /// Returns how many of the agents that run an observer sees, itself aside.
    pub(crate) fn seen_by(&self, observer: usize) -> usize {
        self.sees[observer].iter().zip(&self.present).filter(|(sees, present)| **sees && **present).count()
    }

    /// Returns whether every agent that runs sees every other one.
    pub(crate) fn all_see_all(&self) -> bool {
        let present = self.present.iter().filter(|present| **present).count();
        self.pairs == present * present.saturating_sub(1)
    }

    /// Returns whether nobody of `side` that runs sees anybody of `other`.
    pub(crate) fn is_blind(&self, side: &[usize], other: &[usize]) -> bool {
        let mut observers = side.iter().filter(|observer| self.present[**observer]);
        observers.all(|observer| !other.iter().any(|subject| self.sees[*observer][*subject]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn saw(observer: usize, subject: usize, what: What) -> Sighting {
        Sighting { at: Duration::ZERO, observer, life: 1, said: Said::Saw { subject, what } }
    }

    /// Three agents that run and see each other.
    fn together() -> Views {
        let mut views = Views::new(4);
        (0..3).for_each(|agent| views.begin(agent));
        for (observer, subject) in [(0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1)] {
            assert!(!views.all_see_all());
            views.take(&saw(observer, subject, What::Up));
        }
        views
    }

    #[test]
    fn all_see_all_when_every_pair_has_been_seen_both_ways() {
        let mut views = together();
        assert!(views.all_see_all());
        // Serf tells an agent of itself, too.
        views.take(&saw(0, 0, What::Up));
        views.take(&saw(2, 1, What::Suspect));
        assert!(views.all_see_all());
        for what in [What::Gone, What::Dead, What::Left] {
            views.take(&saw(2, 1, what));
            assert!(!views.all_see_all());
            views.take(&saw(2, 1, What::Up));
        }
    }

    #[test]
    fn one_that_was_told_to_end_is_missed_by_nobody_and_sees_nobody_when_it_is_back() {
        let mut views = together();
        views.end(2);
        assert!(views.all_see_all());
        views.begin(2);
        assert_eq!((views.seen_by(0), views.seen_by(2)), (2, 0));
        assert!(!views.all_see_all());
    }

    #[test]
    fn an_eviction_or_a_suspicion_is_of_one_that_runs() {
        let mut views = together();
        views.take(&saw(0, 2, What::Left));
        assert_eq!(views.evictions(), 0);
        views.take(&saw(1, 2, What::Suspect));
        views.take(&saw(1, 2, What::Gone));
        views.end(2);
        views.take(&saw(0, 2, What::Suspect));
        views.take(&saw(1, 2, What::Dead));
        assert_eq!((views.suspicions(), views.evictions()), (1, 1));
    }

    #[test]
    fn a_side_is_blind_when_nobody_of_it_sees_the_other() {
        let mut views = together();
        views.take(&saw(0, 2, What::Gone));
        assert!(!views.is_blind(&[0, 1], &[2]));
        views.take(&saw(1, 2, What::Gone));
        assert!(views.is_blind(&[0, 1], &[2]));
        assert!(!views.is_blind(&[2], &[0, 1]));
    }
}
