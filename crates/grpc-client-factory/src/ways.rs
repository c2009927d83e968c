//! The ways to one target, one for each lane.

use std::sync::Arc;

use lanes::PerLane;

use crate::link::{Kind, Link};
use crate::retry::RetryBudget;
use crate::target::{Protocol, Target};

/// The ways to one target with one profile: a link for each lane that calls there, whose connections stay on it, and one for all other threads.
/// All channels to it share them.
#[derive(Debug)]
pub(crate) struct Ways {
    target: Target,
    kind: Kind,
    /// One for all: what is wrong with the target is not made worse by each lane's retries.
    budget: Arc<RetryBudget>,
    links: PerLane<Arc<Link>>,
}

impl Ways {
    pub(crate) fn new(target: Target, kind: Kind) -> Self {
        let budget = Arc::new(RetryBudget::new(&kind.profile.retry));
        Self { target, kind, budget, links: PerLane::new() }
    }

    pub(crate) const fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) const fn kind(&self) -> &Kind {
        &self.kind
    }

    pub(crate) const fn budget(&self) -> &Arc<RetryBudget> {
        &self.budget
    }

    /// Returns the link of this lane, if it has called there.
    pub(crate) fn here(&self) -> Option<&Arc<Link>> {
        self.links.get()
    }

    /// Returns the link of this lane, made by `make` if there is none. That begins with what the others have learnt of the target.
    pub(crate) fn here_or_make(&self, make: impl FnOnce() -> Link) -> &Arc<Link> {
        self.links.get_or_make(|| {
            let link = make();
            if let Some(other) = self.links.all().next() {
                link.learn_from(other);
            }
            Arc::new(link)
        })
    }

    pub(crate) fn links(&self) -> impl Iterator<Item = &Arc<Link>> {
        self.links.all()
    }

    /// Returns what the connections speak, and how many calls are under way on them; `None` without any.
    pub(crate) fn current(&self) -> Option<(Protocol, usize)> {
        let mut all = self.links().filter_map(|link| link.current());
        let (protocol, calls) = all.next()?;
        Some((protocol, all.fold(calls, |sum, (_, more)| sum + more)))
    }

    /// Returns whether nobody but who keeps the list of ways knows of them: no channel does, and no call.
    pub(crate) fn are_forgotten(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) == 1 && self.links().all(|link| Arc::strong_count(link) == 1)
    }
}
