//! The control endpoint, asked as its clients do.

mod mesh;
mod routes;
mod server;
