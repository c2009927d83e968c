//! What agents cost, as /proc tells it.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;

/// What has gone over loopback, in IP bytes and packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
}

/// Memory of one process, in KiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Memory {
    /// What is resident.
    pub(crate) rss_kib: u64,
    /// The same, with each shared page divided by those who share it.
    pub(crate) pss_kib: u64,
}

/// Returns the processor time that the threads of a process have had, to the nanosecond; a thread that has ended is not
/// counted.
pub(crate) fn cpu_time(pid: u32) -> anyhow::Result<Duration> {
    let mut total_ns = 0;
    let folder = format!("/proc/{pid}/task");
    for thread in fs::read_dir(&folder).with_context(|| format!("cannot list `{folder}`"))? {
        let path = thread.with_context(|| format!("cannot list `{folder}`"))?.path().join("schedstat");
        // A thread that ends between the two has nothing to tell any more.
        let Ok(text) = fs::read_to_string(&path) else { continue };
        total_ns += first_number(&text).with_context(|| format!("`{}` holds `{text}`", path.display()))?;
    }
    Ok(Duration::from_nanos(total_ns))
}

/// Returns the memory of a process.
pub(crate) fn memory(pid: u32) -> anyhow::Result<Memory> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{path}`"))?;
    let kib = |field: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(field)).and_then(first_number);
        value.with_context(|| format!("`{path}` has no `{field}`"))
    };
    Ok(Memory { rss_kib: kib("Rss:")?, pss_kib: kib("Pss:")? })
}

/// Returns what has gone over the loopback of this network namespace.
pub(crate) fn traffic() -> anyhow::Result<Traffic> {
    const PATH: &str = "/proc/net/dev";
    let text = fs::read_to_string(PATH).with_context(|| format!("cannot read `{PATH}`"))?;
    loopback(&text).with_context(|| format!("`{PATH}` shows no loopback"))
}

fn loopback(text: &str) -> Option<Traffic> {
    let counts = text.lines().find_map(|line| line.trim_start().strip_prefix("lo:"))?;
    let mut counts = counts.split_whitespace().map(str::parse);
    // Loopback has no header of its own: its bytes are those of IP.
    Some(Traffic { bytes: counts.next()?.ok()?, packets: counts.next()?.ok()? })
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_found_among_the_devices() {
        let text = "Inter-|   Receive\n face |bytes    packets\n  eth0: 1 2 3\n    lo:     690       2    0\n";
        assert_eq!(loopback(text), Some(Traffic { bytes: 690, packets: 2 }));
        assert_eq!(loopback("  eth0: 1 2 3\n"), None);
    }

    #[test]
    fn this_process_costs_something() -> anyhow::Result<()> {
        let pid = std::process::id();
        let Memory { rss_kib, pss_kib } = memory(pid)?;
        assert!(pss_kib > 0 && pss_kib <= rss_kib, "{pss_kib} of {rss_kib} KiB");
        assert!(cpu_time(pid)? > Duration::ZERO);
        Ok(())
    }
}
