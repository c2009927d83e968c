//! The one task that owns the core: it moves inputs in, outputs out, and decides nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use identity::Side;
use membership::{Channel, Core, Event, Input, Output, Rejected};
use mesh_types::{Endpoint, NodeId};
use quinn::Incoming;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::accept;
use crate::change::{ChangeError, ChangeRequest, changed};
use crate::close::{Close, close, refused_by_other};
use crate::dial::{Dial, DialError, Target};
use crate::handle::DriversShare;
use crate::link::{NewLink, Report};
use crate::links::{Link, Links};
use crate::observe;
use crate::service::RunError;
use crate::spans::Spans;
use crate::terms::{Terms, with_generation};
use crate::user_events::{SendRequest, SendUserEventError};

mod trust;
pub(crate) use trust::Trust;

/// Reports that wait for the driver; beyond it datagrams are dropped, and streams wait.
const REPORTS: usize = 4_096;

/// Reports taken before timers have their turn again.
const REPORTS_A_TURN: usize = 256;

/// Most dials under way.
const MOST_DIALS: usize = 128;

/// Most messages that wait for one dial.
const WAITING_A_DIAL: usize = 32;

/// Most handshakes of others under way; more are turned away.
const MOST_HANDSHAKES: usize = 512;

/// Handshakes under way above which a dialler must prove its address first.
const RETRY_ABOVE: usize = 64;

/// Longest wait for a dial; seeds are tried impatiently first, since they may just be starting.
const DIAL_PATIENCE: Duration = Duration::from_secs(3);
const FIRST_PATIENCE: Duration = Duration::from_millis(250);

/// How long a duplicate link stays open for what is under way on it.
const DUPLICATE_LINGERS: Duration = Duration::from_secs(1);

/// How long a farewell may take to arrive everywhere.
const FAREWELL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Driver {
    local: NodeId,
    core: Core,
    endpoint: quinn::Endpoint,
    trust: Trust,
    share: DriversShare,
    links: Links,
    /// Dials under way, with what waits for them.
    dials: BTreeMap<Target, VecDeque<(Channel, Bytes)>>,
    /// How long the next dial of a seed waits.
    patience: BTreeMap<Endpoint, Duration>,
    reports: mpsc::Receiver<Report>,
    reporter: mpsc::Sender<Report>,
    /// Room for handshakes of others that are under way.
    handshakes: Arc<Semaphore>,
    tasks: JoinSet<()>,
    spans: Spans,
    published: u64,
    superseded: Option<Endpoint>,
}

impl Driver {
    pub(crate) fn new(
        local: NodeId,
        core: Core,
        endpoint: quinn::Endpoint,
        trust: Trust,
        share: DriversShare,
        max_links: usize,
    ) -> Self {
        let (reporter, reports) = mpsc::channel(REPORTS);
        Self {
            links: Links::new(local.clone(), max_links),
            local,
            core,
            endpoint,
            trust,
            share,
            dials: BTreeMap::new(),
            patience: BTreeMap::new(),
            reports,
            reporter,
            handshakes: Arc::new(Semaphore::new(MOST_HANDSHAKES)),
            tasks: JoinSet::new(),
            spans: Spans::default(),
            published: 0,
            superseded: None,
        }
    }

