//! Real nodes on loopback with certificates made for the test.
//!
//! A [`Cluster`] runs each [`Node`] as a process would: on a thread and a runtime of its own, with its own metrics and its
//! own log. So a node can be killed in the middle of what it does, and what it counted is told from what the others
//! did. Nothing here waits for time to pass: [`Cluster::wait_until`] waits for a condition, up to a limit.
//!
//! An [`Authority`] issues the certificates, the bad ones too.
//!
//! ```
//! use std::time::Duration;
//! use mesh_types::MemberState;
//! use test_cluster::{Cluster, Tuning};
//!
//! # async fn three_nodes() -> Result<(), Box<dyn std::error::Error>> {
//! let mut cluster = Cluster::start(3, Tuning::fast()).await?;
//! let limit = Duration::from_secs(10);
//! cluster.wait_until("all see all", limit, Cluster::all_see_all).await?;
//! cluster.kill(2);
//! cluster.wait_until("the killed node is dead", limit, |c| c.all_hold(2, MemberState::Dead)).await?;
//! # Ok(())
//! # }
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(three_nodes())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cluster;
mod error;
mod log;
mod node;
mod thread;
mod tuning;

pub use cluster::Cluster;
pub use error::{StartError, TimedOut};
pub use node::{Ended, Node, Setup};
pub use test_authority::{Authority, Holder, Issued, SignedRevocations};
pub use tuning::Tuning;
