//! `cargo xtask layering` on workspaces with planted faults, from their manifests to the sentences printed.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

/// One crate of the planted workspace: name, floor and kind (none for a crate of others), dependencies
/// (planted too; `dev:` before one makes it a dev-dependency).
type Planted<'a> = (&'a str, Option<(u8, &'a str)>, &'a [&'a str]);

/// Writes the workspace, runs layering on it, and asserts the exact violations.
#[track_caller]
fn check(crates: &[Planted<'_>], expected: &[&str]) {
    let home = tempfile::tempdir().expect("a temporary folder");
    let members: Vec<String> =
        crates.iter().filter(|planted| planted.1.is_some()).map(|planted| format!("{:?}", planted.0)).collect();
    let manifest = home.path().join("house/Cargo.toml");
    let root = format!("[workspace]\nresolver = \"3\"\nmembers = [{}]\n", members.join(", "));
    for planted in crates {
        write_crate(home.path(), crates, planted);
    }
    fs::write(&manifest, root).expect("the root manifest");

    let output = layering(&manifest);
    let stdout = String::from_utf8(output.stdout).expect("text");
    let is_summary = |line: &&str| line.contains("violation(s)") || line.contains("on their floors");
    let violations: Vec<&str> = stdout.lines().filter(|line| !is_summary(line)).collect();
    assert_eq!((violations.as_slice(), output.status.success()), (expected, expected.is_empty()));
}

fn write_crate(home: &Path, crates: &[Planted<'_>], (crate_name, house, dependencies): &Planted<'_>) {
    use std::fmt::Write as _;

    let mut manifest = format!("[package]\nname = {crate_name:?}\nversion = \"1.0.0\"\nedition = \"2024\"\n");
    if let Some((floor, kind)) = house {
        write!(manifest, "[package.metadata.house]\nfloor = {floor}\nkind = {kind:?}\n").expect("a string grows");
    }
    for dependency in *dependencies {
        let (table, name) = match dependency.strip_prefix("dev:") {
            Some(name) => ("dev-dependencies", name),
            None => ("dependencies", *dependency),
        };
        let target = crates.iter().find(|planted| planted.0 == name).expect("a planted crate");
        let path = home.join(side_of(target.1.is_some())).join(name);
        writeln!(manifest, "[{table}.{name}]\npath = {path:?}").expect("a string grows");
    }
    let folder = home.join(side_of(house.is_some())).join(crate_name);
    fs::create_dir_all(folder.join("src")).expect("the crate's folder");
    fs::write(folder.join("Cargo.toml"), manifest).expect("the manifest");
    fs::write(folder.join("src/lib.rs"), "").expect("the source");
}

/// Cargo makes every path dependency below the workspace a member, so crates of others lie beside it.
fn side_of(ours: bool) -> &'static str {
    if ours { "house" } else { "others" }
}

fn layering(manifest: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(["layering", "--manifest-path"])
        .arg(manifest)
        .env("CARGO_NET_OFFLINE", "true")
        .output()
        .expect("xtask starts")
}

#[test]
fn an_upward_edge_is_refused() {
    check(
        &[("mesh-types", Some((0, "pure")), &["membership"]), ("membership", Some((1, "pure")), &[])],
        &["layering: `mesh-types` (floor 0) depends up on `membership` (floor 1)"],
    );
}

#[test]
fn a_sideways_edge_is_refused() {
    check(
        &[("membership", Some((1, "pure")), &["peers-core"]), ("peers-core", Some((1, "pure")), &[])],
        &["layering: `membership` (floor 1) depends sideways on `peers-core` (floor 1)"],
    );
}

#[test]
fn tokio_reached_from_membership_is_refused() {
    check(
        &[("membership", Some((1, "pure")), &["framing"]), ("framing", None, &["tokio"]), ("tokio", None, &[])],
        &["layering: pure crate reaches I/O: membership -> framing -> tokio"],
    );
}

#[test]
fn a_dev_dependency_may_look_anywhere() {
    check(
        &[
            ("membership", Some((1, "pure")), &["dev:sim", "dev:tokio"]),
            ("sim", Some((9, "dev")), &["membership"]),
            ("tokio", None, &[]),
        ],
        &[],
    );
}

#[test]
fn a_crate_of_unknown_kind_is_named_with_the_kinds_there_are() {
    check(
        &[("membership", Some((1, "clean")), &[])],
        &["layering: `membership` has a bad [package.metadata.house]: unknown variant `clean`, expected one of \
           `pure`, `codec`, `io`, `bin`, `dev`, `tool`"],
    );
}
