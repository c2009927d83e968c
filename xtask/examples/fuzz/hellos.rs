//! The first words on a link, from whoever dialled and from whoever was dialled.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::Context as _;
use bytes::Bytes;
use membership::{Core, LocalNode, Options, Sender};
use mesh_proto::Message as _;
use mesh_proto::gossip::LinkTerms;
use mesh_types::{BootEpoch, Features, NodeId, NodeLifecycle, NodeMetadata};

/// A node that is said hello to.
#[derive(Debug)]
pub(crate) struct Hellos {
    now: Instant,
    dialler: Sender,
    corpus: Vec<Vec<u8>>,
}

impl Hellos {
    pub(crate) fn new(now: Instant) -> anyhow::Result<Self> {
        let dialler = sender("node-a")?;
        let mut dialled = start("node-a", now)?;
        let hello = start("node-a", now)?.hello();
        let answer = dialled.handle_hello(&sender("node-b")?, &start("node-b", now)?.hello(), now);
        let corpus = vec![hello.to_vec(), answer.context("the answer to start from")?.to_vec()];
        Ok(Self { now, dialler, corpus })
    }

    pub(crate) fn corpus(&self) -> Vec<Vec<u8>> {
        self.corpus.clone()
    }

    /// Says `data` to a node that has just started, as a hello and as the answer to its own, and says what became of it.
    pub(crate) fn take(&self, data: &[u8]) -> &'static str {
        let bytes = Bytes::copy_from_slice(data);
        // What both sides say of the link rides along; it is read whatever the hello is.
        let terms = LinkTerms::decode(bytes.clone()).unwrap_or_default();
        assert!(LinkTerms::decode(terms.encode_to_vec().as_slice()).as_ref() == Ok(&terms), "read as it was written");
        let (Ok(mut dialled), Ok(mut dialler)) = (start("node-b", self.now), start("node-b", self.now)) else {
            return "no node";
        };
        let said = dialled.handle_hello(&self.dialler, &bytes, self.now);
        let answered = dialler.handle_hello_ack(&self.dialler, &bytes, self.now);
        match (said, answered) {
            (Ok(_), _) => "accepted, hello",
            (_, Ok(())) => "accepted, answer",
            (Err(error), Err(_)) => error.reason(),
        }
    }
}

/// Starts the protocol of a node that knows nobody.
pub(crate) fn start(name: &str, now: Instant) -> anyhow::Result<Core> {
    let metadata = NodeMetadata {
        role: "worker".parse()?,
        cluster: "alpha".parse()?,
        region: "eu-1".parse()?,
        mesh_version: "0.1.0".into(),
        http3_support: true,
        endpoint: "10.0.0.2:17421".parse()?,
        labels: BTreeMap::from([("rack".to_owned(), "r1".to_owned())]),
        features: Features::OF_THIS_BUILD,
        lifecycle: NodeLifecycle::Active,
        services: ["greeter".parse()?].into(),
        rpc_endpoint: Some("10.0.0.2:7070".parse()?),
    };
    let local = LocalNode { id: node(name)?, boot_epoch: BootEpoch(1), metadata };
    Core::new(local, Options::default(), 7, now).context("the target's node")
}

pub(crate) fn node(name: &str) -> anyhow::Result<NodeId> {
    Ok(name.parse()?)
}

/// Returns whom the certificate of a link names.
pub(crate) fn sender(name: &str) -> anyhow::Result<Sender> {
    Ok(Sender { node: node(name)?, role: "worker".parse()? })
}
