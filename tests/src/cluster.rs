//! Real nodes on loopback. With `HOLDFAST_KEEP` set, their folders and logs stay.

mod clocks;
mod command;
mod config;
mod damage;
mod membership;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use holdfast_api::v1;
use holdfast_api::v1::cluster_client::ClusterClient;
use holdfast_client::{Client, ClientOptions};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use crate::{Network, wait_for};
use clocks::Clocks;
use command::binary;

pub use damage::{Damage, Region};

/// Replicas of each shard, if there are so many nodes. It is the default of the nodes' configuration.
const REPLICAS: usize = 3;

/// Number of shards that a cluster is made with.
#[derive(Debug, Clone, Copy)]
pub struct Shards(pub u32);

/// Options of a cluster.
#[derive(Debug, Clone, Copy)]
pub struct ClusterOptions {
    /// Shards, each on all nodes.
    pub shards: u32,
    /// Nodes, 1 to 7.
    pub nodes: usize,
    /// Whether the nodes speak to each other through a [`Network`].
    pub on_network: bool,
    /// Whether each node has a clock of its own that can be set, if the system has the programs for it.
    pub own_clocks: bool,
    /// The nodes' timeouts.
    pub timeouts: Timeouts,
    /// Number of threads that a node serves with; as many as there are processors when it is none.
    pub threads: Option<u32>,
}

/// The time after which nodes miss each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timeouts {
    /// A long time, so that a test on a crowded machine has no election that it did not ask for.
    #[default]
    Patient,
    /// The time of the configuration's defaults.
    Usual,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            shards: 1,
            nodes: 3,
            on_network: false,
            own_clocks: false,
            timeouts: Timeouts::default(),
            threads: None,
        }
    }
}

/// A capability: something that not every machine allows to do to a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Capability {
    /// The clock of one node can be set.
    OwnClocks,
    /// Packets between nodes can be dropped.
    PacketLoss,
    /// Replicas can be moved away from a node.
    SpareNode,
}

/// A cluster of `holdfast serve` processes and their data folders. Dropping it stops them and removes the
/// folders, unless `HOLDFAST_KEEP` is set.
#[derive(Debug)]
pub struct Cluster {
    folder: TempDir,
    nodes: Vec<Node>,
    /// Number of nodes that founded the cluster: those named `0..founders`.
    founders: usize,
    founding: config::Founding,
    /// The network between the nodes; none if they speak to each other directly.
    network: Option<Network>,
    /// The nodes' own clocks; none if they have that of the machine.
    clocks: Option<Clocks>,
}

#[derive(Debug)]
struct Node {
    process: Option<Child>,
    listens: config::Member,
}

impl Cluster {
    /// Starts three nodes and waits until all are ready.
    ///
    /// # Errors
    /// When a node does not become ready; the message has the end of its log.
    pub async fn start(shards: Shards) -> Result<Self> {
        Self::start_with(ClusterOptions {
            shards: shards.0,
            ..ClusterOptions::default()
        })
        .await
    }

    /// Starts nodes and waits until all are ready.
    ///
    /// # Errors
    /// The same as for [`Self::start`].
    pub async fn start_with(options: ClusterOptions) -> Result<Self> {
        let mut cluster = Self::prepare_with(options).await?;
        cluster.launch().await?;
        Ok(cluster)
    }

    /// Makes three nodes with their configurations, and starts none of them.
    ///
    /// # Errors
    /// When there is no place for them.
    pub async fn prepare(shards: Shards) -> Result<Self> {
        Self::prepare_with(ClusterOptions {
            shards: shards.0,
            ..ClusterOptions::default()
        })
        .await
    }

    /// Starts all nodes and waits until they are ready.
    ///
    /// # Errors
    /// The same as for [`Self::start`].
    pub async fn launch(&mut self) -> Result<()> {
        for node in 0..self.nodes.len() {
            self.spawn(node)?;
        }
        self.ready().await
    }

