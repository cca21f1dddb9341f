//! The checks that types cannot express. Every message says what to do. All problems are reported at once.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use holdfast_api::limits::{MAX_MESSAGE_BYTES, MAX_MESSAGE_FIELDS};
use holdfast_shard::limits::{MAX_ENTRY_BYTES, MIN_LOG_SEGMENT_BYTES};

use super::{ConfigError, NodeConfig};
use crate::intake;

/// Most nodes of one cluster.
const MAX_NODES: usize = 64;
/// The highest id of a node.
const MAX_NODE_ID: u64 = u32::MAX as u64;
/// The least value of `limits.caller_bytes`: one connection's part of it has room for the largest message.
const MIN_CALLER_BYTES: usize = 128 << 20;
const _: () = assert!(
    MIN_CALLER_BYTES / intake::CONNECTION_PART
        >= intake::CALL_BYTES
            + intake::HELD_FACTOR * MAX_MESSAGE_BYTES
            + intake::FIELD_BYTES * MAX_MESSAGE_FIELDS
);
/// The longest name of a zone, in bytes. It is the longest value of a label in Kubernetes.
const MAX_ZONE_BYTES: usize = 63;

/// Checks that an address is a host and a port from 1 to 65535, or port 0 where that is allowed.
fn check_address(problems: &mut Vec<String>, key: &str, address: &str, port_zero_allowed: bool) {
    let port = address
        .rsplit_once(':')
        .filter(|(host, _)| !host.is_empty())
        .map(|(_, port)| port.parse::<u16>());
    match port {
        Some(Ok(0)) if !port_zero_allowed => {
            problems.push(format!(
                "{key} is `{address}`: others cannot reach port 0, write the real port"
            ));
        }
        Some(Ok(_)) => {}
        _ => problems.push(format!(
            "{key} is `{address}`: write host:port, for example 10.0.0.1:7301"
        )),
    }
}

pub(super) fn check_range(problems: &mut Vec<String>, key: &str, value: u64, range: RangeInclusive<u64>) {
    if !range.contains(&value) {
        problems.push(format!(
            "{key} is {value}: choose a value from {} to {}",
            range.start(),
            range.end()
        ));
    }
}

