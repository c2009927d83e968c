//! `cargo xtask interop`: our crates against stacks that others have made.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, bail};

use crate::doctor;
use crate::node::WhichNode;
use crate::process::{cargo, succeeds};

/// What is held to whom.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Options {
    /// Our gRPC server and client factory, each to grpcio over HTTP/2 and to aioquic over HTTP/3.
    Grpc {
        /// The Python that has aioquic, grpcio and `curl_cffi`.
        #[arg(long, default_value = "python3", value_name = "PATH")]
        python: PathBuf,
    },
    /// Real nodes, between applications of grpcio and of plain HTTP, and those who call them: grpcio, aioquic, and curl over each
    /// version of HTTP.
    Mesh {
        /// The Python that has aioquic, grpcio and `curl_cffi`.
        #[arg(long, default_value = "python3", value_name = "PATH")]
        python: PathBuf,
        #[command(flatten)]
        which: WhichNode,
    },
}

/// Builds our side and runs it with the scripts of the others, which are in `tests/interop`.
///
/// # Errors
/// When something that is needed is missing, or cargo cannot be started.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let (Options::Grpc { python } | Options::Mesh { python, .. }) = options;
    let python = absolute(python)?;
    if !doctor::has_grpc_packages(&python) {
        bail!("`{}` lacks aioquic, grpcio or curl_cffi; {}", python.display(), doctor::GET_GRPC_PACKAGES);
    }
    let mut ours = cargo(["run", "--quiet", "--package", "omnirelay-tests", "--example", "rpc", "--"]);
    match options {
        Options::Grpc { .. } => ours.arg("interop").arg(python),
        Options::Mesh { which, .. } => {
            if doctor::find("curl").is_none() {
                bail!("there is no curl; {}", doctor::GET_CURL);
            }
            ours.arg("mesh").arg(python).arg(which.locate()?)
        }
    };
    Ok(if succeeds(&mut ours)? { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Cargo runs in the root of the workspace, where a path from here would lead astray; a bare name is looked for
/// on the search path anyway.
fn absolute(python: &Path) -> anyhow::Result<PathBuf> {
    if python.components().count() == 1 {
        return Ok(python.to_path_buf());
    }
    Ok(std::env::current_dir().context("cannot tell the current folder")?.join(python))
}
