//! Calls to services of the mesh, as an application makes them.

mod answer;
mod call_args;
mod frames;
mod session;
mod spec;

pub(crate) use answer::CallError;
pub(crate) use call_args::CallArgs;
pub(crate) use session::{Session, Way};
pub(crate) use spec::CallSpec;
