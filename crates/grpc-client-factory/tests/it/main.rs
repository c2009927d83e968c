//! Channels against tonic's own server over mutual TLS, a small one over HTTP/3, and mesh-server.

mod balanced;
mod calls;
mod certificates;
mod connecting;
mod deadlines;
mod gone;
mod health_checks;
mod hedging;
mod http3;
mod lanes;
mod limits;
mod measures;
mod mesh_server;
mod own_rules;
mod plain_http;
mod quic;
mod retries;
mod support;
mod tap;
mod wire;
