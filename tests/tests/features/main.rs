//! What people do with a mesh of real nodes and the real command line tool, each under its own certificate: `cargo xtask features` runs
//! it, with the static binaries or those of a debug build. After every step the command line, the control endpoint and the metrics
//! of each node must say the same within two seconds.

mod application;
mod calls;
mod health;
mod labels;
mod lifecycle;
mod load;
mod members;
mod mesh;
mod process;
mod roles;
mod toggles;
mod upgrade;
mod view;

use std::error::Error;

pub(crate) type Failure = Box<dyn Error + Send + Sync>;
pub(crate) type Outcome = Result<(), Failure>;
