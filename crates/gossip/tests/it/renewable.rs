//! Nodes whose credentials the test can replace and revoke while they run.

use std::sync::Arc;
use std::time::Duration;

use identity::{Credentials, SharedCredentials};
use test_cluster::{Authority, Cluster, Holder, Issued, Node, Setup, Tuning};

use crate::{Failure, LIMIT};

/// Links begun with the current certificate.
pub(crate) const CURRENT: &str = "mesh_gossip_links_by_generation{generation=\"current\"}";

/// Links begun with an older one.
pub(crate) const OLDER: &str = "mesh_gossip_links_by_generation{generation=\"older\"}";

/// A mesh of nodes with credentials in memory. They renew their links at once.
pub(crate) struct Renewable {
    pub(crate) cluster: Cluster,
    pub(crate) nodes: Vec<Shown>,
}

/// What a node shows.
pub(crate) struct Shown {
    pub(crate) certificate: Issued,
    pub(crate) credentials: Arc<SharedCredentials>,
}

impl Shown {
    /// Issues a certificate for `holder`.
    pub(crate) fn new(authority: &Authority, holder: &Holder) -> Result<Self, Failure> {
        let certificate = authority.issue(holder)?;
        let credentials = authority.credentials_of(&certificate, holder)?;
        let credentials = Arc::new(SharedCredentials::new(Credentials::clone(&credentials)));
        Ok(Self { certificate, credentials })
    }

    /// Replaces the certificate by a fresh one.
    pub(crate) fn renew(&mut self, authority: &Authority, holder: &Holder) -> Result<(), Failure> {
        self.certificate = authority.issue(holder)?;
        let credentials = authority.credentials_of(&self.certificate, holder)?;
        Ok(self.credentials.replace(&credentials)?)
    }
}

impl Renewable {
    /// Starts the nodes `node-0` to `node-<n - 1>` and waits until all see all and everybody has met everybody.
    pub(crate) async fn start(count: usize, tuning: Tuning) -> Result<Self, Failure> {
        let mut mesh = Self { cluster: Cluster::start(0, tuning).await?, nodes: Vec::new() };
        for number in 0..count {
            mesh.join(&Holder::new(&format!("node-{number}"))).await?;
        }
        mesh.cluster.wait_until("all see all", LIMIT, Cluster::all_see_all).await?;
        let links = f64::from(u32::try_from(count)? - 1);
        let all_linked = |c: &Cluster| c.running().all(|node| node.metric(CURRENT) == links);
        mesh.cluster.wait_until("all are linked", LIMIT, all_linked).await?;
        Ok(mesh)
    }

    /// Starts another node.
    pub(crate) async fn join(&mut self, holder: &Holder) -> Result<usize, Failure> {
        let shown = Shown::new(self.cluster.authority(), holder)?;
        let setup = self.setup(holder, &shown)?;
        self.nodes.push(shown);
        Ok(self.cluster.join(setup).await?)
    }

    /// Makes what a node that shows `shown` is started with.
    pub(crate) fn setup(&self, holder: &Holder, shown: &Shown) -> Result<Setup, Failure> {
        let mut setup = self.cluster.setup(&holder.node)?;
        setup.credentials = Arc::clone(&shown.credentials) as _;
        setup.options.rehandshake_window = Duration::ZERO;
        Ok(setup)
    }

    /// Gives every node a fresh certificate of `authority`, that it trusts beside `also_trusts`, all at once.
    pub(crate) fn renew_all(&mut self, authority: Option<&Authority>, also_trusts: &[String]) -> Result<(), Failure> {
        let authority = authority.unwrap_or_else(|| self.cluster.authority());
        for (number, shown) in self.nodes.iter_mut().enumerate() {
            let holder = Holder { also_trusts: also_trusts.to_vec(), ..Holder::new(&format!("node-{number}")) };
            shown.renew(authority, &holder)?;
        }
        Ok(())
    }

    /// Lets every node keep its certificate, which `authority` has issued, and trust that and `also_trusts` from now on.
    pub(crate) fn trust(&self, authority: &Authority, also_trusts: &[String]) -> Result<(), Failure> {
        for (number, shown) in self.nodes.iter().enumerate() {
            let holder = Holder { also_trusts: also_trusts.to_vec(), ..Holder::new(&format!("node-{number}")) };
            shown.credentials.replace(&*authority.credentials_of(&shown.certificate, &holder)?)?;
        }
        Ok(())
    }

    /// Waits until each node has renewed its certificate `times` times, and has a link with the current one to each other.
    pub(crate) async fn all_renewed(&self, times: usize) -> Result<(), Failure> {
        let links = f64::from(u32::try_from(self.nodes.len())? - 1);
        let has_noticed = |node: &Node| node.log().matches("certificate renewed").count() == times;
        let has_linked = |node: &Node| (node.metric(OLDER), node.metric(CURRENT)) == (0.0, links);
        let renewed = |c: &Cluster| c.running().all(|node| has_linked(node) && has_noticed(node));
        self.cluster.wait_until("all links are renewed", LIMIT, renewed).await?;
        Ok(())
    }
}
