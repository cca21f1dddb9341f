//! One node in a process of its own, which can be killed and started again.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tokio::process::{Child, Command};

/// Time between two questions to a node about whether it is ready.
const ASK_EVERY: Duration = Duration::from_millis(5);

/// A node's place: where its configuration is, and where it answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlace {
    /// File of the node's configuration.
    pub config: PathBuf,
    /// Address for clients: host and port.
    pub client_address: String,
    /// Address where the node reports whether it is ready: host and port.
    pub http_address: String,
    /// Folder of the node's data.
    pub data: PathBuf,
}

impl NodePlace {
    /// Writes the configuration of a node that is a cluster of its own and writes no snapshot: when it
    /// starts, all of its state comes from its log. It takes four ports.
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
            // The largest number that is allowed.
            "raft": { "snapshot_every_entries": 100_000_000 },
        });
        std::fs::write(&place.config, toml::to_string(&config)?)?;
        Ok(place)
    }

    /// Returns the URL at which clients reach the node.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.client_address)
    }

    /// Starts `holdfast serve`. The node's output is kept beside its configuration.
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

    /// Kills the node with SIGKILL, as the loss of a machine would.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub async fn kill(mut self) -> Result<()> {
        Ok(self.process.kill().await?)
    }
}
