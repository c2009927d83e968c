//! Threads that keep to themselves: a connection, and all that its calls lead to, stays on one.
//!
//! What hands calls on has little to do for each, and waking another thread costs more than all of that. So a [`Lanes`] has a few threads with a
//! runtime of its own each, and deals connections out to them: whoever serves one runs it on the lane of its [`Seat`], and whoever keeps
//! connections to others keeps one for each lane, in a [`PerLane`]. A call that comes in on a lane then leaves and is answered there.
//!
//! Nothing is ever moved from one lane to another: a connection takes no more than one core. Handlers that compute belong elsewhere.
//!
//! ```
//! # fn run() -> std::io::Result<()> {
//! use std::num::NonZeroUsize;
//!
//! use lanes::{Lanes, PerLane};
//!
//! let lanes = Lanes::start(NonZeroUsize::MIN)?;
//! let seat = lanes.deal();
//! let running = seat.runtime().clone().spawn(async move {
//!     let greetings = PerLane::new();
//!     assert_eq!(greetings.get_or_make(|| "hello from this lane"), &"hello from this lane");
//!     drop(seat);
//! });
//! # drop(running);
//! # Ok(())
//! # }
//! # run().expect("a thread");
//! ```

mod lanes;
mod per_lane;

pub use lanes::{LANES_MAX, Lanes, Seat};
pub use per_lane::PerLane;
