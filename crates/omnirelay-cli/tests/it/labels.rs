//! `omnirelay mesh peers label` against a node.

use control_api::Security;
use mesh_types::MemberState;
use serde_json::{Value, json};

use crate::command::{Run, run};
use crate::node::{Failure, Node};

type Outcome = Result<(), Failure>;

/// Changes labels at `node`, which is called `node-a` and has the label `rack=r1`.
async fn label(node: &Node, args: &[&str]) -> Result<Run, Failure> {
    run(&[&["mesh", "peers", "label", "--endpoint", &node.http_url()], args].concat()).await
}

async fn plain_node() -> Result<Node, Failure> {
    Node::start(Security::PlaintextLoopback, MemberState::Alive).await
}

fn done(stdout: &str) -> Run {
    Run { code: Some(0), stdout: stdout.to_owned(), stderr: String::new() }
}

#[tokio::test]
async fn labels_are_set_and_removed_and_all_are_shown() -> Outcome {
    let node = plain_node().await?;
    assert_eq!(label(&node, &["self", "zone=a", "note=two words"]).await?, done("note=two words\nrack=r1\nzone=a\n"));
    assert_eq!(label(&node, &["node-a", "rack=r2", "zone-", "note-", "never-"]).await?, done("rack=r2\n"));
    let shown = label(&node, &["self", "rack-", "-o", "json"]).await?;
    let document: Value = serde_json::from_str(&shown.stdout)?;
    assert_eq!(document, json!({"nodeId": "node-a", "metadataVersion": 4, "labels": {}}));
    Ok(())
}

/// Checks that a call failed with `code` and told people `told`, where URL stands for the node's, and changed nothing.
async fn check(args: &[&str], code: i32, told: &str) -> Outcome {
    let node = plain_node().await?;
    let failed = label(&node, args).await?;
    assert_eq!((failed.code, failed.stdout.as_str()), (Some(code), ""), "{}", failed.stderr);
    let told = told.replace("URL", &node.http_url());
    assert!(failed.stderr.contains(&told), "no `{told}` in\n{}", failed.stderr);
    assert_eq!(label(&node, &["self", "never-"]).await?, done("rack=r1\n"));
    Ok(())
}

#[tokio::test]
async fn labels_of_another_node_are_not_changed_here() -> Outcome {
    let told = "error: URL answered 412 Precondition Failed: \
                this is `node-a`, not `node-b`: ask at the control endpoint of `node-b`\n";
    check(&["node-b", "rack=r2"], 1, told).await
}

#[tokio::test]
async fn what_the_node_refuses_is_told() -> Outcome {
    check(&["self", "long=x"], 1, "error: URL answered 400 Bad Request: labels would not be valid\n").await
}

#[tokio::test]
async fn a_wrong_call_is_refused_with_what_is_valid() -> Outcome {
    check(&["self", "rack"], 2, "write `key=value` to set a label or `key-` to remove it").await?;
    check(&["self", "rack=r2", "rack-"], 2, "error: label `rack` is named twice\n").await?;
    check(&["self"], 2, "required arguments were not provided").await
}
