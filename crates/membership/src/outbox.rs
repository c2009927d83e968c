//! What waits to be sent, member by member, the most urgent first.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use mesh_types::NodeId;

use crate::class::{Class, PerClass, Queue};
use crate::pacing::{Pacer, Rate};

/// How long news wait for company before they are sent, at rest and in a storm.
const LEAST_WINDOW: Duration = Duration::from_millis(2);
const MOST_WINDOW: Duration = Duration::from_millis(50);

/// After so long without news a storm is over.
const CALM: Duration = Duration::from_millis(500);

/// What an update takes, about: tells how many of them a link sends a second.
const UPDATE_BYTES: u64 = 128;

/// Most updates of a class that wait for one link, however much it carries.
const MOST_WAITING: u64 = 4_096;

/// Most updates that one link is told again.
const MOST_REPEATS: usize = 1_024;

/// Most user events that wait for one link.
const MOST_EVENTS: usize = 256;

/// Most bytes of comparisons that wait for one member, and for all.
const MOST_SYNC_BYTES: usize = 4 * 1024 * 1024;
const MOST_SYNC_BYTES_OF_ALL: usize = 64 * 1024 * 1024;

/// News for one link. A subject stands in it once, however often it changes.
#[derive(Debug, Default)]
struct News {
    /// Where the subjects stand that have not been sent yet.
    places: BTreeMap<NodeId, (Class, u64)>,
    /// The same, by class and then in the order in which they came.
    order: BTreeMap<(Class, u64), NodeId>,
    waiting: PerClass<usize>,
    next: u64,
    /// Subjects that have been sent, and how often they may be again.
    repeats: BTreeMap<NodeId, u8>,
}

impl News {
    /// Queues a subject; returns whether there was room. What waits already is not moved back.
    fn insert(&mut self, subject: &NodeId, class: Class, most: usize) -> bool {
        let place = self.places.get(subject).copied();
        if place.is_some_and(|(earlier, _)| earlier <= class) {
            return true;
        }
        if *self.waiting.get(class) >= most {
            return place.is_some();
        }
        self.remove(subject);
        self.repeats.remove(subject);
        self.next += 1;
        self.places.insert(subject.clone(), (class, self.next));
        self.order.insert((class, self.next), subject.clone());
        *self.waiting.get_mut(class) += 1;
        true
    }

    fn remove(&mut self, subject: &NodeId) -> Option<Class> {
        let (class, number) = self.places.remove(subject)?;
        self.order.remove(&(class, number));
        *self.waiting.get_mut(class) -= 1;
        Some(class)
    }

    fn first(&self, class: Class) -> Option<&NodeId> {
        self.order.range((class, 0)..=(class, u64::MAX)).next().map(|(_, subject)| subject)
    }
}

/// All that is still to be sent to one member.
#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) pacer: Pacer,
    news: News,
    /// User events, encoded: what several links wait for is there once.
    events: VecDeque<Bytes>,
    syncs: VecDeque<Bytes>,
    sync_bytes: usize,
}

impl Lane {
    fn new(rate: Rate, now: Instant) -> Self {
        let (events, syncs) = (VecDeque::new(), VecDeque::new());
        Self { pacer: Pacer::full(rate, now), news: News::default(), events, syncs, sync_bytes: 0 }
    }

    /// Returns the subject that has waited longest in a class.
    pub(crate) fn first(&self, class: Class) -> Option<NodeId> {
        self.news.first(class).cloned()
    }

    /// Returns all subjects, those first that have not been sent yet, with the class that pays for them.
    pub(crate) fn subjects(&self) -> Vec<(NodeId, Class)> {
        let fresh = self.news.order.iter().map(|((class, _), subject)| (subject.clone(), *class));
        fresh.chain(self.news.repeats.keys().map(|subject| (subject.clone(), Class::Metadata))).collect()
    }

