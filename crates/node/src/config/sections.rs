//! The sections of the configuration. The doc comment of a key is its manual: meaning, unit, range, default.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// The node itself: its id, its cluster, its data folder, its threads and its zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSection {
    /// The node's id in its cluster, 1 to 4294967295. A node that starts with an empty data folder and the id
    /// of a member comes back as that member, and gets all of its data from the other nodes. An id that was
    /// removed from the cluster may be added again, with an empty data folder. Required.
    pub node_id: u64,
    /// The cluster's id, a UUID, the same on every node. Nodes of different clusters do not talk to each
    /// other. Default: the nil UUID, which cannot tell two clusters apart. Set the id wherever more than one
    /// cluster exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<uuid::Uuid>,
    /// The folder of the node's log, snapshots and changes. The node creates it if it is missing. It belongs
    /// to this node alone. Required.
    pub data_dir: PathBuf,
    /// The number of threads that serve, 1 to 1024, besides the threads of the log. With 1, everything runs
    /// on that one thread. This costs the least for each call. With more, connections share that many
    /// threads, and each shard has a thread of its own. Default: the number of processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    /// The name of this node's zone. A zone is a set of nodes that fail together, for example those in one
    /// rack. The replicas of a shard are spread over as many zones as there are. At most 63 bytes, all
    /// printable. Default: empty, the zone is not known.
    #[serde(default)]
    pub zone: String,
}

impl Default for NodeSection {
    fn default() -> Self {
        Self {
            node_id: 1,
            cluster_id: None,
            data_dir: PathBuf::from("holdfast-data"),
            threads: None,
            zone: String::new(),
        }
    }
}

/// The addresses on which the node listens. Each is `host:port`. Port 0 lets the system choose a port. This
/// only suits tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenSection {
    /// The gRPC address for clients. Default: `127.0.0.1:7301`.
    pub client: String,
    /// The gRPC address for the other nodes. Keep clients away from it. Default: `127.0.0.1:7302`.
    pub peer: String,
    /// The HTTP address for `/metrics`, `/livez` and `/readyz`. Default: `127.0.0.1:7303`.
    pub http: String,
    /// The gRPC address for operators. Keep clients away from it. Default: `127.0.0.1:7304`.
    pub admin: String,
}

impl Default for ListenSection {
    fn default() -> Self {
        Self {
            client: "127.0.0.1:7301".to_owned(),
            peer: "127.0.0.1:7302".to_owned(),
            http: "127.0.0.1:7303".to_owned(),
            admin: "127.0.0.1:7304".to_owned(),
        }
    }
}

/// A node of the cluster, with the addresses at which the other nodes and the clients reach it.
///
/// Every founder of a cluster lists all founders, itself included, and begins when all of them have answered.
/// A node that joins later lists itself and the members that it asks to let it in, preferably all of them.
/// `holdfast cluster add` lets it in, and it learns about the other members. An address in the list wins over
/// the address that the cluster's directory has for that node, so keep it up to date or remove the entry.
/// Without a list, this node is a cluster of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerSection {
    /// The id of the node. Required.
    pub node_id: u64,
    /// The address at which clients reach the node, as `host:port`. Required.
    pub client_address: String,
    /// The address at which the other nodes reach the node, as `host:port`. Required.
    pub peer_address: String,
    /// The address at which operators reach the node, as `host:port`. It is only reported to callers that ask
    /// for the topology. Nodes themselves do not use it. Default: none, the topology does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_address: Option<String>,
}

/// The replication in the cluster. It is fixed when the cluster is founded, and must be the same on every
/// node that founds it. A node that joins later takes the cluster's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterSection {
    /// The number of replicas of each shard, 1, 3 or 5. In a cluster of fewer nodes, each shard has fewer
    /// replicas. With 3 replicas one node may be lost at a time, with 5 two, and with 1 none. Default: 3.
    pub replication_factor: u32,
}

impl Default for ClusterSection {
    fn default() -> Self {
        Self {
            replication_factor: 3,
        }
    }
}

/// The division of the stock into shards. It is chosen once, when the cluster is founded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShardsSection {
    /// The number of shards in the cluster, 1 to 64. Choose two to four for each core of a node. The number
    /// is fixed when a node first starts, and must be the same on every node. Default: 4.
    pub count: u32,
}

impl Default for ShardsSection {
    fn default() -> Self {
        Self { count: 4 }
    }
}

