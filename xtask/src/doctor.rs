//! `cargo xtask doctor`: what this machine has, what it lacks, who needs it, and how to get it.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The oldest compiler that builds the workspace.
const RUST: (u32, u32) = (1, 95);

/// A program that some part of the work needs.
struct Tool {
    program: &'static str,
    needed_for: &'static str,
    get_it: &'static str,
}

const OPTIONAL: [Tool; 11] = [
    Tool {
        program: "git",
        needed_for: "tidy lists the files git knows; without it, all",
        get_it: "apt-get install --no-install-recommends git",
    },
    Tool {
        program: "promtool",
        needed_for: "metrics-lint",
        get_it: "apt-get install --no-install-recommends prometheus",
    },
    Tool {
        program: "cargo-deny",
        needed_for: "nightly: licences, advisories, bans of deny.toml",
        get_it: "cargo install --locked cargo-deny",
    },
    Tool {
        program: "ip",
        needed_for: "hyperscale, bench gossip, as root: a network namespace of their own",
        get_it: "apt-get install --no-install-recommends iproute2",
    },
    Tool {
        program: "nft",
        needed_for: "hyperscale, bench gossip --drop and --partition, as root: packets are lost or dropped",
        get_it: "apt-get install --no-install-recommends nftables",
    },
    Tool {
        program: "serf",
        needed_for: "bench gossip --vs serf: the same runs on Serf",
        get_it: "apt-get install --no-install-recommends serf",
    },
    Tool {
        program: "haproxy",
        needed_for: "bench rpc --through nodes --vs haproxy: the same calls through it",
        get_it: "apt-get install --no-install-recommends haproxy",
    },
    Tool {
        program: "nghttpx",
        needed_for: "bench rpc --through nodes --vs nghttpx",
        get_it: "apt-get install --no-install-recommends nghttp2-proxy",
    },
    Tool {
        program: "nginx",
        needed_for: "bench rpc --through nodes --vs nginx",
        get_it: "apt-get install --no-install-recommends nginx",
    },
    Tool {
        program: "musl-gcc",
        needed_for: "dist --target musl (with the musl Rust target)",
        get_it: "apt-get install --no-install-recommends musl-tools",
    },
    Tool {
        program: "curl",
        needed_for: "interop mesh, with a Python that has aioquic, grpcio and curl_cffi",
        get_it: GET_CURL,
    },
];

/// How to get what `interop mesh` calls with.
pub(crate) const GET_CURL: &str = "apt-get install --no-install-recommends curl";

/// How to get what `interop` runs with.
pub(crate) const GET_GRPC_PACKAGES: &str = "python3 -m venv target/interop && target/interop/bin/pip install aioquic grpcio curl_cffi, then --python target/interop/bin/python";

/// Prints one line a tool; fails only when something is missing that every build needs.
pub(crate) fn run() -> ExitCode {
    let required = [rustc(), linker()];
    for line in required.iter().map(|found| found.as_ref().unwrap_or_else(|why| why)) {
        println!("{line}");
    }
    for tool in &OPTIONAL {
        println!("{}", optional(tool));
    }
    println!("{}", musl_target());
    println!("{}", grpc_packages());
    if required.iter().all(Result::is_ok) {
        println!("doctor: ready for `cargo xtask ci`; what is optional is said above");
        return ExitCode::SUCCESS;
    }
    println!("doctor: something required is missing");
    ExitCode::FAILURE
}

fn rustc() -> Result<String, String> {
    let (major, minor) = RUST;
    let get_it = format!("rustup toolchain install {major}.{minor}");
    let Some(version) = first_line("rustc", &["--version"]) else {
        return Err(line("MISSING", "rustc", &format!("everything; {get_it}")));
    };
    if is_at_least(&version, RUST) {
        Ok(line("ok", "rustc", &version))
    } else {
        Err(line("TOO OLD", "rustc", &format!("{version}, at least {major}.{minor} is needed; {get_it}")))
    }
}

fn linker() -> Result<String, String> {
    first_line("cc", &["--version"])
        .map(|version| line("ok", "cc", &version))
        .ok_or_else(|| line("MISSING", "cc", "everything; apt-get install --no-install-recommends gcc libc6-dev"))
}

fn optional(tool: &Tool) -> String {
    let Tool { program, needed_for, get_it } = tool;
    match find(program) {
        Some(path) => line("ok", program, &format!("{} ({needed_for})", path.display())),
        None => line("optional", program, &format!("{needed_for}; {get_it}")),
    }
}

fn musl_target() -> String {
    let name = "musl target";
    if has_target("x86_64-unknown-linux-musl") {
        return line("ok", name, "the musl Rust target is installed");
    }
    line("optional", name, "dist --target musl; rustup target add x86_64-unknown-linux-musl")
}

fn grpc_packages() -> String {
    let name = "python3 grpc";
    if has_grpc_packages(Path::new("python3")) {
        return line("ok", name, "python3 has aioquic, grpcio and curl_cffi (interop grpc, interop mesh)");
    }
    line("optional", name, &format!("interop grpc, interop mesh; {GET_GRPC_PACKAGES}"))
}

/// Returns whether `python` has aioquic, grpcio and `curl_cffi`.
pub(crate) fn has_grpc_packages(python: &Path) -> bool {
    let check = Command::new(python).args(["-c", "import aioquic, curl_cffi, grpc"]).output();
    check.is_ok_and(|check| check.status.success())
}

/// Returns whether the standard library of `target` is installed.
pub(crate) fn has_target(target: &str) -> bool {
    let folder = first_line("rustc", &["--print", "target-libdir", "--target", target]);
    folder.is_some_and(|folder| PathBuf::from(folder).is_dir())
}

fn line(state: &str, name: &str, text: &str) -> String {
    format!("{state:<9} {name:<12} {text}")
}

/// Returns where `program` lies on the search path, `sbin` folders included.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let more = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(more).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Returns the first line that the call prints; none when it cannot be started or fails, which is all a
/// check-up wants to know.
fn first_line(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output();
    let output = output.into_iter().find(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).lines().next()?.to_owned())
}

/// Returns whether a line such as `rustc 1.95.0 (…)` names at least version `least`.
fn is_at_least(version: &str, least: (u32, u32)) -> bool {
    let number = version.split(' ').nth(1).unwrap_or("");
    let mut parts = number.split('.').map(|part| part.parse().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0)) >= least
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        let is_enough = |version| is_at_least(version, (1, 95));
        assert_eq!(
            ["rustc 1.95.0 (5980 2026-04-14)", "rustc 1.100.0", "rustc 2.0.0", "rustc 1.94.1", "rustc 1.9.0", ""]
                .map(is_enough),
            [true, true, true, false, false, false]
        );
    }
}
