//! Classes of traffic: what goes first, and what each of them is sure of.

/// A class of traffic, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Probes, their answers, and the questions of verifiers.
    Probe,
    /// Verdicts, denials and goodbyes.
    Verdict,
    /// Members that are new, or back in a new life.
    Membership,
    /// What members say of themselves anew.
    Metadata,
    /// User events.
    Event,
    /// Comparisons of tables.
    Sync,
}

impl Class {
    /// All classes, the most urgent first.
    pub const ALL: [Self; 6] = [Self::Probe, Self::Verdict, Self::Membership, Self::Metadata, Self::Event, Self::Sync];

    /// Those whose traffic is news about members.
    pub(crate) const NEWS: [Self; 3] = [Self::Verdict, Self::Membership, Self::Metadata];

    /// Returns the class as a metric label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Verdict => "verdict",
            Self::Membership => "membership",
            Self::Metadata => "metadata",
            Self::Event => "event",
            Self::Sync => "sync",
        }
    }

    /// Returns how much of a link's rate nobody can take from it, in hundredths. Together they make a whole.
    pub(crate) const fn share(self) -> u64 {
        match self {
            Self::Probe | Self::Verdict | Self::Membership | Self::Metadata => 20,
            Self::Event | Self::Sync => 10,
        }
    }
}

/// How much of a class waits, and how much has been given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// The class.
    pub class: Class,
    /// Updates that wait for their first send, over all links; messages, for [`Class::Event`] and [`Class::Sync`].
    pub waiting: usize,
    /// Updates or messages that were not sent since the start, because the link's rate or its queue was used up. What they said is left to
    /// the next comparison of tables; an event comes over other links.
    pub shed: u64,
}

/// A value for each class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PerClass<T> {
    probe: T,
    verdict: T,
    membership: T,
    metadata: T,
    event: T,
    sync: T,
}

impl<T> PerClass<T> {
    pub(crate) fn of(make: impl Fn(Class) -> T) -> Self {
        Self {
            probe: make(Class::Probe),
            verdict: make(Class::Verdict),
            membership: make(Class::Membership),
            metadata: make(Class::Metadata),
            event: make(Class::Event),
            sync: make(Class::Sync),
        }
    }

    pub(crate) const fn get(&self, class: Class) -> &T {
        match class {
            Class::Probe => &self.probe,
            Class::Verdict => &self.verdict,
            Class::Membership => &self.membership,
            Class::Metadata => &self.metadata,
            Class::Event => &self.event,
            Class::Sync => &self.sync,
        }
    }

    pub(crate) const fn get_mut(&mut self, class: Class) -> &mut T {
        match class {
            Class::Probe => &mut self.probe,
            Class::Verdict => &mut self.verdict,
            Class::Membership => &mut self.membership,
            Class::Metadata => &mut self.metadata,
            Class::Event => &mut self.event,
            Class::Sync => &mut self.sync,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_make_a_whole() {
        assert_eq!(Class::ALL.into_iter().map(Class::share).sum::<u64>(), 100);
    }
}
