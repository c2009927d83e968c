//! How HTTP/2 lies on TLS over TCP on both sides of the mesh: few large reads, and one write a turn.
//!
//! A connection of HTTP/2 has its stream flushed after each frame of data, and TLS makes a record of each flush and hands it to the
//! system: a call costs two writes and two reads where one would do, and a burst of calls as many each. [`gather`] holds what
//! a connection writes until its task has done all that it can do now; then the task sends it with [`Outlet::after`], and
//! what was many records and many system calls is one. [`read_ahead`] goes between TLS and TCP: TLS alone reads 4 KiB at a time.
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

mod gather;

pub use gather::{Gathering, Outlet, gather};

use tokio::io::{AsyncRead, BufReader};

/// Most bytes that are taken off a socket at a time: a few records of calls, one of bulk data.
const READ_AHEAD_BYTES: usize = 32 * 1024;

/// Reads from `io` in large pieces, whatever pieces are asked for.
pub fn read_ahead<I: AsyncRead>(io: I) -> BufReader<I> {
    BufReader::with_capacity(READ_AHEAD_BYTES, io)
}
