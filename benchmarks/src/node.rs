//! One node in a process of its own, to be killed and started again.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::process::{Child, Command};

/// How often a node is asked whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(5);

/// Where a node's configuration is, and where it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlace {
    /// The file of its configuration.
    pub config: PathBuf,
    /// Where clients reach it: host and port.
    pub client_address: String,
    /// Where it says whether it is ready: host and port.
    pub http_address: String,
    /// The folder of its data.
    pub data: PathBuf,
}

impl NodePlace {
    /// Writes the configuration of a node that is a cluster of its own and writes no snapshot: all of its state comes
    /// from its log when it starts. It takes four ports.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn alone_without_snapshots(folder: &Path, first_port: u16, shards: u32) -> Result<Self> {
        let address = |offset| format!("127.0.0.1:{}", first_port + offset);
        let place = Self {
            config: folder.join("node.toml"),
            client_address: address(0),
            http_address: address(2),
            data: folder.join("node"),
        };
        let config = json!({
            "node": { "node_id": 1, "data_dir": place.data },
            "listen": { "client": place.client_address, "peer": address(1), "http": place.http_address, "admin": address(3) },
            "shards": { "count": shards },
            // The largest number there is.
            "raft": { "snapshot_every_entries": 100_000_000 },
        });
        std::fs::write(&place.config, toml::to_string(&config)?)?;
        Ok(place)
    }

    /// Where clients reach it, as they say it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.client_address)
    }

    /// Starts `holdfast serve`. What the node says about itself is kept beside its configuration.
    ///
    /// # Errors
    /// When `binary` cannot be started.
    pub fn start(&self, binary: &Path) -> Result<Node> {
        let log = std::fs::File::create(self.config.with_extension("restart.log"))?;
        let process = Command::new(binary)
            .args(["serve", "--config"])
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started; build it first", binary.display()))?;
        Ok(Node {
            process,
            ready_url: format!("http://{}/readyz", self.http_address),
        })
    }
}

/// A running node. It is killed when this is dropped.
pub struct Node {
    process: Child,
    ready_url: String,
}

impl Node {
    /// Waits until the node says that it is ready.
    ///
    /// # Errors
    /// When it ends instead, or is not ready within `patience`.
    pub async fn ready(&mut self, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        while !self.is_ready().await {
            if let Some(status) = self.process.try_wait()? {
                anyhow::bail!("the node ended with {status}");
            }
            ensure!(Instant::now() < until, "the node is not ready after {patience:?}");
            tokio::time::sleep(ASK_EVERY).await;
        }
        Ok(())
    }

    async fn is_ready(&self) -> bool {
        let answer = reqwest::get(&self.ready_url).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    /// Kills it with SIGKILL, as a lost machine would.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }
}
