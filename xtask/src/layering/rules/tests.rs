use super::*;

/// Starts a graph line: one of our crates with its floor, kind and normal dependencies.
fn ours(name: &str, floor: u8, kind: Kind, normal: &[&str]) -> Package {
    package(name, Owner::Us(House { floor, kind }), normal)
}

fn others(name: &str, normal: &[&str]) -> Package {
    package(name, Owner::Others, normal)
}

fn package(name: &str, owner: Owner, normal: &[&str]) -> Package {
    let normal = normal.iter().map(|&needed| needed.to_owned()).collect();
    Package { name: name.to_owned(), owner, normal, build: std::collections::BTreeSet::new() }
}

/// Asserts the exact sentences that the graph of `packages` earns.
#[track_caller]
fn check_says<const N: usize>(packages: impl IntoIterator<Item = Package>, expected: [&str; N]) {
    let packages = packages.into_iter().map(|package| (package.name.clone(), package)).collect();
    let said: Vec<String> = check(&Graph { packages }).iter().map(ToString::to_string).collect();
    assert_eq!(said, expected);
}

#[test]
fn a_house_in_order_has_nothing_to_say() {
    check_says(
        [
            ours("mesh-types", 0, Kind::Pure, &["thiserror"]),
            ours("membership", 1, Kind::Pure, &["mesh-types"]),
            ours("telemetry", 1, Kind::Io, &[]),
            ours("bootstrap", 2, Kind::Io, &["rcgen"]),
            ours("gossip", 3, Kind::Io, &["membership", "mesh-types", "tokio"]),
            ours("omnirelay-node", 6, Kind::Bin, &["bootstrap", "figment", "gossip", "telemetry"]),
            ours("sim", 9, Kind::Dev, &["membership"]),
            ours("test-cluster", 9, Kind::Dev, &["bootstrap"]),
            ours("tests", 10, Kind::Tool, &["sim", "test-cluster"]),
            others("thiserror", &[]),
            others("tokio", &["mio"]),
            others("mio", &[]),
            others("rcgen", &[]),
            others("figment", &[]),
        ],
        [],
    );
}

#[test]
fn a_dependency_on_a_higher_floor_is_refused() {
    check_says(
        [ours("mesh-types", 0, Kind::Pure, &["membership"]), ours("membership", 1, Kind::Pure, &[])],
        ["`mesh-types` (floor 0) depends up on `membership` (floor 1)"],
    );
}

#[test]
fn a_dependency_on_the_same_floor_is_refused() {
    check_says(
        [ours("membership", 1, Kind::Pure, &["peers-core"]), ours("peers-core", 1, Kind::Pure, &[])],
        ["`membership` (floor 1) depends sideways on `peers-core` (floor 1)"],
    );
}

#[test]
fn a_build_dependency_goes_down_too() {
    let mut low = ours("mesh-types", 0, Kind::Pure, &[]);
    low.build.insert("membership".to_owned());
    check_says(
        [low, ours("membership", 1, Kind::Pure, &[])],
        ["`mesh-types` (floor 0) depends up on `membership` (floor 1)"],
    );
}

#[test]
fn a_pure_crate_reaches_no_runtime_at_any_depth() {
    check_says(
        [
            ours("membership", 1, Kind::Pure, &["codec"]),
            ours("codec", 0, Kind::Codec, &["framing"]),
            others("framing", &["tokio"]),
            others("tokio", &["mio"]),
            others("mio", &[]),
        ],
        ["pure crate reaches I/O: membership -> codec -> framing -> tokio"],
    );
}

#[test]
fn a_pure_crate_reaches_none_of_a_family() {
    check_says(
        [ours("shards", 1, Kind::Pure, &["tokio-util"]), others("tokio-util", &[])],
        ["pure crate reaches I/O: shards -> tokio-util"],
    );
}

#[test]
fn impurity_is_told_once_at_its_source() {
    check_says(
        [
            ours("registry", 2, Kind::Pure, &["shards"]),
            ours("shards", 1, Kind::Pure, &["rustls"]),
            others("rustls", &[]),
        ],
        ["pure crate reaches I/O: shards -> rustls"],
    );
}

#[test]
fn a_test_kit_is_no_normal_dependency_of_what_ships() {
    check_says(
        [ours("omnirelay-node", 10, Kind::Bin, &["test-cluster"]), ours("test-cluster", 9, Kind::Dev, &[])],
        ["`omnirelay-node` ships, but depends on the test kit `test-cluster`: make it a dev-dependency"],
    );
}

#[test]
fn a_reserved_crate_is_refused_to_everyone_else() {
    check_says(
        [
            ours("bootstrap", 2, Kind::Io, &["rcgen"]),
            ours("control-api", 4, Kind::Io, &["bootstrap", "telemetry"]),
            ours("identity", 1, Kind::Io, &["pki"]),
            ours("telemetry", 1, Kind::Io, &["figment"]),
            others("figment", &[]),
            others("pki", &["rcgen"]),
            others("rcgen", &[]),
        ],
        [
            "control-api -> bootstrap: the last is only for the dev command of omnirelay-node and test kits",
            "control-api -> telemetry: the last is only for binaries and tools",
            "identity -> pki -> rcgen: the last is only for bootstrap",
            "telemetry -> figment: the last is only for omnirelay-node",
        ],
    );
}

#[test]
fn the_control_api_reaches_gossip_by_no_way() {
    check_says(
        [
            ours("control-api", 6, Kind::Io, &["leadership"]),
            ours("leadership", 4, Kind::Io, &["gossip"]),
            ours("gossip", 3, Kind::Io, &[]),
        ],
        ["these must not know each other: control-api -> leadership -> gossip"],
    );
}

#[test]
fn seven_crates_in_a_chain_are_the_most() {
    let floor = |n: u8| {
        let below = n.checked_sub(1).map(|n| format!("c{n}"));
        ours(&format!("c{n}"), n, Kind::Io, &below.iter().map(String::as_str).collect::<Vec<_>>())
    };
    check_says((0..7).map(floor), []);
    check_says((0..8).map(floor), ["chain of 8 crates, at most 7: c7 -> c6 -> c5 -> c4 -> c3 -> c2 -> c1 -> c0"]);
}

#[test]
fn a_crate_without_a_floor_is_named() {
    let why = "has no [package.metadata.house] with floor and kind";
    check_says(
        [package("stray", Owner::Undeclared(why.to_owned()), &[])],
        ["`stray` has no [package.metadata.house] with floor and kind"],
    );
}
