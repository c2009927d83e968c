//! What a process holds.

use anyhow::Context as _;
use tokio::runtime::Handle;

use crate::MEMORY;

/// What this process holds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Held {
    pub(crate) sockets: usize,
    pub(crate) tasks: usize,
    pub(crate) memory_mib: f64,
}

impl Held {
    pub(crate) fn now() -> anyhow::Result<Self> {
        let tasks = Handle::current().metrics().num_alive_tasks();
        let memory_mib = f64::from(MEMORY.current_usage_as_mb());
        Ok(Self { sockets: sockets()?, tasks, memory_mib })
    }

    /// Returns what is held beyond what was held `before`.
    pub(crate) fn beyond(self, before: Self) -> Self {
        Self {
            sockets: self.sockets.saturating_sub(before.sockets),
            tasks: self.tasks.saturating_sub(before.tasks),
            memory_mib: self.memory_mib - before.memory_mib,
        }
    }

    pub(crate) fn max(self, other: Self) -> Self {
        let Self { sockets, tasks, memory_mib } = other;
        Self {
            sockets: self.sockets.max(sockets),
            tasks: self.tasks.max(tasks),
            memory_mib: self.memory_mib.max(memory_mib),
        }
    }
}

fn sockets() -> anyhow::Result<usize> {
    let mut sockets = 0;
    for entry in std::fs::read_dir("/proc/self/fd").context("cannot list what is open")? {
        // One that is closed meanwhile is none.
        let target = std::fs::read_link(entry?.path());
        sockets += usize::from(target.is_ok_and(|target| target.to_string_lossy().starts_with("socket:")));
    }
    Ok(sockets)
}

/// Returns how much memory of this process is resident, in MiB.
pub(crate) fn resident_mib() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read what is resident")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("nothing is resident")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("what is resident is no number")?;
    Ok(kib / 1024)
}
