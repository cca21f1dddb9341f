use super::*;
use crate::config::{NodeSection, PeerSection};

fn config(folder: &std::path::Path) -> NodeConfig {
    let mut config = NodeConfig {
        node: NodeSection {
            node_id: 1,
            cluster_id: None,
            data_dir: folder.join("data"),
            threads: None,
            zone: String::new(),
        },
        ..NodeConfig::default()
    };
    config.listen.client = "127.0.0.1:0".to_owned();
    config.listen.peer = "127.0.0.1:0".to_owned();
    config.listen.http = "127.0.0.1:0".to_owned();
    config.listen.admin = "127.0.0.1:0".to_owned();
    config
}

fn worst(findings: &[Finding], area: Area) -> Option<Severity> {
    findings
        .iter()
        .filter(|finding| finding.area == area)
        .map(|finding| finding.severity)
        .max()
}

#[tokio::test]
async fn a_port_in_use_by_a_stranger_and_a_peer_that_is_down_are_found_with_advice() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    let stranger = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    config.listen.http = stranger.local_addr().unwrap().to_string();
    let down = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().to_string()
    };
    config.peers = vec![
        PeerSection {
            node_id: 1,
            client_address: "h:1".into(),
            peer_address: "h:2".into(),
            admin_address: None,
        },
        PeerSection {
            node_id: 2,
            client_address: down.clone(),
            peer_address: down,
            admin_address: None,
        },
    ];
    let findings = examine(&config).await;
    assert_eq!(worst(&findings, Area::Ports), Some(Severity::Problem));
    assert_eq!(worst(&findings, Area::Peers), Some(Severity::Warning));
    assert_eq!(
        worst(&findings, Area::Disk),
        Some(Severity::Warning),
        "the folder does not exist"
    );
    assert!(
        findings
            .iter()
            .filter(|f| f.severity > Severity::Good)
            .all(|f| !f.advice.is_empty())
    );
}

#[tokio::test]
async fn a_folder_of_another_node_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    let node = crate::Node::start(config.clone()).await.unwrap();
    node.ready().await;
    let running = examine(&config).await;
    assert_eq!(worst(&running, Area::Disk), Some(Severity::Good), "{running:?}");
    node.stop().await.unwrap();
    let stopped = examine(&config).await;
    assert_eq!(worst(&stopped, Area::Disk), Some(Severity::Good), "{stopped:?}");
    config.node.node_id = 2;
    let other = examine(&config).await;
    assert_eq!(worst(&other, Area::Disk), Some(Severity::Problem), "{other:?}");
}

#[test]
fn only_what_the_round_trip_cannot_explain_is_skew() {
    assert_eq!(network::skew(100, 105, 110), 0);
    assert_eq!(network::skew(100, 90, 110), -10);
    assert_eq!(network::skew(100, 5_000, 110), 4_890);
    assert_eq!(network::skew(0, u64::MAX, 0), i64::MAX);
    assert_eq!(network::clock(2, -10).severity, Severity::Good);
    assert_eq!(network::clock(2, 300).severity, Severity::Warning);
    assert_eq!(network::clock(2, -i64::MAX).severity, Severity::Problem);
}

#[test]
fn a_wrong_clock_of_this_machine_is_not_told_as_that_of_the_others() {
    let wrong_here = network::clocks(&[(2, 5_000), (3, 5_010)]);
    assert_eq!(wrong_here.len(), 1, "{wrong_here:?}");
    assert_eq!(wrong_here[0].severity, Severity::Problem);
    assert!(
        wrong_here[0].message.starts_with("this machine's clock is 50"),
        "{wrong_here:?}"
    );
    let wrong_there = network::clocks(&[(2, 5_000), (3, 10)]);
    let problems: Vec<_> = wrong_there
        .iter()
        .filter(|f| f.severity == Severity::Problem)
        .collect();
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("node 2"), "{problems:?}");
    let of_two = network::clocks(&[(2, 5_000)]);
    assert_eq!(of_two[0].severity, Severity::Problem, "one of two is wrong");
}

#[test]
fn too_few_descriptors_for_the_connections_are_found_with_advice() {
    let mut config = NodeConfig::default();
    assert_eq!(descriptors::judge(&config, 1_024).severity, Severity::Good);
    config.limits.connections = Some(10_000);
    let found = descriptors::judge(&config, 1_024);
    assert_eq!(found.severity, Severity::Problem, "{found:?}");
    assert!(found.advice.contains("limits.connections"), "{found:?}");
}
