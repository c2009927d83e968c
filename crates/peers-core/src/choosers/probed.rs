//! The peer that says it has room.

mod pool;
mod ticket;

use std::fmt;
use std::sync::Arc;

use super::adaptive::Best;
use crate::estimator::low;
use crate::sync::{AtomicU64, Ordering};
use crate::{Chooser, Entropy, Group, LoadProbe, PickCx, Refusal, Sink};

use pool::Seen;
pub(crate) use pool::{Answer, Pool, steps};
pub use ticket::ProbeTicket;
use ticket::Question;

/// Answers that are kept.
const POOL: usize = 16;
/// With fewer that can be used, what this node knows itself is as good.
const USABLE_MIN: usize = 2;
/// How often an answer may be used, for each time that it has to be for every pick to find one. With once, all would be
/// used, however bad, and peers be called as they are asked; with many times, all callers would call the same peers.
const CHOICE: u32 = 2;
/// Tickets out at once: beyond, nobody is asked until some have come back.
const TICKETS_MAX: usize = 1_024;
/// A change of few peers moves the others in their group by no more than that.
const MOVED_MAX: usize = 4;

/// The peer with the lowest expected latency among those that have lately answered a load probe: √(what it says requests
/// take × own estimate) × (1 + in flight ÷ (1 + median in flight)) ÷ weight.
///
/// Each pick asks a random peer for its load, through a [`LoadProbe`]. At most 16 answers are kept, each for a second and
/// for two uses; to the requests that an answer tells of, this node adds its own calls as they come and go. A peer that has
/// ended nothing lately cannot say what requests take: its own estimate counts alone, and, while it has requests, as if
/// it had as many more as the others have. With fewer than two usable answers it takes the better of two random peers, as
/// [`Adaptive`](crate::Adaptive) would. It is for many callers that each call each peer so seldom that they learn little
/// from their own calls.
pub struct Probed {
    probe: Arc<dyn LoadProbe>,
    answers: Arc<Answers>,
    percent: u32,
}

/// What the chooser and its tickets share.
struct Answers {
    pool: Pool<POOL>,
    /// How often an answer may be used.
    uses: u8,
    asked: AtomicU64,
    answered: AtomicU64,
    used: AtomicU64,
}

impl Answers {
    fn put(&self, answer: &Answer) {
        self.answered.fetch_add(1, Ordering::Relaxed);
        self.pool.put(answer, self.uses);
    }
}

impl Probed {
    /// Probes for a hundred picks, unless said otherwise.
    pub const DEFAULT_PERCENT: u32 = 100;
    /// Most probes for a hundred picks.
    pub const PERCENT_MAX: u32 = 400;

    /// Makes the chooser that asks through `probe`, `percent` times for a hundred picks: at least once, at most
    /// [`Probed::PERCENT_MAX`]. More knows better, and costs the peers that many more small requests.
    #[must_use]
    pub fn new(probe: Arc<dyn LoadProbe>, percent: u32) -> Self {
        let percent = percent.clamp(1, Self::PERCENT_MAX);
        let uses = u8::try_from((CHOICE * 100).div_ceil(percent)).unwrap_or(u8::MAX);
        let count = || AtomicU64::new(0);
        let answers = Answers { pool: Pool::new(), uses, asked: count(), answered: count(), used: count() };
        Self { probe, answers: Arc::new(answers), percent }
    }

    /// Returns the usable peer with the best answer, which is used once by this.
    fn choose_by_answers(&self, group: &Group, cx: &PickCx<'_>, entropy: &mut Entropy) -> Option<usize> {
        // An answer that another thread uses meanwhile is another one in the next round.
        for _ in 0..POOL {
            let usable = Usable::among(&self.answers.pool, group, cx, entropy);
            if usable.count < USABLE_MIN {
                return None;
            }
            let best = usable.best(group, cx)?;
            if self.answers.pool.use_up(&best.seen) {
                self.answers.used.fetch_add(1, Ordering::Relaxed);
                return Some(best.index);
            }
        }
        None
    }

    /// Asks as many random peers as fall to one pick. One that is not to be called is not asked either.
    fn ask(&self, group: &Group, cx: &PickCx<'_>, entropy: &mut Entropy) {
        let one_more = entropy.happens((self.percent % 100) as f32 / 100.0);
        for _ in 0..self.percent / 100 + u32::from(one_more) {
            let index = entropy.below(group.len());
            let Some(pending) = pending_if_callable(group, index, cx, entropy) else { continue };
            let (Some(candidate), Ok(place)) = (group.candidates.get(index), u32::try_from(index)) else { continue };
            // One is the chooser's own.
            if Arc::strong_count(&self.answers) > TICKETS_MAX {
                return;
            }
            self.answers.asked.fetch_add(1, Ordering::Relaxed);
            let question = Question { key: candidate.cell.key, place, asked: cx.now, pending };
            self.probe.request(candidate.peer, ProbeTicket::new(Arc::clone(&self.answers), question));
        }
    }
}

