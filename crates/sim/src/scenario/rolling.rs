//! A mesh that is brought from one release to the next, node by node.

use std::time::Duration;

use super::{PATIENCE, at_rest};
use crate::{Release, Settings};

/// Pause between two nodes.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a node is away.
const AWAY: Duration = Duration::from_millis(300);

/// How a change of releases went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rolled {
    /// Times that a member was declared: each says goodbye before it goes.
    pub declared: usize,
    /// Records of newer nodes that other nodes passed on without what they do not know.
    pub stripped: u64,
    /// From the last start until all see all and know the same.
    pub settled: Duration,
}

/// Starts a mesh of the release before, and brings each node to this one, or to the one after: so three releases are in it for a while.
/// `None` if it does not settle within a minute.
#[must_use]
pub fn rolling(settings: Settings) -> Option<Rolled> {
    let settings = Settings { keeps_log: true, release: Release::Before, ..settings };
    let mut mesh = at_rest(settings)?;
    let (begin, nodes) = (mesh.elapsed(), mesh.size());
    for number in 0..nodes {
        mesh.leave(number);
        mesh.set_release(number, if number % 2 == 0 { Release::This } else { Release::After });
        mesh.start_node(number, AWAY);
        mesh.run_for(PAUSE);
        mesh.set_label((number + nodes / 2) % nodes, "turn", &number.to_string());
    }
    let settled = mesh.run_until(PATIENCE, |seen| seen.all_see_all() && seen.digests_agree())?;
    mesh.run_for(Duration::from_secs(30));
    let declared = mesh.log().iter().filter(|entry| entry.at >= begin && matches!(entry.kind, "unreachable" | "dead"));
    Some(Rolled { declared: declared.count(), stripped: mesh.stripped_records(), settled })
}
