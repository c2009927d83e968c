//! The checked-in code is what the `.proto` file generates, so that users need no compiler for it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::{env, fs};

const PACKAGE: &str = "omnirelay.test.v1";

fn generate() -> Result<String, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("proto");
    let files = protox::compile([root.join("omnirelay/test/v1/echo.proto")], [&root])?;
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    // Without transport: the code works with any channel and any server, and brings none along.
    tonic_prost_build::configure().build_transport(false).bytes(".").out_dir(&out).compile_fds(files)?;
    Ok(fs::read_to_string(out.join(format!("{PACKAGE}.rs")))?)
}

/// `UPDATE_PROTO=1 cargo test -p test-rpc` writes the file instead.
#[test]
fn checked_in_code_is_what_the_proto_file_generates() -> Result<(), Box<dyn Error>> {
    let checked_in = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("src/generated/{PACKAGE}.rs"));
    let generated = generate()?;
    if env::var_os("UPDATE_PROTO").is_some() {
        fs::write(&checked_in, &generated)?;
    }
    assert!(
        fs::read_to_string(&checked_in)? == generated,
        "src/generated/{PACKAGE}.rs is stale: run UPDATE_PROTO=1 cargo test -p test-rpc",
    );
    Ok(())
}
