//! One core, and a harness that plays all the other members.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use membership::{Channel, Core, Event, HelloError, Input, LocalNode, Options, Output, Rejected, Sender};
use mesh_proto::gossip as proto;
use mesh_proto::gossip::envelope::Body;
use mesh_proto::{MAX_DATAGRAM_BYTES, Message as _};
use mesh_types::{BootEpoch, Member, MemberState, NodeId, NodeMetadata};

/// Boot epoch of the core under test.
pub(crate) const OWN_BOOT: u64 = 1_000;

/// Boot epoch of the members that the harness plays.
pub(crate) const PEER_BOOT: u64 = 500;

/// What the members say when they are asked about another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verifiers {
    /// It does not answer them either.
    Confirm,
    /// It answers them.
    Vouch,
    /// Nothing.
    Silent,
}

/// A message that the core sent.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) to: NodeId,
    pub(crate) channel: Channel,
    pub(crate) body: Body,
}

/// A core named `a`, and the members `p1`, `p2` … around it. They answer probes at once, unless they are silent.
#[derive(Debug)]
pub(crate) struct Lab {
    pub(crate) core: Core,
    pub(crate) now: Instant,
    pub(crate) sent: Vec<Sent>,
    pub(crate) events: Vec<String>,
    /// Comparisons of tables: begun, or ended with so many updates.
    pub(crate) compared: Vec<(NodeId, Option<usize>)>,
    /// How old news were when they came.
    pub(crate) ages: Vec<Duration>,
    pub(crate) silent: BTreeSet<NodeId>,
    pub(crate) verifiers: Verifiers,
    /// Whether the members' digests are the core's own, so that it holds them for up to date.
    pub(crate) digests_match: bool,
}

impl Lab {
    /// Starts a core that `peers` members have said hello to.
    pub(crate) fn new(peers: usize) -> Self {
        Self::with(peers, Options::default())
    }

    pub(crate) fn with(peers: usize, options: Options) -> Self {
        #[expect(clippy::disallowed_methods, reason = "virtual time has to begin somewhere")]
        let now = Instant::now();
        let local = LocalNode { id: id("a"), boot_epoch: BootEpoch(OWN_BOOT), metadata: metadata("a") };
        let core = Core::new(local, options, 7, now).expect("valid options");
        let mut lab = Self {
            core,
            now,
            sent: Vec::new(),
            events: Vec::new(),
            compared: Vec::new(),
            ages: Vec::new(),
            silent: BTreeSet::new(),
            verifiers: Verifiers::Silent,
            digests_match: true,
        };
        for number in 1..=peers {
            lab.greet(&format!("p{number}"));
        }
        lab.run(Duration::from_millis(5));
        lab.sent.clear();
        lab.events.clear();
        lab
    }

    /// Lets a member say hello.
    pub(crate) fn greet(&mut self, node: &str) {
        self.say_hello(node, &hello(update(node))).expect("a valid hello");
    }

    pub(crate) fn say_hello(&mut self, node: &str, hello: &proto::Hello) -> Result<proto::HelloAck, HelloError> {
        let bytes = Bytes::from(hello.encode_to_vec());
        let result = self.core.handle_hello(&sender(node), &bytes, self.now);
        self.drain();
        Ok(proto::HelloAck::decode(result?).expect("the core speaks the protocol"))
    }

    /// Hands the core a message.
    pub(crate) fn hear(&mut self, from: &str, body: Body) {
        self.try_hear(from, body).expect("the message is valid");
    }

    pub(crate) fn try_hear(&mut self, from: &str, body: Body) -> Result<(), Rejected> {
        self.hear_bytes(from, envelope(from, body))
    }

    pub(crate) fn hear_bytes(&mut self, from: &str, bytes: Bytes) -> Result<(), Rejected> {
        let result = self.core.handle(Input::Message { from: &id(from), bytes }, self.now);
        self.drain();
        result
    }

