use super::*;

const MINIMAL: &str = "[node]\nnode_id = 1\ndata_dir = \"/tmp/x\"\n";

fn load(text: &str, environment: &[(&str, &str)]) -> Result<LoadedConfig, ConfigError> {
    let environment = environment
        .iter()
        .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    LoadedConfig::parse(text, "test", environment)
}

fn parse(text: &str, environment: &[(&str, &str)]) -> Result<NodeConfig, ConfigError> {
    Ok(load(text, environment)?.config)
}

/// Reads a configuration, and returns it with its hints.
fn hints(text: &str, environment: &[(&str, &str)]) -> (NodeConfig, Vec<String>) {
    let loaded = load(text, environment).unwrap();
    let hints = loaded.old_spellings.iter().map(ToString::to_string).collect();
    (loaded.config, hints)
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
    assert!(message(parse(&format!("{MINIMAL}[raft]\nheartbeats = 3\n"), &[])).contains("heartbeats"));
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
        ("HOLDFAST__RAFT__HEARTBEAT", "20ms"),
        ("HOLDFAST__STORAGE__LOW_SPACE", "1GiB"),
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
    assert_eq!(config.raft.heartbeat, TimeSpan::from_millis(20));
    assert_eq!(config.storage.low_space, Some(ByteSize::mib(1_024)));
    assert_eq!(config.log.format, LogFormat::Pretty);
    assert_eq!(config.peers.len(), 1);
}

