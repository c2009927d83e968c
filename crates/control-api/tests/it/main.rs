//! The control endpoint, asked as its clients do.

mod mesh;
mod routes;
mod running;
mod server;
mod tls;
