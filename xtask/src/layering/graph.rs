//! The dependency graph as the rules see it: packages, whose they are, and who needs whom.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Deserialize;

/// What a crate of the house is for, as its manifest states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Reaches no runtime, socket, file, clock or environment, at any depth.
    Pure,
    /// Wire formats: generated code and size limits.
    Codec,
    /// Sockets, files and tasks around a pure core.
    Io,
    /// A program we ship.
    Bin,
    /// A kit for tests.
    Dev,
    /// Builds and checks; never shipped.
    Tool,
}

impl Kind {
    /// Returns whether crates of this kind are part of what ships.
    pub(crate) fn ships(self) -> bool {
        !matches!(self, Self::Dev | Self::Tool)
    }
}

/// The `[package.metadata.house]` table of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct House {
    pub(crate) floor: u8,
    pub(crate) kind: Kind,
}

/// Whose package this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A workspace member with a valid house table.
    Us(House),
    /// A workspace member without one; says what is wrong with it.
    Undeclared(String),
    /// From a registry.
    Others,
}

/// One package of the graph. Dev-dependencies are not edges: tests may look anywhere.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) owner: Owner,
    /// Ids of what it needs to run.
    pub(crate) normal: BTreeSet<String>,
    /// Ids of what its build script needs.
    pub(crate) build: BTreeSet<String>,
}

impl Package {
    pub(crate) fn house(&self) -> Option<House> {
        match self.owner {
            Owner::Us(house) => Some(house),
            Owner::Undeclared(_) | Owner::Others => None,
        }
    }

    pub(crate) fn kind(&self) -> Option<Kind> {
        self.house().map(|house| house.kind)
    }
}

/// The resolved packages by id. Ids tell two versions of one name apart.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    pub(crate) packages: BTreeMap<String, Package>,
}

impl Graph {
    /// Iterates over the workspace members that declare their floor, in the order of their ids.
    pub(crate) fn ours(&self) -> impl Iterator<Item = (&Package, House)> {
        self.packages.values().filter_map(|package| package.house().map(|house| (package, house)))
    }

    /// Iterates over the packages behind `ids`.
    pub(crate) fn resolve<'g>(
        &'g self,
        ids: impl IntoIterator<Item = &'g String>,
    ) -> impl Iterator<Item = &'g Package> {
        ids.into_iter().filter_map(|id| self.packages.get(id))
    }

    /// Finds the shortest way from `start` over normal dependencies to a package that `wanted` accepts, as
    /// names with both ends included. It never goes on through a package that `through` refuses.
    pub(crate) fn shortest_path(
        &self,
        start: &Package,
        wanted: impl Fn(&Package) -> bool,
        through: impl Fn(&Package) -> bool,
    ) -> Option<Vec<String>> {
        let mut seen = BTreeSet::new();
        let mut queue = VecDeque::from([(start, vec![start.name.clone()])]);
        while let Some((package, path)) = queue.pop_front() {
            for id in &package.normal {
                let Some(next) = self.packages.get(id).filter(|_| seen.insert(id)) else { continue };
                let mut path = path.clone();
                path.push(next.name.clone());
                if wanted(next) {
                    return Some(path);
                }
                if through(next) {
                    queue.push_back((next, path));
                }
            }
        }
        None
    }
}
