//! The `omnirelay` binary, asked as people and scripts do.

mod command;
mod labels;
mod lifecycle;
mod node;
mod peers;
mod tls;
mod upgrade;
mod usage;
