//! The `omnirelay` binary, asked as people and scripts do.

mod command;
mod config;
mod labels;
mod lifecycle;
mod listener;
mod node;
mod peers;
mod rpc;
mod tls;
mod upgrade;
mod usage;
