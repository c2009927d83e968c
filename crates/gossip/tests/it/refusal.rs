//! What every refusal has in common.

use std::net::SocketAddr;
use std::time::Duration;

use test_cluster::{Authority, Cluster, Holder, Tuning};

use crate::{Failure, LIMIT};

/// A node that strangers try to talk to. It trusts a second CA, so that another trust domain gets as far as its check.
pub(crate) struct Target {
    cluster: Cluster,
    pub(crate) address: SocketAddr,
    /// Issues for the trust domain `other.test`.
    pub(crate) other_domain: Authority,
}

impl Target {
    pub(crate) async fn start() -> Result<Self, Failure> {
        // The strangers that are let in answer no probe: they are not to be found dead while they are looked at.
        let patient = Tuning { suspicion_interval: Duration::from_secs(60), ..Tuning::default() };
        let mut cluster = Cluster::start(0, patient).await?;
        let other_domain = Authority::of("other.test")?;
        let mut setup = cluster.setup("node-0")?;
        let holder = Holder { also_trusts: vec![other_domain.trust_bundle_pem()], ..Holder::new("node-0") };
        setup.credentials = cluster.authority().credentials_with(&holder)?;
        cluster.join(setup).await?;
        let address = cluster.node(0).local_addr();
        Ok(Self { cluster, address, other_domain })
    }

    /// Returns who certifies the good nodes.
    pub(crate) const fn authority(&self) -> &Authority {
        self.cluster.authority()
    }

    /// Checks that a connection or a hello was refused, once, as `reason`, and that the log says `words` of it.
    pub(crate) async fn has_refused(self, reason: &str, words: &str) -> Result<(), Failure> {
        self.has_counted("mesh_gossip_refused_total", reason, words).await
    }

    /// Checks that a message was dropped, once, as `reason`, and that the log says `words` of it.
    pub(crate) async fn has_rejected(self, reason: &str, words: &str) -> Result<(), Failure> {
        self.has_counted("mesh_gossip_rejected_total", reason, words).await
    }

    async fn has_counted(self, metric: &str, reason: &str, words: &str) -> Result<(), Failure> {
        let series = format!("{metric}{{reason=\"{reason}\"}}");
        let counted = self.cluster.wait_until(&series, LIMIT, |c| c.node(0).metric(&series) == 1.0).await;
        counted
            .map_err(|error| format!("{error}{}\n{}", self.cluster.node(0).metrics(), self.cluster.node(0).log()))?;
        let all = self.cluster.node(0).metrics();
        let counts =
            |line: &&str| line.starts_with("mesh_gossip_refused_") || line.starts_with("mesh_gossip_rejected_");
        assert_eq!(all.lines().filter(counts).collect::<Vec<_>>(), [format!("{series} 1")]);
        let log = self.cluster.node(0).log();
        let told = |line: &str| line.contains(&format!("reason=\"{reason}\"")) && line.contains(words);
        assert!(log.lines().any(told), "nothing of `{reason}` and `{words}` in\n{log}");
        self.goes_on().await
    }

    /// Checks that a good node is let in as if nothing had been.
    pub(crate) async fn goes_on(mut self) -> Result<(), Failure> {
        let good = self.cluster.setup("node-1")?;
        self.cluster.join(good).await?;
        let see_each_other = |c: &Cluster| c.sees_alive(0, 1) && c.sees_alive(1, 0);
        self.cluster.wait_until("a good node is let in", LIMIT, see_each_other).await?;
        Ok(())
    }
}
