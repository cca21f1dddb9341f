//! Three nodes on this machine, started by `holdfast dev`, for as long as a measurement takes.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Running nodes. They are killed when this is dropped; [`Nodes::stop`] lets them end well.
pub struct Nodes {
    process: Child,
    endpoints: Vec<String>,
}

impl Nodes {
    /// Starts three nodes with synced logs and waits until they serve.
    ///
    /// # Errors
    /// When `binary` cannot be started or the nodes end early.
    pub async fn start(binary: &Path, data: &Path, base_port: u16, shards: u32) -> Result<Self> {
        let mut process = Command::new(binary)
            .args(["dev", "--json", "--fresh"])
            .args(["--shards", &shards.to_string()])
            .args(["--base-port", &base_port.to_string()])
            .arg("--data-dir")
            .arg(data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started; build it first", binary.display()))?;
        let output = process.stdout.take().context("the nodes have no output")?;
        let mut lines = BufReader::new(output).lines();
        let ready = lines.next_line().await?.context("the nodes ended")?;
        let ready: serde_json::Value = serde_json::from_str(&ready).with_context(|| ready.clone())?;
        let addresses = ready["nodes"].as_array().context("no nodes")?.iter();
        let endpoints = addresses
            .filter_map(|node| Some(format!("http://{}", node["client_address"].as_str()?)))
            .collect();
        // Nobody else reads their output: a full pipe would stop them.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { process, endpoints })
    }

    /// Where clients reach them.
    pub fn endpoints(&self) -> Vec<String> {
        self.endpoints.clone()
    }

    /// The process whose children are the nodes; none when it has ended.
    pub fn process_id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Asks them to stop and waits until they have.
    ///
    /// # Errors
    /// When they cannot be asked.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(pid) = self.process.id() {
            let pid = nix::unistd::Pid::from_raw(pid.cast_signed());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        }
        self.process.wait().await?;
        Ok(())
    }
}
