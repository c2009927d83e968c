//! What processes take.

use std::fs;
use std::io;
use std::time::Duration;

/// Returns the processor time that the threads of `process` have had which are still there.
///
/// From `schedstat`, which counts nanoseconds; the times of `getrusage` grow in whole ticks on some kernels.
///
/// # Errors
/// The process is gone, or the kernel does not count.
pub(crate) fn cpu_of(process: u32) -> io::Result<Duration> {
    let mut sum = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{process}/task"))? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        let nanos = text.split_whitespace().next().unwrap_or_default().parse().map_err(io::Error::other)?;
        sum += Duration::from_nanos(nanos);
    }
    Ok(sum)
}

/// Returns the bytes of memory of `process` that are its own.
///
/// # Errors
/// The process is gone.
pub(crate) fn memory_of(process: u32) -> io::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap_or_default();
    let kib = line.trim().trim_end_matches(" kB").parse::<f64>().map_err(io::Error::other)?;
    Ok(kib * 1024.0)
}
