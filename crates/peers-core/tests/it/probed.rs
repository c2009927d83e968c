//! The chooser that asks: whom, whom it believes, and for how long.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use peers_core::{
    Balancer, Entropy, Filters, LoadProbe, Outcome, Peer, PeerLease, PeerTable, PeerUpdate, PickCx, ProbeTicket,
    Probed, ServerLoad, TableOptions, Tick,
};
use proptest::prelude::*;

use crate::support::{at, id, labelled, number, numbered, table_of, tally};

/// Keeps the tickets with the numbers of their peers, until the test answers.
#[derive(Default)]
struct Asked(Mutex<Vec<(usize, ProbeTicket)>>);

impl Asked {
    fn lock(&self) -> MutexGuard<'_, Vec<(usize, ProbeTicket)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns who was asked since the last time, and drops the tickets.
    fn forget(&self) -> Vec<usize> {
        self.lock().drain(..).map(|(peer, _)| peer).collect()
    }
}

impl LoadProbe for Asked {
    fn request(&self, peer: &Arc<Peer>, ticket: ProbeTicket) {
        self.lock().push((number(&peer.id), ticket));
    }
}

/// A caller, and what its peers would say.
struct Caller {
    table: PeerTable,
    balancer: Balancer<Probed>,
    asked: Arc<Asked>,
    entropy: Entropy,
    now_ms: u64,
}

impl Caller {
    fn new(table: PeerTable, percent: u32) -> Self {
        let asked = Arc::new(Asked::default());
        let balancer = table.balancer(Filters::none(), Probed::new(Arc::<Asked>::clone(&asked), percent));
        Self { table, balancer, asked, entropy: Entropy::seeded(7), now_ms: 0 }
    }

    /// A caller of three peers, which have each said `load`.
    fn told(load: impl Fn(usize) -> ServerLoad) -> Self {
        let mut caller = Self::new(table_of(3, TableOptions::default()), 100);
        caller.tell(load);
        caller
    }

    fn now(&self) -> Tick {
        at(self.now_ms)
    }

    fn lease(&mut self, cx: &PickCx<'_>) -> PeerLease {
        self.balancer.acquire_with(&PickCx { now: at(self.now_ms), ..*cx }, &mut self.entropy).expect("usable")
    }

    /// Picks without a trace: the call is cancelled, and nobody answers its probe.
    fn pick(&mut self, cx: &PickCx<'_>) -> usize {
        let picked = number(self.lease(cx).id());
        self.asked.forget();
        picked
    }

    fn picks(&mut self, count: usize) -> Vec<usize> {
        (0..count).map(|_| self.pick(&PickCx::default())).collect()
    }

    /// Picks until each peer was asked, and lets each answer once, in order.
    fn tell(&mut self, load: impl Fn(usize) -> ServerLoad) {
        let count = self.table.peers().len();
        let mut tickets: Vec<Option<ProbeTicket>> = (0..count).map(|_| None).collect();
        while tickets.iter().any(Option::is_none) {
            drop(self.lease(&PickCx::default()));
            for (peer, ticket) in self.asked.lock().drain(..) {
                tickets[peer] = Some(ticket);
            }
        }
        for (peer, ticket) in tickets.into_iter().enumerate() {
            ticket.expect("asked").answer(load(peer));
        }
    }

    /// Forgets all answers.
    fn wait_until_stale(&mut self) {
        self.now_ms += 1_001;
    }
}

fn busy(in_flight: usize) -> ServerLoad {
    let latency = Some(Duration::from_millis(10));
    ServerLoad { in_flight: u32::try_from(in_flight).expect("few"), latency }
}

fn slow(ms: u64) -> ServerLoad {
    ServerLoad { in_flight: 0, latency: Some(Duration::from_millis(ms)) }
}

#[test]
fn as_many_peers_are_asked_as_said_each_as_often_as_the_others() {
    for (percent, least, most) in [(100, 10_000, 10_000), (25, 2_350, 2_650), (250, 24_800, 25_200)] {
        let mut caller = Caller::new(table_of(10, TableOptions::default()), percent);
        let mut asked = Vec::new();
        for _ in 0..10_000 {
            drop(caller.lease(&PickCx::default()));
            asked.extend(caller.asked.forget());
        }
        assert!((least..=most).contains(&asked.len()), "{} for {percent} %", asked.len());
        let counts = tally(&asked, 10);
        assert!(counts.iter().all(|count| count.abs_diff(asked.len() / 10) < asked.len() / 50), "{counts:?}");
    }
}

#[test]
fn the_least_busy_and_the_fastest_get_the_calls() {
    assert_eq!(Caller::told(|peer| busy([4, 3, 5][peer])).picks(4), [1, 1, 0, 0], "twice the best, twice the next");
    assert_eq!(Caller::told(|peer| slow([20, 90, 10][peer])).picks(4), [2, 2, 0, 0]);
    // √(10 · 30) · (1 + 4/5) = 31.2 < √(40 · 30) · (1 + 3/5) = 55.4: the median is 4.
    let mixed = [(4, 10), (3, 40), (9, 10)];
    let load = |peer: usize| ServerLoad { latency: Some(Duration::from_millis(mixed[peer].1)), ..busy(mixed[peer].0) };
    assert_eq!(Caller::told(load).picks(2), [0, 0]);
}

