//! Calls that are wrong, slow or too many, through real nodes to an application.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use test_rpc::rpc::echo_client::EchoClient;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tonic::transport::Channel;

use crate::api::credentials;
use crate::process::{TestResult, within_limit};
use crate::service_mesh::{App, Mesh, Node, client, says, until_all_answer};

const UNARY: &str = "/omnirelay.test.v1.Echo/Unary";
const EMPTY: &[u8] = b"\0\0\0\0\0";
/// A request that the application does not answer.
const HELD: &[u8] = b"\0\0\0\0\x02\x20\x01";

/// Most that a node may grow by through a flood.
const GROWTH_KIB_MAX: u64 = 64 * 1024;

/// An application, the node beside it, and the node beside its callers.
struct Between {
    app: App,
    mesh: Mesh,
    own: Node,
    beside: Node,
    socket: PathBuf,
    client: EchoClient<Channel>,
}

impl Between {
    async fn new() -> Result<Self, Box<dyn Error>> {
        let (app, mut mesh) = (App::start().await?, Mesh::new()?);
        let (own, socket) = mesh.dispatcher("dispatcher").await?;
        let beside = mesh.worker("node-b", &app).await?;
        let mut client = client(socket.clone()).await?;
        until_all_answer(&mut client, &[&app]).await?;
        Ok(Self { app, mesh, own, beside, socket, client })
    }

    async fn raw(&self) -> Result<Raw, Box<dyn Error>> {
        Raw::over(UnixStream::connect(&self.socket).await?).await
    }
}

/// A connection over HTTP/2 that sends whatever it is told to.
struct Raw {
    sender: SendRequest<Bytes>,
    _driver: JoinSet<Result<(), h2::Error>>,
}

