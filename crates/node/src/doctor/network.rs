//! The examination of ports, peers and clocks.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use holdfast_api::v1;
use holdfast_api::v1::cluster_client::ClusterClient;
use holdfast_guard::dial::Dialer;
use holdfast_guard::tls::Tls;
use tokio::net::TcpStream;
use tonic::transport::Endpoint;

use super::{Area, Finding};
use crate::NodeConfig;
use crate::clock::wall_clock_ms;
use crate::config::PeerSection;

/// Longest time to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Clock difference in milliseconds that is worth a look; from [`SKEW_PROBLEM_MS`] on it is a problem. Log
/// time follows the majority's clocks, so a second wrong clock of three would move it.
const SKEW_WARNING_MS: u64 = 250;
const SKEW_PROBLEM_MS: u64 = 2_000;

/// The answers of a node about itself.
struct Seen {
    node_id: u64,
    cluster_id: Vec<u8>,
    /// Milliseconds by which its clock is ahead of ours (negative: behind), less what the round trip can
    /// explain.
    skew_ms: i64,
    /// The halted replicas: the shard, and the reason.
    halted: Vec<(u32, v1::Halt)>,
}

pub(super) async fn examine(config: &NodeConfig, tls: Option<&Arc<Tls>>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let own_id = config.node.node_id;
    let own = ask(&Dialer::new(tls.cloned(), own_id), &config.listen.client).await;
    let runs = matches!(&own, Ok(seen) if seen.node_id == own_id);
    if let Ok(seen) = &own {
        findings.extend(
            seen.halted
                .iter()
                .map(|(shard, halt)| halted(own_id, *shard, halt)),
        );
    }
    for (key, address) in [
        ("listen.client", &config.listen.client),
        ("listen.peer", &config.listen.peer),
        ("listen.http", &config.listen.http),
        ("listen.admin", &config.listen.admin),
    ] {
        findings.push(port(key, address, runs));
    }
    let others = config
        .cluster_nodes()
        .into_iter()
        .filter(|node| node.node_id != own_id);
    let examined = others.map(|node| async move {
        let dialer = Dialer::new(tls.cloned(), node.node_id);
        peer(config, &node, &dialer).await
    });
    let mut ahead_ms = Vec::new();
    for (found, ahead) in join_all(examined).await {
        findings.extend(found);
        ahead_ms.extend(ahead);
    }
    findings.extend(clocks(&ahead_ms));
    findings
}

