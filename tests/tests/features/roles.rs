//! What nobody may do who has not the role for it.

use std::fs;

use crate::Outcome;
use crate::application::{Application, SERVICE};
use crate::load::{client, until_all_answer};
use crate::mesh::{Mesh, OPERATOR, VISITOR};
use crate::process::{Run, command, node_binary};

#[tokio::test]
#[ignore = "needs the binaries: cargo xtask features"]
async fn only_an_operator_changes_a_node_and_only_the_one_that_is_meant() -> Outcome {
    let mut mesh = Mesh::new()?;
    let node = mesh.node("node-a", "worker", "").await?;
    for verb in [
        &["mesh", "peers", "cordon", "self"][..],
        &["mesh", "peers", "drain", "self"],
        &["mesh", "peers", "uncordon", "self"],
        &["mesh", "peers", "label", "self", "rack=r1"],
        &["mesh", "upgrade", "drain"],
        &["mesh", "upgrade", "resume"],
    ] {
        let said = mesh.cli(VISITOR, &node, verb).await?.refused()?;
        assert!(said.contains("403") && said.contains("`operator`"), "{verb:?}: {said}");
    }
    let said = mesh.cli(OPERATOR, &node, &["mesh", "peers", "cordon", "node-b"]).await?.refused()?;
    assert!(said.contains("412") && said.contains("`node-a`"), "{said}");
    let document = mesh.document(&node, "/control/upgrade").await?;
    assert_eq!((document["state"].as_str(), document["lifecycle"].as_str()), (Some("active"), Some("active")));
    Ok(())
}

#[tokio::test]
#[ignore = "needs the binaries: cargo xtask features"]
async fn a_worker_is_no_door_for_applications_and_says_so_when_it_starts() -> Outcome {
    let mesh = Mesh::new()?;
    let file = mesh.configure("node-a", "worker", "rpc.local = 'unix:/nowhere/node.sock'")?;
    let mut start = command(&node_binary()?, mesh.path());
    start.args(["run", "--config", &file]);
    let said = Run::of(start).await?.refused()?;
    assert!(
        said.contains("`rpc.local` is for nodes of role `dispatcher` or `gateway`; this one is a `worker`"),
        "{said}"
    );
    Ok(())
}

#[tokio::test]
#[ignore = "needs the binaries: cargo xtask features"]
async fn only_a_gateway_takes_calls_from_outside_on_into_the_mesh() -> Outcome {
    let application = Application::start().await?;
    let (mut mesh, nodes) = Mesh::start(&[&application]).await?;
    let [dispatcher, gateway, _] = nodes.as_slice() else { return Err("three nodes were started".into()) };
    let idle = mesh.node("idle", "worker", "").await?;
    for node in [dispatcher, gateway] {
        until_all_answer(&mut client(node).await?, &[&application]).await?;
    }
    fs::write(mesh.path().join("message"), b"\x0a\x02hi")?;
    let call = ["request", SERVICE, "Unary", "--encoding", "protobuf", "--data-file", "message", "--via"];
    for (node, is_let_in) in [(gateway, true), (dispatcher, false), (&idle, false)] {
        let via = format!("https://{}", node.rpc);
        let run = mesh.cli(VISITOR, node, &[&call[..], &[&via]].concat()).await?;
        if is_let_in {
            assert_eq!(run.done()?.as_bytes(), b"\x0a\x02hi");
        } else {
            let said = run.refused()?;
            assert!(said.contains(&format!("`{SERVICE}`")) && said.contains(&node.name), "{}: {said}", node.name);
        }
    }
    Ok(())
}

#[tokio::test]
#[ignore = "needs the binaries: cargo xtask features"]
async fn a_certificate_of_another_mesh_opens_nothing() -> Outcome {
    let (mut mesh, other) = (Mesh::new()?, Mesh::new()?);
    let node = mesh.node("node-a", "gateway", "").await?;
    for ending in ["pem", "key"] {
        fs::copy(other.path().join(format!("{OPERATOR}.{ending}")), mesh.path().join(format!("stranger.{ending}")))?;
    }
    // The stranger trusts the node, so that it is the node who refuses.
    let both = [fs::read(mesh.path().join("ca.pem"))?, fs::read(other.path().join("ca.pem"))?].concat();
    fs::write(mesh.path().join("both.pem"), both)?;
    let via = format!("https://{}", node.rpc);
    for verb in [&["mesh", "peers", "list", "--ca", "both.pem"][..], &["introspect", "--via", &via, "--ca", "both.pem"]]
    {
        let said = mesh.cli("stranger", &node, verb).await?.refused()?;
        assert!(said.contains("UnknownCA") || said.contains("unknown CA"), "{verb:?}: {said}");
    }
    assert!(
        mesh.cli(OPERATOR, &node, &["mesh", "peers", "list", "--ca", "both.pem"]).await?.done()?.contains("node-a")
    );
    Ok(())
}
