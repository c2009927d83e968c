//! h3 over quinn, a client and a server of one process.

mod packets;
mod pair;
mod requests;
mod restart;
mod traps;
