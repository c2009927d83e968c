//! Applications beside a node that speak plain HTTP, good ones and bad ones.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dispatcher::{
    Body, Code, Dispatcher, Front, HealthOptions, LocalEndpoint, LocalListener, LocalServiceOptions, LocalServices,
    OutboundOptions, OutboundPorts, Outbounds,
};
use futures_util::{StreamExt as _, stream};
use grpc_client_factory::{ClientFactory, FactoryOptions};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use mesh_server::CancellationToken;
use peers_core::{ChooserPorts, PeerSource, PeerUpdates};
use serde_json::{Value, json};
use test_authority::Authority;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tower::service_fn;

use crate::bad_input::raw;
use crate::fixture::{BoxError, Outcome, within};
use crate::http::{ask, check_answers, check_failure, numbers};

/// What the application is called by.
const SERVICE: &str = "numbers";

/// A mesh without other nodes.
#[derive(Debug)]
struct Alone;

impl PeerSource for Alone {
    fn subscribe(&self) -> PeerUpdates {
        Box::pin(stream::pending())
    }
}

/// A node with one application beside it.
struct Beside {
    front: Front,
    healthy: watch::Receiver<std::collections::BTreeSet<dispatcher::ServiceName>>,
    _running: JoinSet<()>,
}

impl Beside {
    fn start(app: &str) -> Result<Self, BoxError> {
        let health = HealthOptions { interval: Duration::from_millis(20), ..HealthOptions::default() };
        let options = LocalServiceOptions { name: SERVICE.parse()?, app: app.parse()?, health };
        let local = LocalServices::new(vec![options])?;
        let (healthy, mut running) = (local.healthy(), JoinSet::new());
        running.spawn(local.clone().run(CancellationToken::new()));
        let credentials = Authority::new()?.credentials("node-a")?;
        let factory = ClientFactory::new(credentials, FactoryOptions::default())?;
        let ports = OutboundPorts { node: "node-a".parse()?, factory, mesh: Arc::new(Alone), local };
        let (outbounds, task) = Outbounds::new(ports, OutboundOptions::default(), ChooserPorts::default())?;
        running.spawn(task.run(CancellationToken::new()));
        let front = Front::builder(Dispatcher::default()).forward(Arc::new(outbounds)).build();
        Ok(Self { front, healthy, _running: running })
    }

    /// Starts a node, and waits until it has found the application well.
    async fn well(app: &str) -> Result<Self, BoxError> {
        let beside = Self::start(app)?;
        beside.is(true).await?;
        Ok(beside)
    }

    async fn is(&self, healthy: bool) -> Outcome {
        let mut known = self.healthy.clone();
        within("the news", known.wait_for(|services| services.is_empty() != healthy)).await?;
        Ok(())
    }

    /// Returns status and message of what a POST is answered with.
    async fn told(&self, headers: &[(&str, &str)]) -> Result<(u16, String), BoxError> {
        let answer = within("an answer", ask(&self.front, Method::POST, "/numbers/any", headers, "1")).await?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let message = body["message"].as_str().map_or_else(|| String::from_utf8_lossy(&answer.body).into(), Into::into);
        Ok((answer.status.as_u16(), message))
    }
}

/// An application of hyper.
struct App {
    address: SocketAddr,
    _running: JoinSet<()>,
}

impl App {
    /// Starts one that answers each request with what `answer` returns.
    async fn start(
        answer: impl Fn(Request<Body>) -> Response<Body> + Clone + Send + Sync + 'static,
    ) -> Result<Self, BoxError> {
        let service = service_fn(move |request| {
            let answered = answer(request);
            async { Ok::<_, Infallible>(answered) }
        });
        Self::of(|listener| listener.run(service, Duration::ZERO, CancellationToken::new())).await
    }

