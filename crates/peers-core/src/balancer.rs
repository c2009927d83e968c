//! Picking a peer of a table.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::group::{Asked, Panic, Refusals};
use crate::plan::{Plan, Roster};
use crate::published::{Published, pin};
use crate::shared::Shared;
use crate::table::Replan;
use crate::{Chooser, Entropy, Filters, Group, LocalBalancer, PeerLease, PickCx, PickError, Reach, Refusal, Sink};

/// How often a chooser may choose somebody who cannot be had before everybody is asked.
const ATTEMPTS: usize = 4;

/// Picks peers of one table by one chooser; see [`PeerTable::balancer`](crate::PeerTable::balancer).
///
/// Cloning is a reference count. Picking takes no lock, allocates nothing and reads no clock.
pub struct Balancer<C: Chooser = Box<dyn Chooser>> {
    picker: Arc<Picker<C>>,
}

/// A balancer's inside, which its table keeps up to date.
pub(crate) struct Picker<C> {
    plan: Published<Plan>,
    /// Version of the table that the plan is of, for those who hold one.
    version: AtomicU64,
    pub(crate) chooser: C,
    filters: Filters,
    pub(crate) shared: Arc<Shared>,
    pub(crate) counts: Counts,
}

/// Counts of picks that did not go the usual way.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) fallback: AtomicU64,
    pub(crate) panic: AtomicU64,
    pub(crate) no_peers: AtomicU64,
    pub(crate) busy: AtomicU64,
    pub(crate) breaker_open: AtomicU64,
    pub(crate) unhealthy: AtomicU64,
    pub(crate) shard: AtomicU64,
    pub(crate) deadline: AtomicU64,
}

impl<C: Chooser> Balancer<C> {
    pub(crate) const fn new(picker: Arc<Picker<C>>) -> Self {
        Self { picker }
    }

    /// Leases a peer for a call that starts at `cx.now`. Never waits.
    ///
    /// # Errors
    /// When nobody can be had; the variant says why, and until when if that is known.
    #[inline]
    pub fn acquire(&self, cx: &PickCx<'_>) -> Result<PeerLease, PickError> {
        Entropy::of_thread(self.picker.shared.options.seed, |entropy| self.acquire_with(cx, entropy))
    }

    /// Leases a peer as [`Balancer::acquire`] does, with chance from `entropy`: one seed gives one sequence.
    ///
    /// # Errors
    /// As [`Balancer::acquire`].
    #[inline(always)]
    pub fn acquire_with(&self, cx: &PickCx<'_>, entropy: &mut Entropy) -> Result<PeerLease, PickError> {
        let guard = pin();
        self.picker.pick(self.picker.plan.newest(&guard), cx, entropy)
    }

    /// Returns a deputy that picks for one thread or task at a lower cost, with chance from `entropy`.
    #[must_use]
    pub fn local(&self, entropy: Entropy) -> LocalBalancer<C> {
        LocalBalancer::new(Arc::clone(&self.picker), entropy)
    }

    /// Returns the chooser.
    #[must_use]
    pub fn chooser(&self) -> &C {
        &self.picker.chooser
    }

    /// Returns the version of the table that picks are made from.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.picker.plan.read(|plan| plan.version)
    }

    /// Hands the metrics of the balancer's picks to `sink`. The usual picks are those of the table; these are the
    /// others.
    pub fn visit(&self, sink: &mut dyn Sink) {
        self.picker.tell(sink);
    }
}

impl<C: Chooser> Clone for Balancer<C> {
    fn clone(&self) -> Self {
        Self { picker: Arc::clone(&self.picker) }
    }
}

impl<C: Chooser> fmt::Debug for Balancer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Balancer");
        out.field("chooser", &self.picker.chooser.name()).field("version", &self.version()).finish_non_exhaustive()
    }
}

impl<C: Chooser> Picker<C> {
    pub(crate) fn new(roster: &Roster, filters: Filters, chooser: C, shared: &Arc<Shared>) -> Self {
        let plan = Published::new(Plan::of(roster, filters.list(), &chooser, shared));
        let version = AtomicU64::new(roster.version);
        Self { plan, version, chooser, filters, shared: Arc::clone(shared), counts: Counts::default() }
    }

    pub(crate) fn load(&self) -> Arc<Plan> {
        self.plan.load()
    }

    /// Returns whether there is a newer plan than `held`.
    #[inline]
    pub(crate) fn is_outdated(&self, held: &Plan) -> bool {
        self.version.load(Ordering::Acquire) != held.version
    }

    #[inline(always)]
    pub(crate) fn pick(&self, plan: &Plan, cx: &PickCx<'_>, entropy: &mut Entropy) -> Result<PeerLease, PickError> {
        let Some(group) = plan.usual() else {
            return entropy.lend(|entropy| self.pick_drawn(plan, &{ *cx }, entropy));
        };
        let chosen = self.chooser.choose(group, cx, entropy);
        if let Ok(index) = chosen
            && let Some(lease) = group.lease_quickly(index, cx)
        {
            return Ok(lease);
        }
        entropy.lend(|entropy| self.pick_past(chosen.ok(), plan, 0, &{ *cx }, entropy))
    }

