//! Real gRPC calls between processes.
//!
//! - `rpc interop PYTHON` holds our server and our client factory to stacks that others have made: grpcio for HTTP/2, aioquic for
//!   HTTP/3. `cargo xtask interop grpc` runs it, with a Python that has both; the scripts are in `tests/interop`.
//! - `rpc mesh PYTHON NODE` has clients of others call an application of another make through real nodes, whose binary is `NODE`.
//!   `cargo xtask interop mesh` runs it.
//! - `rpc hold own|shared [PART]` holds both to what is promised when something breaks: servers are killed and drained, packets are
//!   dropped, certificates renewed. `cargo xtask hyperscale rpc` runs it; packets are dropped only in a network namespace of its own.
//! - `rpc endpoints ADDRESS FIRST COUNT FOLDER` is many servers of such a run, each a node.
//! - `rpc serve KIND ADDRESS COUNT FOLDER` is a server of such a run.
#![expect(clippy::print_stdout, reason = "a check for people and CI: printing is its work")]

mod calls;
mod certificates;
mod endpoints;
mod faults;
mod held;
mod interop;
mod load;
mod mesh;
mod pairs;
mod process;
mod report;
mod script;
mod serve;
mod serving;

use std::process::ExitCode;

use anyhow::bail;
use peak_alloc::PeakAlloc;

/// Counts the memory in use: what the system says includes what the allocator keeps for later.
#[global_allocator]
pub(crate) static MEMORY: PeakAlloc = PeakAlloc;

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["interop", python] => interop::run(python.as_ref()).await,
        ["mesh", python, node] => mesh::run(python.as_ref(), node.as_ref()).await,
        ["hold", network] => faults::run(network.parse()?, None).await,
        ["hold", network, part] => faults::run(network.parse()?, Some(part)).await,
        ["serve", kind, address, count, folder] => {
            serve::run(kind.parse()?, address.parse()?, count.parse()?, folder.as_ref()).await?;
            Ok(ExitCode::SUCCESS)
        }
        ["endpoints", address, first, count, folder] => {
            endpoints::run(address.parse()?, first.parse()?, count.parse()?, folder.as_ref()).await?;
            Ok(ExitCode::SUCCESS)
        }
        _ => bail!(
            "usage: rpc interop PYTHON | mesh PYTHON NODE | hold own|shared [PART] | serve KIND ADDRESS COUNT FOLDER | \
             endpoints ADDRESS FIRST COUNT FOLDER"
        ),
    }
}
