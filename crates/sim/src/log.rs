//! What happened in a run.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::Hasher;
use std::time::Duration;

use membership::Event;
use mesh_types::NodeId;
use twox_hash::XxHash64;

/// One event of one node. Two runs of the same settings have equal logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// When, since the start of the run.
    pub at: Duration,
    /// Whose core said it.
    pub node: NodeId,
    /// The kind of event, such as `joined`.
    pub kind: &'static str,
    /// The member it is about, if it is about another.
    pub subject: Option<NodeId>,
    /// Whom it is about, with what the node holds of it.
    pub about: String,
}

impl LogEntry {
    pub(crate) fn new(at: Duration, node: NodeId, event: &Event) -> Self {
        let about = match event.member() {
            Some(member) => {
                format!("{} {}.{} v{}", member.id, member.boot_epoch, member.incarnation, member.metadata_version)
            }
            None => match event {
                Event::UserEvent(event) => format!("{event:?}"),
                Event::UserEventsLost { origin, count } => format!("{origin} {count}"),
                Event::UpdateRejected { node: subject, reason, detail } => format!("{subject} {reason}: {detail}"),
                other => format!("{other:?}"),
            },
        };
        Self { at, node, kind: event.name(), subject: event.member().map(|member| member.id.clone()), about }
    }
}

impl fmt::Display for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12.6} {} {} {}", self.at.as_secs_f64(), self.node, self.kind, self.about)
    }
}

/// All events: hashed and counted always, kept if wanted.
#[derive(Debug)]
pub(crate) struct Log {
    keeps: bool,
    hash: XxHash64,
    pub(crate) entries: Vec<LogEntry>,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    /// How often whom somebody has held for unreachable or dead.
    pub(crate) declared: BTreeMap<NodeId, u64>,
}

impl Log {
    pub(crate) fn new(keeps: bool) -> Self {
        Self {
            keeps,
            hash: XxHash64::with_seed(0),
            entries: Vec::new(),
            counts: BTreeMap::new(),
            declared: BTreeMap::new(),
        }
    }

    pub(crate) fn add(&mut self, at: Duration, node: &NodeId, event: &Event) {
        *self.counts.entry(event.name()).or_default() += 1;
        self.hash.write_u128(at.as_nanos());
        self.hash.write(node.as_str().as_bytes());
        self.hash.write(event.name().as_bytes());
        if let Event::Unreachable(member) | Event::Dead(member) = event {
            *self.declared.entry(member.id.clone()).or_default() += 1;
        }
        if let Some(member) = event.member() {
            self.hash.write(member.id.as_str().as_bytes());
            self.hash.write_u64(member.boot_epoch.0);
            self.hash.write_u64(member.incarnation.0);
            self.hash.write_u64(member.metadata_version.0);
        }
        if self.keeps {
            self.entries.push(LogEntry::new(at, node.clone(), event));
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash.finish()
    }
}
