//! `request` and `benchmark`: calls as an application makes them.

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};

use dispatcher::LocalEndpoint;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpSocket;

use crate::command::{Run, finish, omnirelay, run};
use crate::listener::Listener;
use crate::node::Failure;
use crate::tls::Ca;

type Outcome = Result<(), Failure>;

fn done(stdout: &str) -> Run {
    Run { code: Some(0), stdout: stdout.to_owned(), stderr: String::new() }
}

/// Makes a call to a listener of this machine.
async fn local(listener: &Listener, args: &[&str]) -> Result<Run, Failure> {
    run(&[args, &["--via", &listener.via]].concat()).await
}

#[tokio::test]
async fn a_call_is_answered_whichever_way_it_goes() -> Outcome {
    let (ca, listener, dir) = (Ca::new()?, Listener::local().await?, TempDir::new()?);
    let socket = Listener::at(LocalEndpoint::Unix(dir.path().join("node.sock"))).await?;
    let node = Listener::of_a_node(ca.credentials("alpha", "node-a")?)?;
    let files = ca.issue("alpha", "node-b")?;
    let paths = [("CERT", &files.certificate), ("KEY", &files.key), ("CA", &files.trust_bundle)];
    for wire in ["grpc", "http"] {
        let double = ["request", "numbers", "double", "-d", "4", "--wire", wire];
        assert_eq!(local(&listener, &double).await?, done("8\n"), "{wire}");
        assert_eq!(local(&socket, &double).await?, done("8\n"), "{wire} to a socket");
        let mut command = omnirelay(&double);
        command.envs(paths.map(|(name, path)| (OsString::from(format!("OMNIRELAY_{name}")), path.clone())));
        command.env("OMNIRELAY_VIA", &node.via);
        assert_eq!(finish(command).await?, done("8\n"), "{wire} to a node");
    }
    Ok(())
}

#[tokio::test]
async fn messages_come_as_they_are_and_what_goes_with_them_is_shown_on_demand() -> Outcome {
    let listener = Listener::local().await?;
    assert_eq!(local(&listener, &["request", "numbers", "count", "-d", "3"]).await?, done("0\n1\n2\n"));

    let dir = TempDir::new()?;
    let file = dir.path().join("message");
    std::fs::write(&file, "two\nlines")?;
    let file = file.to_str().ok_or("a path that is no text")?;
    let raw = ["request", "bytes", "echo", "--encoding", "raw", "--data-file", file];
    assert_eq!(local(&listener, &raw).await?, done("two\nlines"));

    for wire in ["grpc", "http"] {
        let shown = ["request", "numbers", "double", "-d", "4", "-i", "-H", "X-Tenant: 7", "--wire", wire];
        let shown = local(&listener, &shown).await?;
        assert_eq!((shown.code, shown.stdout.as_str()), (Some(0), "8\n"));
        assert!(shown.stderr.starts_with("status: ok\n"), "{}", shown.stderr);
        assert!(shown.stderr.lines().any(|line| line == "x-tenant: 7"), "{}", shown.stderr);
    }
    Ok(())
}

/// Checks that a call fails with exit code 1 and tells people `told`.
async fn check_fails(listener: &Listener, args: &[&str], told: &str) -> Outcome {
    for wire in ["grpc", "http"] {
        let failed = local(listener, &[&["request"], args, &["--wire", wire]].concat()).await?;
        assert_eq!((failed.code, failed.stdout.as_str()), (Some(1), ""), "{args:?} over {wire}: {}", failed.stderr);
        assert!(failed.stderr.contains(told), "{args:?} over {wire}: no `{told}` in\n{}", failed.stderr);
    }
    Ok(())
}

#[tokio::test]
async fn a_call_that_fails_says_how_in_the_words_of_its_status() -> Outcome {
    let listener = Listener::local().await?;
    let fail = ["numbers", "fail", "-d", "null"];
    check_fails(&listener, &fail, "error: numbers/fail failed: out-of-range: 0 is nothing\n").await?;
    check_fails(&listener, &["letters", "double"], "letters/double failed: not-found: ").await?;
    let wait = ["numbers", "wait", "-d", "null", "--deadline", "200ms"];
    check_fails(&listener, &wait, "numbers/wait failed: deadline-exceeded: ").await?;
    // A port that is taken and not listened at: one that a test has given back may be another's already.
    let taken = TcpSocket::new_v4()?;
    taken.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let via = format!("http://{}", taken.local_addr()?);
    let nobody = run(&["request", "numbers", "double", "--via", &via]).await?;
    assert_eq!(nobody.code, Some(1));
    let told = format!("error: numbers/double failed: cannot call {via}: Connection refused");
    assert!(
        nobody.stderr.starts_with(&told) && nobody.stderr.contains("hint: is the node running?"),
        "{}",
        nobody.stderr
    );
    Ok(())
}