/// Lets each peer take a call that lasts so many milliseconds.
fn show(caller: &Caller, took_ms: &[u64]) {
    for (peer, ms) in took_ms.iter().enumerate() {
        let handle = caller.table.handle(&numbered(peer).id).expect("known");
        handle.observe(caller.now(), Duration::from_millis(*ms), Outcome::Success);
    }
}

#[test]
fn what_calls_have_shown_counts_as_much_as_what_peers_say() {
    let first = |said_ms: [u64; 3]| {
        let mut caller = Caller::new(table_of(3, TableOptions::default()), 100);
        show(&caller, &[30, 10, 80]);
        caller.tell(|peer| slow(said_ms[peer]));
        caller.pick(&PickCx::default())
    };
    // √(30 · 30) = 30, √(10 · 80) = 28.3, √(80 · 9) = 26.8 and √(80 · 11) = 29.7.
    assert_eq!([first([30, 80, 9]), first([30, 80, 11])], [2, 1]);
}

#[test]
fn a_peer_that_cannot_say_is_as_fast_as_its_calls_were() {
    let mut caller = Caller::new(table_of(3, TableOptions::default()), 100);
    show(&caller, &[30, 10, 80]);
    caller.tell(|_| ServerLoad::default());
    assert_eq!(caller.picks(4), [1, 1, 0, 0]);
}

#[test]
fn a_peer_that_has_calls_and_ended_none_lately_counts_as_having_one_typical_load_more() {
    let took_ms = [10, 25, 80];
    let first = |has_ended_some: bool, in_flight: usize| {
        let mut caller = Caller::new(table_of(3, TableOptions::default()), 100);
        show(&caller, &took_ms);
        caller.tell(|peer| ServerLoad {
            in_flight: busy(if peer == 0 { in_flight } else { 0 }).in_flight,
            latency: has_ended_some.then_some(Duration::from_millis(took_ms[peer])),
        });
        caller.pick(&PickCx::default())
    };
    // The median is none: 10 · (1 + 1) < 25 < 10 · (1 + 1 + 1).
    assert_eq!([first(true, 1), first(false, 1), first(false, 0)], [0, 1, 0]);
}

#[test]
fn own_calls_count_until_they_end() {
    let mut caller = Caller::told(|peer| busy([2, 2, 3][peer]));
    let mut held: Vec<PeerLease> = (0..4).map(|_| caller.lease(&PickCx::default())).collect();
    let picked: Vec<usize> = held.iter().map(|lease| number(lease.id())).collect();
    assert_eq!(picked, [0, 1, 0, 1], "with a call more each time");
    caller.asked.forget();
    // Answered while own calls are there: they are no others.
    let own = held.pop().expect("four");
    caller.wait_until_stale();
    caller.tell(|_| busy(5));
    own.report(caller.now(), Outcome::Cancelled);
    assert_eq!(caller.picks(1), [1], "of 5 each, 2, 2 and 0 were own, and one of those is over: 5, 4 and 5");
}

#[test]
fn answers_count_for_a_second_and_then_own_knowledge_decides() {
    let picked_after = |ms: u64| {
        let mut caller = Caller::told(|peer| slow([10, 900, 990][peer]));
        caller.now_ms += ms;
        show(&caller, &[90, 10, 50]);
        caller.picks(2)
    };
    assert_eq!(picked_after(1_000), [0, 0]);
    assert!(
        picked_after(1_001).iter().all(|peer| *peer != 0),
        "of two random ones, the first is the better once in three"
    );
}

#[test]
fn with_answers_of_fewer_than_two_usable_peers_own_knowledge_decides() {
    let mut caller = Caller::new(table_of(3, TableOptions::default()), 100);
    drop(caller.lease(&PickCx::default()));
    let (peer, ticket) = caller.asked.lock().pop().expect("asked");
    ticket.answer(slow(1));
    show(&caller, &[10, 10, 10]);
    let handle = caller.table.handle(&numbered(peer).id).expect("known");
    handle.observe(at(0), Duration::from_secs(9), Outcome::Success);
    let counts = tally(&caller.picks(3_000), 3);
    assert!(counts[peer] == 0 && counts.iter().all(|count| *count < 1_700), "{peer} is slow: {counts:?}");
}

