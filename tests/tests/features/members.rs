//! Members that come, die and come back.

use crate::Outcome;
use crate::application::Application;
use crate::mesh::Mesh;
use crate::process::within_limit;
use crate::view::Members;

#[tokio::test]
#[ignore = "needs the binaries: cargo xtask features"]
async fn all_nodes_say_alike_who_is_there_who_has_died_and_who_is_back() -> Outcome {
    let (one, other) = (Application::start().await?, Application::start().await?);
    let (mut mesh, mut nodes) = Mesh::start(&[&one, &other]).await?;
    let everybody: Vec<_> = nodes.iter().collect();
    let four = Members::of(&[("alive", 4)], &[("active", 4)]);
    mesh.members_agreed(&everybody, "the start", &four).await?;

    let mut killed = nodes.pop().ok_or("no worker")?;
    killed.process.kill().await?;
    let survivors: Vec<_> = nodes.iter().collect();
    let three = Members::of(&[("alive", 3), ("left", 1)], &[("active", 3)]);
    // To be found dead takes its time; from when the first knows, two seconds are enough for all.
    mesh.seen_by_one(&survivors, &three).await?;
    mesh.members_agreed(&survivors, "a death was seen", &three).await?;

    let back = mesh.worker(&killed.name, &other).await?;
    let again: Vec<_> = nodes.iter().chain([&back]).collect();
    mesh.members_agreed(&again, "it was started again", &four).await?;

    let mut stopped = back;
    stopped.stop()?;
    let others: Vec<_> = nodes.iter().collect();
    mesh.members_agreed(&others, "it was stopped", &three).await?;
    let code = within_limit("its end", stopped.process.wait()).await??.code();
    assert_eq!(code, Some(0));
    Ok(())
}
