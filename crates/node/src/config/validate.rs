//! The checks that types cannot express. Every message says what to do. All problems are reported at once.

use std::collections::BTreeSet;

use holdfast_api::limits::{MAX_MESSAGE_BYTES, MAX_MESSAGE_FIELDS};

use super::sections::MIN_CALLER_BUDGET;
use super::units::TimeSpan;
use super::{ConfigError, NodeConfig, schema};
use crate::intake;

/// Most nodes of one cluster.
const MAX_NODES: usize = 64;
const _: () = assert!(
    MIN_CALLER_BUDGET.bytes() as usize / intake::CONNECTION_PART
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

impl NodeConfig {
    /// Checks that the values can work together.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] lists every problem and what to do about it.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        self.check_ranges(&mut problems);
        self.check_identity(&mut problems);
        self.check_timing(&mut problems);
        if let Err(problem) = check_log_level(&self.log.level) {
            problems.push(format!("log.level is `{}`: {problem}", self.log.level));
        }
        self.check_security(&mut problems);
        self.check_telemetry(&mut problems);
        self.check_ports(&mut problems);
        if problems.is_empty() {
            Ok(())
        } else {
            Err(ConfigError::Invalid(problems))
        }
    }

    /// Checks that each value is one of those that its key's schema allows.
    fn check_ranges(&self, problems: &mut Vec<String>) {
        let written = match serde_json::to_value(self) {
            Ok(written) => written,
            Err(error) => {
                problems.push(format!("it has a value that cannot be written: {error}"));
                return;
            }
        };
        for section in schema::sections() {
            for (name, key) in schema::keys_of(section) {
                let value = &written[section][name];
                problems.extend(key.problem(&format!("{section}.{name}"), value));
            }
        }
    }

    fn check_identity(&self, problems: &mut Vec<String>) {
        let node_id = self.node.node_id;
        if self.node.data_dir.as_os_str().is_empty() {
            problems
                .push("node.data_dir is empty: name the folder that shall hold this node's data".to_owned());
        }
        check_address(problems, "listen.client", &self.listen.client, true);
        check_address(problems, "listen.peer", &self.listen.peer, true);
        check_address(problems, "listen.http", &self.listen.http, true);
        check_address(problems, "listen.admin", &self.listen.admin, true);

        let mut ids = BTreeSet::new();
        let mut addresses = BTreeSet::new();
        for (index, peer) in self.peers.iter().enumerate() {
            let key = format!("peers[{index}]");
            if peer.node_id == 0 {
                problems.push(format!("{key}.node_id is 0: node ids begin at 1"));
            }
            if peer.node_id > 0
                && let Some(range) = schema::key("node", "node_id")
            {
                problems.extend(range.problem(&format!("{key}.node_id"), &peer.node_id.into()));
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

    /// Checks the times that depend on each other.
    fn check_timing(&self, problems: &mut Vec<String>) {
        let raft = &self.raft;
        let least = TimeSpan::from_millis(raft.heartbeat.as_millis().saturating_mul(3));
        if raft.election_timeout_min < least {
            problems.push(format!(
                "raft.election_timeout_min is {}: choose at least {least}, three times raft.heartbeat",
                raft.election_timeout_min
            ));
        }
        if raft.election_timeout_max <= raft.election_timeout_min {
            problems.push(format!(
                "raft.election_timeout_max is {}: choose more than raft.election_timeout_min ({})",
                raft.election_timeout_max, raft.election_timeout_min
            ));
        }
        let ledger = &self.ledger;
        for (key, value) in [
            ("ledger.closed_retention", ledger.closed_retention),
            ("ledger.shipped_retention", ledger.shipped_retention),
        ] {
            if value < ledger.operation_window {
                problems.push(format!(
                    "{key} is {value}: choose at least ledger.operation_window ({})",
                    ledger.operation_window
                ));
            }
        }
        let limits = &self.limits;
        if limits.max_deadline < limits.default_deadline {
            problems.push(format!(
                "limits.max_deadline is {}: choose at least limits.default_deadline ({})",
                limits.max_deadline, limits.default_deadline
            ));
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
    // The filter takes a word that is no level for a target, and a space for a part of one. Then it writes no
    // lines of other targets. An empty text writes none at all.
    let is_level =
        |word: &str| !word.is_empty() && word.parse::<tracing_subscriber::filter::LevelFilter>().is_ok();
    let is_right = |directive: &str| match directive.rsplit_once('=') {
        Some((target, level)) => {
            !target.is_empty() && !target.contains(char::is_whitespace) && is_level(level)
        }
        None => is_level(directive),
    };
    match text
        .split(',')
        .map(str::trim)
        .find(|directive| !is_right(directive))
    {
        Some(directive) => Err(format!(
            "{directive:?} is no level and no target with a level; {HOW}"
        )),
        None => Ok(()),
    }
}
