//! The sections of the configuration. The doc comment of a key is its manual: meaning, unit, range, default.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSection {
    /// The node's id in its cluster, 1 to 4294967295. With an empty data folder and the id of a member it comes back as that
    /// member and learns everything anew; an id that was removed from the cluster may be added again with an empty data folder.
    /// Required.
    pub node_id: u64,
    /// The cluster's id, a UUID, the same on every node. Nodes of different clusters do not talk to each other.
    /// Default: the nil UUID, which cannot tell two clusters apart; set it wherever more than one cluster exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<uuid::Uuid>,
    /// The folder of the node's log, snapshots and changes, made if it is missing. It belongs to this node alone.
    /// Required.
    pub data_dir: PathBuf,
    /// How many threads serve, 1 to 1024, besides those of the log. With 1 everything is on that thread, which costs
    /// the least for each call; with more, connections are on so many and each shard has one of its own.
    /// Default: the number of processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<u32>,
    /// What fails together with this node: a zone, a rack. A shard's replicas are spread over as many as there are. At most 63
    /// bytes, all printable. Default: empty, not known.
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

/// Where the node listens. Each is `host:port`; port 0 lets the system choose, which only suits tests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenSection {
    /// gRPC for clients. Default: `127.0.0.1:7301`.
    pub client: String,
    /// gRPC for the other nodes; keep it away from clients. Default: `127.0.0.1:7302`.
    pub peer: String,
    /// HTTP for `/metrics`, `/livez` and `/readyz`. Default: `127.0.0.1:7303`.
    pub http: String,
    /// gRPC for operators; keep it away from clients. Default: `127.0.0.1:7304`.
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

/// A node of the cluster, as the others and the clients reach it. The list has the nodes that found the cluster, or for a node that
/// joins later some that it asks to be let in, always with the node itself. An address in the list wins over what the cluster's
/// directory says of that node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerSection {
    /// Its id. Required.
    pub node_id: u64,
    /// Where clients reach it: `host:port`. Required.
    pub client_address: String,
    /// Where the other nodes reach it: `host:port`. Required.
    pub peer_address: String,
    /// Where operators reach it: `host:port`. Only told to whoever asks for the topology; nodes themselves do not use it.
    /// Default: not told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admin_address: Option<String>,
}

/// How the cluster is made. Fixed when it is founded, the same on every node that founds it; who joins later takes what the cluster has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterSection {
    /// How many replicas each shard has, 1, 3 or 5, as far as there are nodes for them. With 3 one node may be lost at a time,
    /// with 5 two. Default: 3.
    pub replication_factor: u32,
}

impl Default for ClusterSection {
    fn default() -> Self {
        Self {
            replication_factor: 3,
        }
    }
}

/// How the stock is dealt out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShardsSection {
    /// How many shards the cluster has, 1 to 64: two to four for each core of a node. It is fixed when a node first
    /// starts, and must be the same on every node. Default: 4.
    pub count: u32,
}

impl Default for ShardsSection {
    fn default() -> Self {
        Self { count: 4 }
    }
}

/// How replicas agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RaftSection {
    /// How often a leader says that it is there, in milliseconds, 5 to 10000. Default: 50.
    pub heartbeat_ms: u64,
    /// After so long without a word from the leader, in milliseconds, the first follower in turn asks the others whether they miss
    /// it too, and is elected if most of them do. It does not wait when the leader's process is gone, which shows when
    /// the leader's machine refuses a connection to `listen.peer`. At least three times `heartbeat_ms`. Default: 200.
    pub election_timeout_min_ms: u64,
    /// After so long without a word from the leader, in milliseconds, the last follower in turn asks, if none before it was elected.
    /// More than `election_timeout_min_ms` by what an election takes, two syncs and two round trips; at most 60000. Default: 300.
    pub election_timeout_max_ms: u64,
    /// Most commands in one log entry, 1 to 65536. Default: 1024.
    pub max_entry_commands: usize,
    /// Most bytes of commands in one log entry, 65536 to 4194304. Default: 524288.
    pub max_entry_bytes: usize,
    /// Most entries that a shard's leader has under way at a time, 1 to 64. Default: 8.
    pub max_entries_in_flight: usize,
    /// A replica writes a snapshot after this many entries, 100 to 100000000. Default: 20000.
    pub snapshot_every_entries: u64,
    /// Does a node that leads more shards than others hand some over to them? Good where every node has a machine of its
    /// own; nodes that share one only call each other more. Default: false.
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

