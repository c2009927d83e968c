//! Spans of procedures. A process of its own: who collects spans collects those of all threads.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use dispatcher::middleware::Trace;
use dispatcher::{Call, Code, Dispatcher, Messages, Procedure, Raw, Request, Response, Shape, Status};
use futures_util::{TryStreamExt as _, stream};
use serde_json::{Value, json};
use tracing_subscriber::fmt::format::FmtSpan;

type Outcome = Result<(), Box<dyn std::error::Error>>;

/// Keeps what is written.
#[derive(Debug, Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics with it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    /// Returns the spans that have ended: their fields, without the times.
    fn spans(&self) -> Result<Vec<Value>, serde_json::Error> {
        let lines = self.0.lock().expect("nobody panics with it");
        let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| Ok(serde_json::from_slice::<Value>(line)?["span"].take())).collect()
    }
}

#[tokio::test]
async fn each_call_has_a_span_that_says_what_was_called_and_how_it_ended() -> Outcome {
    let lines = Lines::default();
    let written = lines.clone();
    let collecting =
        tracing_subscriber::fmt().json().with_span_events(FmtSpan::CLOSE).with_writer(move || written.clone());
    tracing::subscriber::set_global_default(collecting.finish())?;
    let refuse = |_: Request<Bytes>| async { Err::<Response<Bytes>, _>(Status::new(Code::NotFound, "gone")) };
    let tell = |_: Request<Bytes>| async { Ok(Response::new(stream::iter([Ok(Bytes::from_static(b"a"))]))) };
    let dispatcher = Dispatcher::builder()
        .layer("trace", Trace)
        .procedure(Procedure::unary("a/refuse".parse()?, Raw, refuse))
        .procedure(Procedure::server_stream("a/tell".parse()?, Raw, tell))
        .build()?;

    let mut refused = Call::new("a/refuse".parse()?, Shape::Unary, Messages::one("x"));
    refused.meta.caller = Some("billing".parse()?);
    assert!(dispatcher.dispatch(refused).await.is_err_and(|status| status.code() == Code::NotFound));
    let reply = dispatcher.dispatch(Call::new("a/tell".parse()?, Shape::ServerStream, Messages::one("x"))).await?;
    assert_eq!(lines.spans()?.len(), 1, "a stream has not ended with its head");
    assert_eq!(reply.messages.try_collect::<Vec<_>>().await?, ["a"]);

    let common = |method: &str, shape: &str, status: &str| {
        json!({
            "name": "procedure", "rpc.service": "a", "rpc.method": method, "rpc.shape": shape, "rpc.status": status
        })
    };
    let mut expected = [common("refuse", "unary", "not-found"), common("tell", "server-stream", "ok")];
    expected[0]["rpc.caller"] = json!("billing");
    assert_eq!(lines.spans()?, expected);
    Ok(())
}
