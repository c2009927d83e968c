//! Our server and our client factory, and stacks that others have made.

use std::ffi::OsStr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use grpc_client_factory::{Http3Mode, Protocol};
use identity::Credentials;

use crate::calls::{self, Caller, Compression};
use crate::certificates::Certificates;
use crate::report::Report;
use crate::script::{self, Script};
use crate::serving::Serving;

/// The certificates of a run: of a server, and of a client.
struct Mesh<'a> {
    python: &'a Path,
    certificates: Certificates,
    server: Arc<Credentials>,
    client: Arc<Credentials>,
}

/// Holds both of ours to both of theirs.
pub(crate) async fn run(python: &Path) -> anyhow::Result<ExitCode> {
    let certificates = Certificates::new()?;
    let (server, client) = (certificates.issue("server")?, certificates.issue("client")?);
    let mesh = Mesh { python, certificates, server, client };
    let mut report = Report::default();
    for script in ["grpc_client.py", "http3_client.py"] {
        mesh.are_called(script, &mut report).await.with_context(|| format!("{script} has not come to an end"))?;
    }
    let grpcio = (Http3Mode::Off, Protocol::Http2, Compression::Gzip, 8);
    mesh.call("grpc_server.py", grpcio, &mut report).await.context("cannot call grpc_server.py")?;
    let aioquic = (Http3Mode::Only, Protocol::Http3, Compression::None, 2);
    mesh.call("http3_server.py", aioquic, &mut report).await.context("cannot call http3_server.py")?;
    Ok(report.conclude())
}

impl Mesh<'_> {
    /// Lets a client of another make call our server, and stops that.
    async fn are_called(&self, script: &str, report: &mut Report) -> anyhow::Result<()> {
        let serving = Serving::start(Arc::clone(&self.server))?;
        let (address, folder) = (serving.address().to_string(), self.certificates.folder());
        let arguments: [&OsStr; 2] = [address.as_ref(), folder.as_os_str()];
        report.is(script::run(self.python, script, &arguments).await?);
        serving.stop().await
    }

    /// Calls a server of another make.
    async fn call(
        &self,
        script: &str,
        (mode, protocol, compression, mib): (Http3Mode, Protocol, Compression, usize),
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let mut server = Script::start(self.python, script, self.certificates.folder()).await?;
        let who = format!("we call {} over {protocol}", server.what);
        let caller = Caller::factory(&self.client, server.address, mode)?;
        calls::check(&caller, (compression, mib), &who, &mut server, report).await;
        caller.check_factory(protocol, &who, report).await;
        server.stop().await
    }
}
