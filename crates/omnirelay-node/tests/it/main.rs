//! The binary from the outside: arguments, files and environment in, exit code, text and processes out.

mod api;
mod bad_calls;
mod config;
mod credentials;
mod dev;
mod events;
mod labels;
mod process;
mod restart;
mod run;
mod services;
mod toggles;
