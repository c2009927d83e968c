//! Why a cluster did not start, or did not get where the test wants it.

use std::io;
use std::time::Duration;

use gossip::BindError;
use identity::LoadCredentialsError;
use mesh_types::{NameError, NodeId};
use test_authority::AuthorityError;

/// Why a node, or its certificate, could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The certificate could not be made.
    #[error("cannot certify the node")]
    Authority(#[from] AuthorityError),
    /// The files of the node's credentials cannot be used.
    #[error("cannot use the files of credentials")]
    Files(#[from] LoadCredentialsError),
    /// A name in the node's options is not valid.
    #[error("node has an option that is not valid")]
    Name(#[from] NameError),
    /// The gossip service refused its options, its certificate or its port.
    #[error("cannot bind `{node}`")]
    Bind {
        /// The node.
        node: NodeId,
        /// The reason.
        source: BindError,
    },
    /// The system gave no thread or no runtime.
    #[error("cannot run `{node}`")]
    Run {
        /// The node.
        node: NodeId,
        /// The reason.
        source: io::Error,
    },
    /// The node's thread panicked before it was up.
    #[error("thread of `{node}` panicked while it started")]
    Panicked {
        /// The node.
        node: NodeId,
    },
}

/// What did not come true in time, and how the nodes saw the mesh then.
#[derive(Debug, thiserror::Error)]
#[error("not within {limit:?}: {what}\n{views}")]
pub struct TimedOut {
    /// What was waited for.
    pub what: String,
    /// For how long.
    pub limit: Duration,
    /// What each living node saw at the end, a line a node.
    pub views: String,
}
