//! The demo's cluster: `holdfast dev` as a child, and its nodes by process id.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::steps;

/// The line that `holdfast dev --json` prints when all nodes are ready.
#[derive(Debug, Deserialize)]
pub(crate) struct Ready {
    pub(crate) nodes: Vec<Node>,
}

/// One node in the output of `holdfast dev`.
#[derive(Debug, Deserialize)]
pub(crate) struct Node {
    pub(crate) node_id: u64,
    pub(crate) pid: u32,
    pub(crate) client_address: String,
    pub(crate) config: PathBuf,
}

/// Three nodes on loopback. They are stopped when this is dropped.
pub(crate) struct Cluster {
    binary: PathBuf,
    dev: Child,
    restarted: Vec<Child>,
    pub(crate) nodes: Vec<Node>,
}

impl Cluster {
    /// Starts three nodes on an emptied data folder and waits until they are ready.
    pub(crate) fn start(binary: &Path, data: &Path) -> Result<Self> {
        let mut dev = Command::new(binary)
            .args(["dev", "--json", "--fresh", "--data-dir"])
            .arg(data)
            .current_dir(steps::root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("could not start {}", binary.display()))?;
        let stdout = dev.stdout.take().context("no standard output of holdfast dev")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let Ok(ready) = serde_json::from_str::<Ready>(&line) else {
            let _ = dev.kill();
            bail!(
                "holdfast dev did not become ready; it printed: {line}\nlook into {}",
                data.display()
            );
        };
        Ok(Self {
            binary: binary.to_owned(),
            dev,
            restarted: Vec::new(),
            nodes: ready.nodes,
        })
    }

    /// Makes a `holdfast` command that talks to this cluster.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let endpoints: Vec<_> = self
            .nodes
            .iter()
            .map(|node| format!("http://{}", node.client_address))
            .collect();
        let mut command = Command::new(&self.binary);
        command
            .args(arguments)
            .env("HOLDFAST_ENDPOINTS", endpoints.join(","));
        command
    }

    /// Runs such a command with `--json`. Returns the last line that it prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = steps::output(self.command(arguments).arg("--json"))?;
        last_json_line(&text)
    }

    /// Returns the index in `nodes` of the node that leads most shards.
    pub(crate) fn busiest_leader(&self) -> Result<usize> {
        let status = self.json(&["cluster", "status"])?;
        let shards = status["shards"]
            .as_array()
            .context("cluster status has no shards")?;
        let led = |node: &Node| {
            shards
                .iter()
                .filter(|shard| shard["leader_node_id"].as_u64() == Some(node.node_id))
                .count()
        };
        (0..self.nodes.len())
            .max_by_key(|&index| led(&self.nodes[index]))
            .context("no nodes")
    }

    /// Kills a node with SIGKILL.
    pub(crate) fn kill(&self, index: usize) -> Result<()> {
        steps::run(Command::new("kill").args(["-KILL", &self.nodes[index].pid.to_string()]))
    }

    /// Starts a killed node again on its own data.
    pub(crate) fn restart(&mut self, index: usize) -> Result<()> {
        let config = &self.nodes[index].config;
        let log = std::fs::File::create(config.with_extension("restarted.log"))?;
        let child = Command::new(&self.binary)
            .args(["serve", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.nodes[index].pid = child.id();
        self.restarted.push(child);
        Ok(())
    }
}

/// Parses the last line of a command's output.
pub(crate) fn last_json_line(text: &str) -> Result<Value> {
    let line = text
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .context("no output")?;
    serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.restarted.iter_mut().chain([&mut self.dev]) {
            let _ = Command::new("kill")
                .args(["-TERM", &child.id().to_string()])
                .status();
        }
        for child in self.restarted.iter_mut().chain([&mut self.dev]) {
            let _ = child.wait();
        }
    }
}
