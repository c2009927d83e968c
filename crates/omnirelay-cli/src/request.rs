//! `omnirelay request`.

use hyper::header::HeaderMap;

use crate::args::{Global, Request};
use crate::error::CliError;
use crate::output::{Output, note};
use crate::rpc::Way;
use crate::table::printable;

/// Makes one call, and writes the messages of its answer as they come.
pub(crate) async fn request(global: &Global, args: &Request, output: &mut Output) -> Result<(), CliError> {
    let spec = args.call.spec()?;
    let way = Way::new(global, &args.call.via.via, spec.wire)?;
    let is_text = spec.encoding.is_text();
    let mut session = way.session();
    let mut written = Ok(());
    let called = session.call(&spec, |message| {
        let line_end: &[u8] = if is_text { b"\n" } else { b"" };
        // The first failure counts; the call goes to its end all the same.
        if written.is_ok() {
            written = output.write(&[&message, line_end].concat());
        }
    });
    let answer = called.await.map_err(|source| CliError::Call { procedure: spec.procedure.clone(), source })?;
    written?;
    if args.include {
        note("status: ok");
        show("", &answer.headers);
        show("trailer ", &answer.trailers);
    }
    Ok(())
}

fn show(kind: &str, headers: &HeaderMap) {
    for (name, value) in headers {
        note(&format!("{kind}{name}: {}", printable(&String::from_utf8_lossy(value.as_bytes()))));
    }
}
