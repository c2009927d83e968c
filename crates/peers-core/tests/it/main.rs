//! The crate through its public words.

mod breaker;
mod choosers;
mod descriptor;
mod errors;
mod filters;
mod fleet;
mod leases;
mod local;
mod probed;
mod support;
mod table;
mod table_model;
mod telemetry;
#[path = "../made_up/telling.rs"]
mod telling;