/// The settings of Raft, the protocol by which replicas agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RaftSection {
    /// The interval at which a leader tells its followers that it is there, in milliseconds, 5 to 10000.
    /// Default: 50.
    pub heartbeat_ms: u64,
    /// The shortest election timeout, in milliseconds, at least three times `heartbeat_ms`. When the leader
    /// has been silent for that long, the first follower in turn asks the others whether they miss the leader
    /// too. If most of them do, the follower is elected. If the leader's process is gone, the follower does
    /// not wait. It notices this when the leader's machine refuses a connection to `listen.peer`.
    /// Default: 200.
    pub election_timeout_min_ms: u64,
    /// The longest election timeout, in milliseconds, more than `election_timeout_min_ms` and at most 60000.
    /// When the leader has been silent for that long, the last follower in turn asks, if no other was elected
    /// before. The difference between the two timeouts should be at least the time of an election, which is
    /// two syncs and two round trips. Default: 300.
    pub election_timeout_max_ms: u64,
    /// Most commands in one log entry, 1 to 65536. Default: 1024.
    pub max_entry_commands: usize,
    /// Most bytes of commands in one log entry, 65536 to 4194304. Default: 524288.
    pub max_entry_bytes: usize,
    /// Most log entries that a shard's leader has under way at a time, 1 to 64. Default: 8.
    pub max_entries_in_flight: usize,
    /// The number of log entries after which a replica writes a snapshot, 100 to 100000000. Default: 20000.
    pub snapshot_every_entries: u64,
    /// Whether a node that leads more shards than others hands some of them over. This is good where every
    /// node has a machine of its own. Nodes that share a machine only call each other more. Default: false.
    pub spread_leaders: bool,
}

impl Default for RaftSection {
    fn default() -> Self {
        Self {
            heartbeat_ms: 50,
            election_timeout_min_ms: 200,
            election_timeout_max_ms: 300,
            max_entry_commands: 1_024,
            max_entry_bytes: 512 << 10,
            max_entries_in_flight: 8,
            snapshot_every_entries: 20_000,
            spread_leaders: false,
        }
    }
}

/// The time limits of the ledger, in log time. They are fixed when the cluster is founded, and must be the
/// same on every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerSection {
    /// The time for which an operation id is remembered, in milliseconds, 60000 to 2592000000. An older id is
    /// refused. Default: 86400000 (24 h).
    pub operation_window_ms: u64,
    /// The most that an operation id's time may be ahead of log time, in milliseconds, 1000 to 86400000.
    /// Default: 3600000 (1 h).
    pub operation_lead_ms: u64,
    /// The time for which a closed reservation that never shipped is kept, in milliseconds, at least
    /// `operation_window_ms`. Default: 86400000 (24 h).
    pub closed_retention_ms: u64,
    /// The time for which a shipped reservation is kept for returns, in milliseconds, at least
    /// `operation_window_ms`. Default: 7776000000 (90 days).
    pub shipped_retention_ms: u64,
    /// The time that an order over several shards may wait for its decision before it is aborted, in
    /// milliseconds, 1000 to 600000. Choose more than a call may take by default
    /// (`limits.default_deadline_ms`). Default: 10000 (10 s).
    pub order_decision_ms: u64,
}

impl Default for LedgerSection {
    fn default() -> Self {
        const HOUR_MS: u64 = 3_600_000;
        Self {
            operation_window_ms: 24 * HOUR_MS,
            operation_lead_ms: HOUR_MS,
            closed_retention_ms: 24 * HOUR_MS,
            shipped_retention_ms: 90 * 24 * HOUR_MS,
            order_decision_ms: 10_000,
        }
    }
}

/// The files of the log and the change log, and the free space on their disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageSection {
    /// The size of one segment of the node's write-ahead log, in bytes, 33554432 to 1073741824.
    /// Default: 67108864.
    pub log_segment_bytes: u64,
    /// The size of one segment of a shard's change log, in bytes, 1048576 to 1073741824. Default: 67108864.
    pub change_segment_bytes: u64,
    /// The least number of bytes that should be available on the disk of `node.data_dir`, 16777216 to
    /// 1125899906842624. With fewer, nothing new is taken: no reserves, receipts and the like. Commits,
    /// releases, expiry and reads go on. Default: 2147483648 (2 GiB), or a twentieth of the disk if that is
    /// less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_space_bytes: Option<u64>,
    /// The size of the ballast, in bytes, 0 to 1099511627776. The ballast is a file in `node.data_dir`. The
    /// node gives it up when the disk is full, so that it can still write what was promised. 0 means no
    /// ballast. Default: 268435456 (256 MiB), or a hundredth of the disk if that is less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ballast_bytes: Option<u64>,
}

impl Default for StorageSection {
    fn default() -> Self {
        Self {
            log_segment_bytes: 64 << 20,
            change_segment_bytes: 64 << 20,
            low_space_bytes: None,
            ballast_bytes: None,
        }
    }
}