    /// Picks where the group to start in is drawn, or is not the usual one.
    #[inline(never)]
    fn pick_drawn(&self, plan: &Plan, cx: &PickCx<'_>, entropy: &mut Entropy) -> Result<PeerLease, PickError> {
        let start = plan.start(entropy);
        let Some(group) = plan.group(start) else { return Err(self.counted(plan.nobody.clone())) };
        let chosen = self.chooser.choose(group, cx, entropy);
        if let Ok(index) = chosen
            && let Some(lease) = group.lease_quickly(index, cx)
        {
            self.count_unusual(plan, start, Panic::No);
            return Ok(lease);
        }
        self.pick_past(chosen.ok(), plan, start, cx, entropy)
    }

    /// Goes on where the peer at `chosen` of the group `start`, if there is one, cannot be had without a question.
    #[cold]
    fn pick_past(
        &self,
        chosen: Option<usize>,
        plan: &Plan,
        start: usize,
        cx: &PickCx<'_>,
        entropy: &mut Entropy,
    ) -> Result<PeerLease, PickError> {
        if let (Some(index), Some(group)) = (chosen, plan.group(start))
            && let Asked::Leased(lease, panic) = group.lease(index, cx)
        {
            self.count_unusual(plan, start, panic);
            return Ok(lease);
        }
        self.pick_slowly(plan, start, cx, entropy)
    }

    /// Tries the group `start` a few times more, and then all others in the order of preference.
    fn pick_slowly(
        &self,
        plan: &Plan,
        start: usize,
        cx: &PickCx<'_>,
        entropy: &mut Entropy,
    ) -> Result<PeerLease, PickError> {
        let mut refusals = Refusals::default();
        let others = (0..plan.group_count()).filter(|index| *index != start);
        for index in std::iter::once(start).chain(others) {
            let Some(group) = plan.group(index) else { continue };
            match self.try_group(group, cx, entropy, &mut refusals) {
                Ok(Asked::Leased(lease, panic)) => {
                    self.count_unusual(plan, index, panic);
                    return Ok(lease);
                }
                Ok(Asked::Refused) => {}
                Err(error) => return Err(self.counted(error)),
            }
        }
        let is_late = cx.deadline.is_some_and(|deadline| deadline <= cx.now);
        Err(self.counted(match refusals.retry_at {
            _ if is_late => PickError::DeadlineExpired,
            Some(retry_at) if !refusals.busy => PickError::NoneAvailable { retry_at: Some(retry_at) },
            _ if refusals.isolated && !refusals.busy => PickError::NoneAvailable { retry_at: None },
            _ => PickError::AllBusy,
        }))
    }

    fn try_group(
        &self,
        group: &Group,
        cx: &PickCx<'_>,
        entropy: &mut Entropy,
        refusals: &mut Refusals,
    ) -> Result<Asked, PickError> {
        for _ in 0..ATTEMPTS {
            match self.chooser.choose(group, cx, entropy) {
                Ok(index) => {
                    if let asked @ Asked::Leased(..) = group.lease(index, cx) {
                        return Ok(asked);
                    }
                }
                Err(Refusal::Unlucky) => {}
                Err(Refusal::Exhausted) => return Ok(Asked::Refused),
                Err(Refusal::Final(error)) => return Err(error),
            }
        }
        Ok(match self.chooser.reach() {
            Reach::Group => group.lease_any(cx, entropy, refusals),
            Reach::Chosen => Asked::Refused,
        })
    }

    fn count_unusual(&self, plan: &Plan, group: usize, panic: Panic) {
        if panic == Panic::Yes || plan.disbelieves {
            self.counts.panic.fetch_add(1, Ordering::Relaxed);
        } else if !plan.is_usual(group) {
            self.counts.fallback.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[cold]
    fn counted(&self, error: PickError) -> PickError {
        let counter = match error {
            PickError::NoPeers => &self.counts.no_peers,
            PickError::AllBusy => &self.counts.busy,
            PickError::NoneAvailable { retry_at: Some(_) } => &self.counts.breaker_open,
            PickError::NoneAvailable { retry_at: None } => &self.counts.unhealthy,
            PickError::ShardUnowned | PickError::ShardMapOutdated { .. } => &self.counts.shard,
            PickError::DeadlineExpired => &self.counts.deadline,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        error
    }
}

impl<C: Chooser> Replan for Picker<C> {
    fn replan(&self, roster: &Roster) {
        // The table publishes its roster next.
        self.plan.publish_before_another(Plan::of(roster, self.filters.list(), &self.chooser, &self.shared));
        self.version.store(roster.version, Ordering::Release);
    }

    fn chooser(&self) -> &'static str {
        self.chooser.name()
    }

    fn visit(&self, sink: &mut dyn Sink) {
        self.tell(sink);
    }
}
