//! Runs of the command line against a cluster.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use anyhow::{Context as _, Result, ensure};

use super::Cluster;

impl Cluster {
    /// Runs the `holdfast` binary against this cluster. It gets the admin ports of the running nodes, and the
    /// client ports of all nodes.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn holdfast(&self, arguments: &[&str]) -> Result<Output> {
        Ok(self.command(arguments)?.output()?)
    }

    /// Starts the `holdfast` binary against this cluster and leaves it running.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_holdfast(&self, arguments: &[&str]) -> Result<Child> {
        Ok(self
            .command(arguments)?
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?)
    }

    /// Runs the `holdfast` binary to its end, which must be a success. Returns the last line that it prints,
    /// as JSON.
    ///
    /// # Errors
    /// When it fails or prints something else.
    pub fn holdfast_json(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        json(arguments, &self.holdfast(&[arguments, &["--json"]].concat())?)
    }

    /// Does the same as [`Self::holdfast_json`], while the tasks of this process go on.
    ///
    /// # Errors
    /// The same as for [`Self::holdfast_json`].
    pub async fn operate(&self, arguments: &[&str]) -> Result<serde_json::Value> {
        let mut command = self.command(&[arguments, &["--json"]].concat())?;
        let output = tokio::task::spawn_blocking(move || command.output()).await??;
        json(arguments, &output)
    }

    /// Runs `holdfast verify` on this cluster, which must find nothing.
    ///
    /// # Errors
    /// Names its findings otherwise.
    pub fn verify(&self) -> Result<serde_json::Value> {
        let report = self.holdfast_json(&["verify"])?;
        ensure!(report["ok"] == true, "verify found something: {report}");
        Ok(report)
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let admin: Vec<&str> = self
            .running()
            .into_iter()
            .map(|node| self.nodes[node].listens.admin.as_str())
            .collect();
        let mut command = Command::new(binary()?);
        command
            .args(arguments)
            .env("HOLDFAST_ENDPOINTS", self.endpoints().join(","))
            .env("HOLDFAST_ADMIN_ADDRESS", admin.join(","))
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        Ok(command)
    }
}

fn json(arguments: &[&str], output: &Output) -> Result<serde_json::Value> {
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "holdfast {} ended with {}:\n{text}\n{}",
        arguments.join(" "),
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let line = text
        .lines()
        .rfind(|line| !line.trim().is_empty())
        .context("it printed nothing")?;
    serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))
}

/// Returns the binary under test: `HOLDFAST_BINARY`, or the one of this build, which is built again if it is
/// old.
pub(super) fn binary() -> Result<PathBuf> {
    static BINARY: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BINARY.get_or_init(|| {
        if let Some(path) = std::env::var_os("HOLDFAST_BINARY") {
            return Ok(PathBuf::from(path));
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let status = Command::new(cargo)
            .args(["build", "--quiet", "--package", "holdfast"])
            .status();
        if !status.is_ok_and(|status| status.success()) {
            return Err("the holdfast binary could not be built".to_owned());
        }
        let test = std::env::current_exe().map_err(|error| error.to_string())?;
        let profile = test
            .parent()
            .and_then(|deps| deps.parent())
            .ok_or("no target folder")?;
        Ok(profile.join("holdfast"))
    });
    built.clone().map_err(anyhow::Error::msg)
}
