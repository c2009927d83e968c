//! `omnirelay mesh peers list` against a node.

use std::process::Stdio;

use control_api::Security;
use mesh_types::MemberState;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, ChildStderr, ChildStdout};
use tokio::time::timeout;

use crate::command::{DEADLINE, Run, finish, omnirelay, run};
use crate::node::{Failure, Node};

type Outcome = Result<(), Failure>;

async fn plain_node(state: MemberState) -> Result<Node, Failure> {
    Node::start(Security::PlaintextLoopback, state).await
}

/// Lists the members that `node` knows.
async fn list(node: &Node, more: &[&str]) -> Result<Run, Failure> {
    run(&[&["mesh", "peers", "list", "--endpoint", &node.http_url()], more].concat()).await
}

/// Returns the lines of a table as cells.
fn cells(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split("   ").map(str::trim).filter(|cell| !cell.is_empty()).collect()).collect()
}

#[tokio::test]
async fn the_table_shows_a_line_a_member() -> Outcome {
    let node = plain_node(MemberState::Unreachable).await?;
    let shown = list(&node, &[]).await?;
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
    let rows = cells(&shown.stdout);
    assert_eq!(rows[0], ["NODE", "STATUS", "LIFECYCLE", "HEALTH", "ROLE", "REGION", "ENDPOINT", "RTT", "LAST SEEN"]);
    assert_eq!(rows[1], ["node-a", "Alive", "active", "-", "dispatcher", "eu-1", "127.0.0.1:17421", "-", "now"]);
    assert_eq!(rows[2][..8], ["node-b", "Suspect", "active", "-", "worker", "eu-1", "127.0.0.1:17421", "0.25ms"]);
    assert_eq!(rows.len(), 3);

    let wide = list(&node, &["-o", "wide"]).await?;
    let added = ["STATE", "CLUSTER", "VERSION", "GENERATION", "INCARNATION", "HTTP3", "FEATURES"];
    let of_calls = ["BREAKER", "SUCCEEDED", "FAILED", "UNREACHABLE", "LABELS"];
    assert_eq!(cells(&wide.stdout)[0][9..], [added.as_slice(), &of_calls].concat());
    assert_eq!(
        cells(&wide.stdout)[2][9..],
        ["Unreachable", "alpha", "0.1.0", "18446744073709551615", "2", "true", "-", "-", "-", "-", "-", "rack=r1"]
    );
    Ok(())
}

#[tokio::test]
async fn json_is_the_document_of_the_api_in_its_order() -> Outcome {
    let node = plain_node(MemberState::Left).await?;
    let shown = list(&node, &["-o", "json"]).await?;
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
    assert!(shown.stdout.starts_with("{\n  \"schemaVersion\": \"v1\",\n  \"generatedAt\": "), "{}", shown.stdout);
    let document: Value = serde_json::from_str(&shown.stdout)?;
    assert_eq!(document["peers"][1]["generation"], json!("18446744073709551615"));
    assert_eq!((&document["peers"][1]["status"], &document["peers"][1]["state"]), (&json!("Left"), &json!("Left")));
    Ok(())
}