    async fn of<F>(serve: impl FnOnce(LocalListener) -> F) -> Result<Self, BoxError>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = LocalListener::bind(LocalEndpoint::Tcp("127.0.0.1:0".parse()?)).await?;
        let LocalEndpoint::Tcp(address) = *listener.endpoint() else { return Err("it is a TCP port".into()) };
        let mut running = JoinSet::new();
        running.spawn(serve(listener));
        Ok(Self { address, _running: running })
    }
}

fn answer(status: u16, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Body::new(Full::new(body.into()))).expect("a response")
}

#[tokio::test]
async fn a_call_is_a_post_that_says_in_headers_what_the_caller_has_said() -> Outcome {
    let app = App::start(|request| {
        let headers = request.headers();
        let said: Vec<_> = ["host", "content-type", "rpc-service", "rpc-procedure", "rpc-caller", "x-tenant"]
            .map(|name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-"))
            .into();
        let ttl_ms = headers.get("rpc-ttl-ms").and_then(|left| left.to_str().ok()?.parse::<u64>().ok());
        let head =
            json!([request.method().as_str(), request.uri().path(), said, ttl_ms.is_some_and(|ms| ms <= 60_000)]);
        answer(200, &[("content-type", "application/json"), ("x-shelf", "3")], head.to_string())
    })
    .await?;
    let beside = Beside::well(&format!("http1://{}", app.address)).await?;
    let said = [
        ("content-type", "application/json"),
        ("rpc-caller", "billing"),
        ("rpc-ttl-ms", "60000"),
        ("x-tenant", "7"),
        ("host", "elsewhere"),
    ];
    let told = ask(&beside.front, Method::POST, "/numbers/double", &said, "21").await?;
    let head = ["localhost", "application/json", SERVICE, "double", "billing", "7"];
    assert_eq!(serde_json::from_slice::<Value>(&told.body)?, json!(["POST", "/numbers/double", head, true]));
    let names = ["rpc-status", "rpc-encoding", "content-type", "x-shelf"];
    assert_eq!(names.map(|name| told.header(name)), ["ok", "json", "application/json", "3"].map(Some));
    Ok(())
}

#[tokio::test]
async fn a_process_that_embeds_the_dispatcher_is_such_an_application() -> Outcome {
    let front = numbers()?;
    let app = App::of(|listener| listener.run(front, Duration::ZERO, CancellationToken::new())).await?;
    let beside = Beside::well(&format!("http1://{}?health=/healthz", app.address)).await?;
    check_answers(&beside.front).await?;
    check_failure(&beside.front).await
}

#[tokio::test]
async fn an_application_is_reached_over_plain_http_by_a_unix_socket() -> Outcome {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("numbers.sock");
    let listener = LocalListener::bind(LocalEndpoint::Unix(path.clone())).await?;
    let mut running = JoinSet::new();
    running.spawn(listener.run(numbers()?, Duration::ZERO, CancellationToken::new()));
    check_answers(&Beside::well(&format!("http1+unix:{}", path.display())).await?.front).await
}

/// What the application answers, and what the caller is told.
type Case = (u16, &'static [(&'static str, &'static str)], &'static str, u16, &'static str);

const FAILURES: &[Case] = &[
    (404, &[], "no such number", 404, "HTTP 404 Not Found: no such number"),
    (404, &[("content-type", "text/html")], "<h1>gone</h1>", 404, "HTTP 404 Not Found"),
    (500, &[], "", 500, "HTTP 500 Internal Server Error"),
    (418, &[], "", 400, "HTTP 418 I'm a teapot"),
    (302, &[("location", "/")], "", 500, "HTTP 302 Found"),
    (422, &[], "{\"message\":\"too odd\"}", 400, "too odd"),
    (500, &[], "{\"message\":\"too late\",\"status\":\"OUT_OF_RANGE\"}", 400, "too late"),
    (500, &[("rpc-status", "not-found"), ("rpc-error-message", "gone%20away")], "", 404, "gone away"),
    (200, &[("rpc-status", "aborted"), ("rpc-error-message", "not%20now")], "", 409, "not now"),
    (503, &[], "x", 503, "HTTP 503 Service Unavailable: x"),
];

#[tokio::test]
async fn a_failure_is_told_as_the_application_tells_it() -> Outcome {
    for (status, headers, body, told_status, told) in FAILURES {
        let app = App::start(|_| answer(*status, headers, *body)).await?;
        let beside = Beside::well(&format!("http1://{}", app.address)).await?;
        assert_eq!(beside.told(&[]).await?, (*told_status, (*told).to_owned()), "{status} {headers:?} {body}");
    }
    Ok(())
}

#[tokio::test]
async fn events_are_a_stream_and_what_is_accepted_is_a_oneway_call() -> Outcome {
    let app = App::start(|request| match request.uri().path() {
        "/numbers/note" => answer(202, &[], ""),
        "/numbers/fails" => {
            let events = "data: 1\n\nevent: error\ndata: {\"message\":\"enough\",\"status\":\"ABORTED\"}\n\n";
            answer(200, &[("content-type", "text/event-stream")], events)
        }
        _ => answer(200, &[("content-type", "text/event-stream; charset=utf-8")], "data: 1\n\n: more\n\ndata: 2\n\n"),
    })
    .await?;
    let beside = Beside::well(&format!("http1://{}", app.address)).await?;
    let noted = ask(&beside.front, Method::POST, "/numbers/note", &[], "1").await?;
    assert_eq!((noted.status, &noted.body[..]), (StatusCode::ACCEPTED, &b""[..]));
    let events = [("accept", "text/event-stream")];
    let counted = ask(&beside.front, Method::POST, "/numbers/count", &events, "1").await?;
    assert_eq!(&counted.body[..], b"data: 1\n\ndata: 2\n\nevent: end\ndata: \n\n");
    let failed = ask(&beside.front, Method::POST, "/numbers/fails", &events, "1").await?;
    let told = "{\"message\":\"enough\",\"status\":\"ABORTED\",\"code\":null,\"metadata\":{}}";
    assert_eq!(failed.body, format!("data: 1\n\nevent: error\ndata: {told}\n\n"));
    Ok(())
}

#[tokio::test]
async fn a_call_over_grpc_has_one_message_for_it_and_no_more() -> Outcome {
    let app = App::start(|_| answer(200, &[], "42")).await?;
    let beside = Beside::well(&format!("http1://{}", app.address)).await?;
    let call = async |body: &[u8]| raw(&beside.front, &[], "/numbers/double", body).await;
    assert_eq!(call(b"\0\0\0\0\x011").await?, (Code::Ok, String::new()));
    let two = "there is more than one message where there is to be one".to_owned();
    assert_eq!(call(b"\0\0\0\0\x011\0\0\0\0\x012").await?, (Code::InvalidArgument, two));
    let large = "request: message of 4194305 bytes is larger than 4194304, the most that is taken".to_owned();
    assert_eq!(call(b"\0\0\x40\0\x01").await?, (Code::ResourceExhausted, large));
    Ok(())
}

/// An application that answers every connection with these bytes once it has read something, and closes it.
async fn speaking(bytes: &'static [u8]) -> Result<(SocketAddr, JoinSet<()>), BoxError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let (address, mut running) = (listener.local_addr()?, JoinSet::new());
    running.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                drop(stream.write_all(bytes).await);
            }
        }
    });
    Ok((address, running))
}

