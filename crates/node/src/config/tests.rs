use super::*;

const MINIMAL: &str = "[node]\nnode_id = 1\ndata_dir = \"/tmp/x\"\n";

fn parse(text: &str, environment: &[(&str, &str)]) -> Result<NodeConfig, ConfigError> {
    let environment = environment
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    NodeConfig::parse(text, "test", environment)
}

fn message(result: Result<NodeConfig, ConfigError>) -> String {
    result.expect_err("must be refused").to_string()
}

#[test]
fn the_reference_parses_to_the_defaults_and_names_every_key() {
    assert_eq!(parse(reference(), &[]).unwrap(), NodeConfig::default());
    let mut written: toml::Table = toml::from_str(reference()).unwrap();
    let mut defaults = toml::Table::try_from(NodeConfig::default()).unwrap();
    // The reference shows these in comments only, because they have no default value.
    assert!(reference().contains("# [[peers]]") && reference().contains("# cluster_id ="));
    written.remove("peers");
    defaults.remove("peers");
    assert_eq!(
        written, defaults,
        "a key is missing from the reference or has another value"
    );
}

#[test]
fn the_commented_peers_and_cluster_id_of_the_reference_are_valid_too() {
    let uncommented: String = reference()
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest)
                if rest.starts_with("[[peers]]") || rest.contains(" = \"") || rest == "node_id = 1" =>
            {
                rest
            }
            _ => line,
        })
        .map(|line| format!("{line}\n"))
        .collect();
    let config = parse(&uncommented, &[]).unwrap();
    assert_eq!(config.peers.len(), 1);
    assert!(config.node.cluster_id.is_some());
}

#[test]
fn unknown_keys_and_sections_are_errors_that_name_them() {
    assert!(message(parse("[node]\nnode_id = 1\ndata_dir = \"x\"\ncolour = 3\n", &[])).contains("colour"));
    assert!(message(parse(&format!("{MINIMAL}[raft]\nheartbeat = 3\n"), &[])).contains("heartbeat"));
    assert!(message(parse(&format!("{MINIMAL}[rafts]\n"), &[])).contains("rafts"));
}

#[test]
fn what_is_required_is_required() {
    assert!(message(parse("", &[])).contains("node"));
    assert!(message(parse("[node]\nnode_id = 1\n", &[])).contains("data_dir"));
}

#[test]
fn the_environment_overrides_the_file_and_supplies_what_is_required() {
    let environment = [
        ("HOLDFAST__NODE__NODE_ID", "7"),
        ("HOLDFAST__NODE__DATA_DIR", "/data"),
        ("HOLDFAST__NODE__THREADS", "3"),
        (
            "HOLDFAST__NODE__CLUSTER_ID",
            "0197a3c0-7f1e-7c5a-9b1d-3f2c5a6b7c8d",
        ),
        // Some clouds number their zones. The value is text all the same.
        ("HOLDFAST__NODE__ZONE", "2"),
        ("HOLDFAST__CLUSTER__REPLICATION_FACTOR", "5"),
        ("HOLDFAST__RAFT__HEARTBEAT_MS", "20"),
        ("HOLDFAST__LOG__FORMAT", "pretty"),
        ("HOLDFAST__TELEMETRY__OTLP_ENDPOINT", "http://127.0.0.1:4317"),
        (
            "HOLDFAST__PEERS",
            "[{node_id = 7, client_address = \"a:1\", peer_address = \"a:2\"}]",
        ),
        ("HOME", "/root"),
    ];
    let config = parse("", &environment).unwrap();
    assert_eq!(config.node.node_id, 7);
    assert_eq!(config.node.data_dir, PathBuf::from("/data"));
    assert_eq!(config.node.threads, Some(3));
    assert!(config.node.cluster_id.is_some());
    assert_eq!(config.node.zone, "2");
    assert_eq!(config.cluster.replication_factor, 5);
    assert_eq!(
        config.telemetry.otlp_endpoint.as_deref(),
        Some("http://127.0.0.1:4317")
    );
    assert_eq!(config.raft.heartbeat_ms, 20);
    assert_eq!(config.log.format, LogFormat::Pretty);
    assert_eq!(config.peers.len(), 1);
}

