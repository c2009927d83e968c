//! The choosers that come with the crate.

mod adaptive;
mod consistent_hash;
mod fewest_pending;
mod in_order;
pub(crate) mod probed;
mod shard_aware;
mod two_random;
mod weighted;

pub use adaptive::Adaptive;
pub use consistent_hash::{ConsistentHash, hash_key};
pub use fewest_pending::FewestPending;
pub use in_order::{PickFirst, Random, RoundRobin};
pub use probed::{ProbeTicket, Probed};
pub use shard_aware::ShardAware;
pub use two_random::TwoRandom;
pub use weighted::Weighted;
