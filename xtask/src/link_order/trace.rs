//! Which functions processes enter: a breakpoint at each, taken away at its first hit.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::Context as _;
use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// What a breakpoint is made of: `int3`, one byte.
const BREAKPOINT: u8 = 0xcc;

/// Follows a process, and every process that it starts, from the program's start on.
pub(super) struct Tracer<'a> {
    root: Pid,
    program: &'a Path,
    functions: &'a [u64],
    /// By process id: those that run the program with the argument that is looked for.
    armed: BTreeMap<i32, Armed>,
    /// By how many processes each function was entered.
    entered: BTreeMap<u64, usize>,
}

/// A process with breakpoints.
struct Armed {
    base: u64,
    memory: File,
    /// What stands where a breakpoint is, by the address in the file.
    replaced: BTreeMap<u64, u8>,
    entered: BTreeSet<u64>,
}

impl<'a> Tracer<'a> {
    /// Takes hold of `root`, which must not have started the program yet. `functions` are addresses in its file.
    ///
    /// # Errors
    /// When the system does not let one process trace another.
    pub(super) fn attach(root: Pid, program: &'a Path, functions: &'a [u64]) -> anyhow::Result<Self> {
        let forks = Options::PTRACE_O_TRACEFORK | Options::PTRACE_O_TRACEVFORK | Options::PTRACE_O_TRACECLONE;
        let options = forks | Options::PTRACE_O_TRACEEXEC | Options::PTRACE_O_EXITKILL;
        ptrace::seize(root, options).context("this system does not let one process trace another (ptrace)")?;
        Ok(Self { root, program, functions, armed: BTreeMap::new(), entered: BTreeMap::new() })
    }

    /// Returns by how many processes each function was entered.
    pub(super) const fn entered(&self) -> &BTreeMap<u64, usize> {
        &self.entered
    }

    /// Returns how many processes ran the program.
    pub(super) fn processes(&self) -> usize {
        self.armed.len()
    }

    /// Lets the processes go on until all have ended, and notes what they enter. Returns what the first one exited with, if it did.
    ///
    /// # Errors
    /// When a process cannot be read, or does not go on.
    pub(super) fn follow(&mut self) -> anyhow::Result<Option<i32>> {
        let mut outcome = None;
        loop {
            match waitpid(None, Some(WaitPidFlag::__WALL)) {
                Err(Errno::ECHILD) => return Ok(outcome),
                Ok(WaitStatus::Exited(pid, code)) if pid == self.root => outcome = Some(code),
                status => self.take(status.context("cannot wait for the traced processes")?)?,
            }
        }
    }

    fn take(&mut self, status: WaitStatus) -> anyhow::Result<()> {
        let exec = ptrace::Event::PTRACE_EVENT_EXEC as i32;
        let (stopped, signal) = match status {
            WaitStatus::PtraceEvent(pid, _, event) => {
                if event == exec && self.is_wanted(pid) {
                    self.arm(pid)?;
                }
                (pid, None)
            }
            WaitStatus::Stopped(pid, Signal::SIGTRAP) if self.hit(pid)? => (pid, None),
            WaitStatus::Stopped(pid, signal) => (pid, Some(signal)),
            _ => return Ok(()),
        };
        match ptrace::cont(stopped, signal) {
            // Killed in between.
            Err(Errno::ESRCH) | Ok(()) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("process {stopped} does not go on")),
        }
    }

    /// Returns whether `pid` has begun to run a node, not the command that starts nodes.
    fn is_wanted(&self, pid: Pid) -> bool {
        let arguments = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
        program == self.program && arguments.split(|byte| *byte == 0).nth(1) == Some(b"run")
    }

    /// Sets a breakpoint at each function.
    fn arm(&mut self, pid: Pid) -> anyhow::Result<()> {
        let path = format!("/proc/{pid}/mem");
        let memory =
            File::options().read(true).write(true).open(&path).with_context(|| format!("cannot open {path}"))?;
        let base = self.base_of(pid)?;
        let mut replaced = BTreeMap::new();
        for at in self.functions {
            let mut byte = [0];
            let set = memory.read_exact_at(&mut byte, base + at);
            let set = set.and_then(|()| memory.write_all_at(&[BREAKPOINT], base + at));
            set.with_context(|| format!("no function at {at:#x} of process {pid}"))?;
            let [byte] = byte;
            replaced.insert(*at, byte);
        }
        self.armed.insert(pid.as_raw(), Armed { base, memory, replaced, entered: BTreeSet::new() });
        Ok(())
    }

    /// Returns where the program lies in the memory of `pid`.
    fn base_of(&self, pid: Pid) -> anyhow::Result<u64> {
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).context("cannot read the map of a process")?;
        let name = self.program.to_str().context("the program's path is not text")?;
        let line = maps.lines().find(|line| line.ends_with(name)).context("a process without its program")?;
        let (start, _) = line.split_once('-').context("a map without addresses")?;
        u64::from_str_radix(start, 16).context("a map without addresses")
    }

    /// Takes away the breakpoint that `thread` has hit, and sets it back to it; `false` if it stopped for something else.
    fn hit(&mut self, thread: Pid) -> anyhow::Result<bool> {
        let mut registers = match ptrace::getregs(thread) {
            Err(Errno::ESRCH) => return Ok(true),
            registers => registers.with_context(|| format!("cannot read the registers of {thread}"))?,
        };
        let Some(process) = process_of(thread).and_then(|process| self.armed.get_mut(&process)) else {
            return Ok(false);
        };
        let Some(at) = (registers.rip - 1).checked_sub(process.base) else { return Ok(false) };
        let Some(byte) = process.replaced.get(&at) else { return Ok(false) };
        let written = process.memory.write_all_at(&[*byte], process.base + at);
        written.with_context(|| format!("cannot restore the function at {at:#x} of process {thread}"))?;
        registers.rip -= 1;
        match ptrace::setregs(thread, registers) {
            Err(Errno::ESRCH) => {}
            set => set.with_context(|| format!("cannot set the registers of {thread}"))?,
        }
        // Two threads may have come to it before it was taken away.
        if process.entered.insert(at) {
            *self.entered.entry(at).or_default() += 1;
        }
        Ok(true)
    }
}

/// Returns the process that `thread` belongs to.
fn process_of(thread: Pid) -> Option<i32> {
    let status = std::fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Tgid:"))?;
    line.trim().parse().ok()
}
