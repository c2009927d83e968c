//! Channels against tonic's own server over mutual TLS, and a small one over HTTP/3.

mod calls;
mod certificates;
mod connecting;
mod deadlines;
mod http3;
mod limits;
mod measures;
mod quic;
mod retries;
mod support;