    /// Takes note that `subject` has just been sent, as one of `limit` times.
    pub(crate) fn sent(&mut self, subject: &NodeId, limit: u8) {
        let left = match self.news.remove(subject) {
            Some(_) => limit.saturating_sub(1),
            None => self.news.repeats.get(subject).map_or(0, |left| left.saturating_sub(1)),
        };
        if left == 0 {
            self.news.repeats.remove(subject);
            return;
        }
        self.news.repeats.insert(subject.clone(), left);
        while self.news.repeats.len() > MOST_REPEATS {
            self.news.repeats.pop_first();
        }
    }

    /// Forgets a subject that there is nothing to say about any more.
    pub(crate) fn forget(&mut self, subject: &NodeId) {
        self.news.remove(subject);
        self.news.repeats.remove(subject);
    }

    fn has_news(&self) -> bool {
        !self.news.order.is_empty()
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.has_news() || !self.events.is_empty() || !self.syncs.is_empty()
    }

    /// Whether a user event still waits to be sent.
    pub(crate) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Whether a comparison still waits to be sent.
    pub(crate) fn has_syncs(&self) -> bool {
        !self.syncs.is_empty()
    }
}

/// All lanes. Those of links stay; those of other members are forgotten once they are idle, so the members bound them.
#[derive(Debug)]
pub(crate) struct Outbox {
    rate: Rate,
    lanes: BTreeMap<NodeId, Lane>,
    window: Duration,
    flush_at: Option<Instant>,
    last_flush: Option<Instant>,
    shed: PerClass<u64>,
    sync_bytes: usize,
}

impl Outbox {
    pub(crate) fn new(rate: Rate) -> Self {
        Self {
            rate,
            lanes: BTreeMap::new(),
            window: LEAST_WINDOW,
            flush_at: None,
            last_flush: None,
            shed: PerClass::default(),
            sync_bytes: 0,
        }
    }

    /// Returns how many updates wait or may be repeated, over all links.
    pub(crate) fn depth(&self) -> usize {
        self.lanes.values().map(|lane| lane.news.places.len() + lane.news.repeats.len()).sum()
    }

    pub(crate) fn queue(&self, class: Class) -> Queue {
        let waiting = match class {
            Class::Event => self.lanes.values().map(|lane| lane.events.len()).sum(),
            Class::Sync => self.lanes.values().map(|lane| lane.syncs.len()).sum(),
            _ => self.lanes.values().map(|lane| *lane.news.waiting.get(class)).sum(),
        };
        Queue { class, waiting, shed: *self.shed.get(class) }
    }

    /// Returns how long news wait for company at present.
    pub(crate) const fn window(&self) -> Duration {
        self.window
    }

    /// Returns the lane of a member, its pacer filled.
    pub(crate) fn lane(&mut self, to: &NodeId, now: Instant) -> &mut Lane {
        let rate = self.rate;
        let lane = self.lanes.entry(to.clone()).or_insert_with(|| Lane::new(rate, now));
        lane.pacer.fill(now);
        lane
    }

    pub(crate) fn has_syncs(&self, to: &NodeId) -> bool {
        self.lanes.get(to).is_some_and(Lane::has_syncs)
    }

    /// Queues a subject for a link; what has no room is shed.
    pub(crate) fn queue_news(&mut self, link: &NodeId, subject: &NodeId, class: Class, now: Instant) {
        // What a link could send in a second: more would wait for long, and a comparison of tables is sooner there.
        let a_second = u64::from(self.rate.bytes) / UPDATE_BYTES;
        let most = usize::try_from(a_second.min(MOST_WAITING)).unwrap_or(usize::MAX);
        if !self.lane(link, now).news.insert(subject, class, most) {
            self.shed(class);
        }
    }

    /// A member has told as much of `subject` as is known here: it need not be told.
    pub(crate) fn heard(&mut self, from: &NodeId, subject: &NodeId) {
        if let Some(lane) = self.lanes.get_mut(from) {
            lane.forget(subject);
        }
    }

    /// Queues what a link is to be told once more, to ride on its next probe.
    pub(crate) fn queue_repeat(&mut self, link: &NodeId, subject: &NodeId, now: Instant) {
        let news = &mut self.lane(link, now).news;
        if !news.places.contains_key(subject) {
            news.repeats.entry(subject.clone()).or_insert(1);
        }
    }