fn port(key: &str, address: &str, runs: bool) -> Finding {
    match std::net::TcpListener::bind(address) {
        Ok(_) => Finding::good(Area::Ports, format!("{key} {address} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse && runs => Finding::good(
            Area::Ports,
            format!("{key} {address} is in use while this node runs"),
        ),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Finding::problem(
            Area::Ports,
            format!("{key} {address} is in use, and this node does not answer"),
            "stop the other process, or choose another port",
        ),
        Err(error) => Finding::problem(
            Area::Ports,
            format!("{key} {address} cannot be listened on: {error}"),
            "use an address of this machine, and a port above 1023 or a privilege for it",
        ),
    }
}

/// Examines a peer. Returns the findings, and how many milliseconds its clock is ahead.
async fn peer(
    config: &NodeConfig,
    node: &PeerSection,
    dialer: &Dialer,
) -> (Vec<Finding>, Option<(u64, i64)>) {
    let id = node.node_id;
    let mut findings = Vec::new();
    match tokio::time::timeout(PATIENCE, TcpStream::connect(&node.peer_address)).await {
        Ok(Ok(_)) => findings.push(Finding::good(
            Area::Peers,
            format!("node {id} can be reached at {} for peers", node.peer_address),
        )),
        Ok(Err(error)) => findings.push(unreachable(node, &node.peer_address, &error.to_string())),
        Err(_) => findings.push(unreachable(node, &node.peer_address, "no answer in time")),
    }
    let seen = match ask(dialer, &node.client_address).await {
        Ok(seen) => seen,
        Err(why) => {
            findings.push(unreachable(node, &node.client_address, &why));
            return (findings, None);
        }
    };
    let cluster_id = config.node.cluster_id.unwrap_or_default();
    if seen.node_id != id {
        findings.push(Finding::problem(
            Area::Peers,
            format!(
                "at {} is node {}, not node {id}",
                node.client_address, seen.node_id
            ),
            "correct the addresses in peers",
        ));
    } else if seen.cluster_id != cluster_id.as_bytes() {
        findings.push(Finding::problem(
            Area::Peers,
            format!("node {id} belongs to another cluster than {cluster_id}"),
            "correct node.cluster_id or the addresses in peers",
        ));
    } else {
        findings.push(Finding::good(
            Area::Peers,
            format!("node {id} can be reached at {} for clients", node.client_address),
        ));
    }
    findings.extend(seen.halted.iter().map(|(shard, halt)| halted(id, *shard, halt)));
    (findings, Some((id, seen.skew_ms)))
}

/// Returns the finding for a replica whose ledger stands still.
pub(super) fn halted(node_id: u64, shard: u32, halt: &v1::Halt) -> Finding {
    let named: Vec<String> = halt
        .named
        .iter()
        .map(|command| {
            let id = uuid::Uuid::from_slice(&command.operation_id).unwrap_or_default();
            format!("{} {id}", command.kind)
        })
        .collect();
    let commands = match halt.commands {
        0 => String::new(),
        count => format!("; {count} commands: {}", named.join(", ")),
    };
    Finding::problem(
        Area::Ledger,
        format!(
            "the replica of shard {shard} on node {node_id} is halted at entry {} ({}): {}{commands}",
            halt.log_index, halt.cause, halt.what
        ),
        "follow cluster/runbooks/replica-halted.md: restart it if it alone is halted, upgrade, or have the entry decided by `holdfast cluster decide-entry`",
    )
}

fn unreachable(node: &PeerSection, address: &str, why: &str) -> Finding {
    Finding::warning(
        Area::Peers,
        format!("node {} cannot be reached at {address}: {why}", node.node_id),
        "start it, or check its address and what filters the network between",
    )
}

/// Judges the clocks of the peers by how far each is ahead of this machine's. When most of them agree against
/// this machine, its own clock is the wrong one.
pub(super) fn clocks(ahead_ms: &[(u64, i64)]) -> Vec<Finding> {
    let mut sorted: Vec<i64> = ahead_ms.iter().map(|(_, skew_ms)| *skew_ms).chain([0]).collect();
    sorted.sort_unstable();
    let median_ms = sorted[sorted.len() / 2];
    // With two clocks nobody can say which one is wrong.
    if sorted.len() < 3 || median_ms.unsigned_abs() < SKEW_WARNING_MS {
        return ahead_ms
            .iter()
            .map(|(id, skew_ms)| clock(*id, *skew_ms))
            .collect();
    }
    let direction = if median_ms < 0 { "ahead of" } else { "behind" };
    let message = format!(
        "this machine's clock is {} ms {direction} those of most nodes",
        median_ms.unsigned_abs()
    );
    let others = ahead_ms.iter().filter_map(|(id, skew_ms)| {
        let from_most = skew_ms.saturating_sub(median_ms);
        (from_most.unsigned_abs() >= SKEW_WARNING_MS).then(|| clock(*id, *skew_ms))
    });
    let own = match median_ms.unsigned_abs() {
        ..SKEW_PROBLEM_MS => Finding::warning(Area::Clock, message, CLOCK_ADVICE),
        _ => Finding::problem(Area::Clock, message, CLOCK_ADVICE),
    };
    std::iter::once(own).chain(others).collect()
}

const CLOCK_ADVICE: &str = "synchronize the clocks of all nodes with NTP or PTP";

/// Judges the difference of one peer's clock.
pub(super) fn clock(node_id: u64, skew_ms: i64) -> Finding {
    let direction = if skew_ms < 0 { "behind" } else { "ahead of" };
    let message = format!(
        "the clock of node {node_id} is {} ms {direction} this machine's",
        skew_ms.unsigned_abs()
    );
    let advice = CLOCK_ADVICE;
    match skew_ms.unsigned_abs() {
        0..SKEW_WARNING_MS => Finding::good(Area::Clock, message),
        SKEW_WARNING_MS..SKEW_PROBLEM_MS => Finding::warning(Area::Clock, message, advice),
        _ => Finding::problem(Area::Clock, message, advice),
    }
}

/// Returns the peer's clock skew in milliseconds. The peer's clock read `shown` between our `before` and
/// `after`.
pub(super) fn skew(before: u64, shown: u64, after: u64) -> i64 {
    let difference = |a: u64, b: u64| i64::try_from(a.abs_diff(b)).unwrap_or(i64::MAX);
    if shown < before {
        -difference(before, shown)
    } else if shown > after {
        difference(shown, after)
    } else {
        0
    }
}

/// Asks the node at a client address who it is.
async fn ask(dialer: &Dialer, address: &str) -> Result<Seen, String> {
    let asked = async {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|e| e.to_string())?;
        let channel = dialer.connect(&endpoint).await.map_err(|e| chain(&e))?;
        let mut client = ClusterClient::new(channel);
        let topology = client
            .get_topology(v1::GetTopologyRequest {})
            .await
            .map_err(|e| e.message().to_owned())?;
        let before = wall_clock_ms();
        let status = client
            .get_node_status(v1::GetNodeStatusRequest {})
            .await
            .map_err(|e| e.message().to_owned())?;
        let after = wall_clock_ms();
        let status = status.into_inner();
        Ok(Seen {
            node_id: status.node_id,
            cluster_id: topology.into_inner().cluster_id.to_vec(),
            skew_ms: skew(before, status.wall_clock_ms, after),
            halted: status
                .replicas
                .into_iter()
                .filter_map(|replica| Some((replica.shard, replica.halt?)))
                .collect(),
        })
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(result) => result,
        Err(_) => Err("no answer in time".to_owned()),
    }
}

/// Returns the error with its causes, because the transport's own text is only "transport error".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
