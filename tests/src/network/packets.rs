//! Packet loss in the kernel: nftables, in a network that only this process and the nodes use.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use super::Network;

/// Name of our own table.
const TABLE: &str = "holdfast_chaos";

impl Network {
    /// Checks whether packets between nodes can be lost without harm to anybody else.
    ///
    /// # Errors
    /// Names what is missing.
    pub(crate) fn can_lose_packets(&self) -> Result<()> {
        let interfaces = std::fs::read_to_string("/proc/self/net/dev").context("/proc is not there")?;
        // There are two lines of headings, then one line for each interface.
        let is_own = interfaces
            .lines()
            .skip(2)
            .all(|line| line.trim_start().starts_with("lo:"));
        ensure!(
            is_own,
            "the network is that of the machine: it needs one of its own (as root: unshare --net)"
        );
        nft("list ruleset\n").context("nftables cannot be used")
    }

    /// Loses this percentage of the packets to or from the addresses of nodes, until the answer is dropped.
    ///
    /// # Errors
    /// The packet filter cannot be used.
    pub fn lose_packets(&self, percent: u32) -> Result<PacketLoss> {
        self.can_lose_packets()?;
        let ports: Vec<&str> = self
            .nodes
            .iter()
            .filter_map(|node| node.rsplit_once(':').map(|(_, port)| port))
            .collect();
        let ports = ports.join(", ");
        let mut rules = String::new();
        writeln!(rules, "table inet {TABLE} {{")?;
        writeln!(rules, " chain input {{")?;
        writeln!(rules, "  type filter hook input priority 0; policy accept;")?;
        for end in ["dport", "sport"] {
            writeln!(
                rules,
                "  tcp {end} {{ {ports} }} numgen random mod 100 < {percent} counter drop"
            )?;
        }
        writeln!(rules, " }}\n}}")?;
        nft(&rules)?;
        Ok(PacketLoss(()))
    }
}

/// A loss of packets, which lasts until this is dropped.
#[derive(Debug)]
pub struct PacketLoss(());

impl PacketLoss {
    /// Returns how many packets were lost so far.
    ///
    /// # Errors
    /// When the kernel does not report it.
    pub fn lost(&self) -> Result<u64> {
        let output = Command::new("nft")
            .args(["--json", "list", "table", "inet", TABLE])
            .output()?;
        let listed: serde_json::Value =
            serde_json::from_slice(&output.stdout).context("not what nft lists")?;
        let objects = listed["nftables"].as_array().into_iter().flatten();
        let parts = objects
            .filter_map(|object| object["rule"]["expr"].as_array())
            .flatten();
        Ok(parts.filter_map(|part| part["counter"]["packets"].as_u64()).sum())
    }
}

impl Drop for PacketLoss {
    fn drop(&mut self) {
        // The network ends with the last process in it, and the rules end with the network.
        let _ = nft(&format!("delete table inet {TABLE}\n"));
    }
}

fn nft(rules: &str) -> Result<()> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("nft cannot be started (Debian: nftables)")?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(rules.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    ensure!(
        output.status.success(),
        "nft: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
