//! Membership events on standard output, one JSON object a line, for programs that watch a mesh.
//!
//! The first line is `ready`, with the addresses the node listens on; then each change in the life of another member as
//! this node sees it: `up`, `suspect`, `unreachable`, `dead`, `left`, `update`. A reader who falls behind by more than
//! 512 events gets one `missed` line with how many it lost, and asks `/control/peers` how things are now.

use std::io::{self, Stdout, Write as _, stdout};
use std::net::SocketAddr;
use std::time::Instant;

use clap::ValueEnum;
use dispatcher::LocalEndpoint;
use gossip::{CorrelationId, Event, Events, Happened, Missed, UserEvent};
use mesh_types::{Member, NodeId};
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;
use tokio_util::sync::CancellationToken;

/// Most events whose lines go out together: more than ever wait.
const EVENTS_A_WRITE: usize = 1_024;

/// How membership events are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EventsFormat {
    /// One JSON object a line
    Jsonl,
}

/// What a line says.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase", rename_all_fields = "camelCase")]
enum Said<'a> {
    Ready {
        node_id: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        gossip: Option<SocketAddr>,
        #[serde(skip_serializing_if = "Option::is_none")]
        control: Option<SocketAddr>,
        /// Where it takes calls.
        #[serde(skip_serializing_if = "Option::is_none")]
        rpc: Option<SocketAddr>,
        /// Where applications of this machine call it.
        #[serde(skip_serializing_if = "Option::is_none")]
        local: Option<String>,
    },
    Up {
        #[serde(flatten)]
        subject: Subject<'a>,
        /// Whether it was suspect or unreachable and turned out to live; otherwise it is new, or began a new life.
        recovered: bool,
    },
    Suspect(Subject<'a>),
    Unreachable(Subject<'a>),
    Dead(Subject<'a>),
    Left(Subject<'a>),
    Update(Subject<'a>),
    /// An application told everybody something.
    User(UserMessage<'a>),
    /// Events of a member did not come, which would have been told before.
    Lost {
        node_id: &'a str,
        count: u64,
    },
    Missed {
        count: u64,
    },
}

/// What an application says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct UserMessage<'a> {
    node_id: &'a str,
    // A string, since it may exceed what a JSON number keeps exactly.
    generation: String,
    sequence: u64,
    name: &'a str,
    /// If it is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a str>,
    /// If it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<String>,
}

/// Whom an event is about, in which life and version.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Subject<'a> {
    node_id: &'a str,
    // A string, since it may exceed what a JSON number keeps exactly.
    generation: String,
    incarnation: u64,
    metadata_version: u64,
    endpoint: String,
    /// The same on every node that reports this change.
    correlation_id: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    #[serde(flatten)]
    said: Said<'a>,
    monotonic_us: u64,
}

/// The monotonic clock of the machine: the times of all processes on it can be compared.
#[derive(Debug, Clone, Copy)]
struct MachineClock {
    at: Instant,
    us: u64,
}

impl MachineClock {
    #[expect(clippy::disallowed_methods, reason = "the edge, where the clock comes in")]
    fn read() -> io::Result<Self> {
        let shown = clock_gettime(ClockId::CLOCK_MONOTONIC)?;
        let at = Instant::now();
        // Neither is negative: the clock starts at 0 with the machine.
        let us = shown.tv_sec().unsigned_abs() * 1_000_000 + shown.tv_nsec().unsigned_abs() / 1_000;
        Ok(Self { at, us })
    }

    fn us_at(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.at).as_micros();
        let until = self.at.saturating_duration_since(at).as_micros();
        let us = u128::from(self.us).saturating_add(since).saturating_sub(until);
        u64::try_from(us).unwrap_or(u64::MAX)
    }
}

/// What is written.
#[derive(Debug)]
pub(crate) struct Followed {
    /// What happens to the members.
    pub(crate) members: Events,
    /// What applications tell everybody.
    pub(crate) users: Events,
}

/// Standard output, as a reader of lines gets it.
#[derive(Debug)]
pub(crate) struct EventLines {
    clock: MachineClock,
    stdout: Stdout,
    /// Whole lines that are not written yet.
    text: Vec<u8>,
}

impl EventLines {
    /// Takes standard output.
    ///
    /// # Errors
    /// The system shows no monotonic clock.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { clock: MachineClock::read()?, stdout: stdout(), text: Vec::new() })
    }

    /// Says that the node listens.
    ///
    /// # Errors
    /// Nobody reads.
    #[expect(clippy::disallowed_methods, reason = "the edge, where the clock comes in")]
    pub(crate) fn ready(
        &mut self,
        node_id: &NodeId,
        gossip: Option<SocketAddr>,
        control: Option<SocketAddr>,
        (rpc, local): (Option<SocketAddr>, Option<&LocalEndpoint>),
    ) -> io::Result<()> {
        let local = local.map(LocalEndpoint::to_string);
        self.push(Instant::now(), Said::Ready { node_id: node_id.as_str(), gossip, control, rpc, local })?;
        self.flush()
    }

    /// Writes `followed` until `stop`, what is there then included. It gives up when nobody reads any more, and
    /// blocks its thread while somebody reads slowly.
    pub(crate) async fn follow(mut self, mut followed: Followed, stop: CancellationToken) {
        let ended = self.write_all(&mut followed, &stop).await;
        if let Err(error) = ended {
            tracing::warn!(%error, "membership events are written no more");
        }
    }

    async fn write_all(&mut self, followed: &mut Followed, stop: &CancellationToken) -> io::Result<()> {
        let Followed { members, users } = followed;
        loop {
            let next = tokio::select! {
                next = members.next() => next,
                next = users.next() => next,
                () = stop.cancelled() => None,
            };
            let is_last = next.is_none();
            // What came together goes out together.
            let waiting = std::iter::from_fn(|| members.try_next().or_else(|| users.try_next())).take(EVENTS_A_WRITE);
            for told in next.into_iter().chain(waiting) {
                self.take(told)?;
            }
            self.flush()?;
            if is_last {
                return Ok(());
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the edge, where the clock comes in")]
    fn take(&mut self, told: Result<Happened, Missed>) -> io::Result<()> {
        match told {
            Ok(Happened { at, event }) => said_of(&event).map_or(Ok(()), |said| self.push(at, said)),
            Err(Missed { count }) => self.push(Instant::now(), Said::Missed { count }),
        }
    }

    fn push(&mut self, at: Instant, said: Said<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut self.text, &Line { said, monotonic_us: self.clock.us_at(at) })?;
        self.text.push(b'\n');
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stdout.write_all(&self.text)?;
        self.text.clear();
        self.stdout.flush()
    }
}

/// Returns what is said of an event; what is no change in the life of a member is in the logs only.
fn said_of(event: &Event) -> Option<Said<'_>> {
    Some(match event {
        Event::Joined(member) => Said::Up { subject: subject(member), recovered: false },
        Event::Recovered(member) => Said::Up { subject: subject(member), recovered: true },
        Event::Suspected(member) => Said::Suspect(subject(member)),
        Event::Unreachable(member) => Said::Unreachable(subject(member)),
        Event::Dead(member) => Said::Dead(subject(member)),
        Event::Left(member) => Said::Left(subject(member)),
        Event::Updated(member) => Said::Update(subject(member)),
        Event::UserEvent(event) => Said::User(message(event)),
        Event::UserEventsLost { origin, count } => Said::Lost { node_id: origin.as_str(), count: *count },
        _ => return None,
    })
}

fn message(event: &UserEvent) -> UserMessage<'_> {
    let UserEvent { origin, boot_epoch, sequence, name, payload } = event;
    let hex = || payload.iter().map(|byte| format!("{byte:02x}")).collect();
    let (text, bytes) = match std::str::from_utf8(payload) {
        Ok(text) => (Some(text), None),
        Err(_not_text) => (None, Some(hex())),
    };
    UserMessage {
        node_id: origin.as_str(),
        generation: boot_epoch.to_string(),
        sequence: *sequence,
        name,
        payload: text,
        payload_hex: bytes,
    }
}

fn subject(member: &Member) -> Subject<'_> {
    Subject {
        node_id: member.id.as_str(),
        generation: member.boot_epoch.to_string(),
        incarnation: member.incarnation.0,
        metadata_version: member.metadata_version.0,
        endpoint: member.metadata.endpoint.to_string(),
        correlation_id: CorrelationId::of(member).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::error::Error;
    use std::sync::Arc;
    use std::time::Duration;

    use mesh_types::{BootEpoch, Incarnation, MemberState, MetadataVersion, NodeMetadata};

    use super::*;

    fn member() -> Result<Member, Box<dyn Error>> {
        let metadata = NodeMetadata {
            role: "worker".parse()?,
            cluster: "alpha".parse()?,
            region: "eu-1".parse()?,
            mesh_version: "0.1.0".into(),
            http3_support: true,
            endpoint: "127.0.0.1:17421".parse()?,
            labels: BTreeMap::new(),
            features: mesh_types::Features::default(),
            lifecycle: mesh_types::NodeLifecycle::default(),
            services: std::collections::BTreeSet::new(),
            rpc_endpoint: None,
        };
        Ok(Member {
            id: "node-b".parse()?,
            boot_epoch: BootEpoch(u64::MAX),
            incarnation: Incarnation(2),
            state: MemberState::Alive,
            metadata_version: MetadataVersion(3),
            metadata: Arc::new(metadata),
            last_seen: tokio::time::Instant::now().into_std(),
            rtt: None,
        })
    }

    fn user(payload: &'static [u8]) -> Result<UserEvent, Box<dyn Error>> {
        let (origin, name) = ("node-b".parse()?, "deploy".to_owned());
        Ok(UserEvent { origin, boot_epoch: BootEpoch(7), sequence: 4, name, payload: payload.into() })
    }

    /// Takes what was told 1.5 ms after a clock that showed a second, and returns the lines.
    fn written(all: Vec<Result<Event, Missed>>) -> Result<String, Box<dyn Error>> {
        let at = tokio::time::Instant::now().into_std();
        let clock = MachineClock { at, us: 1_000_000 };
        let mut lines = EventLines { clock, stdout: stdout(), text: Vec::new() };
        let at = at + Duration::from_micros(1_500);
        for told in all {
            lines.take(told.map(|event| Happened { at, event }))?;
        }
        Ok(String::from_utf8(lines.text)?)
    }

    #[test]
    fn each_event_is_a_line_with_its_subject_and_time() -> Result<(), Box<dyn Error>> {
        let told = vec![
            Event::Joined(member()?),
            Event::Recovered(member()?),
            Event::Suspected(member()?),
            Event::Unreachable(member()?),
            Event::Dead(member()?),
            Event::Left(member()?),
            Event::Updated(member()?),
            Event::UserEvent(user(b"v2")?),
            Event::UserEvent(user(&[0xff, 0])?),
            Event::UserEventsLost { origin: "node-b".parse()?, count: 3 },
            Event::Refuted { incarnation: 1 },
        ];
        let rest = r#""nodeId":"node-b","generation":"18446744073709551615","incarnation":2,"metadataVersion":3,"endpoint":"127.0.0.1:17421""#;
        let rest = format!("{rest},\"correlationId\":\"{}\"", CorrelationId::of(&member()?));
        let said = r#""nodeId":"node-b","generation":"7","sequence":4,"name":"deploy""#;
        let plain = |word: &str| format!("{{\"event\":\"{word}\",{rest},\"monotonicUs\":1001500}}\n");
        let up = |recovered: bool| {
            format!("{{\"event\":\"up\",{rest},\"recovered\":{recovered},\"monotonicUs\":1001500}}\n")
        };
        let expected = [up(false), up(true)]
            .into_iter()
            .chain(["suspect", "unreachable", "dead", "left", "update"].map(plain))
            .chain([
                format!("{{\"event\":\"user\",{said},\"payload\":\"v2\",\"monotonicUs\":1001500}}\n"),
                format!("{{\"event\":\"user\",{said},\"payloadHex\":\"ff00\",\"monotonicUs\":1001500}}\n"),
                "{\"event\":\"lost\",\"nodeId\":\"node-b\",\"count\":3,\"monotonicUs\":1001500}\n".to_owned(),
            ])
            .collect::<String>();
        assert_eq!(written(told.into_iter().map(Ok).collect())?, expected);
        Ok(())
    }

    #[test]
    fn a_reader_who_missed_events_is_told_how_many() -> Result<(), Box<dyn Error>> {
        let text = written(vec![Err(Missed { count: 7 })])?;
        assert!(text.starts_with("{\"event\":\"missed\",\"count\":7,\"monotonicUs\":"), "{text}");
        Ok(())
    }

    #[test]
    fn times_before_the_clock_was_read_are_earlier() {
        let at = tokio::time::Instant::now().into_std() + Duration::from_secs(1);
        let clock = MachineClock { at, us: 5_000 };
        let us = [at - Duration::from_micros(2), at, at + Duration::from_micros(3)].map(|at| clock.us_at(at));
        assert_eq!(us, [4_998, 5_000, 5_003]);
    }
}
