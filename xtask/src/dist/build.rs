//! The release build: one cargo call whose every warning is an error.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::{CLI, Libc};
use crate::doctor;
use crate::node::NODE;
use crate::process::{TARGET, cargo, name_of, succeeds, workspace_root};

const MUSL_TARGET: &str = "x86_64-unknown-linux-musl";

/// Which code a node runs, for the linker: `cargo xtask link-order` writes it.
pub(crate) const HOT_CODE: &str = "crates/omnirelay-node/hot-code.ld";

/// What makes cargo link a node again.
pub(crate) const RELINKED: &str = "crates/omnirelay-node/src/main.rs";

/// Returns what a release is compiled and linked with.
///
/// For glibc the linker is lld, as everywhere with this compiler on Linux: it puts the code together that a node runs, keeps
/// functions of equal code once, and packs the relocations, which are half a megabyte that every process reads at its start otherwise.
/// Unpacking is done by the C library, from glibc 2.36 on. Names mangled the new way tell functions apart that differ in a type.
///
/// As cargo takes them encoded: between two arguments stands a unit separator, so that the tree may lie in a folder with spaces in
/// its name.
fn flags(libc: Libc) -> String {
    let mut flags = vec!["-Ctarget-feature=+crt-static".to_owned()];
    if libc == Libc::Gnu {
        let linker =
            ["-Csymbol-mangling-version=v0", "-Clink-arg=-Wl,--icf=all", "-Clink-arg=-Wl,-z,pack-relative-relocs"];
        flags.extend(linker.map(str::to_owned));
        flags.push("-Clink-arg=-T".to_owned());
        flags.push(format!("-Clink-arg={}", workspace_root().join(HOT_CODE).display()));
    }
    flags.join("\u{1f}")
}

/// Returns the compiler's name for the platform.
pub(super) fn triple(libc: Libc) -> &'static str {
    match libc {
        Libc::Gnu => TARGET,
        Libc::Musl => MUSL_TARGET,
    }
}

/// Builds the binaries named `names` and copies them to `folder`.
///
/// # Errors
/// When something musl needs is missing, the build fails or warns, or a copy fails.
pub(super) fn build(libc: Libc, names: &[&str], folder: &Path) -> anyhow::Result<()> {
    if libc == Libc::Musl {
        can_build_musl()?;
    }
    let warnings = compile(libc)?;
    ensure!(warnings == 0, "the release build gave {warnings} warning(s), shown above");
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    for name in names {
        let built = workspace_root().join("target/dist").join(triple(libc)).join("release").join(name);
        let kept = folder.join(name);
        // A running binary cannot be written over, but its name can be given away.
        let fresh = folder.join(format!("{name}.new"));
        std::fs::copy(&built, &fresh)
            .and_then(|_| std::fs::rename(&fresh, &kept))
            .with_context(|| format!("cannot copy `{}` to `{}`", built.display(), kept.display()))?;
    }
    Ok(())
}

/// A node as it is released, and the linker's map of it.
pub(crate) struct Traced {
    pub(crate) program: PathBuf,
    pub(crate) map: PathBuf,
}

/// Builds a node as it is released, with its map, and the command line tool beside it; or returns those that are there.
///
/// # Errors
/// When a build fails.
pub(crate) fn traced(is_built: bool) -> anyhow::Result<Traced> {
    let folder = workspace_root().join("target/dist/traced");
    let traced = Traced { program: folder.join(NODE), map: folder.join("node.map") };
    if !is_built {
        return Ok(traced);
    }
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make `{}`", folder.display()))?;
    let mut build = cargo(["rustc", "--release", "--package", NODE, "--bin", NODE]);
    build.args(["--target-dir", "target/dist", "--target", TARGET, "--"]);
    build.arg(format!("-Clink-arg=-Wl,-Map={},--no-demangle", traced.map.display()));
    build.env("CARGO_ENCODED_RUSTFLAGS", flags(Libc::Gnu));
    ensure!(succeeds(&mut build)?, "{NODE} does not build");
    ensure!(
        succeeds(&mut cargo(["build", "--package", "omnirelay-cli", "--target-dir", "target"]))?,
        "the tool does not build"
    );
    let built = workspace_root().join("target/dist").join(TARGET).join("release").join(NODE);
    for (from, to) in [(built, NODE), (workspace_root().join("target/debug").join(CLI), CLI)] {
        std::fs::copy(&from, folder.join(to)).with_context(|| format!("cannot copy `{}`", from.display()))?;
    }
    Ok(traced)
}

/// Runs the build and returns how many warnings it gave. Cargo tells them again when nothing is left to compile.
fn compile(libc: Libc) -> anyhow::Result<usize> {
    let mut build = cargo(["build", "--release", "--package", "omnirelay-node", "--package", "omnirelay-cli"]);
    // A target folder of its own keeps these flags from throwing away other builds; naming the target keeps
    // them from build scripts and macros.
    build.args(["--target-dir", "target/dist", "--target", triple(libc), "--message-format=json"]);
    build.env("CARGO_ENCODED_RUSTFLAGS", flags(libc));
    let child = build.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn();
    let output = child.and_then(std::process::Child::wait_with_output);
    let output = output.with_context(|| format!("cannot run {}", name_of(&build)))?;
    let messages = String::from_utf8(output.stdout).context("cargo wrote bytes that are not text")?;
    let warnings = show_messages(&messages)?;
    if !output.status.success() {
        bail!("{} failed: {}", name_of(&build), output.status);
    }
    Ok(warnings)
}

/// Prints what the compiler says in cargo's JSON lines, and returns how many of them are warnings.
fn show_messages(lines: &str) -> anyhow::Result<usize> {
    let mut warnings = 0;
    for line in lines.lines() {
        let event: Value = serde_json::from_str(line).with_context(|| format!("cargo printed `{line}`"))?;
        let message = &event["message"];
        if let Some(rendered) = message["rendered"].as_str() {
            eprint!("{rendered}");
        }
        warnings += usize::from(message["level"] == "warning");
    }
    Ok(warnings)
}

fn can_build_musl() -> anyhow::Result<()> {
    let target = doctor::has_target(MUSL_TARGET);
    let compiler = doctor::find("musl-gcc").is_some();
    ensure!(
        target && compiler,
        "musl builds need: {}",
        [
            (!target).then_some("the Rust target (rustup target add x86_64-unknown-linux-musl)"),
            (!compiler).then_some("a C compiler (apt-get install --no-install-recommends musl-tools)"),
        ]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_are_counted_and_other_events_are_not() {
        let lines = [
            r#"{"reason":"compiler-artifact","filenames":["a"]}"#,
            r#"{"reason":"compiler-message","message":{"level":"warning","rendered":""}}"#,
            r#"{"reason":"compiler-message","message":{"level":"note","rendered":""}}"#,
            r#"{"reason":"build-finished","success":true}"#,
        ];
        assert_eq!(show_messages(&lines.join("\n")).expect("JSON"), 1);
    }
}
