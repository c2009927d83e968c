//! Calls to services of the mesh, as an application makes them.

mod answer;
mod call_args;
mod frames;
mod listener;
mod session;
mod spec;

pub(crate) use answer::CallError;
pub(crate) use call_args::{CallArgs, ViaArgs};
pub(crate) use listener::Listener;
pub(crate) use session::{Session, Way};
pub(crate) use spec::{CallSpec, Wire};