    /// Queues a user event for a link; one that has no room is shed.
    pub(crate) fn queue_event(&mut self, link: &NodeId, message: Bytes, now: Instant) {
        let lane = self.lane(link, now);
        if lane.events.len() >= MOST_EVENTS {
            return self.shed(Class::Event);
        }
        lane.events.push_back(message);
    }

    /// Returns the next user event, if the link's rate has room for it.
    pub(crate) fn next_event(&mut self, link: &NodeId, now: Instant) -> Option<Bytes> {
        let lane = self.lane(link, now);
        let length = lane.events.front()?.len();
        if lane.pacer.take(Class::Event, length, 0) { lane.events.pop_front() } else { None }
    }

    /// Queues a message of a comparison; one that has no room is shed.
    pub(crate) fn queue_sync(&mut self, to: &NodeId, message: Bytes, now: Instant) {
        let in_all = self.sync_bytes + message.len();
        let lane = self.lane(to, now);
        let of_lane = lane.sync_bytes + message.len();
        if of_lane > MOST_SYNC_BYTES || in_all > MOST_SYNC_BYTES_OF_ALL {
            return self.shed(Class::Sync);
        }
        lane.sync_bytes = of_lane;
        lane.syncs.push_back(message);
        self.sync_bytes = in_all;
    }

    /// Returns the next message of a comparison, if the member's rate has room for it.
    pub(crate) fn next_sync(&mut self, to: &NodeId, now: Instant) -> Option<Bytes> {
        let lane = self.lane(to, now);
        let length = lane.syncs.front()?.len();
        if !lane.pacer.take(Class::Sync, length, 0) {
            return None;
        }
        lane.sync_bytes -= length;
        let message = lane.syncs.pop_front();
        self.sync_bytes -= length;
        message
    }

    /// Takes note that something was not sent for want of room.
    pub(crate) const fn shed(&mut self, class: Class) {
        *self.shed.get_mut(class) += 1;
    }

    /// Keeps news and events for `links` only.
    pub(crate) fn retain(&mut self, links: &BTreeSet<NodeId>) {
        self.lanes.iter_mut().filter(|(to, _)| !links.contains(*to)).for_each(|(_, lane)| {
            lane.news = News::default();
            lane.events.clear();
        });
    }

    /// Forgets members that are no links and that nothing has been sent to lately.
    pub(crate) fn forget_idle(&mut self, links: &BTreeSet<NodeId>, now: Instant) {
        self.lanes.retain(|to, lane| {
            lane.pacer.fill(now);
            links.contains(to) || lane.is_waiting() || !lane.pacer.is_full()
        });
    }

    /// The other side has everything: nothing needs repeating. What was never sent stays.
    pub(crate) fn settle(&mut self, link: &NodeId) {
        if let Some(lane) = self.lanes.get_mut(link) {
            lane.news.repeats.clear();
        }
    }

    /// Returns when to flush, unless that is settled already.
    pub(crate) fn plan_flush(&mut self, now: Instant) -> Option<Instant> {
        if self.flush_at.is_some() {
            return None;
        }
        if self.last_flush.is_none_or(|at| now.saturating_duration_since(at) >= CALM) {
            self.window = LEAST_WINDOW;
        }
        self.flush_at = Some(now + self.window);
        self.flush_at
    }

    /// Begins a flush: returns the members that something waits for.
    pub(crate) fn begin_flush(&mut self, now: Instant) -> Vec<NodeId> {
        self.flush_at = None;
        self.last_flush = Some(now);
        self.lanes.iter().filter(|(_, lane)| lane.is_waiting()).map(|(to, _)| to.clone()).collect()
    }

    /// Ends a flush: the window widens while a link has more to be told than fits into one datagram, and narrows when none has.
    pub(crate) fn end_flush(&mut self, is_storm: bool) {
        self.window = if is_storm { (self.window * 2).min(MOST_WINDOW) } else { (self.window / 2).max(LEAST_WINDOW) };
    }

    pub(crate) fn is_waiting(&self) -> bool {
        self.lanes.values().any(Lane::is_waiting)
    }
}
