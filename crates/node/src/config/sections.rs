//! The sections of the configuration. The doc comment of a key and its attributes are its whole description:
//! the schema, the reference and the Helm chart are made from them (see `schema.rs`).
//!
//! A key that had its unit in its name has that name as `x-old-key`.

use std::path::PathBuf;

use holdfast_shard::limits::{MAX_ENTRY_BYTES, MIN_LOG_SEGMENT_BYTES};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::units::{ByteSize, TimeSpan};

/// The least value of `limits.caller_budget`: one connection's part of it has room for the largest message,
/// as `validate.rs` asserts.
pub(super) const MIN_CALLER_BUDGET: ByteSize = ByteSize::mib(128);

/// The node itself: its id, its cluster, its data folder, its threads and its zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeSection {
    /// The node's id in its cluster. A node that starts with an empty data folder and the id of a member
    /// comes back as that member, and gets all of its data from the other nodes. An id that was removed from
    /// the cluster may be added again, with an empty data folder. Required.
    #[schemars(range(min = 1, max = 4_294_967_295_u64))]
    pub node_id: u64,
    /// The cluster's id, a UUID, the same on every node. Nodes of different clusters do not talk to each
    /// other. Default: the nil UUID, which cannot tell two clusters apart. Set the id wherever more than one
    /// cluster exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "0197a3c0-7f1e-7c5a-9b1d-3f2c5a6b7c8d")]
    pub cluster_id: Option<uuid::Uuid>,
    /// The folder of the node's log, snapshots and changes. The node creates it if it is missing. It belongs
    /// to this node alone. Required.
    pub data_dir: PathBuf,
    /// The number of threads that serve, besides the threads of the log. With 1, everything runs on that one
    /// thread. This costs the least for each call. With more, connections share that many threads, and each
    /// shard has a thread of its own. Default: the number of processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_024), example = 4)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ListenSection {
    /// The gRPC address for clients.
    pub client: String,
    /// The gRPC address for the other nodes. Keep clients away from it.
    pub peer: String,
    /// The HTTP address for `/metrics`, `/livez` and `/readyz`.
    pub http: String,
    /// The gRPC address for operators. Keep clients away from it.
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PeerSection {
    /// The id of the node. Required.
    #[schemars(example = 1)]
    pub node_id: u64,
    /// The address at which clients reach the node, as `host:port`. Required.
    #[schemars(example = "10.0.0.1:7301")]
    pub client_address: String,
    /// The address at which the other nodes reach the node, as `host:port`. Required.
    #[schemars(example = "10.0.0.1:7302")]
    pub peer_address: String,
    /// The address at which operators reach the node, as `host:port`. It is only reported to callers that ask
    /// for the topology. Nodes themselves do not use it. Default: none, the topology does not report it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(example = "10.0.0.1:7304")]
    pub admin_address: Option<String>,
}

/// The replication in the cluster. It is fixed when the cluster is founded, and must be the same on every
/// node that founds it. A node that joins later takes the cluster's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClusterSection {
    /// The number of replicas of each shard. In a cluster of fewer nodes, each shard has fewer replicas. With
    /// 3 replicas one node may be lost at a time, with 5 two, and with 1 none.
    #[schemars(extend("enum" = [1, 3, 5]))]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ShardsSection {
    /// The number of shards in the cluster. Choose two to four for each core of a node. The number is fixed
    /// when a node first starts, and must be the same on every node.
    #[schemars(range(min = 1, max = 64))]
    pub count: u32,
}

impl Default for ShardsSection {
    fn default() -> Self {
        Self { count: 4 }
    }
}

/// The settings of Raft, the protocol by which replicas agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RaftSection {
    /// The interval at which a leader tells its followers that it is there.
    #[schemars(extend("x-minimum" = "5ms", "x-maximum" = "10s", "x-old-key" = "heartbeat_ms"))]
    pub heartbeat: TimeSpan,
    /// The shortest election timeout, at least three times `heartbeat`. When the leader has been silent for
    /// that long, the first follower in turn asks the others whether they miss the leader too. If most of
    /// them do, the follower is elected. If the leader's process is gone, the follower does not wait. It
    /// notices this when the leader's machine refuses a connection to `listen.peer`.
    #[schemars(extend("x-old-key" = "election_timeout_min_ms"))]
    pub election_timeout_min: TimeSpan,
    /// The longest election timeout, more than `election_timeout_min`. When the leader has been silent for
    /// that long, the last follower in turn asks, if no other was elected before. The difference between the
    /// two timeouts should be at least the time of an election, which is two syncs and two round trips.
    #[schemars(extend("x-maximum" = "1m", "x-old-key" = "election_timeout_max_ms"))]
    pub election_timeout_max: TimeSpan,
    /// Most commands in one log entry.
    #[schemars(range(min = 1, max = 65_536))]
    pub max_entry_commands: usize,
    /// The largest size of the commands in one log entry.
    #[schemars(extend(
        "x-minimum" = "64KiB",
        "x-maximum" = ByteSize::new(MAX_ENTRY_BYTES as u64),
        "x-old-key" = "max_entry_bytes"
    ))]
    pub max_entry_size: ByteSize,
    /// Most log entries that a shard's leader has under way at a time.
    #[schemars(range(min = 1, max = 64))]
    pub max_entries_in_flight: usize,
    /// The number of log entries after which a replica writes a snapshot.
    #[schemars(range(min = 100, max = 100_000_000))]
    pub snapshot_every_entries: u64,
    /// Whether a node that leads more shards than others hands some of them over. This is good where every
    /// node has a machine of its own. Nodes that share a machine only call each other more.
    pub spread_leaders: bool,
}

