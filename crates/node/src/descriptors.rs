//! The process's limit of file descriptors. The node reserves some for its own files, and connections share
//! the rest. A node that has no descriptor left when it needs a new segment must end.

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

use crate::NodeConfig;

/// Descriptors for the log, the facts, the runtime, the standard streams, and a debugger.
const NODE_FILES: u64 = 256;
/// Descriptors for each replica: segments of its change log, and snapshots that are written, read or sent.
const REPLICA_FILES: u64 = 16;
/// Descriptors for each other node: this node's connections to it.
const PEER_FILES: u64 = 8;
/// Most connections to `listen.http` at a time.
pub(crate) const HTTP_CONNECTIONS: usize = 256;
/// Most connections of one port when the configuration does not say how many.
const MOST: u64 = 16_384;

/// Most connections of each port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connections {
    pub(crate) clients: usize,
    pub(crate) nodes: usize,
    pub(crate) operators: usize,
}

impl Connections {
    fn all(self) -> u64 {
        (self.clients + self.nodes + self.operators) as u64
    }
}

/// Returns the soft and the hard limit of this process's descriptors. None when the system does not say.
pub(crate) fn limits() -> Option<(u64, u64)> {
    getrlimit(Resource::RLIMIT_NOFILE).ok()
}

/// Returns the descriptors reserved for the node itself.
pub(crate) fn own(config: &NodeConfig) -> u64 {
    let peers = config.cluster_nodes().len() as u64;
    NODE_FILES + u64::from(config.shards.count) * REPLICA_FILES + peers * PEER_FILES + HTTP_CONNECTIONS as u64
}

/// Returns the connections that each port may have with this limit of descriptors.
fn share_of(config: &NodeConfig, limit: u64) -> Connections {
    if let Some(connections) = config.limits.connections {
        return Connections {
            clients: connections,
            nodes: connections,
            operators: connections,
        };
    }
    let left = limit.saturating_sub(own(config));
    let part = |eighths: u64| usize::try_from((left / 8 * eighths).clamp(1, MOST)).unwrap_or(usize::MAX);
    Connections {
        clients: part(6),
        nodes: part(1),
        operators: part(1),
    }
}

/// Returns the connections that each port of this process may have.
pub(crate) fn share(config: &NodeConfig) -> Connections {
    // When the system does not say, this is the limit of most systems.
    share_of(config, limits().map_or(1_024, |(soft, _)| soft))
}

/// Returns how many descriptors are missing under this limit when all connections are in use.
pub(crate) fn missing(config: &NodeConfig, limit: u64) -> u64 {
    (own(config) + share_of(config, limit).all()).saturating_sub(limit)
}

/// Raises the limit of this process as far as the system allows, and warns when that is not enough.
pub(crate) fn prepare(config: &NodeConfig) {
    let Some((soft, hard)) = limits() else {
        tracing::warn!("the system does not say how many files this process may open");
        return;
    };
    let limit = if soft < hard { raise(soft, hard) } else { soft };
    let missing = missing(config, limit);
    if missing > 0 {
        tracing::warn!(
            limit,
            missing,
            "this process may open too few files: if all connections are open, the node cannot open its own files; raise the limit (ulimit -n) or lower limits.connections"
        );
    }
}

fn raise(soft: rlim_t, hard: rlim_t) -> u64 {
    match setrlimit(Resource::RLIMIT_NOFILE, hard, hard) {
        Ok(()) => hard,
        Err(error) => {
            tracing::warn!(soft, hard, %error, "the limit of file descriptors was not raised");
            soft
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_the_nodes_own_files_their_descriptors() {
        let config = NodeConfig::default();
        for limit in [1_024, 4_096, 65_536, 1 << 20] {
            let shared = share_of(&config, limit);
            assert!(shared.all() + own(&config) <= limit, "{limit}: {shared:?}");
            assert_eq!(missing(&config, limit), 0);
            assert!(shared.clients >= shared.nodes && shared.nodes > 0);
        }
        assert_eq!(share_of(&config, 1 << 20).clients, 16_384);
    }

    #[test]
    fn more_connections_than_descriptors_are_told() {
        let mut config = NodeConfig::default();
        config.limits.connections = Some(1_000);
        assert_eq!(missing(&config, 1_024), own(&config) + 3_000 - 1_024);
        assert_eq!(missing(&config, 65_536), 0);
        config.limits.connections = None;
        assert!(missing(&config, own(&config)) > 0, "each port has one at least");
    }

    #[test]
    fn the_limit_of_this_process_becomes_what_the_system_allows() {
        prepare(&NodeConfig::default());
        let (soft, hard) = limits().unwrap();
        assert_eq!(soft, hard);
    }
}
