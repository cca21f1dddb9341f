//! Addresses of nodes, and the content of their configuration files.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::Timeouts;
use crate::Network;

/// Addresses at which a node listens.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) client: String,
    pub(super) peer: String,
    pub(super) admin: String,
    http: String,
}

impl Member {
    /// Makes a node with ports of its own.
    pub(super) fn on_own_ports() -> Self {
        let ports = holdfast_test_ports::take(4);
        let address = |place: usize| format!("127.0.0.1:{}", ports[place]);
        Self {
            client: address(0),
            peer: address(1),
            admin: address(2),
            http: address(3),
        }
    }
}

/// Settings that are the same on every node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Founding {
    pub(super) shards: u32,
    pub(super) cluster_id: uuid::Uuid,
    pub(super) timeouts: Timeouts,
    pub(super) threads: Option<u32>,
}

/// Returns the configuration of a node. Nodes are named from 0. Its data is in `folder`, and it is told of
/// these nodes, which include itself.
pub(super) fn text(
    folder: &Path,
    node: usize,
    members: &[(usize, &Member)],
    network: Option<&Network>,
    founding: Founding,
) -> Result<String> {
    let Founding {
        shards, cluster_id, ..
    } = founding;
    let raft = match founding.timeouts {
        Timeouts::Patient => {
            "[raft]\nheartbeat = \"100ms\"\nelection_timeout_min = \"500ms\"\nelection_timeout_max = \"1s\"\n\n"
        }
        Timeouts::Usual => "",
    };
    let threads = founding
        .threads
        .map_or_else(String::new, |threads| format!("threads = {threads}\n"));
    let mut peers = String::new();
    let mut own = None;
    for &(other, member) in members {
        if other == node {
            own = Some(member);
        }
        let peer_address = match network {
            Some(network) if other != node => network.address(node, other)?.to_string(),
            _ => member.peer.clone(),
        };
        peers += &format!(
            "[[peers]]\nnode_id = {}\nclient_address = \"{}\"\npeer_address = \"{peer_address}\"\nadmin_address = \"{}\"\n\n",
            other + 1,
            member.client,
            member.admin,
        );
    }
    let member = own.context("a node knows itself")?;
    Ok(format!(
        "[node]\nnode_id = {id}\ncluster_id = \"{cluster_id}\"\ndata_dir = \"{data}\"\n{threads}\n\
         [listen]\nclient = \"{client}\"\npeer = \"{peer}\"\nhttp = \"{http}\"\nadmin = \"{admin}\"\n\n\
         [shards]\ncount = {shards}\n\n\
         {raft}\
         [storage]\nlog_segment = \"32MiB\"\nchange_segment = \"4MiB\"\nballast = \"0B\"\n\n\
         [log]\nformat = \"pretty\"\nlevel = \"info\"\n\n{peers}",
        id = node + 1,
        data = folder.join(format!("node-{}", node + 1)).display(),
        client = member.client,
        peer = member.peer,
        http = member.http,
        admin = member.admin,
    ))
}
