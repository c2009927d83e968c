//! What happened in a run.

use std::fmt;
use std::time::Duration;

use membership::Event;
use mesh_types::NodeId;

/// One event of one node. Two runs of the same settings have equal logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// When, since the start of the run.
    pub at: Duration,
    /// Whose core said it.
    pub node: NodeId,
    /// The kind of event, such as `joined`.
    pub kind: &'static str,
    /// Whom it is about, with what the node holds of it.
    pub about: String,
}

impl LogEntry {
    pub(crate) fn new(at: Duration, node: NodeId, event: &Event) -> Self {
        let about = match event {
            Event::Joined(member)
            | Event::Updated(member)
            | Event::Suspected(member)
            | Event::Recovered(member)
            | Event::Unreachable(member)
            | Event::Dead(member)
            | Event::Left(member) => {
                format!("{} {}.{} v{}", member.id, member.boot_epoch, member.incarnation, member.metadata_version)
            }
            Event::UpdateRejected { node: subject, reason, detail } => format!("{subject} {reason}: {detail}"),
            other => format!("{other:?}"),
        };
        Self { at, node, kind: event.name(), about }
    }
}

impl fmt::Display for LogEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>12.6} {} {} {}", self.at.as_secs_f64(), self.node, self.kind, self.about)
    }
}
