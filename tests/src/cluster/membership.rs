//! Nodes that come, go, and lose their disks.

use anyhow::{Context as _, Result, ensure};
use holdfast_api::v1;
use holdfast_api::v1::admin_client::AdminClient;
use holdfast_api::v1::cluster_client::ClusterClient;
use nix::sys::signal::Signal;

use super::{Cluster, Node, config};
use crate::wait_for;

impl Cluster {
    /// Starts a node that is in no cluster yet and knows the founders of this one. Returns the node. It
    /// introduces itself. The caller waits for that and admits it, with [`Self::admit`].
    ///
    /// # Errors
    /// When it cannot be started, or nodes speak to each other through a network or have clocks of their own:
    /// a newcomer has neither.
    pub fn spawn_newcomer(&mut self) -> Result<usize> {
        ensure!(
            self.network.is_none() && self.clocks.is_none(),
            "newcomers have no place in a network of relays, nor a clock of their own"
        );
        let node = self.nodes.len();
        let listens = config::Member::on_own_ports();
        let founders = self.nodes[..self.founders].iter().map(|node| &node.listens);
        let peers: Vec<_> = founders.enumerate().chain([(node, &listens)]).collect();
        let text = config::text(self.folder.path(), node, &peers, None, self.founding)?;
        std::fs::write(self.folder.path().join(format!("node-{}.toml", node + 1)), text)?;
        self.nodes.push(Node {
            process: None,
            listens,
        });
        self.spawn(node)?;
        Ok(node)
    }

    /// Waits until nodes have introduced themselves to all others that run, admits them, and waits until
    /// replicas are spread over them.
    ///
    /// # Errors
    /// When they do not introduce themselves within a minute, or are not admitted.
    pub async fn admit(&self, nodes: &[usize]) -> Result<()> {
        for asked in self.running().into_iter().filter(|node| !nodes.contains(node)) {
            wait_for("newcomers have introduced themselves", || async {
                let now = self.placement(asked).await.ok()?;
                let waits = |id: u64| now.waiting.iter().any(|waiting| waiting.node_id == id);
                nodes.iter().all(|node| waits(id(*node))).then_some(())
            })
            .await?;
        }
        let ids: Vec<String> = nodes.iter().map(|node| id(*node).to_string()).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        self.operate(&[&["cluster", "add"], ids.as_slice()].concat())
            .await?;
        Ok(())
    }

    /// Empties the data folder of a node that does not run.
    ///
    /// # Errors
    /// When it runs, or has none.
    pub fn wipe(&self, node: usize) -> Result<()> {
        ensure!(self.nodes[node].process.is_none(), "node {node} runs");
        let folder = self.folder.path().join(format!("node-{}", node + 1));
        std::fs::remove_dir_all(&folder).with_context(|| folder.display().to_string())
    }

    /// Asks a node to stop and waits until it has stopped, which must be without an error.
    ///
    /// # Errors
    /// When it does not run, or ended with an error.
    pub fn stop(&mut self, node: usize) -> Result<()> {
        let status = self.end(node, Signal::SIGTERM)?;
        ensure!(
            status.success(),
            "node {} ended with {status}; its log ends with:\n{}",
            node + 1,
            self.log_end(node)
        );
        Ok(())
    }

    /// Makes sure that a removed node has ended. It ends by itself if it still heard of its removal, and is
    /// asked to stop otherwise.
    ///
    /// # Errors
    /// When it was not running before, or ended by a signal.
    pub fn end_removed(&mut self, node: usize) -> Result<()> {
        let process = self.nodes[node]
            .process
            .as_mut()
            .context("the node does not run")?;
        let status = match process.try_wait()? {
            Some(status) => {
                self.nodes[node].process = None;
                status
            }
            None => self.end(node, Signal::SIGTERM)?,
        };
        ensure!(
            status.code().is_some(),
            "node {} ended with {status}; its log ends with:\n{}",
            node + 1,
            self.log_end(node)
        );
        Ok(())
    }

    /// Returns members and replicas, as a node knows them.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn placement(&self, node: usize) -> Result<v1::GetPlacementResponse> {
        let mut admin = AdminClient::new(self.admin_channel(node)?);
        let placement = admin.get_placement(v1::GetPlacementRequest {}).await?;
        Ok(placement.into_inner())
    }

    /// Returns the nodes that should have a replica of a shard, as some running node knows it.
    ///
    /// # Errors
    /// When no node knows within a minute.
    pub async fn holders(&self, shard: u32) -> Result<Vec<usize>> {
        wait_for("a node that knows where replicas are", || async {
            for node in self.running() {
                let Ok(now) = self.placement(node).await else {
                    continue;
                };
                let of_shard = now.shards.into_iter().find(|it| it.shard == shard);
                let ids = of_shard.map(|it| it.node_ids).unwrap_or_default();
                if !ids.is_empty() {
                    return ids.into_iter().map(index).collect();
                }
            }
            None
        })
        .await
    }

    /// Waits until a node has at least one replica, all of its replicas came to it after the cluster was
    /// founded, and they follow or lead.
    ///
    /// # Errors
    /// When that is not so within a minute.
    pub async fn has_new_replicas(&self, node: usize) -> Result<()> {
        let client = ClusterClient::new(self.channel(node)?);
        wait_for("a node has new replicas", || async {
            let status = client
                .clone()
                .get_node_status(v1::GetNodeStatusRequest {})
                .await
                .ok()?;
            let replicas = status.into_inner().replicas;
            let all_new = replicas
                .iter()
                .all(|it| it.generation > 0 && matches!(it.role.as_str(), "leader" | "follower"));
            (!replicas.is_empty() && all_new).then_some(())
        })
        .await
        .with_context(|| format!("its log ends with:\n{}", self.log_end(node)))
    }
}

/// Returns the cluster's id of a node; ids count from 1.
fn id(node: usize) -> u64 {
    node as u64 + 1
}

fn index(id: u64) -> Option<usize> {
    usize::try_from(id).ok()?.checked_sub(1)
}