impl NodeConfig {
    /// Checks that the values can work together.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] lists every problem and what to do about it.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        self.check_identity(&mut problems);
        self.check_timing(&mut problems);
        self.check_limits(&mut problems);
        self.check_security(&mut problems);
        self.check_telemetry(&mut problems);
        self.check_ports(&mut problems);
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::Invalid(problems))
        }
    }

    fn check_identity(&self, problems: &mut Vec<String>) {
        let node_id = self.node.node_id;
        if node_id == 0 {
            problems.push("node.node_id is 0: node ids begin at 1".to_owned());
        }
        if node_id > MAX_NODE_ID {
            problems.push(format!("node.node_id is {node_id}: at most {MAX_NODE_ID}"));
        }
        if let Some(threads) = self.node.threads {
            check_range(problems, "node.threads", u64::from(threads), 1..=1024);
        }
        if self.node.data_dir.as_os_str().is_empty() {
            problems
                .push("node.data_dir is empty: name the folder that shall hold this node's data".to_owned());
        }
        check_address(problems, "listen.client", &self.listen.client, true);
        check_address(problems, "listen.peer", &self.listen.peer, true);
        check_address(problems, "listen.http", &self.listen.http, true);
        check_address(problems, "listen.admin", &self.listen.admin, true);
        check_range(problems, "shards.count", u64::from(self.shards.count), 1..=64);

        let mut ids = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        for (index, peer) in self.peers.iter().enumerate() {
            let key = format!("peers[{index}]");
            if peer.node_id == 0 {
                problems.push(format!("{key}.node_id is 0: node ids begin at 1"));
            }
            if !ids.insert(peer.node_id) {
                problems.push(format!(
                    "{key}.node_id {} is listed twice: list each node once",
                    peer.node_id
                ));
            }
            // This node's own entry may have port 0, as `listen` may. The real port replaces it once known.
            let own = peer.node_id == node_id;
            check_address(
                problems,
                &format!("{key}.client_address"),
                &peer.client_address,
                own,
            );
            check_address(problems, &format!("{key}.peer_address"), &peer.peer_address, own);
            if let Some(address) = &peer.admin_address {
                check_address(problems, &format!("{key}.admin_address"), address, own);
            }
            let addresses_of = [&peer.client_address, &peer.peer_address];
            for address in addresses_of.into_iter().chain(&peer.admin_address) {
                if !address.ends_with(":0") && !addresses.insert(address.clone()) {
                    problems.push(format!(
                        "{key} has the address `{address}` that is listed before: use another"
                    ));
                }
            }
        }
        if !self.peers.is_empty() && !ids.contains(&node_id) {
            problems.push(format!(
                "peers does not list this node: add an entry with node_id = {node_id}"
            ));
        }
        if self.peers.len() > MAX_NODES {
            problems.push(format!(
                "peers lists {} nodes: at most {MAX_NODES} can be one cluster",
                self.peers.len()
            ));
        }
        if !matches!(self.cluster.replication_factor, 1 | 3 | 5) {
            problems.push(format!(
                "cluster.replication_factor is {}: choose 1, 3 or 5",
                self.cluster.replication_factor
            ));
        }
        if self.node.zone.len() > MAX_ZONE_BYTES || self.node.zone.chars().any(char::is_control) {
            problems.push(format!(
                "node.zone is `{}`: at most {MAX_ZONE_BYTES} printable bytes",
                self.node.zone.escape_default()
            ));
        }
    }

    /// Checks that no two servers listen on the same address. An address of all interfaces takes its port on
    /// each of them.
    fn check_ports(&self, problems: &mut Vec<String>) {
        let listen = &self.listen;
        let addresses = [
            ("listen.client", &listen.client),
            ("listen.peer", &listen.peer),
            ("listen.http", &listen.http),
            ("listen.admin", &listen.admin),
        ];
        let is_everywhere = |host: &str| matches!(host, "0.0.0.0" | "[::]" | "::");
        for (index, (key, address)) in addresses.iter().enumerate() {
            for (other_key, other) in &addresses[..index] {
                let (Some((host, port)), Some((other_host, other_port))) =
                    (address.rsplit_once(':'), other.rsplit_once(':'))
                else {
                    continue;
                };
                let same_host = host == other_host || is_everywhere(host) || is_everywhere(other_host);
                if port == other_port && port != "0" && same_host {
                    problems.push(format!(
                        "{key} is `{address}`, which {other_key} takes with `{other}`: use another port"
                    ));
                }
            }
        }
    }

    fn check_timing(&self, problems: &mut Vec<String>) {
        let raft = &self.raft;
        check_range(problems, "raft.heartbeat_ms", raft.heartbeat_ms, 5..=10_000);
        if raft.election_timeout_min_ms < raft.heartbeat_ms.saturating_mul(3) {
            problems.push(format!(
                "raft.election_timeout_min_ms is {}: choose at least {}, three times raft.heartbeat_ms",
                raft.election_timeout_min_ms,
                raft.heartbeat_ms.saturating_mul(3)
            ));
        }
        if raft.election_timeout_max_ms <= raft.election_timeout_min_ms
            || raft.election_timeout_max_ms > 60_000
        {
            problems.push(format!(
                "raft.election_timeout_max_ms is {}: choose more than raft.election_timeout_min_ms ({}) and at most 60000",
                raft.election_timeout_max_ms, raft.election_timeout_min_ms
            ));
        }
        check_range(
            problems,
            "raft.max_entry_commands",
            raft.max_entry_commands as u64,
            1..=65_536,
        );
        check_range(
            problems,
            "raft.max_entry_bytes",
            raft.max_entry_bytes as u64,
            65_536..=MAX_ENTRY_BYTES as u64,
        );
        check_range(
            problems,
            "raft.max_entries_in_flight",
            raft.max_entries_in_flight as u64,
            1..=64,
        );
        check_range(
            problems,
            "raft.snapshot_every_entries",
            raft.snapshot_every_entries,
            100..=100_000_000,
        );

        let ledger = &self.ledger;
        check_range(
            problems,
            "ledger.operation_window_ms",
            ledger.operation_window_ms,
            60_000..=2_592_000_000,
        );
        check_range(
            problems,
            "ledger.operation_lead_ms",
            ledger.operation_lead_ms,
            1_000..=86_400_000,
        );
        check_range(
            problems,
            "ledger.order_decision_ms",
            ledger.order_decision_ms,
            1_000..=600_000,
        );
        for (key, value) in [
            ("ledger.closed_retention_ms", ledger.closed_retention_ms),
            ("ledger.shipped_retention_ms", ledger.shipped_retention_ms),
        ] {
            if value < ledger.operation_window_ms {
                problems.push(format!(
                    "{key} is {value}: choose at least ledger.operation_window_ms ({})",
                    ledger.operation_window_ms
                ));
            }
        }
    }

    fn check_limits(&self, problems: &mut Vec<String>) {
        let storage = &self.storage;
        check_range(
            problems,
            "storage.log_segment_bytes",
            storage.log_segment_bytes,
            MIN_LOG_SEGMENT_BYTES as u64..=1 << 30,
        );
        check_range(
            problems,
            "storage.change_segment_bytes",
            storage.change_segment_bytes,
            1 << 20..=1 << 30,
        );
        if let Some(bytes) = storage.low_space_bytes {
            check_range(problems, "storage.low_space_bytes", bytes, 16 << 20..=1 << 50);
        }
        if let Some(bytes) = storage.ballast_bytes {
            check_range(problems, "storage.ballast_bytes", bytes, 0..=1 << 40);
        }
        let limits = &self.limits;
        check_range(
            problems,
            "limits.default_deadline_ms",
            limits.default_deadline_ms,
            10..=600_000,
        );
        check_range(
            problems,
            "limits.max_deadline_ms",
            limits.max_deadline_ms,
            10..=600_000,
        );
        if limits.max_deadline_ms < limits.default_deadline_ms {
            problems.push(format!(
                "limits.max_deadline_ms is {}: choose at least limits.default_deadline_ms ({})",
                limits.max_deadline_ms, limits.default_deadline_ms
            ));
        }
        check_range(
            problems,
            "limits.queue_limit_commands",
            limits.queue_limit_commands as u64,
            1..=1_000_000,
        );
        check_range(
            problems,
            "limits.connection_calls",
            limits.connection_calls as u64,
            1..=65_536,
        );
        check_range(
            problems,
            "limits.batch_items_in_flight",
            limits.batch_items_in_flight as u64,
            1_024..=65_536,
        );
        check_range(
            problems,
            "limits.change_streams",
            limits.change_streams as u64,
            1..=65_536,
        );
        if let Some(connections) = limits.connections {
            check_range(problems, "limits.connections", connections as u64, 1..=1_000_000);
        }
        for (key, value, range) in [
            (
                "limits.caller_bytes",
                limits.caller_bytes as u64,
                MIN_CALLER_BYTES as u64..=64 << 30,
            ),
            (
                "limits.large_message_bytes_per_second",
                limits.large_message_bytes_per_second,
                1 << 20..=64 << 30,
            ),
            ("limits.receive_ms", limits.receive_ms, 100..=600_000),
            ("limits.first_call_ms", limits.first_call_ms, 1_000..=3_600_000),
            ("limits.unread_ms", limits.unread_ms, 1_000..=3_600_000),
            ("limits.batch_streams", limits.batch_streams as u64, 1..=65_536),
        ] {
            check_range(problems, key, value, range);
        }
        check_range(
            problems,
            "limits.principal_requests_per_second",
            u64::from(limits.principal_requests_per_second),
            0..=100_000_000,
        );
        check_range(problems, "limits.drain_ms", limits.drain_ms, 0..=600_000);
        if let Err(problem) = check_log_level(&self.log.level) {
            problems.push(format!("log.level is `{}`: {problem}", self.log.level));
        }
    }
}

/// Checks a value of `log.level`.
///
/// # Errors
/// The text is not a level or a list of them. The message says what is wrong, and what to write.
pub fn check_log_level(text: &str) -> Result<(), String> {
    const HOW: &str =
        "write error, warn, info, debug or trace, or a list of target=level separated by commas";
    tracing_subscriber::EnvFilter::try_new(text).map_err(|error| format!("{error}; {HOW}"))?;
    // The filter takes a word that is no level for a target, and then writes no lines of other targets.
    let is_level = |word: &str| word.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    let unknown = text
        .split(',')
        .map(str::trim)
        .find(|directive| !directive.contains('=') && !is_level(directive));
    match unknown {
        Some(word) => Err(format!("{word:?} is no level; {HOW}")),
        None => Ok(()),
    }
}