#[test]
fn unknown_and_bad_overrides_are_errors_that_name_the_variable() {
    for (name, value, expected) in [
        ("HOLDFAST__RAFT__HEARTBEATS", "20", "heartbeat,"),
        ("HOLDFAST__RAFT__HEARTBEAT", "20", "write \"20ms\""),
        ("HOLDFAST__STORAGE__BALLAST", "64", "write \"64B\""),
        ("HOLDFAST__STORAGE__BALLAST", "some", "64MiB"),
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
    let text = message(parse(MINIMAL, &[("HOLDFAST__RAFT__HEARTBEAT_MS", "\"20\"")]));
    assert!(
        text.contains("HEARTBEAT_MS") && text.contains("write HOLDFAST__RAFT__HEARTBEAT=50ms"),
        "{text}"
    );
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
        "",
        "info openraft=error",
        "info,,warn",
        "x=",
        "=info",
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
         [raft]\nheartbeat = \"100ms\"\nelection_timeout_min = \"200ms\"\nelection_timeout_max = \"200ms\"\n\
         [ledger]\nclosed_retention = \"1ms\"\n[limits]\nmax_deadline = \"20ms\"\n[log]\nlevel = \"a=b=c\"\n\
         [[peers]]\nnode_id = 1\nclient_address = \"a:0\"\npeer_address = \"a:2\"\n\
         [[peers]]\nnode_id = 1\nclient_address = \"a:2\"\npeer_address = \"a:99999\"\n",
        &[],
    ));
    for expected in [
        "node.data_dir is empty",
        "listen.client is `nowhere`: write host:port",
        "shards.count is 0: choose a value from 1 to 64",
        "cluster.replication_factor is 4: choose 1, 3 or 5",
        "choose at least 300ms, three times raft.heartbeat",
        "raft.election_timeout_max is 200ms",
        "ledger.closed_retention is 1ms: choose at least ledger.operation_window (24h)",
        "limits.max_deadline is 20ms: choose at least limits.default_deadline (5s)",
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

/// Every old spelling, with a number that is not the default.
const OLD: &str = "[raft]\nheartbeat_ms = 60\nelection_timeout_min_ms = 201\nelection_timeout_max_ms = 60000\n\
    max_entry_bytes = 65537\n\
    [ledger]\noperation_window_ms = 2592000000\noperation_lead_ms = 1001\nclosed_retention_ms = 2592000001\n\
    shipped_retention_ms = 9223372036854775807\norder_decision_ms = 1002\n\
    [storage]\nlog_segment_bytes = 33554433\nchange_segment_bytes = 1048577\n\
    low_space_bytes = 1125899906842624\nballast_bytes = 0\n\
    [security]\nreload_interval_ms = 101\n\
    [limits]\ndefault_deadline_ms = 11\nmax_deadline_ms = 12\ncaller_bytes = 134217729\n\
    large_message_bytes_per_second = 1048577\nreceive_ms = 102\nfirst_call_ms = 1003\nunread_ms = 1004\n\
    drain_ms = 0\n\
    [telemetry]\nmetrics_interval_ms = 1005\ntimeout_ms = 103\n";

#[test]
fn every_old_spelling_is_read_exactly_and_its_hint_is_the_line_to_write() {
    let text = format!("{MINIMAL}{OLD}");
    let (config, told) = hints(&text, &[]);
    let defaults = NodeConfig::default();
    assert_eq!(config.raft.heartbeat.as_millis(), 60);
    assert_eq!(config.raft.max_entry_size.bytes(), 65_537);
    assert_eq!(config.ledger.operation_window.as_millis(), 2_592_000_000);
    assert_eq!(config.ledger.shipped_retention.as_millis(), i64::MAX as u64);
    assert_eq!(config.storage.low_space, Some(ByteSize::new(1 << 50)));
    assert_eq!(config.storage.ballast, Some(ByteSize::new(0)));
    assert_eq!(config.limits.drain.as_millis(), 0);
    assert!(
        told.contains(&"raft.heartbeat_ms is the old spelling: write raft.heartbeat = \"60ms\"".to_owned())
    );
    assert!(
        told.iter()
            .any(|hint| hint.ends_with("write ledger.operation_window = \"30d\""))
    );

    // The file that the hints tell to write is the same configuration, and gives no hint.
    let mut new = toml::from_str::<toml::Table>(MINIMAL).unwrap();
    for hint in &told {
        let (_, line) = hint.split_once(": write ").unwrap();
        let (section, line) = line.split_once('.').unwrap();
        let line = toml::from_str::<toml::Table>(line).unwrap();
        let section = new.entry(section).or_insert_with(|| toml::Table::new().into());
        section.as_table_mut().unwrap().extend(line);
    }
    assert_eq!(
        hints(&toml::to_string(&new).unwrap(), &[]),
        (config.clone(), Vec::new())
    );

    // The list above has every key that has an old spelling, each with another value than the default.
    let (written, defaults) = (
        serde_json::to_value(&config).unwrap(),
        serde_json::to_value(&defaults).unwrap(),
    );
    let mut old_keys = 0;
    for section in schema::sections() {
        for (name, _) in schema::keys_of(section).filter(|(_, key)| key.old_key().is_some()) {
            assert_ne!(
                written[section][name], defaults[section][name],
                "{section}.{name}"
            );
            old_keys += 1;
        }
    }
    assert_eq!(told.len(), old_keys);
}

#[test]
fn every_old_spelling_overrides_too_and_its_hint_names_the_new_variable() {
    let table: toml::Table = toml::from_str(OLD).unwrap();
    for (section, keys) in &table {
        for (key, value) in keys.as_table().unwrap() {
            let name = format!("HOLDFAST__{section}__{key}").to_ascii_uppercase();
            let value = value.to_string();
            let overrides = [(name.as_str(), value.as_str())];
            // Together with the others, the value is one that a node can work with.
            let (config, told) = hints(&format!("{MINIMAL}{OLD}"), &overrides);
            assert_eq!(config, hints(&format!("{MINIMAL}{OLD}"), &[]).0);
            let hint = told.iter().find(|hint| hint.starts_with(&name)).unwrap();
            let (_, line) = hint.split_once(": write ").unwrap();
            let (new, value) = line.split_once('=').unwrap();
            assert_eq!(hints(&format!("{MINIMAL}{OLD}"), &[(new, value)]).0, config);
        }
    }
    let (config, told) = hints(MINIMAL, &[("HOLDFAST__RAFT__HEARTBEAT_MS", "40")]);
    assert_eq!(config.raft.heartbeat, TimeSpan::from_millis(40));
    assert_eq!(
        told,
        ["HOLDFAST__RAFT__HEARTBEAT_MS is the old spelling: write HOLDFAST__RAFT__HEARTBEAT=40ms"]
    );
}

#[test]
fn an_override_wins_over_the_file_whichever_spelling_each_has() {
    for (file, variable, value) in [
        ("heartbeat = \"60ms\"", "HOLDFAST__RAFT__HEARTBEAT_MS", "40"),
        ("heartbeat_ms = 60", "HOLDFAST__RAFT__HEARTBEAT", "40ms"),
        ("heartbeat_ms = 60", "HOLDFAST__RAFT__HEARTBEAT_MS", "40"),
    ] {
        let config = parse(&format!("{MINIMAL}[raft]\n{file}\n"), &[(variable, value)]).unwrap();
        assert_eq!(config.raft.heartbeat, TimeSpan::from_millis(40), "{file}");
    }
}

#[test]
fn both_spellings_of_a_key_together_are_refused() {
    let text = message(parse(
        &format!("{MINIMAL}[raft]\nheartbeat = \"50ms\"\nheartbeat_ms = 50\n"),
        &[],
    ));
    assert!(
        text.contains("raft.heartbeat_ms") && text.contains("keep raft.heartbeat"),
        "{text}"
    );
    let text = message(parse(
        MINIMAL,
        &[
            ("HOLDFAST__RAFT__HEARTBEAT", "50ms"),
            ("HOLDFAST__RAFT__HEARTBEAT_MS", "50"),
        ],
    ));
    assert!(
        text.contains("HOLDFAST__RAFT__HEARTBEAT_MS") && text.contains("keep one of them"),
        "{text}"
    );
}

#[test]
fn a_value_without_its_unit_is_refused_with_the_line_and_how_to_write_it() {
    for (line, says) in [
        ("[raft]\nheartbeat = 50", "write \"50ms\""),
        ("[raft]\nheartbeat = \"50\"", "write \"50ms\""),
        ("[storage]\nlog_segment = 67108864", "write \"67108864B\""),
        ("[storage]\nballast = 0", "write \"0B\""),
        ("[raft]\nheartbeat = \"often\"", "ms, s, m, h and d"),
        ("[raft]\nheartbeat = true", "a time such as \"50ms\""),
    ] {
        let text = message(parse(&format!("{MINIMAL}{line}\n"), &[]));
        assert!(text.contains(says) && text.contains("line 5"), "{line}: {text}");
    }
    for line in [
        "heartbeat_ms = \"50ms\"",
        "heartbeat_ms = -1",
        "heartbeat_ms = 1.5",
    ] {
        let text = message(parse(&format!("{MINIMAL}[raft]\n{line}\n"), &[]));
        assert!(text.contains("write raft.heartbeat = \"50ms\""), "{line}: {text}");
    }
}

/// The ranges as they are stated nowhere else: a change of one has to be meant.
#[test]
fn ranges_are_told_in_the_units_of_their_values() {
    for (section, key, bad, says) in [
        (
            "raft",
            "heartbeat",
            "\"1ms\"",
            "raft.heartbeat is 1ms: choose a value from 5ms to 10s",
        ),
        ("raft", "heartbeat", "\"10001ms\"", "from 5ms to 10s"),
        (
            "raft",
            "election_timeout_max",
            "\"60001ms\"",
            "is 60001ms: choose at most 1m",
        ),
        ("raft", "max_entry_size", "\"5MiB\"", "from 64KiB to 4MiB"),
        (
            "ledger",
            "operation_window",
            "\"31d\"",
            "ledger.operation_window is 31d: choose a value from 1m to 30d",
        ),
        ("ledger", "operation_lead", "\"25h\"", "from 1s to 24h"),
        ("ledger", "order_decision", "\"1ms\"", "from 1s to 10m"),
        (
            "storage",
            "log_segment",
            "\"16MiB\"",
            "storage.log_segment is 16MiB: choose a value from 32MiB to 1GiB",
        ),
        ("storage", "change_segment", "\"1B\"", "from 64KiB to 1GiB"),
        ("storage", "history", "\"1ms\"", "from 1s to 3650d"),
        ("storage", "low_space", "\"2PiB\"", "from 16MiB to 1PiB"),
        ("storage", "ballast", "\"2TiB\"", "from 0B to 1TiB"),
        ("security", "reload_interval", "\"99ms\"", "from 100ms to 1h"),
        ("limits", "default_deadline", "\"9ms\"", "from 10ms to 10m"),
        ("limits", "max_deadline", "\"11m\"", "from 10ms to 10m"),
        ("limits", "caller_budget", "\"127MiB\"", "from 128MiB to 64GiB"),
        (
            "limits",
            "large_messages_per_second",
            "\"1KiB\"",
            "from 1MiB to 64GiB",
        ),
        ("limits", "receive", "\"1ms\"", "from 100ms to 10m"),
        ("limits", "first_call", "\"1ms\"", "from 1s to 1h"),
        ("limits", "unread", "\"1ms\"", "from 1s to 1h"),
        ("limits", "drain", "\"11m\"", "from 0ms to 10m"),
        ("telemetry", "metrics_interval", "\"1ms\"", "from 1s to 1h"),
        ("telemetry", "timeout", "\"2m\"", "from 100ms to 1m"),
        ("telemetry", "trace_per_mille", "1001", "from 0 to 1000"),
        ("shards", "count", "65", "from 1 to 64"),
        ("raft", "max_entry_commands", "0", "from 1 to 65536"),
        ("raft", "max_entries_in_flight", "65", "from 1 to 64"),
        ("raft", "snapshot_every_entries", "99", "from 100 to 100000000"),
        ("limits", "queue_limit_commands", "0", "from 1 to 1000000"),
        ("limits", "connections", "0", "from 1 to 1000000"),
        (
            "limits",
            "principal_requests_per_second",
            "100000001",
            "from 0 to 100000000",
        ),
        ("limits", "connection_calls", "0", "from 1 to 65536"),
        ("limits", "batch_items_in_flight", "1023", "from 1024 to 65536"),
        ("limits", "batch_streams", "65537", "from 1 to 65536"),
        ("limits", "change_streams", "0", "from 1 to 65536"),
    ] {
        let text = message(parse(&format!("{MINIMAL}[{section}]\n{key} = {bad}\n"), &[]));
        assert!(
            text.contains(&format!("{section}.{key} is ")) && text.contains(says),
            "{text}"
        );
    }
    for (variable, bad, says) in [
        (
            "NODE_ID",
            "0",
            "node.node_id is 0: choose a value from 1 to 4294967295",
        ),
        ("NODE_ID", "4294967296", "from 1 to 4294967295"),
        (
            "THREADS",
            "1025",
            "node.threads is 1025: choose a value from 1 to 1024",
        ),
    ] {
        let text = message(parse(MINIMAL, &[(&format!("HOLDFAST__NODE__{variable}"), bad)]));
        assert!(text.contains(says), "{text}");
    }
}

#[test]
fn a_section_that_is_written_as_a_list_is_refused() {
    for (text, told) in [
        ("shards = [7]", "`shards` is a section: write [shards]"),
        ("[[raft]]\nheartbeat_ms = 50", "`raft` is a section: write [raft]"),
        ("log = 1", "`log` is a section: write [log]"),
        (
            "peers = [[1, \"a:1\", \"a:2\"]]",
            "`peers` is a list of nodes: write [[peers]]",
        ),
        (
            "[peers]\nnode_id = 1",
            "`peers` is a list of nodes: write [[peers]]",
        ),
    ] {
        let text = format!("{text}\n[node]\nnode_id = 1\ndata_dir = \"d\"\n");
        let refused = LoadedConfig::parse(&text, "node.toml", [])
            .unwrap_err()
            .to_string();
        assert!(refused.contains(told), "{refused}");
    }
}

#[test]
fn a_peer_has_no_higher_id_than_a_node_may_have() {
    let text = "[node]\nnode_id = 1\ndata_dir = \"d\"\n[[peers]]\nnode_id = 4294967296\nclient_address = \"a:1\"\npeer_address = \"a:2\"\n";
    let refused = LoadedConfig::parse(text, "node.toml", [])
        .unwrap_err()
        .to_string();
    assert!(refused.contains("peers[0].node_id is 4294967296"), "{refused}");
}
