//! Prints what changes in a development mesh.

use std::collections::BTreeMap;
use std::io::IsTerminal as _;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use super::api::Member;
use super::error::DevError;
use super::load::Load;
use super::mesh::Mesh;
use super::screen::Screen;
use super::{say, write};

/// How often the nodes are asked. Changes closer together than this show as one.
const PERIOD: Duration = Duration::from_millis(100);

/// Rounds without an answer until that is told: a process that dies is silent for one before it has ended.
const SILENT_ROUNDS: u32 = 2;

/// What one node was last known to say.
#[derive(Debug, Default)]
struct View {
    /// The state of each member; empty until the first answer.
    states: BTreeMap<String, String>,
    /// Rounds without an answer since the last one.
    silent: u32,
}

/// Prints every change that any node reports, the end of each process, and what the calls of `load` come to, until the last process has
/// ended. The load is told of the peers that the first node sees.
pub(crate) async fn follow(mesh: &mut Mesh, load: Option<&Load>, screen: &mut Screen) -> Result<(), DevError> {
    let began = Instant::now();
    let mut views: BTreeMap<String, View> = BTreeMap::new();
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !mesh.nodes.is_empty() {
        ticks.tick().await;
        let (mut lines, mut followed) = (bury_the_dead(mesh)?, load);
        for node in &mut mesh.nodes {
            let view = views.entry(node.child.name.clone()).or_default();
            // Why is not shown: the process has died, which the next round tells, or it hangs.
            let answer = node.api.members().await.ok();
            if let Some(answer) = &answer
                && let Some(follower) = followed.take()
            {
                follower.follows(&answer.documents);
            }
            lines.extend(view.update(&node.child.name, answer.map(|answer| answer.members)));
        }
        for line in lines {
            write(&screen.line(began.elapsed(), &line))?;
        }
        if let Some(counts) = load.and_then(|load| screen.counts(began.elapsed(), load.counts())) {
            write(&counts)?;
        }
    }
    write(screen.end())?;
    say("all nodes have ended")
}

/// Returns what standard output shows, depending on what it is.
pub(crate) fn screen() -> Screen {
    Screen::new(std::io::stdout().is_terminal())
}

/// Takes the processes that have ended out of the mesh.
fn bury_the_dead(mesh: &mut Mesh) -> Result<Vec<String>, DevError> {
    let mut lines = Vec::new();
    let mut running = Vec::new();
    for mut node in mesh.nodes.drain(..) {
        match node.child.ended()? {
            Some(status) => lines.push(format!("{} (pid {}) has ended: {status}", node.child.name, node.child.pid)),
            None => running.push(node),
        }
    }
    mesh.nodes = running;
    Ok(lines)
}

impl View {
    /// Takes the next answer, `None` if there was none, and returns what `observer` newly says.
    fn update(&mut self, observer: &str, members: Option<Vec<Member>>) -> Vec<String> {
        let Some(members) = members else {
            self.silent = self.silent.saturating_add(1);
            let newly = self.silent == SILENT_ROUNDS;
            return if newly { vec![format!("{observer} does not answer")] } else { Vec::new() };
        };
        let was_silent = std::mem::take(&mut self.silent) >= SILENT_ROUNDS;
        let spoke_again = was_silent.then(|| format!("{observer} answers again"));
        let first = self.states.is_empty();
        let states: BTreeMap<_, _> = members.iter().map(|m| (m.node_id.clone(), m.word().to_owned())).collect();
        let before = std::mem::replace(&mut self.states, states);
        let changes = self.states.iter().filter_map(|(id, state)| match before.get(id) {
            _ if first => None,
            Some(earlier) if earlier == state => None,
            Some(earlier) => Some(format!("{observer} sees {id}: {earlier} -> {state}")),
            None => Some(format!("{observer} sees {id}: new, {state}")),
        });
        let gone = before.keys().filter(|id| !self.states.contains_key(*id));
        let gone = gone.map(|id| format!("{observer} sees {id}: forgotten"));
        spoke_again.into_iter().chain(changes).chain(gone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(view: &mut View, members: Option<&[(&str, &str)]>, lines: &[&str]) {
        let member = |(id, state): &(&str, &str)| Member {
            node_id: (*id).to_owned(),
            status: "Alive".to_owned(),
            state: Some((*state).to_owned()),
        };
        let members = members.map(|members| members.iter().map(member).collect());
        assert_eq!(view.update("node-a", members), lines);
    }

    #[test]
    fn only_what_changes_is_told() {
        let mut view = View::default();
        check(&mut view, Some(&[("node-a", "Alive"), ("node-b", "Alive")]), &[]);
        check(
            &mut view,
            Some(&[("node-a", "Alive"), ("node-b", "Suspect")]),
            &["node-a sees node-b: Alive -> Suspect"],
        );
        check(&mut view, Some(&[("node-a", "Alive"), ("node-b", "Suspect")]), &[]);
        check(
            &mut view,
            Some(&[("node-a", "Alive"), ("node-c", "Alive")]),
            &["node-a sees node-c: new, Alive", "node-a sees node-b: forgotten"],
        );
    }

    #[test]
    fn silence_is_told_once_and_its_end_too() {
        let mut view = View::default();
        check(&mut view, Some(&[("node-a", "Alive")]), &[]);
        check(&mut view, None, &[]);
        check(&mut view, None, &["node-a does not answer"]);
        check(&mut view, None, &[]);
        check(&mut view, Some(&[("node-a", "Alive")]), &["node-a answers again"]);
        check(&mut view, None, &[]);
        check(&mut view, Some(&[("node-a", "Alive")]), &[]);
    }
}
