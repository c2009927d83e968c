//! What a development mesh tells its user.

use std::net::SocketAddr;
use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::value::RawValue;

use super::mesh::{Discovery, Mesh};
use super::workspace::Workspace;
use crate::demo;

/// The one line of `--once --json`.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    nodes: usize,
    discovery_ms: u128,
    members: &'a [Box<RawValue>],
}

/// Returns the one line of `--once --json`.
///
/// # Errors
/// Never with members that came as JSON.
pub(crate) fn json(discovery: &Discovery) -> Result<String, serde_json::Error> {
    let members = &discovery.seen.documents;
    let summary = Summary { nodes: members.len(), discovery_ms: whole_ms(discovery.discovery), members };
    serde_json::to_string(&summary)
}

/// Returns the time it took and the members, with where each can be asked.
pub(crate) fn summary(discovery: &Discovery, mesh: &Mesh, workspace: &Workspace) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["NODE", "STATUS", "GOSSIP", "CONTROL", "PID"]);
    for node in &mesh.nodes {
        let child = &node.child;
        let member = discovery.seen.members.iter().find(|member| member.node_id == child.name);
        table.add_row([
            child.name.clone(),
            member.map_or("-", |member| &member.status).to_owned(),
            child.gossip.to_string(),
            workspace.url(child.control),
            child.pid.to_string(),
        ]);
    }
    let rows: String = table.to_string().lines().map(|line| format!("\n{}", line.trim())).collect();
    let (count, start, found) = (mesh.nodes.len(), whole_ms(discovery.start), whole_ms(discovery.discovery));
    format!(
        "{count} nodes started in {start} ms and found one another within {found} ms after the last was up.\n{rows}"
    )
}

/// Returns what to try next.
pub(crate) fn hints(mesh: &Mesh, workspace: &Workspace) -> String {
    let (Some(first), Some(last)) = (mesh.nodes.first(), mesh.nodes.last()) else { return String::new() };
    let url = workspace.url(first.child.control);
    let (victim, pid) = (&last.child.name, last.child.pid);
    let call = first.child.rpc.map(|rpc| call(&first.child.name, rpc, workspace)).unwrap_or_default();
    let calls_go_on = if call.is_empty() { "" } else { "; calls go on" };
    format!(
        "\nTry in another terminal, and watch what the nodes say of one another below:\n\
         \x20 kill -9 {pid}\n\
         \x20     {victim} dies: the others suspect it, agree, and drop it within the suspicion time (5 s){calls_go_on}\n\
         {call}\
         \x20 {client} mesh peers list --endpoint {url}{cli}\n\
         \x20     the members as {observer} sees them\n\
         \x20 curl -s{curl} {url}/metrics | grep ^mesh_gossip\n\
         \x20     what {observer} counts\n\n\
         Logs and certificates: {dir}. Ctrl-C stops all nodes and removes them.\n",
        observer = first.child.name,
        client = client(),
        cli = workspace.cli_flags(),
        curl = workspace.curl_flags(),
        dir = workspace.path().display(),
    )
}

/// Returns how to call the service of `node`, which takes calls at `rpc`.
fn call(node: &str, rpc: SocketAddr, workspace: &Workspace) -> String {
    let procedure = demo::hello();
    format!(
        "\x20 {client} request {service} {name} -d '\"Ada\"' --via https://{rpc}{flags}\n\
         \x20     a call to {node}, like those that are counted below; they go to whichever node is best\n\
         \x20     (--calls-per-second 0 switches them off)\n",
        client = client(),
        service = procedure.service(),
        name = procedure.name(),
        flags = workspace.certificate_flags(),
    )
}

/// Returns how to call the command line client from where this program was called.
fn client() -> String {
    // Without a path of its own, this program cannot say where the other one is.
    let beside = std::env::current_exe().ok().map(|exe| exe.with_file_name("omnirelay")).filter(|path| path.is_file());
    match beside {
        Some(path) => path.display().to_string(),
        // Cargo tells the programs that it runs where it is.
        None if std::env::var_os("CARGO").is_some() => "cargo run --quiet --package omnirelay-cli --".to_owned(),
        None => "omnirelay".to_owned(),
    }
}

fn whole_ms(duration: Duration) -> u128 {
    // Rounded up: a time of 0 ms would look like no time at all.
    duration.as_micros().div_ceil(1000)
}
