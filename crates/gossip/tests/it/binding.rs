//! Nodes that do not start, and why.

use gossip::{BindError, Service};
use test_cluster::{Cluster, Holder, Tuning};

use crate::Failure;

#[tokio::test]
async fn a_port_in_use_is_named() -> Result<(), Failure> {
    let cluster = Cluster::start(1, Tuning::fast()).await?;
    let taken = cluster.node(0).local_addr();
    let mut setup = cluster.setup("node-1")?;
    setup.options.port = taken.port();
    let error = Service::bind(setup.options, setup.credentials).err().ok_or("the port is taken")?;
    assert!(matches!(&error, BindError::InUse { address, .. } if *address == taken), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!("UDP port {taken} is in use: another node, or another program, listens there")
    );
    Ok(())
}

/// Binds `node-1` of cluster `test` as a `worker` with a certificate for `holder`.
async fn check(holder: Holder, expected: (&str, &str, &str)) -> Result<(), Failure> {
    let cluster = Cluster::start(0, Tuning::fast()).await?;
    let setup = cluster.setup("node-1")?;
    let credentials = cluster.authority().credentials_with(&holder)?;
    match Service::bind(setup.options, credentials) {
        Err(BindError::Identity { option, configured, certified }) => {
            assert_eq!((option, configured.as_str(), certified.as_str()), expected);
            Ok(())
        }
        other => Err(format!("{holder:?}: {other:?}").into()),
    }
}

#[tokio::test]
async fn a_certificate_of_somebody_else_is_told_by_the_option_it_contradicts() -> Result<(), Failure> {
    check(Holder::new("node-2"), ("nodeId", "node-1", "node-2")).await?;
    let beta = Holder { cluster: "beta".to_owned(), ..Holder::new("node-1") };
    check(beta, ("clusterId", "test", "beta")).await?;
    let gateway = Holder { role: "gateway".to_owned(), ..Holder::new("node-1") };
    check(gateway, ("role", "worker", "gateway")).await
}