#[tokio::test]
async fn an_application_that_is_no_good_is_named_with_what_is_wrong_with_it() -> Outcome {
    for (bytes, status, problem) in [
        (&b""[..], 503, "it has broken the call off: connection closed before message completed"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", 503, "it has broken the call off: invalid HTTP version parsed"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab", 503, "the answer has broken off: error reading a body"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\nab", 503, "the answer has broken off"),
    ] {
        let (address, _running) = speaking(bytes).await?;
        let beside = Beside::well(&format!("http1://{address}")).await?;
        let (told_status, told) = beside.told(&[]).await?;
        assert_eq!(told_status, status, "{told}");
        assert!(told.contains(problem), "{told}");
    }
    Ok(())
}

#[tokio::test]
async fn answers_that_are_too_large_are_refused() -> Outcome {
    let app = App::start(|request| match request.headers().get("rpc-procedure").map(|name| name.as_bytes()) {
        Some(b"any") => answer(200, &[], vec![b'1'; (4 << 20) + 1]),
        _ => answer(200, &[("content-type", "text/event-stream")], [b"data: ", &[b'1'; 5 << 20][..]].concat()),
    })
    .await?;
    let beside = Beside::well(&format!("http1://{}", app.address)).await?;
    let told = "reply: message is larger than 4194304 bytes, the most that is taken";
    assert_eq!(beside.told(&[]).await?, (429, told.to_owned()));
    let events = ask(&beside.front, Method::POST, "/numbers/count", &[("accept", "text/event-stream")], "").await?;
    assert!(
        events.body.starts_with(b"event: error\ndata: {\"message\":\"reply: message is larger"),
        "{:?}",
        events.body
    );
    Ok(())
}

/// Reads from `stream` until its other side closes it.
async fn gone(mut stream: TcpStream) {
    let mut request = [0; 4096];
    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {}
}

#[tokio::test]
async fn an_application_that_is_slow_is_waited_for_until_the_deadline_and_sees_that_it_is_over() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let beside = Beside::well(&format!("http1://{address}")).await?;
    // Probes have come before; each only connects.
    let seen = async {
        loop {
            let (stream, _) = listener.accept().await?;
            let mut first = [0];
            if stream.peek(&mut first).await? > 0 {
                gone(stream).await;
                return Ok::<_, BoxError>(());
            }
        }
    };
    let (told, seen) = tokio::join!(beside.told(&[("rpc-ttl-ms", "100")]), within("the end", seen));
    assert_eq!(told?, (504, "the deadline has passed".to_owned()));
    seen
}