#[tokio::test]
async fn filters_are_asked_of_the_api() -> Outcome {
    let node = plain_node(MemberState::Suspect).await?;
    let nodes = async |more: &[&str]| -> Result<Vec<String>, Failure> {
        let shown = list(&node, more).await?;
        Ok(cells(&shown.stdout).iter().skip(1).map(|row| row[0].to_owned()).collect())
    };
    assert_eq!(nodes(&["--status", "suspect"]).await?, ["node-b"]);
    assert_eq!(nodes(&["--role", "dispatcher"]).await?, ["node-a"]);
    assert_eq!(nodes(&["--role", "dispatcher", "--status", "left"]).await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn colour_comes_on_demand_and_never_into_a_pipe_by_itself() -> Outcome {
    let node = plain_node(MemberState::Alive).await?;
    assert!(!list(&node, &[]).await?.stdout.contains('\x1b'));
    assert!(!list(&node, &["--color", "never"]).await?.stdout.contains('\x1b'));
    let url = node.http_url();
    let mut always = omnirelay(&["mesh", "peers", "list", "--endpoint", &url, "--color", "always"]);
    always.env("NO_COLOR", "1");
    assert!(finish(always).await?.stdout.contains("\x1b[32mAlive\x1b[0m"));
    Ok(())
}

#[tokio::test]
async fn a_node_that_is_away_is_named_with_what_to_do() -> Outcome {
    let free = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", free.local_addr()?);
    drop(free);
    let failed = run(&["mesh", "peers", "list", "--endpoint", &url]).await?;
    let told = format!(
        "error: nothing listens at {url}: Connection refused (os error 111)\n\
        hint: is the node running? --endpoint says where its control endpoint is\n"
    );
    assert_eq!(failed, Run { code: Some(1), stdout: String::new(), stderr: told });
    Ok(())
}

/// Accepts one connection and reads its request.
async fn accept(listener: &TcpListener) -> Result<TcpStream, Failure> {
    let (mut stream, _) = listener.accept().await?;
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    Ok(stream)
}

/// Answers one request with `answer`, and checks what the command tells people then.
async fn check(answer: &[u8], told: &str) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let serve = async {
        let mut stream = accept(&listener).await?;
        stream.write_all(answer).await?;
        Ok::<_, Failure>(stream)
    };
    let args = ["mesh", "peers", "list", "--timeout", "500ms", "--endpoint", &url];
    let (stream, failed) = tokio::join!(serve, run(&args));
    drop(stream?);
    let failed = failed?;
    assert_eq!((failed.code, failed.stdout.as_str()), (Some(1), ""), "{}", failed.stderr);
    let told = told.replace("URL", &url);
    assert!(failed.stderr.starts_with(&told), "no `{told}` in\n{}", failed.stderr);
    Ok(())
}

#[tokio::test]
async fn a_bad_answer_is_refused_with_what_is_wrong_with_it() -> Outcome {
    check(b"", "error: no answer from URL within 500ms\n").await?;
    check(b"SSH-2.0-OpenSSH_9\r\n", "error: URL does not answer in HTTP: ").await?;
    check(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{]", "error: answer of URL is not JSON: ").await?;
    check(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", "error: answer of URL has no list `peers`").await?;
    let refused = b"HTTP/1.1 503 No\r\ncontent-length: 34\r\n\r\n{\"error\":{\"message\":\"\x1b[2J is full\"}}";
    check(refused, "error: URL answered 503 Service Unavailable: ").await
}

#[tokio::test]
async fn an_answer_larger_than_16_mib_is_not_read() -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let serve = async {
        let mut stream = accept(&listener).await?;
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 17000000\r\n\r\n").await?;
        let blanks = vec![b' '; 1 << 20];
        // The reader closes once it has seen too much.
        while stream.write_all(&blanks).await.is_ok() {}
        Ok::<_, Failure>(())
    };
    let args = ["mesh", "peers", "list", "--timeout", "20s", "--endpoint", &url];
    let (served, failed) = tokio::join!(serve, run(&args));
    served?;
    let told = format!("error: answer of {url} is larger than 16777216 bytes\n");
    assert_eq!(failed?, Run { code: Some(1), stdout: String::new(), stderr: told });
    Ok(())
}

/// `omnirelay mesh peers list --watch`, under way.
struct Watch {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: Lines<BufReader<ChildStderr>>,
}

impl Watch {
    fn start(url: &str, format: &str) -> Result<Self, Failure> {
        let args = ["mesh", "peers", "list", "--watch", "--interval", "10ms", "-o", format, "--endpoint", url];
        let mut child = omnirelay(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let stdout = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
        let stderr = BufReader::new(child.stderr.take().ok_or("no standard error")?).lines();
        Ok(Self { child, stdout, stderr })
    }

    async fn line(&mut self) -> Result<String, Failure> {
        Ok(timeout(DEADLINE, self.stdout.next_line()).await??.ok_or("standard output has ended")?)
    }

    async fn note(&mut self) -> Result<String, Failure> {
        Ok(timeout(DEADLINE, self.stderr.next_line()).await??.ok_or("standard error has ended")?)
    }

    /// Presses Ctrl-C.
    async fn interrupt(mut self) -> Result<Option<i32>, Failure> {
        let id = self.child.id().ok_or("the command has ended by itself")?.to_string();
        omnirelay_kill(&id).await?;
        Ok(timeout(DEADLINE, self.child.wait()).await??.code())
    }
}

async fn omnirelay_kill(id: &str) -> Outcome {
    let killed = tokio::process::Command::new("kill").args(["-INT", id]).status().await?;
    if killed.success() { Ok(()) } else { Err("kill failed".into()) }
}

#[tokio::test]
async fn watching_writes_one_json_line_a_change_and_ends_well_at_ctrl_c() -> Outcome {
    let node = plain_node(MemberState::Alive).await?;
    let mut watch = Watch::start(&node.http_url(), "json")?;
    for (state, word) in [(MemberState::Alive, "Alive"), (MemberState::Suspect, "Suspect"), (MemberState::Dead, "Dead")]
    {
        node.see(state)?;
        let document: Value = serde_json::from_str(&watch.line().await?)?;
        assert_eq!(document["peers"][1]["state"], json!(word));
    }
    assert_eq!(watch.interrupt().await?, Some(0));
    Ok(())
}

#[tokio::test]
async fn watching_outlives_a_node_that_goes_away_and_says_so_once() -> Outcome {
    let node = plain_node(MemberState::Alive).await?;
    let (addr, url) = (node.addr, node.http_url());
    let mut watch = Watch::start(&url, "table")?;
    let titles = watch.line().await?;
    assert_eq!((watch.line().await?.get(..6), watch.line().await?.get(..6)), (Some("node-a"), Some("node-b")));
    drop(node);
    let said = watch.note().await?;
    assert!(said.starts_with("still trying: "), "{said}");
    let back = Node::start_at(addr, Security::PlaintextLoopback, MemberState::Left).await?;
    while watch.note().await? != "the node answers again" {}
    assert_eq!((watch.line().await?, watch.line().await?), (String::new(), titles));
    drop(back);
    assert_eq!(watch.interrupt().await?, Some(0));
    Ok(())
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_failure() -> Outcome {
    let node = plain_node(MemberState::Alive).await?;
    let Watch { mut child, stdout, mut stderr } = Watch::start(&node.http_url(), "json")?;
    drop(stdout);
    // Each change is a write, and one of them finds the pipe closed.
    let ended = async {
        let mut states = [MemberState::Alive, MemberState::Suspect].into_iter().cycle();
        let mut changes = tokio::time::interval(std::time::Duration::from_millis(20));
        loop {
            tokio::select! {
                ended = child.wait() => return Ok::<_, Failure>(ended?.code()),
                _ = changes.tick() => {
                    states.next().map_or(Ok(()), |state| node.see(state))?;
                }
            }
        }
    };
    assert_eq!(timeout(DEADLINE, ended).await??, Some(0));
    assert_eq!(stderr.next_line().await?, None);
    Ok(())
}
