//! `cargo metadata` into a [`Graph`].

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;

use super::graph::{Graph, House, Owner, Package};
use crate::process::{self, TARGET};

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<RawPackage>,
    workspace_members: BTreeSet<String>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct RawPackage {
    id: String,
    name: String,
    metadata: Value,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<EdgeKind>,
}

#[derive(Deserialize)]
struct EdgeKind {
    /// Absent for a normal dependency, else `build` or `dev`.
    kind: Option<String>,
}

/// Reads the graph of the workspace at `manifest`, resolved for the platform we ship.
///
/// # Errors
/// When cargo fails or its answer cannot be read.
pub(super) fn read(manifest: &Path) -> anyhow::Result<Graph> {
    let mut cargo = process::cargo(["metadata", "--format-version=1", "--filter-platform", TARGET]);
    let json = process::stdout_of(cargo.arg("--manifest-path").arg(manifest))?;
    let metadata: Metadata = serde_json::from_str(&json).context("cannot read the answer of cargo metadata")?;
    Ok(graph_of(metadata))
}

fn graph_of(metadata: Metadata) -> Graph {
    let Metadata { packages, workspace_members, resolve } = metadata;
    let edges: BTreeMap<String, Vec<Edge>> = resolve.nodes.into_iter().map(|node| (node.id, node.deps)).collect();
    let packages = packages.into_iter().map(|raw| {
        let owner = if workspace_members.contains(&raw.id) { owner_of(&raw.metadata) } else { Owner::Others };
        let targets = |wanted: Option<&str>| -> BTreeSet<String> {
            let of_kind = |edge: &&Edge| edge.dep_kinds.iter().any(|kind| kind.kind.as_deref() == wanted);
            edges.get(&raw.id).into_iter().flatten().filter(of_kind).map(|edge| edge.pkg.clone()).collect()
        };
        (raw.id.clone(), Package { owner, normal: targets(None), build: targets(Some("build")), name: raw.name })
    });
    Graph { packages: packages.collect() }
}

fn owner_of(metadata: &Value) -> Owner {
    let Some(house) = metadata.get("house") else {
        return Owner::Undeclared("has no [package.metadata.house] with floor and kind".to_owned());
    };
    match House::deserialize(house) {
        Ok(house) => Owner::Us(house),
        Err(error) => Owner::Undeclared(format!("has a bad [package.metadata.house]: {error}")),
    }
}
