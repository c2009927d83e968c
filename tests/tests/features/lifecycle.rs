//! Nodes that are taken out of work and put back.

use crate::Outcome;
use crate::application::Application;
use crate::load::{Load, client, until_all_answer};
use crate::mesh::Mesh;
use crate::process::within_limit;
use crate::view::Members;

#[tokio::test]
#[ignore = "needs the binaries: cargo xtask features"]
async fn a_worker_gets_no_call_while_it_is_cordoned_or_drains_and_no_call_fails() -> Outcome {
    let (one, other) = (Application::start().await?, Application::start().await?);
    let (mesh, nodes) = Mesh::start(&[&one, &other]).await?;
    let [dispatcher, _, worker, _] = nodes.as_slice() else { return Err("four nodes were started".into()) };
    let everybody: Vec<_> = nodes.iter().collect();
    let mut client = client(dispatcher).await?;
    until_all_answer(&mut client, &[&one, &other]).await?;
    let load = Load::start(&client);
    for (verb, lifecycle, ready) in [
        ("cordon", "cordoned", 200),
        ("uncordon", "active", 200),
        ("drain", "draining", 503),
        ("uncordon", "active", 200),
    ] {
        let said = mesh.operate(worker, &["mesh", "peers", verb, &worker.name]).await?;
        assert_eq!(said, format!("{}  {lifecycle}\n", worker.name));
        let lifecycles = match lifecycle {
            "active" => vec![("active", 4)],
            out => vec![("active", 3), (out, 1)],
        };
        mesh.members_agreed(&everybody, verb, &Members::of(&[("alive", 4)], &lifecycles)).await?;
        assert_eq!(mesh.get(worker, "/readyz").await?.0, ready, "{verb}");
        // Those that were on their way have come.
        load.more(20).await?;
        let before = one.echo.calls().begun;
        if lifecycle == "active" {
            within_limit("calls come again", one.echo.wait_for(|calls| calls.begun > before)).await?;
        } else {
            load.more(100).await?;
            assert_eq!(one.echo.calls().begun, before, "{verb}");
        }
    }
    load.end().await
}