#[tokio::test]
async fn what_cannot_be_called_is_refused_before_anything_is_sent() -> Outcome {
    for (args, told) in [
        (&["numbers", "double", "-d", "{"][..], "error: the message is not JSON: EOF while parsing"),
        (&["numbers", "a/b"], "error: there can be no such procedure: "),
        (&["numbers", "double", "-H", "rpc-caller: x"], "error: `rpc-caller` is not a header of applications"),
        (&["numbers", "double", "--data-file", "nowhere"], "error: cannot read `nowhere`: No such file"),
        (&["num bers", "double"], "num bers"),
        (&["numbers", "double", "--via", "http://10.0.0.1:1"], "is not on loopback"),
        (&["numbers", "double", "--via", "https://node-b"], "name its port"),
        (&["numbers", "double", "--via", "https://127.0.0.1:1"], "https:// needs a certificate"),
        (&["numbers", "double", "--via", ""], "--via"),
    ] {
        // An option that is given again is refused, too: only where there is none is one given here.
        let via: &[&str] = if args.contains(&"--via") { &[] } else { &["--via", "http://127.0.0.1:1"] };
        let refused = run(&[&["request"], args, via].concat()).await?;
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{args:?}");
        assert!(refused.stderr.contains(told), "{args:?}: no `{told}` in\n{}", refused.stderr);
    }
    Ok(())
}

#[tokio::test]
async fn a_benchmark_counts_its_calls_and_how_long_they_took() -> Outcome {
    let listener = Listener::local().await?;
    for wire in ["grpc", "http"] {
        let bench = ["benchmark", "numbers", "double", "-d", "4", "-n", "50", "-c", "4", "-o", "json", "--wire", wire];
        let report = local(&listener, &bench).await?;
        assert_eq!((report.code, report.stderr.as_str()), (Some(0), ""), "{wire}");
        let document: Value = serde_json::from_str(&report.stdout)?;
        assert_eq!((&document["ok"], &document["failed"], &document["failures"]), (&json!(50), &json!(0), &json!({})));
        let latency = |name: &str| document["latencyMs"][name].as_f64().unwrap_or_default();
        let all = ["p50", "p90", "p99", "p99.9", "max"].map(latency);
        assert!(all.is_sorted() && all.first().is_some_and(|first| *first > 0.0), "{all:?}");
    }
    let paced =
        local(&listener, &["benchmark", "numbers", "double", "-d", "4", "--rate", "100", "--duration", "300ms"])
            .await?;
    assert!(paced.stdout.starts_with("calls    30 ok, 0 failed in "), "{}", paced.stdout);
    Ok(())
}

#[tokio::test]
async fn a_benchmark_tells_failures_by_class_and_fails() -> Outcome {
    let listener = Listener::local().await?;
    let bench = ["benchmark", "numbers", "fail", "-d", "null", "-n", "7"];
    let failed = local(&listener, &bench).await?;
    assert_eq!((failed.code, failed.stderr.as_str()), (Some(1), "error: 7 calls failed\n"));
    assert!(failed.stdout.starts_with("calls    0 ok, 7 failed in "), "{}", failed.stdout);
    let line = "\nfailed   7 out-of-range, the first with: out-of-range: 0 is nothing\n";
    assert!(failed.stdout.ends_with(line), "{}", failed.stdout);
    let wrong = local(&listener, &["benchmark", "numbers", "double", "-c", "0"]).await?;
    assert_eq!(wrong.code, Some(2));
    Ok(())
}

#[tokio::test]
async fn a_listener_tells_what_it_serves() -> Outcome {
    let (ca, listener) = (Ca::new()?, Listener::local().await?);
    let node = Listener::of_a_node(ca.credentials("alpha", "node-a")?)?;
    let files = ca.issue("alpha", "node-b")?;
    let shown = local(&listener, &["introspect"]).await?;
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""));
    let document: Value = serde_json::from_str(&shown.stdout)?;
    let streams = &document["procedures"]["serverStream"];
    assert_eq!((&streams[0]["service"], &streams[0]["name"]), (&json!("numbers"), &json!("count")));
    let text = |path: &std::path::Path| path.to_str().map(str::to_owned).ok_or("a path that is no text");
    let (cert, key, ca_file) = (text(&files.certificate)?, text(&files.key)?, text(&files.trust_bundle)?);
    let by_tls = run(&["introspect", "--via", &node.via, "--cert", &cert, "--key", &key, "--ca", &ca_file]).await?;
    assert_eq!(by_tls, shown);

    let via = listener.via.clone();
    drop(listener);
    let gone = run(&["introspect", "--via", &via]).await?;
    assert_eq!((gone.code, gone.stdout.as_str()), (Some(1), ""));
    assert!(gone.stderr.starts_with(&format!("error: `{via}` does not tell about itself: ")), "{}", gone.stderr);
    Ok(())
}