    pub(crate) fn hear_updates(&mut self, from: &str, updates: Vec<proto::Update>) {
        self.hear(from, Body::Flood(proto::Flood { updates }));
    }

    /// Lets virtual time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(due) = self.core.poll_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.core.handle(Input::Timeout, self.now).expect("a timer is no input");
            self.drain();
        }
        self.now = end;
    }

    /// Lets virtual time pass until the condition holds, looking every millisecond; panics after a minute of it.
    #[track_caller]
    pub(crate) fn run_until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) -> Duration {
        let begin = self.now;
        while !condition(self) {
            assert!(self.now < begin + Duration::from_secs(60), "never: {what}; events: {:?}", self.events);
            self.run(Duration::from_millis(1));
        }
        self.now - begin
    }

    pub(crate) fn happened(&self, event: &str) -> bool {
        self.events.iter().any(|seen| seen == event)
    }

    pub(crate) fn state(&self, node: &str) -> Option<MemberState> {
        self.core.state_of(&id(node))
    }

    /// Returns the member as the snapshot shows it.
    pub(crate) fn shown(&self, node: &str) -> Option<Member> {
        self.core.snapshot().get(&id(node)).cloned()
    }

    /// Returns all updates about `subject` that were sent, with whom they went to.
    pub(crate) fn told(&self, subject: &str) -> Vec<(String, proto::Update)> {
        let mut told = Vec::new();
        for sent in &self.sent {
            let about = updates_in(&sent.body).into_iter().filter(|update| update.node == subject);
            told.extend(about.map(|update| (sent.to.to_string(), update)));
        }
        told
    }

    /// Makes a member answer no probe.
    pub(crate) fn silence(&mut self, node: &str) {
        self.silent.insert(id(node));
    }

    /// Takes all outputs, and lets the members answer.
    pub(crate) fn drain(&mut self) {
        let mut answers = VecDeque::new();
        loop {
            while let Some(output) = self.core.poll_output() {
                match output {
                    Output::Send { to, channel, bytes, .. } => answers.extend(self.take(to, channel, bytes)),
                    Output::Event(event) => self.events.push(written(&event)),
                    Output::SyncStarted { peer } => self.compared.push((peer, None)),
                    Output::SyncEnded { peer, updates } => self.compared.push((peer, Some(updates))),
                    Output::Spread { age } => self.ages.push(age),
                    Output::Connect { .. } | Output::Rtt { .. } => {}
                }
            }
            let Some((from, body)) = answers.pop_front() else { return };
            let bytes = envelope(from.as_str(), body);
            self.core.handle(Input::Message { from: &from, bytes }, self.now).expect("members speak the protocol");
        }
    }

    fn take(&mut self, to: NodeId, channel: Channel, bytes: Bytes) -> Option<(NodeId, Body)> {
        let fits = channel == Channel::Stream || bytes.len() <= MAX_DATAGRAM_BYTES;
        assert!(fits, "a datagram of {} bytes", bytes.len());
        let body = proto::Envelope::decode(bytes).expect("the core speaks the protocol").body.expect("a body");
        let answer = self.answer(&to, &body);
        self.sent.push(Sent { to: to.clone(), channel, body });
        Some((to, answer?))
    }

    fn answer(&self, to: &NodeId, body: &Body) -> Option<Body> {
        match body {
            Body::Probe(probe) if !self.silent.contains(to) => {
                let digest = if self.digests_match { self.core.digest() } else { 1 };
                Some(Body::Ack(proto::Ack { sequence: probe.sequence, digest, updates: Vec::new() }))
            }
            Body::VerifyRequest(request) if self.verifiers != Verifiers::Silent => {
                Some(Body::VerifyReply(proto::VerifyReply {
                    accusation: request.accusation,
                    subject: request.subject.clone(),
                    answered: self.verifiers == Verifiers::Vouch,
                }))
            }
            _ => None,
        }
    }
}

pub(crate) fn id(text: &str) -> NodeId {
    text.parse().expect("a name")
}

pub(crate) fn sender(node: &str) -> Sender {
    Sender { node: id(node), role: "worker".parse().expect("a name") }
}