    async fn prepare_with(options: ClusterOptions) -> Result<Self> {
        let mut folder = TempDir::new()?;
        if std::env::var_os("HOLDFAST_KEEP").is_some() {
            folder.disable_cleanup(true);
            tell_where(folder.path());
        }
        let members: Vec<_> = (0..options.nodes)
            .map(|_| config::Member::on_own_ports())
            .collect();
        let network = if options.on_network {
            let addresses: Vec<String> = members.iter().map(|member| member.peer.clone()).collect();
            Some(Network::between(&addresses).await?)
        } else {
            None
        };
        let founding = config::Founding {
            shards: options.shards,
            cluster_id: uuid::Uuid::now_v7(),
            timeouts: options.timeouts,
            threads: options.threads,
        };
        for node in 0..options.nodes {
            let peers: Vec<_> = members.iter().enumerate().collect();
            let text = config::text(folder.path(), node, &peers, network.as_ref(), founding)?;
            std::fs::write(folder.path().join(format!("node-{}.toml", node + 1)), text)?;
        }
        let clocks = match options.own_clocks {
            true => Clocks::find(folder.path(), options.nodes)?,
            false => None,
        };
        let nodes = members.into_iter().map(|member| Node {
            process: None,
            listens: member,
        });
        Ok(Self {
            nodes: nodes.collect(),
            founders: options.nodes,
            founding,
            folder,
            network,
            clocks,
        })
    }

    /// Checks whether the machine allows this.
    ///
    /// # Errors
    /// Names what is missing.
    pub fn can(&self, capability: Capability) -> Result<()> {
        match capability {
            Capability::OwnClocks => {
                ensure!(
                    self.clocks.is_some(),
                    "the nodes have no clocks of their own: libfaketime is not installed (Debian: faketime)"
                );
                Ok(())
            }
            Capability::PacketLoss => self.network()?.can_lose_packets(),
            Capability::SpareNode => {
                ensure!(
                    self.nodes.len() > REPLICAS,
                    "each shard has {REPLICAS} replicas and there are no more nodes to move one to: take --nodes {} or more",
                    REPLICAS + 1
                );
                Ok(())
            }
        }
    }

    /// Returns the number of nodes; they are named `0..len`.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Returns the nodes that run.
    pub fn running(&self) -> Vec<usize> {
        (0..self.len())
            .filter(|&node| self.nodes[node].process.is_some())
            .collect()
    }

    /// Returns false: a cluster always has nodes.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Returns the addresses of all nodes for clients.
    pub fn endpoints(&self) -> Vec<String> {
        self.nodes
            .iter()
            .map(|node| format!("http://{}", node.listens.client))
            .collect()
    }

    /// Returns a Rust client of all nodes.
    ///
    /// # Errors
    /// When its options are wrong.
    pub fn client(&self) -> Result<Client> {
        self.client_with(|options| options.deadline = Duration::from_secs(30))
    }

    /// Returns a Rust client of all nodes, with changed options.
    ///
    /// # Errors
    /// When the options are wrong.
    pub fn client_with(&self, change: impl FnOnce(&mut ClientOptions)) -> Result<Client> {
        let mut options = ClientOptions::new(self.endpoints());
        change(&mut options);
        Ok(Client::new(options)?)
    }

