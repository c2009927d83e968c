//! Packets that get lost: dropped by nftables on their way in, because a sender would be told of those dropped on their way out.

use std::process::Stdio;
use std::str::FromStr;

use anyhow::{Context as _, bail, ensure};
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// Where a run takes place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Network {
    /// In a network namespace of its own.
    Own,
    /// On the loopback of this machine.
    Shared,
}

impl FromStr for Network {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        match text {
            "own" => Ok(Self::Own),
            "shared" => Ok(Self::Shared),
            _ => bail!("a network is `own` or `shared`, not `{text}`"),
        }
    }
}

/// Rules in force. Call [`Dropping::end`]; what is left goes with the namespace.
#[must_use]
pub(crate) struct Dropping(());

impl Dropping {
    /// Drops packets that meet one of `conditions`, as nftables writes them.
    pub(crate) async fn begin(conditions: &[String]) -> anyhow::Result<Self> {
        let drops: Vec<_> = conditions.iter().map(|condition| format!("{condition} drop\n")).collect();
        let chain = format!("chain input {{ type filter hook input priority 0;\n{}}}\n", drops.concat());
        apply(&format!("table inet rpc {{\n{chain}}}\n")).await?;
        Ok(Self(()))
    }

    pub(crate) async fn end(self) -> anyhow::Result<()> {
        apply("delete table inet rpc\n").await
    }
}

async fn apply(rules: &str) -> anyhow::Result<()> {
    // It lies where not everybody looks.
    let program = std::env::var_os("NFT").unwrap_or_else(|| "nft".into());
    let mut nft = Command::new(program).args(["-f", "-"]).stdin(Stdio::piped()).spawn().context("cannot start nft")?;
    let mut stdin = nft.stdin.take().context("nft has no stdin")?;
    stdin.write_all(rules.as_bytes()).await.context("nft does not take its rules")?;
    drop(stdin);
    let status = nft.wait().await.context("cannot wait for nft")?;
    ensure!(status.success(), "nft refuses the rules:\n{rules}");
    Ok(())
}