pub(crate) fn metadata(node: &str) -> NodeMetadata {
    NodeMetadata {
        role: "worker".parse().expect("a name"),
        cluster: "alpha".parse().expect("a name"),
        region: "eu-1".parse().expect("a name"),
        mesh_version: "0.1.0".into(),
        http3_support: true,
        endpoint: format!("{node}.mesh:17421").parse().expect("an endpoint"),
        labels: std::collections::BTreeMap::new(),
        features: mesh_types::Features::default(),
        lifecycle: mesh_types::NodeLifecycle::default(),
        services: BTreeSet::new(),
        rpc_endpoint: None,
    }
}

pub(crate) fn record(node: &str) -> proto::NodeRecord {
    proto::NodeRecord {
        schema: 1,
        role: "worker".to_owned(),
        cluster: "alpha".to_owned(),
        region: "eu-1".to_owned(),
        mesh_version: "0.1.0".to_owned(),
        http3_support: true,
        endpoint: format!("{node}.mesh:17421"),
        labels: std::collections::BTreeMap::new(),
        features: 0,
        lifecycle: proto::Lifecycle::Active.into(),
        services: Vec::new(),
        rpc_endpoint: String::new(),
    }
}

/// What a member says of itself when it joins.
pub(crate) fn update(node: &str) -> proto::Update {
    proto::Update {
        node: node.to_owned(),
        boot_epoch: if node == "a" { OWN_BOOT } else { PEER_BOOT },
        incarnation: 0,
        state: proto::State::Alive.into(),
        metadata_version: 1,
        record: record(node).encode_to_vec().into(),
        witnesses: Vec::new(),
        age_us: 0,
    }
}

/// What `witnesses` say of a member.
pub(crate) fn verdict(node: &str, state: proto::State, witnesses: &[&str]) -> proto::Update {
    let witnesses = witnesses.iter().map(|witness| (*witness).to_owned()).collect();
    proto::Update { state: state.into(), witnesses, ..update(node) }
}

pub(crate) fn hello(own: proto::Update) -> proto::Hello {
    proto::Hello { protocol_min: 1, protocol_max: 1, cluster: "alpha".to_owned(), own: Some(own), features: 0 }
}

pub(crate) fn envelope(from: &str, body: Body) -> Bytes {
    proto::Envelope { sender: from.to_owned(), body: Some(body) }.encode_to_vec().into()
}

pub(crate) fn updates_in(body: &Body) -> Vec<proto::Update> {
    match body {
        Body::Probe(message) => message.updates.clone(),
        Body::Ack(message) => message.updates.clone(),
        Body::Flood(message) => message.updates.clone(),
        Body::SyncDiff(message) => message.entries.clone(),
        Body::SyncRecords(message) => message.updates.clone(),
        Body::SyncStart(_) | Body::VerifyRequest(_) | Body::VerifyReply(_) | Body::UserEvent(_) => Vec::new(),
    }
}

fn written(event: &Event) -> String {
    match event {
        Event::Joined(member)
        | Event::Updated(member)
        | Event::Suspected(member)
        | Event::Recovered(member)
        | Event::Unreachable(member)
        | Event::Dead(member)
        | Event::Left(member) => {
            let Member { id, boot_epoch, incarnation, metadata_version, .. } = member;
            format!("{} {id} {boot_epoch}.{incarnation} v{metadata_version}", event.name())
        }
        Event::Refuted { incarnation } => format!("refuted {incarnation}"),
        Event::Rejoined { boot_epoch } => format!("rejoined {boot_epoch}"),
        Event::Superseded { endpoint } => format!("superseded {endpoint}"),
        Event::UserEvent(event) => format!("user_event {event:?}"),
        Event::UserEventsLost { origin, count } => format!("user_events_lost {origin} {count}"),
        Event::UpdateRejected { node, reason, detail } => format!("rejected {node}: {reason}: {detail}"),
        other => format!("{other:?}"),
    }
}