/// How long the ledger remembers, in log time. Fixed when a cluster is made, the same on every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerSection {
    /// How long an operation id is remembered, in milliseconds, 60000 to 2592000000. An older id is refused.
    /// Default: 86400000 (24 h).
    pub operation_window_ms: u64,
    /// How far an operation id's time may lie ahead of the log's, in milliseconds, 1000 to 86400000.
    /// Default: 3600000 (1 h).
    pub operation_lead_ms: u64,
    /// How long a closed reservation that never shipped is kept, in milliseconds, at least `operation_window_ms`.
    /// Default: 86400000 (24 h).
    pub closed_retention_ms: u64,
    /// How long a shipped reservation is kept for returns, in milliseconds, at least `operation_window_ms`.
    /// Default: 7776000000 (90 days).
    pub shipped_retention_ms: u64,
    /// How long an order over several shards may wait for its decision before it is aborted, in milliseconds, 1000 to 600000.
    /// More than a call may take by default. Default: 10000 (10 s).
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

/// How the log and the change log lie on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageSection {
    /// The size of one segment of the node's write-ahead log, in bytes, 33554432 to 1073741824. Default: 67108864.
    pub log_segment_bytes: u64,
    /// The size of one segment of a shard's change log, in bytes, 1048576 to 1073741824. Default: 67108864.
    pub change_segment_bytes: u64,
    /// With fewer available bytes on the disk of `node.data_dir` than this, nothing new is taken: no reserves, receipts and the
    /// like. Commits, releases, expiry and reads go on. 16777216 to 1125899906842624.
    /// Default: 2147483648 (2 GiB), or a twentieth of the disk if that is less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low_space_bytes: Option<u64>,
    /// The size of the ballast, in bytes, 0 to 1099511627776: a file in `node.data_dir` that is given up when the disk is full, so
    /// that what was promised can still be written. 0: none. Default: 268435456, or a hundredth of the disk if that is less.
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

/// How much a client may ask for. What a request may contain is part of the API and not configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    /// How long a call without a deadline of its own may take, in milliseconds, 10 to 600000. Default: 5000.
    pub default_deadline_ms: u64,
    /// The longest deadline of a unary call, in milliseconds, at least `default_deadline_ms`, at most 600000; a longer
    /// one is shortened to it. Default: 60000.
    pub max_deadline_ms: u64,
    /// Most commands that wait in one shard; more are refused as overloaded, with a time to wait. Reserves are refused from
    /// half of it on, all but commits and releases from three quarters on. 1 to 1000000. Default: 65536.
    pub queue_limit_commands: usize,
    /// Most connections of clients at a time, as many of nodes and as many of operators; further ones are closed. 1 to 1000000.
    /// Default: what the limit of file descriptors leaves beside the node's own files, three quarters for clients, an eighth for
    /// nodes and an eighth for operators, at most 16384 each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connections: Option<usize>,
    /// Most bytes that the requests and unread answers of all callers take, 134217728 to 68719476736. One caller has at most half of
    /// it, one connection at most a quarter; what goes beyond is refused as overloaded, with a time to wait. Default: 268435456.
    pub caller_bytes: usize,
    /// Most bytes that all callers together send in a second in messages of more than 64 KiB, 1048576 to 68719476736;
    /// one caller has at most half of it. What comes faster is read later, and refused as overloaded when it would wait
    /// for more than 2 seconds. Default: 33554432.
    pub large_message_bytes_per_second: u64,
    /// How long a message of a caller may take from its first byte to its last, and a call that has only one from its beginning, in
    /// milliseconds, 100 to 600000. Default: 20000.
    pub receive_ms: u64,
    /// How long a connection may be without a first call, in milliseconds, 1000 to 3600000; it is closed then. Default: 60000.
    pub first_call_ms: u64,
    /// How long a caller may read nothing of what it asked for, in milliseconds, 1000 to 3600000. A stream of changes is ended then, and a
    /// connection of which all answers wait is closed. Default: 30000.
    pub unread_ms: u64,
    /// Most calls and batch items that one principal may send to this node in a second, 0 to 100000000, as many at once;
    /// further ones are refused as overloaded, with a time to wait. 0: no limit. Without TLS all are one principal. Default: 0.
    pub principal_requests_per_second: u32,
    /// Most calls under way on one connection, 1 to 65536; further ones wait. Default: 1024.
    pub connection_calls: usize,
    /// Most items of one batch stream under way; the stream is read no further until some are done. 1024 to 65536.
    /// Default: 8192.
    pub batch_items_in_flight: usize,
    /// Most batch streams served at a time, 1 to 65536; one caller has at most half of them. Default: 1024.
    pub batch_streams: usize,
    /// Most change streams, listings and as-of reads served at a time, 1 to 65536; one caller has at most half of them. Default: 64.
    pub change_streams: usize,
    /// How long a stopping node waits for calls under way, in milliseconds, 0 to 600000. Default: 10000.
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

/// What the node says about itself on standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// `json` (one object a line) or `pretty` (for people). Default: `json`.
    pub format: LogFormat,
    /// `error`, `warn`, `info`, `debug`, `trace`, or a list of `target=level` separated by commas. Default: `info,openraft=error`, because openraft warns of every heartbeat to a node that is down.
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

/// The shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// Coloured text for people.
    Pretty,
}
