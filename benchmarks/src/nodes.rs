//! Three nodes on this machine, started by `holdfast dev`, for as long as a measurement takes.

use std::path::Path;
use std::process::Stdio;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::node::NodePlace;

/// Three running nodes. They are killed when this is dropped; [`Nodes::stop`] lets them end in good order.
pub struct Nodes {
    process: Child,
    members: Vec<Member>,
}

/// One of the nodes.
pub struct Member {
    /// Id of the node's process when it was started.
    pub process_id: u32,
    /// The node's files and addresses.
    pub place: NodePlace,
}

impl Member {
    /// Reads what `holdfast dev --json` prints about a node.
    fn from_json(node: &serde_json::Value) -> Result<Self> {
        let text = |name: &str| {
            node[name]
                .as_str()
                .with_context(|| format!("no {name} of a node"))
        };
        Ok(Self {
            process_id: node["pid"].as_u64().context("no pid of a node")?.try_into()?,
            place: NodePlace {
                config: text("config")?.into(),
                client_address: text("client_address")?.to_owned(),
                http_address: text("http_address")?.to_owned(),
                data: text("data")?.into(),
            },
        })
    }
}

impl Nodes {
    /// Starts three nodes with synced logs and waits until they serve. `settings` are environment variables
    /// such as `HOLDFAST__RAFT__SNAPSHOT_EVERY_ENTRIES`, for settings that must differ from the defaults.
    ///
    /// # Errors
    /// When `binary` cannot be started or the nodes end early.
    pub async fn start(
        binary: &Path,
        data: &Path,
        base_port: u16,
        shards: u32,
        settings: &[(&str, &str)],
    ) -> Result<Self> {
        let mut process = Command::new(binary)
            .envs(settings.iter().copied())
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
        let nodes = ready["nodes"].as_array().context("no nodes")?.iter();
        let members = nodes.map(Member::from_json).collect::<Result<_>>()?;
        // Read the rest of their output: a full pipe would stop them.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(Self { process, members })
    }

    /// Returns the URLs at which clients reach the nodes.
    pub fn endpoints(&self) -> Vec<String> {
        self.members
            .iter()
            .map(|member| member.place.endpoint())
            .collect()
    }

    /// Returns the nodes.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// Returns the id of the process whose children are the nodes, or none when it has ended.
    pub fn process_id(&self) -> Option<u32> {
        self.process.id()
    }

    /// Asks the nodes to stop and waits until they have.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_where_the_launcher_says() {
        let node = serde_json::json!({
            "node_id": 2, "pid": 4711, "client_address": "127.0.0.1:7421", "http_address": "127.0.0.1:7423",
            "config": "/tmp/dev/node-2.toml", "data": "/tmp/dev/node-2",
        });
        let member = Member::from_json(&node).unwrap();
        assert_eq!(member.process_id, 4711);
        assert_eq!(member.place.endpoint(), "http://127.0.0.1:7421");
        assert_eq!(member.place.data, Path::new("/tmp/dev/node-2"));
        assert!(Member::from_json(&serde_json::json!({ "pid": 4711 })).is_err());
    }
}
