//! The binary from the outside: arguments, files and environment in, exit code, text and processes out.

mod api;
mod bad_calls;
mod blame;
mod config;
mod credentials;
mod dev;
mod drained;
mod events;
mod labels;
mod losses;
mod process;
mod restart;
mod run;
mod service_mesh;
mod services;
mod toggles;
