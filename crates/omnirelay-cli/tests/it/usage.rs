//! Calls that reach no node.

use crate::command::{Run, finish, omnirelay, run};
use crate::node::Failure;

#[tokio::test]
async fn completions_know_the_verbs_and_the_options() -> Result<(), Failure> {
    // The generator for fish stops at the third word: it offers no options of `list`.
    for (shell, option) in [("bash", "--watch"), ("zsh", "--watch"), ("fish", "endpoint")] {
        let script = run(&["completions", shell]).await?;
        assert_eq!((script.code, script.stderr.as_str()), (Some(0), ""));
        for word in ["mesh", "peers", "list", "completions", option] {
            assert!(script.stdout.contains(word), "{shell} does not know `{word}`");
        }
    }
    Ok(())
}

#[tokio::test]
async fn help_and_version_are_data_and_succeed() -> Result<(), Failure> {
    let version = run(&["--version"]).await?;
    let expected = format!("omnirelay {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(version, Run { code: Some(0), stdout: expected, stderr: String::new() });
    let help = run(&["mesh", "peers", "list", "--help"]).await?;
    assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
    for text in ["OMNIRELAY_ENDPOINT", "[default: https://127.0.0.1:17420]", "omnirelay mesh peers list -o wide"] {
        assert!(help.stdout.contains(text), "no `{text}` in\n{}", help.stdout);
    }
    Ok(())
}

/// Checks that the call is refused as a wrong one, and that people are told `told`.
async fn check(args: &[&str], told: &str) -> Result<(), Failure> {
    let refused = run(args).await?;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{args:?}: {}", refused.stderr);
    assert!(refused.stderr.contains(told), "{args:?}: no `{told}` in\n{}", refused.stderr);
    Ok(())
}

#[tokio::test]
async fn a_wrong_call_is_refused_with_what_is_valid() -> Result<(), Failure> {
    check(&["request", "numbers", "double"], "--via <URL>").await?;
    check(&["mesh", "pears"], "a similar subcommand exists: 'peers'").await?;
    check(&["mesh", "peers", "list", "-o", "yaml"], "[possible values: table, wide, json]").await?;
    check(&["mesh", "peers", "list", "--role", "a b"], "role `a b`").await?;
    check(&["mesh", "peers", "list", "--interval", "0s"], "must be more than 0 and at most 24h").await?;
    let refused = "plain http:// is for loopback addresses only; write `https://10.0.0.1:17420`";
    check(&["mesh", "peers", "list", "--endpoint", "http://10.0.0.1"], refused).await
}

#[tokio::test]
async fn https_wants_all_three_files_and_names_those_that_are_missing() -> Result<(), Failure> {
    let told = "error: https:// needs a certificate, and --key, --ca is not set\n\
        hint: set --cert, --key and --ca, or OMNIRELAY_CERT, OMNIRELAY_KEY and OMNIRELAY_CA\n";
    let list = ["mesh", "peers", "list"];
    let mut command = omnirelay(&list);
    command.env("OMNIRELAY_CERT", "here.pem");
    assert_eq!(finish(command).await?, Run { code: Some(2), stdout: String::new(), stderr: told.to_owned() });
    let files = ["--cert", "nowhere.pem", "--key", "nowhere.key", "--ca", "nowhere-ca.pem"];
    check(&[&list[..], &files].concat(), "error: cannot load the certificate: cannot read certificate `nowhere.pem`")
        .await
}