impl Default for RaftSection {
    fn default() -> Self {
        Self {
            heartbeat: TimeSpan::from_millis(50),
            election_timeout_min: TimeSpan::from_millis(200),
            election_timeout_max: TimeSpan::from_millis(300),
            max_entry_commands: 1_024,
            max_entry_size: ByteSize::kib(512),
            max_entries_in_flight: 8,
            snapshot_every_entries: 20_000,
            spread_leaders: false,
        }
    }
}

/// The time limits of the ledger, in log time. They are fixed when the cluster is founded, and must be the
/// same on every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LedgerSection {
    /// The time for which an operation id is remembered. An older id is refused.
    #[schemars(extend("x-minimum" = "1m", "x-maximum" = "30d", "x-old-key" = "operation_window_ms"))]
    pub operation_window: TimeSpan,
    /// The most that an operation id's time may be ahead of log time.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "24h", "x-old-key" = "operation_lead_ms"))]
    pub operation_lead: TimeSpan,
    /// The time for which a closed reservation that never shipped is kept, at least `operation_window`.
    #[schemars(extend("x-old-key" = "closed_retention_ms"))]
    pub closed_retention: TimeSpan,
    /// The time for which a shipped reservation is kept for returns, at least `operation_window`.
    #[schemars(extend("x-old-key" = "shipped_retention_ms"))]
    pub shipped_retention: TimeSpan,
    /// The time that an order over several shards may wait for its decision before it is aborted. Choose more
    /// than a call may take by default (`limits.default_deadline`).
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "10m", "x-old-key" = "order_decision_ms"))]
    pub order_decision: TimeSpan,
}

impl Default for LedgerSection {
    fn default() -> Self {
        Self {
            operation_window: TimeSpan::from_hours(24),
            operation_lead: TimeSpan::from_hours(1),
            closed_retention: TimeSpan::from_hours(24),
            shipped_retention: TimeSpan::from_hours(90 * 24),
            order_decision: TimeSpan::from_secs(10),
        }
    }
}

/// The files of the log and the change log, and the free space on their disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StorageSection {
    /// The size of one segment of the node's write-ahead log.
    #[schemars(extend(
        "x-minimum" = ByteSize::new(MIN_LOG_SEGMENT_BYTES as u64),
        "x-maximum" = "1GiB",
        "x-old-key" = "log_segment_bytes"
    ))]
    pub log_segment: ByteSize,
    /// The size of one segment of a shard's change log.
    #[schemars(extend("x-minimum" = "64KiB", "x-maximum" = "1GiB", "x-old-key" = "change_segment_bytes"))]
    pub change_segment: ByteSize,
    /// The least age, in log time, of a change that is dropped from the change logs. A change is dropped only
    /// when every required consumer has passed it (`holdfast changes consumers`). Without a required consumer,
    /// nothing is ever dropped. Give every node the same value.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "3650d"))]
    pub history: TimeSpan,
    /// The least space that should be available on the disk of `node.data_dir`. With less, nothing new is
    /// taken: no reserves, arrivals and the like. Commits, releases, expiry and reads go on. Default: 2GiB,
    /// or a twentieth of the disk if that is less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        example = "2GiB",
        extend("x-minimum" = "16MiB", "x-maximum" = "1PiB", "x-old-key" = "low_space_bytes")
    )]
    pub low_space: Option<ByteSize>,
    /// The size of the ballast. The ballast is a file in `node.data_dir`. The node gives it up when the disk
    /// is full, so that it can still write what was promised. 0B means no ballast. Default: 256MiB, or a
    /// hundredth of the disk if that is less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        example = "256MiB",
        extend("x-minimum" = "0B", "x-maximum" = "1TiB", "x-old-key" = "ballast_bytes")
    )]
    pub ballast: Option<ByteSize>,
}

impl Default for StorageSection {
    fn default() -> Self {
        Self {
            log_segment: ByteSize::mib(64),
            change_segment: ByteSize::mib(64),
            history: TimeSpan::from_hours(7 * 24),
            low_space: None,
            ballast: None,
        }
    }
}

