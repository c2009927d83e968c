//! `mesh peers drain`, `cordon` and `uncordon`.

use control_api::Security;
use mesh_types::MemberState;
use serde_json::{Value, json};

use crate::command::{Run, run};
use crate::node::{Failure, Node};

type Outcome = Result<(), Failure>;

/// Calls `verb` at `node`, which is called `node-a`; another member does not know of lifecycles.
async fn call(node: &Node, verb: &str, args: &[&str]) -> Result<Run, Failure> {
    run(&[&["mesh", "peers", verb, "--endpoint", &node.http_url()], args].concat()).await
}

#[tokio::test]
async fn each_verb_says_what_the_node_takes_then_and_who_does_not_understand() -> Outcome {
    let node = Node::start(Security::PlaintextLoopback, MemberState::Alive).await?;
    let told = "these do not know of lifecycles, and go on giving it work: node-a, node-b\n";
    for (verb, stdout, stderr) in [
        ("drain", "node-a  draining\n", told),
        ("cordon", "node-a  cordoned\n", told),
        ("uncordon", "node-a  active\n", ""),
    ] {
        let expected = Run { code: Some(0), stdout: stdout.to_owned(), stderr: stderr.to_owned() };
        assert_eq!(call(&node, verb, &["node-a"]).await?, expected, "{verb}");
    }
    let shown = call(&node, "drain", &["self", "-o", "json"]).await?;
    let document: Value = serde_json::from_str(&shown.stdout)?;
    let unaware = ["node-a", "node-b"];
    assert_eq!(
        document,
        json!({"nodeId": "node-a", "metadataVersion": 5, "lifecycle": "draining", "unaware": unaware})
    );
    let list = run(&["mesh", "peers", "list", "--endpoint", &node.http_url()]).await?;
    let row = list.stdout.lines().find(|line| line.starts_with("node-a")).unwrap_or_default();
    assert_eq!(row.split_whitespace().nth(2), Some("draining"), "{row}");
    Ok(())
}

#[tokio::test]
async fn another_node_is_not_drained_here() -> Outcome {
    let node = Node::start(Security::PlaintextLoopback, MemberState::Alive).await?;
    let failed = call(&node, "drain", &["node-b"]).await?;
    assert_eq!((failed.code, failed.stdout.as_str()), (Some(1), ""));
    assert!(failed.stderr.contains("this is `node-a`, not `node-b`"), "{}", failed.stderr);
    assert_eq!(call(&node, "drain", &[]).await?.code, Some(2));
    Ok(())
}
