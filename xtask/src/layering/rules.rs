//! The rules of the house, each with the sentence a person reads when it is broken.

use std::collections::BTreeMap;
use std::fmt;

use super::graph::{Graph, House, Kind, Owner, Package};

/// Crates that touch the world. Families are matched too: `tokio-*`, `hyper-*`, `quinn-*`.
const IO_CRATES: [&str; 11] =
    ["axum", "figment", "h3", "hyper", "mio", "quinn", "rustls", "socket2", "tokio", "tonic", "tower-http"];
const IO_FAMILIES: [&str; 3] = ["hyper-", "quinn-", "tokio-"];

/// The longest chain of crates that ship, counted in crates.
const CHAIN_MAX: usize = 7;

/// A crate that only some may use.
struct Reserved {
    name: &'static str,
    may_use: fn(&str, Kind) -> bool,
    for_whom: &'static str,
}

const RESERVED: [Reserved; 4] = [
    Reserved {
        name: "bootstrap",
        may_use: |user, kind| user == "omnirelay-node" || !kind.ships(),
        for_whom: "the dev command of omnirelay-node and test kits",
    },
    Reserved { name: "figment", may_use: |user, _| user == "omnirelay-node", for_whom: "omnirelay-node" },
    Reserved { name: "rcgen", may_use: |user, _| user == "bootstrap", for_whom: "bootstrap" },
    Reserved {
        name: "telemetry",
        may_use: |_, kind| matches!(kind, Kind::Bin | Kind::Tool),
        for_whom: "binaries and tools",
    },
];

/// Pairs of our crates where the first must not reach the second at any depth.
const STRANGERS: [(&str, &str); 1] = [("control-api", "gossip")];

/// One broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Violation {
    /// A workspace member does not say where it stands.
    Undeclared { package: String, why: String },
    /// A dependency that does not go down.
    NotDown { from: String, from_floor: u8, to: String, to_floor: u8 },
    /// A pure crate reaches the world; the path says how.
    Impure { path: Vec<String> },
    /// A test kit in something that ships.
    DevKit { user: String, kit: String },
    /// A crate used by one it is not meant for; the path says how.
    NotForYou { path: Vec<String>, for_whom: &'static str },
    /// Two crates that must not know each other; the path says how they do.
    Strangers { path: Vec<String> },
    /// A chain of crates longer than [`CHAIN_MAX`].
    ChainTooLong { path: Vec<String> },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undeclared { package, why } => write!(f, "`{package}` {why}"),
            Self::NotDown { from, from_floor, to, to_floor } => {
                let way = if from_floor == to_floor { "sideways" } else { "up" };
                write!(f, "`{from}` (floor {from_floor}) depends {way} on `{to}` (floor {to_floor})")
            }
            Self::Impure { path } => write!(f, "pure crate reaches I/O: {}", path.join(" -> ")),
            Self::DevKit { user, kit } => {
                write!(f, "`{user}` ships, but depends on the test kit `{kit}`: make it a dev-dependency")
            }
            Self::NotForYou { path, for_whom } => {
                write!(f, "{}: the last is only for {for_whom}", path.join(" -> "))
            }
            Self::Strangers { path } => write!(f, "these must not know each other: {}", path.join(" -> ")),
            Self::ChainTooLong { path } => {
                write!(f, "chain of {} crates, at most {CHAIN_MAX}: {}", path.len(), path.join(" -> "))
            }
        }
    }
}

/// Returns every broken rule of `graph`, in the order of the crates' ids; empty when all hold.
pub(crate) fn check(graph: &Graph) -> Vec<Violation> {
    let mut found = undeclared(graph);
    for (package, house) in graph.ours() {
        found.extend(edges_go_down(graph, package, house));
        found.extend(stays_pure(graph, package, house));
        found.extend(keeps_kits_out(graph, package, house));
        found.extend(uses_what_it_may(graph, package, house));
        found.extend(keeps_distance(graph, package));
    }
    found.extend(longest_chain(graph));
    found
}