/// The limits on what clients may ask for. The limits on the content of a request are part of the API and
/// cannot be configured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSection {
    /// The time that a call without a deadline of its own may take.
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "10m", "x-old-key" = "default_deadline_ms"))]
    pub default_deadline: TimeSpan,
    /// The longest deadline of a unary call, at least `default_deadline`. A longer deadline is shortened to
    /// it.
    #[schemars(extend("x-minimum" = "10ms", "x-maximum" = "10m", "x-old-key" = "max_deadline_ms"))]
    pub max_deadline: TimeSpan,
    /// Most commands that wait in one shard. More are refused as overloaded, with a time to wait. When the
    /// queue is half full, reserves are refused. When it is three quarters full, everything except commits
    /// and releases is refused.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub queue_limit_commands: usize,
    /// Most connections of clients at a time. Other nodes may have as many, and so may operators. Further
    /// connections are closed. Default: what the limit of file descriptors leaves after the node's own files.
    /// Three quarters of it are for clients, an eighth for nodes and an eighth for operators, at most 16384
    /// each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000), example = 16_384)]
    pub connections: Option<usize>,
    /// The memory that the requests and unread answers of all callers may take. One caller may take at most
    /// half of it, and one connection at most a quarter. A request beyond that is refused as overloaded, with
    /// a time to wait.
    #[schemars(extend(
        "x-minimum" = MIN_CALLER_BUDGET,
        "x-maximum" = "64GiB",
        "x-old-key" = "caller_bytes"
    ))]
    pub caller_budget: ByteSize,
    /// The size of what all callers together may send per second in messages of more than 64 KiB. One caller
    /// may send at most half of it. Bytes that arrive faster are read later. A message that would wait for
    /// more than 2 seconds is refused as overloaded.
    #[schemars(extend(
        "x-minimum" = "1MiB",
        "x-maximum" = "64GiB",
        "x-old-key" = "large_message_bytes_per_second"
    ))]
    pub large_messages_per_second: ByteSize,
    /// The time that a caller's message may take from its first byte to its last. If a call has only one
    /// message, the time begins with the call.
    #[schemars(extend("x-minimum" = "100ms", "x-maximum" = "10m", "x-old-key" = "receive_ms"))]
    pub receive: TimeSpan,
    /// The time that a connection may stay open without a first call. Then it is closed.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h", "x-old-key" = "first_call_ms"))]
    pub first_call: TimeSpan,
    /// The time for which a caller may read nothing of what it asked for. Then a stream of changes, of a
    /// listing or of a batch is ended. A connection is closed if all of its answers wait.
    #[schemars(extend("x-minimum" = "1s", "x-maximum" = "1h", "x-old-key" = "unread_ms"))]
    pub unread: TimeSpan,
    /// Most calls and batch items that one principal may send to this node per second. The same number may
    /// arrive at once. Further ones are refused as overloaded, with a time to wait. 0 means no limit. Without
    /// TLS, all callers are one principal.
    #[schemars(range(min = 0, max = 100_000_000))]
    pub principal_requests_per_second: u32,
    /// Most calls under way on one connection. Further calls wait.
    #[schemars(range(min = 1, max = 65_536))]
    pub connection_calls: usize,
    /// Most items under way on one batch stream. At that number, the stream is read no further until some of
    /// them are done.
    #[schemars(range(min = 1_024, max = 65_536))]
    pub batch_items_in_flight: usize,
    /// Most batch streams served at a time. One caller may have at most half of them.
    #[schemars(range(min = 1, max = 65_536))]
    pub batch_streams: usize,
    /// Most change streams, listings and as-of reads served at a time. One caller may have at most half of
    /// them.
    #[schemars(range(min = 1, max = 65_536))]
    pub change_streams: usize,
    /// The time that a stopping node waits for calls under way.
    #[schemars(extend("x-minimum" = "0ms", "x-maximum" = "10m", "x-old-key" = "drain_ms"))]
    pub drain: TimeSpan,
}

impl Default for LimitsSection {
    fn default() -> Self {
        Self {
            default_deadline: TimeSpan::from_secs(5),
            max_deadline: TimeSpan::from_secs(60),
            queue_limit_commands: 65_536,
            connections: None,
            caller_budget: ByteSize::mib(256),
            large_messages_per_second: ByteSize::mib(32),
            receive: TimeSpan::from_secs(20),
            first_call: TimeSpan::from_secs(60),
            unread: TimeSpan::from_secs(30),
            principal_requests_per_second: 0,
            connection_calls: 1_024,
            batch_items_in_flight: 8_192,
            batch_streams: 1_024,
            change_streams: 64,
            drain: TimeSpan::from_secs(10),
        }
    }
}

/// The log lines that the node writes to standard error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogSection {
    /// The format of a line: `json` (one object per line) or `pretty` (for people).
    pub format: LogFormat,
    /// The lowest level that is written: `error`, `warn`, `info`, `debug`, `trace`, or a list of
    /// `target=level` separated by commas. By default openraft has a level of its own, because it warns about
    /// every heartbeat to a node that is down.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// Text in colours, for people.
    Pretty,
}