    /// Runs until `shutdown`, then leaves the mesh.
    pub(crate) async fn run(mut self, seeds: Vec<Endpoint>, shutdown: CancellationToken) -> Result<(), RunError> {
        self.follow_credentials();
        self.spans.join_started(&self.local, seeds.len());
        self.feed(Input::Join(seeds));
        let result = loop {
            self.settle();
            if let Some(endpoint) = self.superseded.take() {
                break Err(RunError::Superseded { node: self.local.clone(), endpoint });
            }
            let due = self.core.poll_timeout().unwrap_or_else(|| now() + FAREWELL);
            tokio::select! {
                () = shutdown.cancelled() => break Ok(()),
                Some(report) = self.reports.recv() => self.take_reports(report),
                () = sleep_until(due.into()) => self.on_timer(due),
                Some(request) = self.share.changes.recv() => self.change(request),
                Some(request) = self.share.sends.recv() => self.send_user_event(request),
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => self.admit(incoming),
                    None => break Err(RunError::EndpointClosed),
                },
                Some(ended) = self.tasks.join_next() => note_panic(ended),
            }
        };
        self.leave().await;
        result
    }

    fn on_timer(&mut self, due: Instant) {
        // Answers may stand in the queue behind a timer that is late: the core looks at them first.
        self.feed(Input::LoopLag(now().saturating_duration_since(due)));
        self.feed(Input::Timeout);
    }

    fn feed(&mut self, input: Input<'_>) {
        // Only messages can be rejected; they come in through `take`.
        if let Err(error) = self.core.handle(input, now()) {
            error!(error = observe::chain(&error), "input refused");
        }
    }

    fn change(&mut self, ChangeRequest { change, answer }: ChangeRequest) {
        let view = self.share.shared.current();
        let Some(own) = view.get(&self.local) else { return };
        let input = Input::SetMetadata(changed(&own.metadata, change));
        let made = self.core.handle(input, now()).map_err(ChangeError::Invalid);
        self.settle();
        // Whoever asked may wait no longer; the change is made all the same.
        drop(answer.send(made));
    }

    fn send_user_event(&mut self, SendRequest { name, payload, answer }: SendRequest) {
        let sent = self.core.send_user_event(&name, payload, now());
        observe::user_event(if sent.is_ok() { "sent" } else { "refused" });
        self.settle();
        // Whoever asked may wait no longer; the event is on its way all the same.
        drop(answer.send(sent.map_err(SendUserEventError::Refused)));
    }

    fn take_reports(&mut self, first: Report) {
        self.take(first);
        for _ in 1..REPORTS_A_TURN {
            let Ok(report) = self.reports.try_recv() else { return };
            self.take(report);
        }
    }

    fn take(&mut self, report: Report) {
        match report {
            Report::Message { from, bytes } => self.on_message(&from, bytes),
            Report::Hello { link, .. } if !self.is_still_trusted(&link, Side::Client) => {}
            Report::HelloAck { link, .. } if !self.is_still_trusted(&link, Side::Server) => {}
            Report::Hello { link, bytes, answer } => {
                let result = self.core.handle_hello(&link.peer, &bytes, now());
                let result = result.map(|ack| with_generation(&ack, link.began.tls.generation));
                if result.is_ok() {
                    let dialler = link.peer.node.clone();
                    self.link_up(link, dialler, Terms::of_hello(&bytes));
                }
                // Whoever dialled may have hung up meanwhile; the link's end is reported apart.
                drop(answer.send(result));
            }
            Report::HelloAck { target, link, bytes, answer } => {
                let result = self.core.handle_hello_ack(&link.peer, &bytes, now());
                if result.is_ok() {
                    self.on_dialled(&target, link, Terms::of_ack(&bytes));
                }
                // The dial reports its failure itself.
                drop(answer.send(result));
            }
            Report::Down { peer, connection, error } => {
                debug!(peer = %peer, error = %error, "link down");
                self.links.forget(&peer, connection);
                if let Some(reason) = refused_by_other(&error) {
                    self.on_refused_by(&peer, reason);
                }
            }
            Report::DialFailed { target, error } => self.on_dial_failed(&target, &error),
            Report::Credentials(change) => self.on_credentials(change),
            Report::RenewalDue { peer } => self.renew(&peer),
            Report::RevocationsBehind { peer } => self.on_revocations_behind(peer),
            Report::AskDue { peer } => self.on_ask_due(&peer),
            Report::RevocationLists { from, lists } => self.on_revocation_lists(&from, lists),
        }
        self.perform_outputs();
    }

    fn on_message(&mut self, from: &NodeId, bytes: Bytes) {
        match self.core.handle(Input::Message { from, bytes }, now()) {
            Ok(()) => {
                observe::received();
                if let Some(link) = self.links.get_mut(from) {
                    link.last_used = now();
                }
            }
            Err(error) => {
                observe::rejected(from, error.reason(), &observe::chain(&error));
                if matches!(error, Rejected::UnknownSender { .. }) {
                    // It was forgotten here: a new hello introduces it again.
                    self.links.close(from, Close::Protocol);
                }
            }
        }
    }

    fn on_dialled(&mut self, target: &Target, link: NewLink, terms: Terms) {
        observe::dialled("success");
        let peer = link.peer.node.clone();
        self.link_up(link, self.local.clone(), terms);
        // One question brings both sides up to date: who is asked asks back if it has less.
        self.ask_for_revocations(&peer);
        if let Target::Seed(seed) = target {
            self.patience.remove(seed);
        }
        let waiting = self.dials.remove(target).unwrap_or_default();
        for (channel, bytes) in waiting {
            self.send(&peer, None, channel, bytes);
        }
    }

    fn on_dial_failed(&mut self, target: &Target, error: &DialError) {
        let outcome = error.outcome();
        observe::dialled(outcome);
        if let Some(reason) = error.refused_by_other() {
            self.on_refused_by(target, reason);
        }
        let waiting = self.dials.remove(target).unwrap_or_default();
        for _ in waiting {
            observe::sent(false);
        }
        let cause = observe::chain(error);
        match outcome {
            "timeout" => debug!(?target, error = cause, "dial failed"),
            _ => warn!(?target, outcome, error = cause, "dial failed"),
        }
    }

    fn link_up(&mut self, new: NewLink, dialler: NodeId, terms: Terms) {
        let peer = new.peer.node.clone();
        let side = if dialler == peer { Side::Client } else { Side::Server };
        let rtt = new.connection.rtt();
        self.feed(Input::LinkRtt { peer: &peer, rtt });
        let link = Link::new(new, dialler, side, terms, now());
        if let Some(loser) = self.links.insert(peer, link) {
            let why = if loser.own_generation < self.trust.tls.generation { Close::Renewed } else { Close::Duplicate };
            self.tasks.spawn(async move {
                sleep(DUPLICATE_LINGERS).await;
                close(&loser.connection, why, "");
                // Until here its queue is open: a link whose queue is closed ends.
                drop(loser);
            });
        }
        self.links.trim(self.core.links());
        self.links.report(self.trust.tls.generation);
    }

    fn admit(&mut self, incoming: Incoming) {
        let Ok(room) = Arc::clone(&self.handshakes).try_acquire_owned() else {
            observe::dropped("handshakes");
            return incoming.refuse();
        };
        let under_way = MOST_HANDSHAKES - self.handshakes.available_permits();
        if under_way > RETRY_ABOVE && incoming.may_retry() {
            if let Err(error) = incoming.retry() {
                debug!(error = %error, "retry refused");
            }
            return;
        }
        self.tasks.spawn(accept::accept(incoming, Arc::clone(&self.trust.tls), self.reporter.clone(), room));
    }

    /// Does what the core wants done, and publishes what has changed.
    fn settle(&mut self) {
        self.perform_outputs();
        if self.core.version() != self.published {
            let membership = self.core.snapshot();
            self.published = membership.version;
            observe::membership(&membership);
            observe::totals(self.core.stats(), self.links.len());
            observe::queues(&self.core);
            self.share.shared.publish(membership);
        }
    }

    fn perform_outputs(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send { to, endpoint, channel, bytes } => self.send(&to, Some(endpoint), channel, bytes),
                Output::Connect { endpoint } => self.dial_seed(endpoint),
                Output::Rtt { rtt, .. } => observe::rtt(rtt),
                Output::Spread { age } => observe::spread(age),
                Output::Event(event) => self.on_event(event),
                Output::SyncStarted { peer } => self.spans.sync_started(peer),
                Output::SyncEnded { peer, updates } => self.spans.sync_ended(&peer, updates),
            }
        }
    }

    fn on_event(&mut self, event: Event) {
        self.note(&event);
        match event {
            // A dead member's connection would be kept alive by retransmissions only.
            Event::Dead(member) => self.links.close(&member.id, Close::Dead),
            Event::Superseded { endpoint } => self.superseded = Some(endpoint),
            _ => {}
        }
    }

    fn note(&mut self, event: &Event) {
        observe::event(event);
        self.spans.on_event(event, now());
        self.share.shared.tell(event, now());
    }

    fn send(&mut self, to: &NodeId, endpoint: Option<Endpoint>, channel: Channel, bytes: Bytes) {
        if let Some(link) = self.links.get_mut(to) {
            link.last_used = now();
            match channel {
                Channel::Datagram => link.send_datagram(bytes),
                Channel::Stream => link.send_stream(bytes),
            }
            return;
        }
        let Some(address) = endpoint else { return observe::sent(false) };
        let target = Target::Peer(to.clone());
        if !self.dials.contains_key(&target) && !self.dial(target.clone(), address, DIAL_PATIENCE) {
            return observe::sent(false);
        }
        let waiting = self.dials.entry(target).or_default();
        if waiting.len() >= WAITING_A_DIAL {
            // The newest news are worth most.
            waiting.pop_front();
            observe::dropped("dial");
            observe::sent(false);
        }
        waiting.push_back((channel, bytes));
    }

    fn dial_seed(&mut self, endpoint: Endpoint) {
        let target = Target::Seed(endpoint.clone());
        if self.dials.contains_key(&target) {
            return;
        }
        let patience = self.patience.get(&endpoint).copied().unwrap_or(FIRST_PATIENCE);
        self.patience.insert(endpoint.clone(), (patience * 2).min(DIAL_PATIENCE));
        self.dial(target, endpoint, patience);
    }

    fn dial(&mut self, target: Target, address: Endpoint, patience: Duration) -> bool {
        if self.dials.len() >= MOST_DIALS {
            observe::dropped("dials");
            return false;
        }
        self.dials.insert(target.clone(), VecDeque::new());
        let dial = Dial {
            endpoint: self.endpoint.clone(),
            hello: with_generation(&self.core.hello(), self.trust.tls.generation),
            tls: Arc::clone(&self.trust.tls),
            target,
            address,
            patience,
            reports: self.reporter.clone(),
        };
        self.tasks.spawn(dial.run());
        true
    }

    /// Says goodbye, waits for it to arrive, and ends every task.
    async fn leave(mut self) {
        self.feed(Input::Leave);
        self.dials.clear();
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Send { to, channel: Channel::Stream, bytes, .. } if self.links.contains(&to) => {
                    self.send(&to, None, Channel::Stream, bytes);
                }
                Output::Event(event) => self.note(&event),
                _ => {}
            }
        }
        self.settle();
        self.links.release_all();
        self.endpoint.set_server_config(None);
        // Reports are taken no more: nobody may wait for room among them.
        self.reports.close();
        let all_told = timeout(FAREWELL, async {
            while let Some(ended) = self.tasks.join_next().await {
                note_panic(ended);
            }
        })
        .await;
        if all_told.is_err() {
            info!("not every link took the farewell in time");
        }
        self.endpoint.close(Close::Leaving.code(), b"leaving");
        self.tasks.shutdown().await;
        if timeout(FAREWELL, self.endpoint.wait_idle()).await.is_err() {
            debug!("connections were still closing");
        }
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

fn note_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(error = %error, "a task of the gossip service panicked");
    }
}