fn undeclared(graph: &Graph) -> Vec<Violation> {
    let why = |package: &Package| match &package.owner {
        Owner::Undeclared(why) => Some(Violation::Undeclared { package: package.name.clone(), why: why.clone() }),
        Owner::Us(_) | Owner::Others => None,
    };
    graph.packages.values().filter_map(why).collect()
}

fn edges_go_down(graph: &Graph, package: &Package, house: House) -> Vec<Violation> {
    let not_down = |to: &Package| {
        let to_floor = to.house()?.floor;
        (to_floor >= house.floor).then(|| Violation::NotDown {
            from: package.name.clone(),
            from_floor: house.floor,
            to: to.name.clone(),
            to_floor,
        })
    };
    graph.resolve(package.normal.union(&package.build)).filter_map(not_down).collect()
}

/// One violation a crate, by the shortest way. What another pure crate drags in is told there.
fn stays_pure(graph: &Graph, package: &Package, house: House) -> Option<Violation> {
    if house.kind != Kind::Pure {
        return None;
    }
    let is_pure = |next: &Package| next.kind() == Some(Kind::Pure);
    let path = graph.shortest_path(package, |next| is_io(&next.name), |next| !is_pure(next))?;
    Some(Violation::Impure { path })
}

fn is_io(name: &str) -> bool {
    IO_CRATES.contains(&name) || IO_FAMILIES.iter().any(|family| name.starts_with(family))
}

fn keeps_kits_out(graph: &Graph, package: &Package, house: House) -> Vec<Violation> {
    if !house.kind.ships() {
        return Vec::new();
    }
    let is_kit = |to: &&Package| to.kind() == Some(Kind::Dev);
    let violation = |to: &Package| Violation::DevKit { user: package.name.clone(), kit: to.name.clone() };
    graph.resolve(package.normal.union(&package.build)).filter(is_kit).map(violation).collect()
}

/// Follows other people's crates only: what one of ours uses is judged at that one.
fn uses_what_it_may(graph: &Graph, package: &Package, house: House) -> Vec<Violation> {
    let broken = |reserved: &Reserved| {
        if (reserved.may_use)(&package.name, house.kind) {
            return None;
        }
        let is_reserved = |next: &Package| next.name == reserved.name;
        let path = graph.shortest_path(package, is_reserved, |next| next.owner == Owner::Others)?;
        Some(Violation::NotForYou { path, for_whom: reserved.for_whom })
    };
    RESERVED.iter().filter_map(broken).collect()
}

fn keeps_distance(graph: &Graph, package: &Package) -> Vec<Violation> {
    let reached = |&(_, to): &(&str, &str)| {
        let path = graph.shortest_path(package, |next| next.name == to, |_| true)?;
        Some(Violation::Strangers { path })
    };
    STRANGERS.iter().filter(|(from, _)| *from == package.name).filter_map(reached).collect()
}

/// Reports the longest chain of crates that ship, when it is too long.
fn longest_chain(graph: &Graph) -> Option<Violation> {
    let mut known = BTreeMap::new();
    let chains = graph.ours().filter(|(_, house)| house.kind.ships()).map(|(p, _)| chain_below(graph, p, &mut known));
    let path = chains.max_by_key(Vec::len).filter(|path| path.len() > CHAIN_MAX)?;
    Some(Violation::ChainTooLong { path })
}

/// Returns the longest chain that starts at `package`. It follows edges that go down only, so it ends even
/// where the edges make a circle.
fn chain_below(graph: &Graph, package: &Package, known: &mut BTreeMap<String, Vec<String>>) -> Vec<String> {
    if let Some(chain) = known.get(&package.name) {
        return chain.clone();
    }
    let floor = package.house().map(|house| house.floor);
    let mut longest = Vec::new();
    for next in graph.resolve(&package.normal).filter(|next| next.house().is_some()) {
        if next.house().map(|house| house.floor) < floor {
            longest = longer(longest, chain_below(graph, next, known));
        }
    }
    longest.insert(0, package.name.clone());
    known.insert(package.name.clone(), longest.clone());
    longest
}

fn longer(a: Vec<String>, b: Vec<String>) -> Vec<String> {
    if b.len() > a.len() { b } else { a }
}

#[cfg(test)]
mod tests;
