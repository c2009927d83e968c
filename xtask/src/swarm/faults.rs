//! Faults of the network, made by nftables on the way in: dropped on the way out, a sender would be told.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use super::network::{Network, Side};
use crate::doctor;

/// Makes faults in the namespace of the swarm. What it made goes with the namespace.
#[derive(Debug)]
pub(crate) struct Faults {
    nft: PathBuf,
}

impl Faults {
    /// Finds what makes faults.
    ///
    /// # Errors
    /// nftables is missing, or the network is not the swarm's own.
    pub(crate) fn new(network: Network) -> anyhow::Result<Self> {
        ensure!(network == Network::Own, "packets are dropped in a network namespace only, and making one needs root");
        let nft = doctor::find("nft").context("nft is missing: apt-get install --no-install-recommends nftables")?;
        Ok(Self { nft })
    }

    /// Drops this share of all datagrams at everybody who receives one.
    ///
    /// # Errors
    /// nftables refuses.
    pub(crate) fn lose(&self, percent: u8) -> anyhow::Result<()> {
        self.apply(&rules("loss", &[], &[format!("meta l4proto udp numgen random mod 100 < {percent} drop")]))
    }

    /// Drops this share of all packets, streams' as well as datagrams, at everybody who receives one.
    ///
    /// # Errors
    /// nftables refuses.
    pub(crate) fn lose_of_all(&self, percent: u8) -> anyhow::Result<()> {
        let rule = format!("meta l4proto {{ tcp, udp }} numgen random mod 100 < {percent} drop");
        self.apply(&rules("loss", &[], &[rule]))
    }

    /// Cuts the two halves off from each other, streams that are open included.
    ///
    /// # Errors
    /// nftables refuses.
    pub(crate) fn part(&self) -> anyhow::Result<()> {
        let marks =
            [Side::A, Side::B].map(|side| format!("meta skgid {} meta mark set {}", side.group(), side.group()));
        let drops = [(Side::A, Side::B), (Side::B, Side::A)]
            .map(|(from, to)| format!("meta mark {} ip daddr 127.1.{}.0/24 drop", from.group(), to.octet()));
        self.apply(&rules("partition", &marks, &drops))
    }

    /// Lets the halves meet again.
    ///
    /// # Errors
    /// nftables refuses.
    pub(crate) fn heal(&self) -> anyhow::Result<()> {
        self.apply("delete table inet partition\n")
    }

    fn apply(&self, rules: &str) -> anyhow::Result<()> {
        let nft = Command::new(&self.nft).args(["-f", "-"]).stdin(Stdio::piped()).spawn();
        let mut nft = nft.context("cannot start nft")?;
        let mut stdin = nft.stdin.take().context("nft has no stdin")?;
        stdin.write_all(rules.as_bytes()).context("nft does not take its rules")?;
        drop(stdin);
        let status = nft.wait().context("cannot wait for nft")?;
        ensure!(status.success(), "nft refuses the rules:\n{rules}");
        Ok(())
    }
}

fn rules(table: &str, on_the_way_out: &[String], on_the_way_in: &[String]) -> String {
    let chain = |hook: &str, rules: &[String]| {
        format!("chain {hook} {{ type filter hook {hook} priority 0;\n{}\n}}\n", rules.join("\n"))
    };
    format!("table inet {table} {{\n{}{}}}\n", chain("output", on_the_way_out), chain("input", on_the_way_in))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_a_table_of_two_chains() {
        let expected = "table inet t {\n\
            chain output { type filter hook output priority 0;\na\nb\n}\n\
            chain input { type filter hook input priority 0;\nc\n}\n}\n";
        assert_eq!(rules("t", &["a".to_owned(), "b".to_owned()], &["c".to_owned()]), expected);
    }
}
