//! The control endpoint, asked as its clients do.

mod labels;
mod lease_health;
mod lifecycle;
mod mesh;
mod routes;
mod running;
mod server;
mod tls;
mod toggles;
mod upgrade;