/// The limits on what clients may ask for. The limits on the content of a request are part of the API and
/// cannot be configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    /// The time that a call without a deadline of its own may take, in milliseconds, 10 to 600000.
    /// Default: 5000.
    pub default_deadline_ms: u64,
    /// The longest deadline of a unary call, in milliseconds, at least `default_deadline_ms`, at most 600000.
    /// A longer deadline is shortened to it. Default: 60000.
    pub max_deadline_ms: u64,
    /// Most commands that wait in one shard, 1 to 1000000. More are refused as overloaded, with a time to
    /// wait. When the queue is half full, reserves are refused. When it is three quarters full, everything
    /// except commits and releases is refused. Default: 65536.
    pub queue_limit_commands: usize,
    /// Most connections of clients at a time, 1 to 1000000. Other nodes may have as many, and so may
    /// operators. Further connections are closed. Default: what the limit of file descriptors leaves after
    /// the node's own files. Three quarters of it are for clients, an eighth for nodes and an eighth for
    /// operators, at most 16384 each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<usize>,
    /// Most bytes that the requests and unread answers of all callers may take, 134217728 to 68719476736. One
    /// caller may take at most half of them, and one connection at most a quarter. A request beyond that is
    /// refused as overloaded, with a time to wait. Default: 268435456.
    pub caller_bytes: usize,
    /// Most bytes that all callers together may send per second in messages of more than 64 KiB, 1048576 to
    /// 68719476736. One caller may send at most half of them. Bytes that arrive faster are read later. A
    /// message that would wait for more than 2 seconds is refused as overloaded. Default: 33554432.
    pub large_message_bytes_per_second: u64,
    /// The time that a caller's message may take from its first byte to its last, in milliseconds, 100 to
    /// 600000. If a call has only one message, the time begins with the call. Default: 20000.
    pub receive_ms: u64,
    /// The time that a connection may stay open without a first call, in milliseconds, 1000 to 3600000. Then
    /// it is closed. Default: 60000.
    pub first_call_ms: u64,
    /// The time for which a caller may read nothing of what it asked for, in milliseconds, 1000 to 3600000.
    /// Then a stream of changes, of a listing or of a batch is ended. A connection is closed if all of its
    /// answers wait. Default: 30000.
    pub unread_ms: u64,
    /// Most calls and batch items that one principal may send to this node per second, 0 to 100000000. The
    /// same number may arrive at once. Further ones are refused as overloaded, with a time to wait. 0 means
    /// no limit. Without TLS, all callers are one principal. Default: 0.
    pub principal_requests_per_second: u32,
    /// Most calls under way on one connection, 1 to 65536. Further calls wait. Default: 1024.
    pub connection_calls: usize,
    /// Most items under way on one batch stream, 1024 to 65536. At that number, the stream is read no further
    /// until some of them are done. Default: 8192.
    pub batch_items_in_flight: usize,
    /// Most batch streams served at a time, 1 to 65536. One caller may have at most half of them.
    /// Default: 1024.
    pub batch_streams: usize,
    /// Most change streams, listings and as-of reads served at a time, 1 to 65536. One caller may have at
    /// most half of them. Default: 64.
    pub change_streams: usize,
    /// The time that a stopping node waits for calls under way, in milliseconds, 0 to 600000. Default: 10000.
    pub drain_ms: u64,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            default_deadline_ms: 5_000,
            max_deadline_ms: 60_000,
            queue_limit_commands: 65_536,
            connections: None,
            caller_bytes: 256 << 20,
            large_message_bytes_per_second: 32 << 20,
            receive_ms: 20_000,
            first_call_ms: 60_000,
            unread_ms: 30_000,
            principal_requests_per_second: 0,
            connection_calls: 1_024,
            batch_items_in_flight: 8_192,
            batch_streams: 1_024,
            change_streams: 64,
            drain_ms: 10_000,
        }
    }
}

/// The log lines that the node writes to standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// The format of a line: `json` (one object per line) or `pretty` (for people). Default: `json`.
    pub format: LogFormat,
    /// The lowest level that is written: `error`, `warn`, `info`, `debug`, `trace`, or a list of
    /// `target=level` separated by commas. By default openraft has a level of its own, because it warns about
    /// every heartbeat to a node that is down. Default: `info,openraft=error`.
    pub level: String,
}

impl Default for LogSection {
    fn default() -> Self {
        Self {
            format: LogFormat::Json,
            level: "info,openraft=error".to_owned(),
        }
    }
}

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Text in colours, for people.
    Pretty,
}