#[test]
fn the_best_answer_helps_no_peer_that_must_not_be_called() {
    let best_first = |peer: usize| slow([1, 50, 90, 95][peer]);
    let four = || {
        let mut caller = Caller::new(table_of(4, TableOptions::default()), 100);
        caller.tell(best_first);
        caller
    };
    assert_eq!(four().picks(1), [0]);

    let mut caller = four();
    let tried = [caller.table.handle(&id("node-000")).expect("known").key()];
    assert_eq!(caller.pick(&PickCx { exclude: &tried, ..PickCx::default() }), 1);

    let mut isolated = four();
    isolated.table.handle(&id("node-000")).expect("known").isolate();
    assert_eq!(isolated.picks(2), [1, 1]);

    let mut tripped = four();
    let handle = tripped.table.handle(&id("node-000")).expect("known");
    (0..5).for_each(|_| handle.observe(at(0), Duration::ZERO, Outcome::Failure));
    assert_eq!(tripped.picks(2), [1, 1]);

    let mut draining = four();
    draining.table.apply(at(0), PeerUpdate::Upsert(labelled("node-000", &[("peer.lifecycle", "draining")])));
    assert_eq!(draining.picks(2), [1, 1], "though the others have moved in their group");

    let mut removed = four();
    removed.table.apply(at(0), PeerUpdate::Remove(id("node-000")));
    assert_eq!(removed.picks(2), [1, 1]);
    removed.table.apply(at(0), PeerUpdate::Upsert(numbered(0)));
    assert_eq!(removed.picks(1), [2], "a peer that came back has said nothing yet");
}

fn weighing(weights: &[&str]) -> Vec<Peer> {
    let peers = weights.iter().zip(0..);
    peers.map(|(weight, n)| labelled(&format!("node-{n:03}"), &[("peer.weight", weight)])).collect()
}

#[test]
fn weights_divide_what_a_call_costs() {
    let table = PeerTable::default();
    table.apply(at(0), PeerUpdate::Reset(weighing(&["100", "200", "100"])));
    let mut caller = Caller::new(table, 100);
    caller.tell(|peer| busy([2, 6, 9][peer]));
    // 1 + 2/7, (1 + 6/7) / 2, 1 + 9/7.
    assert_eq!(caller.picks(4), [1, 1, 0, 0]);
}

#[test]
fn weight_zero_is_neither_asked_nor_believed() {
    let mut caller = Caller::told(|peer| busy([9, 0, 0][peer]));
    caller.table.apply(at(0), PeerUpdate::Reset(weighing(&["100", "0", "0"])));
    for _ in 0..50 {
        let lease = caller.balancer.acquire_with(&PickCx::at(at(0)), &mut caller.entropy).expect("one has a weight");
        assert_eq!(number(lease.id()), 0);
    }
    assert!(caller.asked.forget().iter().all(|peer| *peer == 0));
}

#[test]
fn an_answer_that_comes_too_late_for_its_peer_or_its_chooser_does_no_harm() {
    let mut caller = Caller::new(table_of(2, TableOptions::default()), 100);
    (0..50).for_each(|_| drop(caller.lease(&PickCx::default())));
    let mut tickets: Vec<(usize, ProbeTicket)> = caller.asked.lock().drain(..).collect();
    caller.table.apply(at(0), PeerUpdate::Remove(id("node-000")));
    for (_, ticket) in tickets.split_off(25) {
        ticket.answer(slow(1));
    }
    assert_eq!(caller.picks(5), [1; 5]);
    drop(caller);
    tickets.into_iter().for_each(|(_, ticket)| ticket.answer(slow(1)));
}

#[test]
fn nobody_is_asked_while_too_many_have_not_answered() {
    let mut caller = Caller::new(table_of(10, TableOptions::default()), 400);
    (0..1_000).for_each(|_| drop(caller.lease(&PickCx::default())));
    assert_eq!(caller.asked.lock().len(), 1_024);
    caller.asked.lock().truncate(1_000);
    drop(caller.lease(&PickCx::default()));
    assert_eq!(caller.asked.lock().len(), 1_004);
}

#[test]
fn the_only_peer_is_not_asked() {
    let mut caller = Caller::new(table_of(1, TableOptions::default()), 100);
    drop(caller.lease(&PickCx::default()));
    assert_eq!(caller.asked.forget(), [0; 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn peers_that_all_say_the_same_are_called_alike(seed: u64, peers in 2_usize..40, percent in 100_u32..=400) {
        let mut caller = Caller::new(table_of(peers, TableOptions::default()), percent);
        caller.entropy = Entropy::seeded(seed);
        let mut picked = Vec::new();
        for call in 0..peers * 1_000 {
            caller.now_ms = call as u64;
            let lease = caller.lease(&PickCx::default());
            picked.push(number(lease.id()));
            lease.report(at(caller.now_ms + 5), Outcome::Success);
            caller.asked.lock().drain(..).for_each(|(_, ticket)| ticket.answer(busy(3)));
        }
        let counts = tally(&picked, peers);
        // An answer is used twice: the spread is that of half as many calls, √500 of 1,000 · 2.
        prop_assert!(counts.iter().all(|count| count.abs_diff(1_000) < 250), "{counts:?}");
    }
}
