//! A server on loopback, called by tonic's own client over HTTP/2 and by one of h3 over HTTP/3.

mod calls;
mod deadlines;
mod drain;
mod fixture;
mod http3_client;
mod inflight;
mod lanes;
mod limits;
mod metrics;
mod raw_http3;
mod relay;
mod tcp_client;
mod trust;