#[tokio::test]
async fn an_application_is_well_as_long_as_its_page_says_so() -> Outcome {
    let (say, said) = watch::channel(200);
    let app = App::start(move |request| match request.uri().path() {
        "/healthz" => answer(*said.borrow(), &[], ""),
        _ => answer(200, &[], ""),
    })
    .await?;
    let beside = Beside::well(&format!("http1://{}?health=/healthz", app.address)).await?;
    say.send(503)?;
    beside.is(false).await?;
    let unknown = "service `numbers` is not known here or in the mesh".to_owned();
    assert_eq!(beside.told(&[]).await?, (404, unknown));
    say.send(204)?;
    beside.is(true).await?;
    drop(app);
    beside.is(false).await
}

#[tokio::test]
async fn many_calls_at_once_have_a_connection_each() -> Outcome {
    let app = App::start(|_| answer(200, &[], "42")).await?;
    let beside = Beside::well(&format!("http1://{}", app.address)).await?;
    let calls = stream::iter(0..300).map(|_| beside.told(&[])).buffer_unordered(100);
    let answers: Vec<_> = calls.collect().await;
    for told in answers {
        assert_eq!(told?, (200, "42".to_owned()));
    }
    Ok(())
}

async fn keep_answering(mut stream: TcpStream) {
    let mut request = [0; 4096];
    while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n42").await);
    }
}

#[tokio::test]
async fn calls_one_after_the_other_share_a_connection() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (accepted, mut running) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    let counted = Arc::clone(&accepted);
    running.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            connections.spawn(keep_answering(stream));
        }
    });
    let beside = Beside::well(&format!("http1://{address}?health=/")).await?;
    for _ in 0..100 {
        assert_eq!(beside.told(&[]).await?, (200, "42".to_owned()));
    }
    // Now and then somebody has asked at the same time whether it is well.
    let connections = accepted.load(Ordering::Relaxed);
    assert!(connections < 30, "{connections} connections for 100 calls");
    Ok(())
}
