//! Holds our server and our client factory to stacks that others have made: grpcio for HTTP/2, aioquic for HTTP/3.
//!
//! `cargo xtask interop grpc` runs it, with a Python that has both: `interop PYTHON`. The scripts are in `tests/interop`.
#![expect(clippy::print_stdout, reason = "a check for people and CI: printing is its work")]

mod calls;
mod report;
mod script;
mod serving;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use grpc_client_factory::{Http3Mode, Protocol};
use identity::Credentials;
use test_authority::{Authority, Holder};

use calls::{Client, Compression};
use report::Report;
use script::Script;
use serving::Serving;

/// The certificates of a run: the CA, and two nodes that it vouches for.
struct Mesh {
    python: PathBuf,
    folder: tempfile::TempDir,
    server: Arc<Credentials>,
    client: Arc<Credentials>,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let python = std::env::args_os().nth(1).context("usage: interop PYTHON")?;
    let mesh = Mesh::new(python.into())?;
    let mut report = Report::default();
    for script in ["grpc_client.py", "http3_client.py"] {
        mesh.are_called(script, &mut report).await.with_context(|| format!("{script} has not come to an end"))?;
    }
    let grpcio = Client { mode: Http3Mode::Off, protocol: Protocol::Http2, compression: Compression::Gzip, mib: 8 };
    mesh.call("grpc_server.py", grpcio, &mut report).await.context("cannot call grpc_server.py")?;
    let aioquic = Client { mode: Http3Mode::Only, protocol: Protocol::Http3, compression: Compression::None, mib: 2 };
    mesh.call("http3_server.py", aioquic, &mut report).await.context("cannot call http3_server.py")?;
    Ok(report.conclude())
}

impl Mesh {
    fn new(python: PathBuf) -> anyhow::Result<Self> {
        let authority = Authority::new()?;
        let folder = tempfile::tempdir().context("cannot make a folder for certificates")?;
        write(folder.path(), "ca.pem", &authority.trust_bundle_pem())?;
        let issue = |node| {
            let holder = Holder::new(node);
            let issued = authority.issue(&holder)?;
            write(folder.path(), &format!("{node}.pem"), issued.certificate_pem())?;
            write(folder.path(), &format!("{node}.key"), issued.key_pem())?;
            authority.credentials_of(&issued, &holder).context("cannot use what was issued")
        };
        let (server, client) = (issue("server")?, issue("client")?);
        Ok(Self { python, folder, server, client })
    }

    /// Lets a client of another make call our server, and stops that.
    async fn are_called(&self, script: &str, report: &mut Report) -> anyhow::Result<()> {
        let serving = Serving::start(Arc::clone(&self.server))?;
        let folder = self.folder.path();
        report
            .is(script::run(&self.python, script, &[serving.address().to_string().as_ref(), folder.as_os_str()])
                .await?);
        serving.stop().await
    }

    /// Calls a server of another make.
    async fn call(&self, script: &str, client: Client, report: &mut Report) -> anyhow::Result<()> {
        let mut server = Script::start(&self.python, script, self.folder.path()).await?;
        calls::check(&self.client, client, &mut server, report).await?;
        server.stop().await
    }
}

fn write(folder: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    std::fs::write(folder.join(name), text).with_context(|| format!("cannot write `{name}`"))
}
