//! The release build: one cargo call whose every warning is an error.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::Libc;
use crate::doctor;
use crate::process::{TARGET, cargo, name_of, workspace_root};

const MUSL_TARGET: &str = "x86_64-unknown-linux-musl";

/// Returns what a release is compiled and linked with.
///
/// For glibc the linker is lld, as everywhere with this compiler on Linux: it keeps functions of equal code once, and
/// packs the relocations, which are half a megabyte that every process reads at its start otherwise. Unpacking is done by the C library,
/// from glibc 2.36 on.
fn flags(libc: Libc) -> &'static str {
    match libc {
        Libc::Gnu => "-C target-feature=+crt-static -C link-arg=-Wl,--icf=all -C link-arg=-Wl,-z,pack-relative-relocs",
        Libc::Musl => "-C target-feature=+crt-static",
    }
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

/// Runs the build and returns how many warnings it gave. Cargo tells them again when nothing is left to compile.
fn compile(libc: Libc) -> anyhow::Result<usize> {
    let mut build = cargo(["build", "--release", "--package", "omnirelay-node", "--package", "omnirelay-cli"]);
    // A target folder of its own keeps these flags from throwing away other builds; naming the target keeps
    // them from build scripts and macros.
    build.args(["--target-dir", "target/dist", "--target", triple(libc), "--message-format=json"]);
    build.env("RUSTFLAGS", flags(libc)).env_remove("CARGO_ENCODED_RUSTFLAGS");
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
