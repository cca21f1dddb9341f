//! The data folder of `holdfast dev`: its content, and the mark that it belongs to this command.

use std::fs::{File, TryLockError};
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use holdfast_node::NodeConfig;
use holdfast_node::config::{
    ByteSize, ListenSection, LogFormat, LogSection, NodeSection, PeerSection, RaftSection, SecuritySection,
    ShardsSection, StorageSection, TimeSpan,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Name of the file that marks a folder as made by this command.
const MARKER: &str = "holdfast-dev.toml";
/// Name of the file in a node's data folder that a running node keeps locked.
const NODE_LOCK: &str = "holdfast.lock";

/// The layout that a folder was made with. It may not change while the folder has data.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    nodes: u64,
    shards: u32,
    cluster_id: Uuid,
}

/// The cluster that the arguments ask for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) nodes: u64,
    pub(super) shards: u32,
    pub(super) base_port: u16,
}

/// A node's place: where its files are and where it listens.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) node_id: u64,
    pub(super) client_address: String,
    pub(super) peer_address: String,
    pub(super) http_address: String,
    pub(super) admin_address: String,
    pub(super) config: PathBuf,
    pub(super) data: PathBuf,
    pub(super) log: PathBuf,
}

impl Member {
    /// Returns the last lines of the node's log.
    pub(super) fn log_end(&self) -> String {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

/// Makes the folder ready, with a configuration for each node.
///
/// # Errors
/// When the folder contains things that this command did not put there, was made for another cluster or is in
/// use, or when a port is in use. In these cases the folder is unchanged.
pub(super) fn prepare(folder: &Path, layout: Layout, fresh: bool) -> anyhow::Result<Vec<Member>> {
    let marker = own(folder, layout, fresh)?;
    let folder = folder
        .canonicalize()
        .with_context(|| format!("cannot find {}", folder.display()))?;
    let threads = threads_of_each(marker.nodes);
    let members: Vec<Member> = (1..=marker.nodes)
        .map(|node_id| member(&folder, layout.base_port, node_id))
        .collect();
    let peers: Vec<PeerSection> = members
        .iter()
        .map(|member| PeerSection {
            node_id: member.node_id,
            client_address: member.client_address.clone(),
            peer_address: member.peer_address.clone(),
            admin_address: Some(member.admin_address.clone()),
        })
        .collect();
    for member in &members {
        let config = NodeConfig {
            node: NodeSection {
                node_id: member.node_id,
                cluster_id: Some(marker.cluster_id),
                data_dir: member.data.clone(),
                threads: Some(threads),
                zone: String::new(),
            },
            listen: ListenSection {
                client: member.client_address.clone(),
                peer: member.peer_address.clone(),
                http: member.http_address.clone(),
                admin: member.admin_address.clone(),
            },
            peers: peers.clone(),
            shards: ShardsSection { count: marker.shards },
            raft: patient(),
            // The nodes share one disk, so one ballast would be for all of them.
            storage: StorageSection {
                ballast: Some(ByteSize::new(0)),
                ..StorageSection::default()
            },
            // This cluster is for trying things out, and it listens on loopback only.
            security: SecuritySection {
                reflection: true,
                ..SecuritySection::default()
            },
            // Raft logs each heartbeat that a dead node misses. The node itself logs that a peer is gone.
            log: LogSection {
                format: LogFormat::Pretty,
                level: "info,openraft=error".to_owned(),
            },
            ..NodeConfig::default()
        };
        let text = toml::to_string(&config).context("cannot write the configuration as TOML")?;
        write(&member.config, &text)?;
    }
    Ok(members)
}

/// Returns the threads of each node: the nodes share the machine's processors.
fn threads_of_each(nodes: u64) -> u32 {
    let processors = std::thread::available_parallelism().map_or(1, |processors| processors.get() as u64);
    u32::try_from(processors / nodes.max(1))
        .unwrap_or(1)
        .clamp(1, 1024)
}

/// Returns longer Raft timeouts. Nodes that share one machine with other programs must wait longer before
/// they consider each other dead.
fn patient() -> RaftSection {
    RaftSection {
        heartbeat: TimeSpan::from_millis(100),
        election_timeout_min: TimeSpan::from_millis(400),
        election_timeout_max: TimeSpan::from_millis(800),
        ..RaftSection::default()
    }
}

fn member(folder: &Path, base_port: u16, node_id: u64) -> Member {
    // The port is in range: there are at most 7 nodes, and the base port is at most 65400.
    let port = u64::from(base_port) + (node_id - 1) * 10;
    Member {
        node_id,
        client_address: format!("127.0.0.1:{port}"),
        peer_address: format!("127.0.0.1:{}", port + 1),
        http_address: format!("127.0.0.1:{}", port + 2),
        admin_address: format!("127.0.0.1:{}", port + 3),
        config: folder.join(format!("node-{node_id}.toml")),
        data: folder.join(format!("node-{node_id}")),
        log: folder.join(format!("node-{node_id}.log")),
    }
}

/// Reads or writes the marker, and empties the folder when that is asked for.
fn own(folder: &Path, layout: Layout, fresh: bool) -> anyhow::Result<Marker> {
    std::fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    nobody_is_there(folder, layout)?;
    let path = folder.join(MARKER);
    let found = match std::fs::read_to_string(&path) {
        Ok(text) => {
            Some(toml::from_str::<Marker>(&text).with_context(|| format!("{} is damaged", path.display()))?)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let empty = std::fs::read_dir(folder)
        .with_context(|| format!("cannot read the folder {}", folder.display()))?
        .next()
        .is_none();
    match found {
        None if !empty => bail!(
            "{} has files in it and was not made by `holdfast dev` (it has no {MARKER}): nothing was touched. Choose another --data-dir",
            folder.display()
        ),
        Some(_) if fresh => clear(folder)?,
        Some(marker) => {
            if (marker.nodes, marker.shards) != (layout.nodes, layout.shards) {
                bail!(
                    "{} was made with --nodes {} --shards {}: use these options, or start again with --fresh, which deletes its data",
                    folder.display(),
                    marker.nodes,
                    marker.shards
                );
            }
            return Ok(marker);
        }
        None => {}
    }
    let marker = Marker {
        nodes: layout.nodes,
        shards: layout.shards,
        cluster_id: Uuid::now_v7(),
    };
    let text = toml::to_string(&marker).context("cannot write the marker as TOML")?;
    write(
        &path,
        &format!(
            "# Made by `holdfast dev`, which empties this folder when it is started with --fresh.\n{text}"
        ),
    )?;
    Ok(marker)
}

/// Refuses a folder on which a node runs, and ports on which another process listens.
fn nobody_is_there(folder: &Path, layout: Layout) -> anyhow::Result<()> {
    for entry in
        std::fs::read_dir(folder).with_context(|| format!("cannot read the folder {}", folder.display()))?
    {
        let lock = entry?.path().join(NODE_LOCK);
        let Ok(file) = File::open(&lock) else {
            continue;
        };
        if matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
            let holder = std::fs::read_to_string(&lock).unwrap_or_default();
            bail!(
                "a node runs on {} (process {}): stop it first, or choose another --data-dir. Nothing was touched",
                lock.parent().unwrap_or(folder).display(),
                holder.trim()
            );
        }
    }
    for node_id in 1..=layout.nodes {
        let member = member(folder, layout.base_port, node_id);
        let addresses = [
            member.client_address,
            member.peer_address,
            member.http_address,
            member.admin_address,
        ];
        for address in addresses {
            TcpListener::bind(&address).with_context(|| {
                format!("cannot listen on {address}: does another cluster run here? Choose another --base-port. Nothing was touched")
            })?;
        }
    }
    Ok(())
}

/// Removes everything in the folder, the marker last: a folder that was emptied only halfway is still known
/// as ours.
fn clear(folder: &Path) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_name() == MARKER {
            continue;
        }
        let removed = if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    std::fs::remove_file(folder.join(MARKER)).with_context(|| format!("cannot remove {MARKER}"))
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nodes are 10 ports apart, and each has four ports.
    fn layout() -> Layout {
        Layout {
            nodes: 3,
            shards: 4,
            base_port: holdfast_test_ports::take(24)[0],
        }
    }

    #[test]
    fn the_configurations_written_are_valid_and_agree_on_the_cluster() {
        let folder = tempfile::tempdir().unwrap();
        let layout = layout();
        let members = prepare(&folder.path().join("a/b"), layout, false).unwrap();
        let configs: Vec<NodeConfig> = members
            .iter()
            .map(|member| NodeConfig::load(&member.config).unwrap())
            .collect();
        assert_eq!(configs.len(), 3);
        let listen = &configs[2].listen;
        assert_eq!(listen.client, format!("127.0.0.1:{}", layout.base_port + 20));
        assert_eq!(listen.admin, format!("127.0.0.1:{}", layout.base_port + 23));
        assert!(configs.iter().all(|config| config.peers == configs[0].peers));
        assert!(
            configs
                .iter()
                .all(|config| config.node.cluster_id == configs[0].node.cluster_id)
        );
        let again = prepare(&folder.path().join("a/b"), layout, false).unwrap();
        assert_eq!(NodeConfig::load(&again[0].config).unwrap(), configs[0]);
    }

    #[test]
    fn fresh_empties_our_folder_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let layout = layout();
        let members = prepare(folder.path(), layout, true).unwrap();
        std::fs::create_dir(&members[0].data).unwrap();
        prepare(folder.path(), layout, true).unwrap();
        assert!(!members[0].data.exists());

        let other = tempfile::tempdir().unwrap();
        std::fs::write(other.path().join("precious"), "x").unwrap();
        let error = prepare(other.path(), layout, true).unwrap_err();
        assert!(error.to_string().contains("--data-dir"), "{error}");
        assert!(other.path().join("precious").exists());
    }

    #[test]
    fn a_folder_or_a_port_in_use_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = [layout(), layout()];
        let members = prepare(folder.path(), first, false).unwrap();
        std::fs::create_dir(&members[1].data).unwrap();
        std::fs::write(members[1].data.join(NODE_LOCK), "4711\n").unwrap();
        let lock = File::open(members[1].data.join(NODE_LOCK)).unwrap();
        lock.lock().unwrap();
        let before = std::fs::read_to_string(&members[0].config).unwrap();
        for (layout, fresh) in [(first, true), (second, true), (second, false)] {
            let error = prepare(folder.path(), layout, fresh).unwrap_err().to_string();
            assert!(error.contains("process 4711"), "{error}");
        }
        drop(lock);
        let _listener = TcpListener::bind(&members[2].http_address).unwrap();
        let error = prepare(folder.path(), first, true).unwrap_err().to_string();
        assert!(error.contains(&members[2].http_address), "{error}");
        assert_eq!(std::fs::read_to_string(&members[0].config).unwrap(), before);
        assert!(members[1].data.exists());
    }

    #[test]
    fn a_folder_of_another_cluster_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let layout = layout();
        prepare(folder.path(), layout, false).unwrap();
        let error = prepare(folder.path(), Layout { shards: 2, ..layout }, false).unwrap_err();
        assert!(error.to_string().contains("--shards 4"), "{error}");
        prepare(folder.path(), Layout { shards: 2, ..layout }, true).unwrap();
    }
}