#[test]
fn unknown_and_bad_overrides_are_errors_that_name_the_variable() {
    for (name, value, expected) in [
        ("HOLDFAST__RAFT__HEARTBEAT", "20", "heartbeat_ms"),
        ("HOLDFAST__COLOUR__RED", "20", "there is no section `colour`"),
        ("HOLDFAST__RAFT", "20", "SECTION__KEY"),
        ("HOLDFAST__RAFT__HEARTBEAT_MS__X", "20", "SECTION__KEY"),
        ("HOLDFAST__RAFT__HEARTBEAT_MS", "twenty", "not valid"),
        ("HOLDFAST__RAFT__HEARTBEAT_MS", "1\nx = 2", "only one value"),
        ("HOLDFAST__", "", "SECTION__KEY"),
    ] {
        let text = message(parse(MINIMAL, &[(name, value)]));
        assert!(
            text.contains(name) && text.contains(expected),
            "{name}={value}: {text}"
        );
    }
    assert!(message(parse(MINIMAL, &[("HOLDFAST__RAFT__HEARTBEAT_MS", "\"20\"")])).contains("heartbeat_ms"));
    assert!(message(parse(MINIMAL, &[("HOLDFAST__LOG__FORMAT", "xml")])).contains("xml"));
}

#[test]
fn a_log_level_that_is_none_is_refused_and_not_taken_for_a_target() {
    for level in [
        "info",
        "WARN",
        "info,openraft=error",
        "holdfast_node=debug, info",
        "off",
    ] {
        assert_eq!(check_log_level(level), Ok(()), "{level}");
    }
    for level in [
        "loud",
        "info,openraft",
        "inof,openraft=error",
        "a=b=c",
        "holdfast=loud",
    ] {
        let problem = check_log_level(level).unwrap_err();
        assert!(problem.contains("target=level"), "{level}: {problem}");
    }
}

#[test]
fn every_problem_is_told_at_once_with_what_to_do() {
    let text = message(parse(
        "[node]\nnode_id = 2\ndata_dir = \"\"\n[listen]\nclient = \"nowhere\"\n[shards]\ncount = 0\n\
         [cluster]\nreplication_factor = 4\n\
         [raft]\nheartbeat_ms = 100\nelection_timeout_min_ms = 200\nelection_timeout_max_ms = 200\n\
         [ledger]\nclosed_retention_ms = 1\n[limits]\nmax_deadline_ms = 20\n[log]\nlevel = \"a=b=c\"\n\
         [[peers]]\nnode_id = 1\nclient_address = \"a:0\"\npeer_address = \"a:2\"\n\
         [[peers]]\nnode_id = 1\nclient_address = \"a:2\"\npeer_address = \"a:99999\"\n",
        &[],
    ));
    for expected in [
        "node.data_dir is empty",
        "listen.client is `nowhere`: write host:port",
        "shards.count is 0: choose a value from 1 to 64",
        "cluster.replication_factor is 4: choose 1, 3 or 5",
        "choose at least 300, three times raft.heartbeat_ms",
        "raft.election_timeout_max_ms is 200",
        "ledger.closed_retention_ms is 1",
        "limits.max_deadline_ms is 20",
        "log.level is `a=b=c`",
        "peers[0].client_address is `a:0`: others cannot reach port 0",
        "peers[1].node_id 1 is listed twice",
        "peers[1] has the address `a:2` that is listed before",
        "peers[1].peer_address is `a:99999`",
        "add an entry with node_id = 2",
    ] {
        assert!(text.contains(expected), "`{expected}` is missing in:\n{text}");
    }
}

#[test]
fn a_zone_may_be_unknown_and_is_a_name_of_at_most_63_bytes() {
    let with_zone = |zone: &str| parse(MINIMAL, &[("HOLDFAST__NODE__ZONE", zone)]);
    assert_eq!(with_zone("").unwrap().node.zone, "");
    assert!(with_zone(&"z".repeat(63)).is_ok());
    for bad in ["z".repeat(64), "eu\twest".to_owned()] {
        assert!(message(with_zone(&bad)).contains("node.zone"), "{bad:?}");
    }
}

#[test]
fn a_node_without_peers_is_a_cluster_of_its_own() {
    let nodes = NodeConfig::default().cluster_nodes();
    assert_eq!(nodes.len(), 1);
    assert_eq!(nodes[0].client_address, "127.0.0.1:7301");
}

#[test]
fn one_address_for_two_ports_is_refused() {
    let listen = |client: &str, admin: &str| {
        let text = format!(
            "{MINIMAL}[security]\nallow_plaintext = true\n[listen]\nclient = \"{client}\"\nadmin = \"{admin}\"\n"
        );
        parse(&text, &[]).map(|_| ())
    };
    for (client, admin) in [
        ("127.0.0.1:7500", "127.0.0.1:7500"),
        ("0.0.0.0:7500", "10.0.0.1:7500"),
        ("10.0.0.1:7500", "[::]:7500"),
    ] {
        let told = listen(client, admin)
            .expect_err("one address for two")
            .to_string();
        assert!(
            told.contains("listen.admin") && told.contains("listen.client"),
            "{told}"
        );
    }
    listen("127.0.0.1:7500", "127.0.0.1:7501").unwrap();
    listen("10.0.0.1:7500", "10.0.0.2:7500").unwrap();
    listen("127.0.0.1:0", "127.0.0.1:0").unwrap();
}