impl Raw {
    async fn over(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<Self, Box<dyn Error>> {
        let (sender, connection) = h2::client::handshake(io).await?;
        let mut driver = JoinSet::new();
        driver.spawn(connection);
        Ok(Self { sender, _driver: driver })
    }

    /// Makes a call of gRPC; returns its code and message, wherever they stand. Without a body it never ends.
    async fn call(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<(String, String), Box<dyn Error>> {
        let mut request = Request::post(format!("http://node{path}")).header("content-type", "application/grpc");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.sender = within_limit(self.sender.clone().ready()).await??;
        let (answer, mut send) = self.sender.send_request(request.body(())?, false)?;
        if let Some(body) = body {
            send.send_data(Bytes::copy_from_slice(body), true)?;
        }
        let (head, mut reply) = within_limit(answer).await??.into_parts();
        while let Some(piece) = within_limit(reply.data()).await? {
            reply.flow_control().release_capacity(piece?.len())?;
        }
        let trailers = within_limit(reply.trailers()).await??.unwrap_or(head.headers);
        let text = |name| trailers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
        Ok((text("grpc-status").ok_or("no status")?, text("grpc-message").unwrap_or_default()))
    }

    /// Begins a call and resets it at once; returns whether the server still takes more.
    async fn begin_and_reset(&mut self) -> Result<bool, Box<dyn Error>> {
        let Ok(sender) = within_limit(self.sender.clone().ready()).await? else { return Ok(false) };
        self.sender = sender;
        let request = Request::post(format!("http://node{UNARY}")).header("content-type", "application/grpc");
        let Ok((_answer, mut send)) = self.sender.send_request(request.body(())?, false) else { return Ok(false) };
        send.send_reset(h2::Reason::CANCEL);
        Ok(true)
    }
}

/// Path, headers and body; code, and what the message has to say.
type Case = (&'static str, &'static [(&'static str, &'static str)], &'static [u8], &'static str, &'static str);

const GRPC: &[Case] = &[
    (UNARY, &[], EMPTY, "0", ""),
    ("/a.B/C", &[], EMPTY, "5", "service `a.B` is not known here or in the mesh"),
    ("/omnirelay.test.v1.Echo/Gone", &[], EMPTY, "12", ""),
    ("/", &[], EMPTY, "3", "the call names no service"),
    ("/a!/B", &[], EMPTY, "3", "service name `a!` holds '!'"),
    (UNARY, &[("rpc-ttl-ms", "soon")], EMPTY, "3", "header `rpc-ttl-ms` is `soon`"),
    (UNARY, &[("grpc-timeout", "soon")], EMPTY, "13", "grpc-timeout"),
    (UNARY, &[("grpc-timeout", "0n")], EMPTY, "4", "the deadline had passed when the call came"),
    (UNARY, &[("rpc-deadline", "2001-01-01T00:00:00Z")], EMPTY, "4", "the deadline had passed when the call came"),
    (UNARY, &[("rpc-routing-delegate", "node-7")], EMPTY, "5", "routing delegate `node-7`"),
    (UNARY, &[("rpc-hops", "many")], EMPTY, "3", "header `rpc-hops`"),
    // Frames are the application's to judge: nodes pass them as they are.
    (UNARY, &[], b"\x07\0\0\0\0", "13", "compression flag"),
    (UNARY, &[], b"\0\0\0\0\x09half", "13", "EOF"),
    (UNARY, &[], b"\0\0\x50\0\0", "11", "the limit is: 4194304 bytes"),
    (UNARY, &[], b"\0\xff\0\0\0", "8", "message of 4278190080 bytes is larger than 67108864"),
];

#[tokio::test]
async fn what_is_wrong_with_a_call_over_grpc_is_told_whichever_node_finds_it() -> TestResult {
    let between = Between::new().await?;
    let mut raw = between.raw().await?;
    for (path, headers, body, code, says) in GRPC {
        let (told, message) = raw.call(path, headers, Some(body)).await?;
        // Messages are percent-encoded.
        let message = message.replace("%20", " ").replace("%60", "`");
        assert_eq!(told, *code, "{path} {headers:?}: {message}");
        assert!(message.contains(says), "{path} {headers:?}: {message}");
    }
    Ok(())
}

/// Path and headers, body; status, and what the JSON has to say.
type HttpCase = (&'static str, &'static str, usize, u16, &'static str);

const HTTP: &[HttpCase] = &[
    (UNARY, "", 0, 200, ""),
    ("/a.B/C", "", 0, 404, "service `a.B` is not known here or in the mesh"),
    ("/omnirelay.test.v1.Echo/Gone", "", 0, 501, "UNIMPLEMENTED"),
    ("/", "", 0, 400, "the call names no service"),
    (UNARY, "rpc-deadline: 2001-01-01T00:00:00Z\r\n", 0, 504, "the deadline had passed when the call came"),
    (UNARY, "rpc-encoding: a b\r\n", 0, 400, "header `rpc-encoding`"),
    (UNARY, "content-encoding: br\r\n", 0, 501, "body is compressed"),
    (UNARY, "", 5 << 20, 429, "request: body is larger than 4194304 bytes"),
];

#[tokio::test]
async fn what_is_wrong_with_a_call_over_http_is_told() -> TestResult {
    let between = Between::new().await?;
    for (path, headers, bytes, status, says) in HTTP {
        let mut stream = UnixStream::connect(&between.socket).await?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: node\r\nconnection: close\r\n{headers}content-length: {bytes}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        within_limit(stream.write_all(&vec![0; *bytes])).await??;
        let mut answer = Vec::new();
        within_limit(stream.read_to_end(&mut answer)).await??;
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {headers}: {answer}");
        assert!(answer.contains(says), "{path} {headers}: {answer}");
    }
    Ok(())
}

#[tokio::test]
async fn whoever_is_slow_is_waited_for_until_the_deadline() -> TestResult {
    let between = Between::new().await?;
    let mut raw = between.raw().await?;
    for (who, message) in [("the caller", None), ("the application", Some(HELD))] {
        let (code, _message) = raw.call(UNARY, &[("grpc-timeout", "200m")], message).await?;
        assert_eq!(code, "4", "{who}");
    }
    within_limit(between.app.echo.wait_for(|calls| calls.running() == 0)).await?;
    Ok(())
}

/// Returns the most memory that a process has had so far, in KiB.
fn peak_kib(node: &Node) -> Result<u64, Box<dyn Error>> {
    let pid = node.process.id().ok_or("the node has ended")?;
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status"))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no peak")?;
    Ok(peak.trim().trim_end_matches(" kB").parse()?)
}

/// Begins calls and resets them, on a new connection whenever the node has had enough of the last; returns how many.
async fn flood(connect: impl AsyncFn() -> Result<Raw, Box<dyn Error>>) -> Result<usize, Box<dyn Error>> {
    let mut begun = 0;
    for _ in 0..20 {
        let mut raw = connect().await?;
        for _ in 0..1_000 {
            if !raw.begin_and_reset().await? {
                break;
            }
            begun += 1;
        }
    }
    Ok(begun)
}

#[tokio::test]
async fn floods_of_calls_that_are_reset_cost_no_other_call_and_no_memory() -> TestResult {
    let between = Between::new().await?;
    let before = [peak_kib(&between.own)?, peak_kib(&between.beside)?];
    let mut others = JoinSet::new();
    let stop = Arc::new(AtomicBool::new(false));
    let (mut client, stopped) = (between.client.clone(), Arc::clone(&stop));
    others.spawn(async move {
        while !stopped.load(Ordering::Relaxed) {
            client.unary(says("a", false)).await?;
        }
        Ok::<_, tonic::Status>(())
    });
    let by_local = flood(async || between.raw().await).await?;
    let identity = credentials(between.mesh.path(), "node-a")?;
    let rpc = between.beside.ready["rpc"].as_str().ok_or("it takes calls")?;
    let by_mesh = flood(async || {
        let connector = TlsConnector::from(identity.client_config(&[b"h2"]));
        Raw::over(connector.connect("unused".try_into()?, TcpStream::connect(rpc).await?).await?).await
    })
    .await?;
    assert!(by_local >= 20 && by_mesh >= 20, "{by_local} and {by_mesh} calls were begun");
    stop.store(true, Ordering::Relaxed);
    within_limit(others.join_next()).await?.ok_or("it has ended before")??.map_err(|status| status.to_string())?;
    within_limit(between.app.echo.wait_for(|calls| calls.running() == 0)).await?;
    for (node, peak) in [&between.own, &between.beside].into_iter().zip(before) {
        let grown = peak_kib(node)?.saturating_sub(peak);
        assert!(grown < GROWTH_KIB_MAX, "a node has grown by {grown} KiB");
    }
    Ok(())
}