impl fmt::Debug for Probed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Probed").field("percent", &self.percent).finish_non_exhaustive()
    }
}

impl Chooser for Probed {
    fn name(&self) -> &'static str {
        "probed"
    }

    fn choose(&self, group: &Group, cx: &PickCx<'_>, entropy: &mut Entropy) -> Result<usize, Refusal> {
        let chosen = self.choose_by_answers(group, cx, entropy).or_else(|| better_of_two(group, cx, entropy));
        if chosen.is_some() && group.len() > 1 {
            self.ask(group, cx, entropy);
        }
        chosen.ok_or(Refusal::Unlucky)
    }

    fn visit(&self, labels: [(&'static str, &str); 2], sink: &mut dyn Sink) {
        let Answers { asked, answered, used, .. } = &*self.answers;
        sink.counter("omnirelay_peer_probes_total", &labels, asked.load(Ordering::Relaxed));
        sink.counter("omnirelay_peer_probe_answers_total", &labels, answered.load(Ordering::Relaxed));
        sink.counter("omnirelay_peer_probe_answers_used_total", &labels, used.load(Ordering::Relaxed));
    }
}

/// Returns the usable one of two random peers that will probably answer first, as far as this node can tell.
fn better_of_two(group: &Group, cx: &PickCx<'_>, entropy: &mut Entropy) -> Option<usize> {
    let (first, second) = entropy.two_below(group.len()).unwrap_or_default();
    let mut best = Best::default();
    best.consider(group, first, cx, entropy);
    best.consider(group, second, cx, entropy);
    best.index
}

/// Returns the leases pending on the peer at `index` if it can be called now, and is to be called at all.
fn pending_if_callable(group: &Group, index: usize, cx: &PickCx<'_>, entropy: &mut Entropy) -> Option<u32> {
    if group.burden(index).is_finite() { group.pending(index, cx, entropy) } else { None }
}

/// An answer of a peer that can be called now.
#[derive(Debug, Clone, Copy)]
struct Offer {
    seen: Seen,
    index: usize,
    /// Requests that the peer has, as far as is known.
    in_flight: u32,
}

/// All of them.
struct Usable {
    offers: [Option<Offer>; POOL],
    count: usize,
}

impl Usable {
    fn among(pool: &Pool<POOL>, group: &Group, cx: &PickCx<'_>, entropy: &mut Entropy) -> Self {
        let mut usable = Self { offers: [None; POOL], count: 0 };
        let offers = pool.fresh(cx.now).filter_map(|seen| {
            let index = find(group, &seen.answer)?;
            let own = pending_if_callable(group, index, cx, entropy)?;
            Some(Offer { seen, index, in_flight: seen.answer.others.saturating_add(own) })
        });
        for (slot, offer) in usable.offers.iter_mut().zip(offers) {
            *slot = Some(offer);
            usable.count += 1;
        }
        usable
    }

    fn iter(&self) -> impl Iterator<Item = Offer> {
        self.offers.iter().flatten().copied()
    }

    fn best(&self, group: &Group, cx: &PickCx<'_>) -> Option<Offer> {
        let median = self.median_in_flight() as f32;
        let costs = self.iter().map(|offer| {
            let own = group.cost(offer.index, 0, cx.now);
            let busy = 1.0 + offer.in_flight as f32 / (1.0 + median);
            let said_ns = Some(offer.seen.answer.latency_ns).filter(|ns| *ns > 0.0);
            let cost = match said_ns {
                // Both are averages of few samples of a skewed thing: the geometric mean is moved least by a stray one.
                Some(ns) => (own * ns * group.burden(offer.index)).sqrt() * busy,
                // It has ended nothing for a second, and one that was slow is called seldom. Idle, it is tried; once it
                // has a call, the others wait for what that shows, lest all try it together.
                None => own * (busy + if offer.in_flight > 0 { 1.0 } else { 0.0 }),
            };
            (cost, offer)
        });
        costs.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, best)| best)
    }

    fn median_in_flight(&self) -> u32 {
        let mut loads = [u32::MAX; POOL];
        for (load, offer) in loads.iter_mut().zip(self.iter()) {
            *load = offer.in_flight;
        }
        loads.sort_unstable();
        loads.get(self.count / 2).copied().unwrap_or(0)
    }
}

/// Returns where the peer of `answer` is, if it is still about where it was.
fn find(group: &Group, answer: &Answer) -> Option<usize> {
    let place = answer.place as usize;
    let is_it = |index: &usize| group.candidates.get(*index).is_some_and(|c| low(c.cell.key.0) == answer.key);
    let near = (0..=MOVED_MAX).flat_map(|step| [place.checked_add(step), place.checked_sub(step)]);
    near.flatten().find(is_it)
}