    /// Returns a plain gRPC channel to one node, which forwards requests for other nodes.
    ///
    /// # Errors
    /// When the address cannot be parsed.
    pub fn channel(&self, node: usize) -> Result<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.nodes[node].listens.client))?;
        Ok(endpoint.tcp_nodelay(true).connect_lazy())
    }

    /// Returns a channel like [`Self::channel`], to the node's admin port.
    ///
    /// # Errors
    /// When the address cannot be parsed.
    pub fn admin_channel(&self, node: usize) -> Result<Channel> {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.nodes[node].listens.admin))?;
        Ok(endpoint.tcp_nodelay(true).connect_lazy())
    }

    /// Starts a node that does not run, on its own data.
    ///
    /// # Errors
    /// When it runs already or cannot be started.
    pub fn spawn(&mut self, node: usize) -> Result<()> {
        ensure!(self.nodes[node].process.is_none(), "node {node} runs already");
        let path = self.folder.path().join(format!("node-{}", node + 1));
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(path.with_extension("log"))?;
        // With this, a write beyond a limit (see `refuse_writes`) fails and does not kill the process.
        let mut command = Command::new("sh");
        command
            .args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""])
            .arg(binary()?)
            .args(["serve", "--config"])
            .arg(path.with_extension("toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        if let Some(clocks) = &self.clocks {
            clocks.give(node, &mut command);
        }
        self.nodes[node].process = Some(command.spawn()?);
        Ok(())
    }

    /// Sends a signal to a node and waits until the process is gone.
    ///
    /// # Errors
    /// When it does not run.
    pub fn end(&mut self, node: usize, signal: Signal) -> Result<std::process::ExitStatus> {
        let mut process = self.nodes[node].process.take().context("the node does not run")?;
        kill(Pid::from_raw(process.id().cast_signed()), signal)?;
        let status = process.wait()?;
        clocks::clear_after(process.id());
        Ok(status)
    }

    /// Kills all nodes with SIGKILL, one right after the other, before waiting for any.
    ///
    /// # Errors
    /// When one does not run.
    pub fn kill_all(&mut self) -> Result<()> {
        for node in &self.nodes {
            let process = node.process.as_ref().context("the node does not run")?;
            kill(Pid::from_raw(process.id().cast_signed()), Signal::SIGKILL)?;
        }
        for node in &mut self.nodes {
            if let Some(mut process) = node.process.take() {
                process.wait()?;
                clocks::clear_after(process.id());
            }
        }
        Ok(())
    }

    /// Waits until every running node knows a leader for every shard and is itself ready.
    ///
    /// # Errors
    /// When a node ends instead, or a minute passes.
    pub async fn ready(&mut self) -> Result<()> {
        for node in 0..self.nodes.len() {
            if self.nodes[node].process.is_none() {
                continue;
            }
            if !self.is_ready_or_ended(node).await? {
                bail!(
                    "node {} did not become ready; its log ends with:\n{}",
                    node + 1,
                    self.log_end(node)
                );
            }
        }
        Ok(())
    }

    /// Waits until a node is ready or has ended. Returns whether it is ready.
    ///
    /// # Errors
    /// When a minute passes.
    pub async fn is_ready_or_ended(&mut self, node: usize) -> Result<bool> {
        let channel = self.channel(node)?;
        wait_for(&format!("node {} is ready", node + 1), || {
            let exited = self.nodes[node]
                .process
                .as_mut()
                .and_then(|process| process.try_wait().ok().flatten());
            let channel = channel.clone();
            async move {
                if exited.is_some() {
                    return Some(false);
                }
                let request = tonic_health::pb::HealthCheckRequest::default();
                let answer = tonic_health::pb::health_client::HealthClient::new(channel)
                    .check(request)
                    .await;
                let serving = tonic_health::pb::health_check_response::ServingStatus::Serving as i32;
                answer
                    .is_ok_and(|answer| answer.into_inner().status == serving)
                    .then_some(true)
            }
        })
        .await
        .with_context(|| format!("its log ends with:\n{}", self.log_end(node)))
    }

    /// Waits until a node has ended by itself.
    ///
    /// # Errors
    /// When it does not run, or a minute passes.
    pub async fn ended(&mut self, node: usize) -> Result<std::process::ExitStatus> {
        let process = self.nodes[node]
            .process
            .as_mut()
            .context("the node does not run")?;
        let status = wait_for(&format!("node {} has ended", node + 1), || {
            let status = process.try_wait().ok().flatten();
            async move { status }
        })
        .await?;
        clocks::clear_after(process.id());
        self.nodes[node].process = None;
        Ok(status)
    }

    /// Returns the process id of a node that runs.
    ///
    /// # Errors
    /// When the node does not run.
    pub fn process_id(&self, node: usize) -> Result<u32> {
        let process = self.nodes[node].process.as_ref();
        Ok(process.context("the node does not run")?.id())
    }

    /// Returns the address at which clients reach a node.
    pub fn client_address(&self, node: usize) -> &str {
        &self.nodes[node].listens.client
    }

    /// Sends a signal that does not end a node.
    ///
    /// # Errors
    /// When it does not run.
    pub fn signal(&self, node: usize, signal: Signal) -> Result<()> {
        let process = self.nodes[node]
            .process
            .as_ref()
            .context("the node does not run")?;
        Ok(kill(Pid::from_raw(process.id().cast_signed()), signal)?)
    }

    /// Returns the network between the nodes.
    ///
    /// # Errors
    /// When they speak to each other directly.
    pub fn network(&self) -> Result<&Network> {
        self.network
            .as_ref()
            .context("this cluster has no network of its own")
    }

    /// Returns the node that leads a shard, as the others see it.
    ///
    /// # Errors
    /// When no node knows the leader within a minute.
    pub async fn leader(&self, shard: u32) -> Result<usize> {
        let running = self.running();
        let channels: Vec<_> = running
            .iter()
            .map(|&node| self.channel(node))
            .collect::<Result<_>>()?;
        wait_for("a leader that is known and runs", || async {
            for channel in &channels {
                let mut client = ClusterClient::new(channel.clone());
                let Ok(topology) = client.get_topology(v1::GetTopologyRequest {}).await else {
                    continue;
                };
                let topology = topology.into_inner();
                let leader = topology
                    .shards
                    .iter()
                    .find(|it| it.shard == shard)
                    .map_or(0, |it| it.leader_node_id);
                let leader = usize::try_from(leader).ok().and_then(|id| id.checked_sub(1));
                if let Some(leader) = leader.filter(|leader| running.contains(leader)) {
                    return Some(leader);
                }
            }
            None
        })
        .await
    }

    /// Sets a node's clock this many seconds behind (negative) or ahead of that of the machine, and waits
    /// until the node shows it.
    ///
    /// # Errors
    /// When it has no clock of its own, or does not answer within a minute.
    pub async fn set_clock(&self, node: usize, ahead_secs: i64) -> Result<()> {
        let clocks = self
            .clocks
            .as_ref()
            .context("the nodes have no clocks of their own")?;
        clocks.set(node, ahead_secs)?;
        let client = ClusterClient::new(self.channel(node)?);
        wait_for("the node's clock is set", || async {
            let status = client
                .clone()
                .get_node_status(v1::GetNodeStatusRequest {})
                .await
                .ok()?;
            clocks::shows(status.into_inner().wall_clock_ms, ahead_secs).then_some(())
        })
        .await
    }

    /// Returns a folder of this cluster for files of the test.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Returns the path of a node's configuration.
    pub fn config(&self, node: usize) -> PathBuf {
        self.folder.path().join(format!("node-{}.toml", node + 1))
    }

    /// Returns everything that a node has logged.
    pub fn log(&self, node: usize) -> String {
        let path = self.folder.path().join(format!("node-{}.log", node + 1));
        std::fs::read_to_string(path).unwrap_or_default()
    }

    fn log_end(&self, node: usize) -> String {
        let log = self.log(node);
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(mut process) = node.process.take() {
                let _ = process.kill();
                let _ = process.wait();
                clocks::clear_after(process.id());
            }
        }
    }
}

#[allow(clippy::print_stderr, reason = "whoever keeps a folder has to find it")]
fn tell_where(folder: &Path) {
    eprintln!("kept: {}", folder.display());
}
