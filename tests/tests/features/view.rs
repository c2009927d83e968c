//! What the command line, the control endpoint and the metrics of a node say, and whether it is the same.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use futures_util::future::try_join_all;
use serde_json::Value;
use tokio::time::{Instant, interval};

use crate::mesh::{Mesh, Node, VISITOR};
use crate::process::within_limit;
use crate::{Failure, Outcome};

/// How long the three may differ after something was done.
const AGREED: Duration = Duration::from_secs(2);

/// How often they are asked meanwhile.
const TICK: Duration = Duration::from_millis(20);

/// How many members are in which state, and take which work.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Members {
    /// By `alive`, `suspect` or `left`.
    statuses: BTreeMap<String, u64>,
    /// By `active`, `cordoned` or `draining`; those that have left take none.
    lifecycles: BTreeMap<String, u64>,
}

impl Members {
    /// Returns so many members of each status, and of each lifecycle.
    pub(crate) fn of(statuses: &[(&str, u64)], lifecycles: &[(&str, u64)]) -> Self {
        let owned = |all: &[(&str, u64)]| all.iter().map(|(word, count)| ((*word).to_owned(), *count)).collect();
        Self { statuses: owned(statuses), lifecycles: owned(lifecycles) }
    }

    fn add(&mut self, status: &str, lifecycle: &str) {
        let status = status.to_lowercase();
        if status != "left" {
            *self.lifecycles.entry(lifecycle.to_owned()).or_default() += 1;
        }
        *self.statuses.entry(status).or_default() += 1;
    }

    /// Reads the table of `mesh peers list`.
    fn of_table(table: &str) -> Result<Self, Failure> {
        let mut rows = table.lines();
        let titles = rows.next().ok_or("no table")?;
        let column = |title: &str| titles.split_whitespace().position(|cell| cell == title);
        let (status, lifecycle) =
            column("STATUS").zip(column("LIFECYCLE")).ok_or_else(|| format!("no table: {table}"))?;
        let mut members = Self::default();
        for row in rows {
            let cells: Vec<_> = row.split_whitespace().collect();
            let (status, lifecycle) = cells.get(status).zip(cells.get(lifecycle)).ok_or_else(|| row.to_owned())?;
            members.add(status, lifecycle);
        }
        Ok(members)
    }

    /// Reads the answer of `/control/peers`.
    fn of_document(document: &Value) -> Result<Self, Failure> {
        let mut members = Self::default();
        for peer in document["peers"].as_array().ok_or("no peers")? {
            let word = |value: &Value| value.as_str().map(str::to_owned).ok_or_else(|| peer.to_string());
            members.add(&word(&peer["status"])?, &word(&peer["metadata"]["lifecycle"])?);
        }
        Ok(members)
    }

    /// Reads `/metrics`.
    fn of_metrics(metrics: &str) -> Self {
        let by = |name: &str, label: &str| {
            let series = series(metrics, name).filter(|(_, value)| *value > 0.0);
            series.filter_map(|(labels, value)| Some((of_label(labels, label)?, whole(value)))).collect()
        };
        Self {
            statuses: by("mesh_gossip_members", "mesh_status"),
            lifecycles: by("mesh_gossip_members_by_lifecycle", "mesh_lifecycle"),
        }
    }
}

/// Returns labels and value of each series of a metric.
pub(crate) fn series<'a>(metrics: &'a str, name: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    metrics.lines().filter_map(move |line| {
        let (labels, value) = line.strip_prefix(name)?.rsplit_once(' ')?;
        let is_it = labels.is_empty() || labels.starts_with('{');
        if is_it { Some((labels, value.parse().ok()?)) } else { None }
    })
}

/// Returns the sum of the series of a metric whose labels hold all of `parts`.
pub(crate) fn sum(metrics: &str, name: &str, parts: &[&str]) -> u64 {
    let of_it = series(metrics, name).filter(|(labels, _)| parts.iter().all(|part| labels.contains(part)));
    whole(of_it.map(|(_, value)| value).sum())
}

fn of_label(labels: &str, label: &str) -> Option<String> {
    let (_, rest) = labels.split_once(&format!("{label}=\""))?;
    Some(rest.split_once('"')?.0.to_owned())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts, and few")]
fn whole(value: f64) -> u64 {
    value as u64
}

/// What three say, and who they are.
pub(crate) type Said<T> = [(&'static str, T); 3];

impl Mesh {
    /// Asks until all three say what is `expected`, or two seconds have passed since now.
    pub(crate) async fn agreed<T: Debug + PartialEq>(
        &self,
        after: &str,
        expected: &T,
        ask: impl AsyncFn() -> Result<Said<T>, Failure>,
    ) -> Outcome {
        let until = Instant::now() + AGREED;
        let mut ticks = interval(TICK);
        loop {
            ticks.tick().await;
            let begun = Instant::now();
            let said = ask().await?;
            if said.iter().all(|(_, word)| word == expected) {
                return Ok(());
            }
            if begun > until {
                let said: Vec<_> = said.iter().map(|(who, word)| format!("{who}: {word:?}")).collect();
                return Err(format!("{AGREED:?} after {after}:\n{}\nexpected: {expected:?}", said.join("\n")).into());
            }
        }
    }

    /// Holds that command line, control endpoint and metrics say of each of `nodes` that its members are as `expected`.
    pub(crate) async fn members_agreed(&self, nodes: &[&Node], after: &str, expected: &Members) -> Outcome {
        let each = nodes.iter().map(|node| {
            let what = format!("{after}, seen by {}", node.name);
            async move { self.agreed(&what, expected, async || self.members(node).await).await }
        });
        try_join_all(each).await.map(drop)
    }

    /// Waits until one of `nodes` sees its members as `expected`.
    pub(crate) async fn seen_by_one(&self, nodes: &[&Node], expected: &Members) -> Outcome {
        let mut ticks = interval(TICK);
        let seen = async {
            for node in nodes.iter().cycle() {
                ticks.tick().await;
                if Members::of_document(&self.document(node, "/control/peers").await?)? == *expected {
                    return Ok(());
                }
            }
            Err("there is no node to ask".into())
        };
        within_limit("the members are seen as they are", seen).await?
    }

    async fn members(&self, node: &Node) -> Result<Said<Members>, Failure> {
        let list = self.cli(VISITOR, node, &["mesh", "peers", "list"]).await?.done()?;
        Ok([
            ("mesh peers list", Members::of_table(&list)?),
            ("/control/peers", Members::of_document(&self.document(node, "/control/peers").await?)?),
            ("/metrics", Members::of_metrics(&self.metrics(node).await?)),
        ])
    }

    pub(crate) async fn metrics(&self, node: &Node) -> Result<String, Failure> {
        Ok(self.get(node, "/metrics").await?.1)
    }
}
