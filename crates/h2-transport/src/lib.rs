//! How HTTP/2 lies on TLS over TCP on both sides of the mesh: few large reads, and one write a turn.
//!
//! A connection of HTTP/2 has its stream flushed after each frame of data, and TLS makes a record of each flush and hands it to the
//! system: a call costs two writes and two reads where one would do, and a burst of calls as many each. [`gather`] holds what
//! a connection writes until its task has done all that it can do now; then the task sends it with [`Outlet::after`], and
//! what was many records and many system calls is one. [`read_ahead`] goes between TLS and TCP: TLS alone reads 4 KiB at a time.
//!
//! Neither keeps a buffer while there is nothing in it: the connections of a thread lend each other two, so a thousand that are silent
//! take no more than one that is not.
//!
//! ```
//! # async fn run(io: tokio::io::DuplexStream) -> std::io::Result<()> {
//! use std::future::poll_fn;
//! use std::pin::pin;
//!
//! use tokio::io::AsyncWriteExt as _;
//!
//! let (mut stream, outlet) = h2_transport::gather(io);
//! let mut connection = pin!(async move {
//!     stream.write_all(b"frame").await?;
//!     stream.flush().await?;
//!     stream.shutdown().await
//! });
//! poll_fn(|cx| {
//!     let turn = connection.as_mut().poll(cx);
//!     outlet.after(turn, cx)
//! })
//! .await
//! # }
//! ```

mod body;
mod gather;
mod read_ahead;
mod spare;

pub use body::{Received, send_all, trace_failure};
pub use gather::{Gathering, Outlet, gather};
pub use read_ahead::{ReadAhead, read_ahead};
