//! Load balancing in a simulated fleet: clients that choose, servers that share their cores fairly, virtual time.
//!
//! [`simulate`] runs one [`Scenario`] with one [`Policy`] a client. Ours are the choosers of `peers-core` as they are,
//! with their tables, leases and breakers; the others are written here after their sources and papers. All policies
//! meet the same calls, the same work and the same troubles, and the same seed gives the same numbers.
//!
//! ```
//! use sim::balance::{Kind, SCENARIOS, Scenario, simulate};
//!
//! let [even, ..] = SCENARIOS;
//! let small = Scenario { servers: 10, clients: 2, seconds: 15, ..even };
//! let measured = simulate(&small, 7, |client| Kind::Adaptive.policy(small.servers, 7, client));
//! assert!(measured.latencies.quantile_ms(0.5) < 10.0);
//! ```

mod chance;
mod competitors;
mod fleet;
mod kind;
mod limits;
mod measure;
mod ours;
mod plot;
mod policy;
mod report;
mod results;
mod run;
mod scenario;
mod server;
mod tally;

pub use kind::Kind;
pub use limits::{Verdict, judge};
pub use measure::{Latencies, Measured, Spread};
pub use plot::plots;
pub use policy::{Choice, Outcome, Policy, Probe};
pub use report::{model, tables, verdicts};
pub use results::{Results, RunOutcome};
pub use run::simulate;
pub use scenario::{SCENARIOS, Scenario, Trouble, quick};
