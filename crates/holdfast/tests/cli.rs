//! The binary without a cluster: exit codes and messages.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::process::{Command, Output};

fn holdfast(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(arguments)
        // Nobody listens on the discard port.
        .env("HOLDFAST_ENDPOINTS", "http://127.0.0.1:9")
        .output()
        .unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn error(output: &Output) -> serde_json::Value {
    let value: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    value["error"].clone()
}

#[test]
fn wrong_arguments_exit_with_2_and_say_what_is_wrong() {
    for (arguments, says) in [
        (&["reserve", "SHIRT-1"][..], "SKU=QTY"),
        (
            &["stock", "adjust", "A", "--warehouse", "W", "--delta", "-1"],
            "--reason",
        ),
        (
            &["--endpoints", "localhost:1", "cluster", "status"],
            "http://host:port",
        ),
        (&["bench", "buyers", "--skus", "1", "--hot", "2"], "--hot"),
        (&["stock", "generate", "--skus", "1", "--hot", "2"], "--hot"),
    ] {
        let output = holdfast(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(
            stderr(&output).contains(says),
            "{arguments:?}: {}",
            stderr(&output)
        );

        let output = holdfast(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?} --json");
        assert_eq!(error(&output)["kind"], "usage");
        let message = error(&output)["message"].as_str().unwrap().to_owned();
        assert!(message.contains(says), "{arguments:?}: {message}");
    }
}

#[test]
fn a_configuration_is_looked_at_although_the_certificates_of_operators_are_missing() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("node.toml");
    std::fs::write(&config, "[node]\nnode_id = 1\ndata_dir = \"data\"\n").unwrap();
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_holdfast"))
            .args(arguments)
            .env("HOLDFAST_TLS_CA", "nowhere.pem")
            .env("HOLDFAST_TLS_CERT", "nowhere.pem")
            .env("HOLDFAST_TLS_KEY", "nowhere.key")
            .output()
            .unwrap()
    };
    let checked = run(&["config", "check", config.to_str().unwrap()]);
    assert!(checked.status.success(), "{checked:?}");
    let asked = run(&["cluster", "status"]);
    assert!(stderr(&asked).contains("nowhere.pem"), "{asked:?}");
}

#[test]
fn a_cluster_that_is_not_there_exits_with_1_and_says_that_nothing_happened() {
    let arguments = ["reserve", "SHIRT-1=1", "--deadline-ms", "300"];
    let output = holdfast(&arguments);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("no effect") && stderr(&output).contains("--endpoints"),
        "{}",
        stderr(&output)
    );
    assert!(output.stdout.is_empty());

    let output = holdfast(&[&arguments[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(error(&output)["kind"], "unavailable");
    assert!(uuid::Uuid::parse_str(error(&output)["operation_id"].as_str().unwrap()).is_ok());
}

#[test]
fn the_reference_is_a_configuration_that_the_check_accepts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    std::fs::write(&file, holdfast(&["config", "reference"]).stdout).unwrap();
    let file = file.to_str().unwrap();
    let output = holdfast(&["config", "check", file]);
    assert!(output.status.success(), "{}", stderr(&output));

    std::fs::write(file, "[node]\nnode_id = 1\ndata_dir = \"x\"\nno_such_key = 1\n").unwrap();
    for arguments in [["config", "check", file], ["serve", "--config", file]] {
        let output = holdfast(&arguments);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains("no_such_key"), "{}", stderr(&output));
    }
}

#[test]
fn old_spellings_are_named_with_the_new_ones_by_the_check_and_at_the_start_of_a_node() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    // The data folder cannot be made, so a node ends at once.
    let data_dir = file.join("data");
    let text = format!(
        "[node]\nnode_id = 1\ndata_dir = \"{}\"\n[raft]\nheartbeat_ms = 60\n[ledger]\nshipped_retention_ms = 7776000000\n",
        data_dir.display()
    );
    std::fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap();
    let hints = [
        "raft.heartbeat_ms is the old spelling: write raft.heartbeat = \"60ms\"",
        "ledger.shipped_retention_ms is the old spelling: write ledger.shipped_retention = \"90d\"",
    ];
    let checked = holdfast(&["config", "check", file]);
    assert!(checked.status.success());
    for hint in hints {
        assert!(stderr(&checked).contains(hint), "{}", stderr(&checked));
    }

    let checked = holdfast(&["--json", "config", "check", file]);
    let checked: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert_eq!(checked["config"]["raft"]["heartbeat"], "60ms");
    let told: Vec<&str> = checked["hints"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|hint| hint.as_str())
        .collect();
    assert!(
        told.len() == 2 && hints.iter().all(|hint| told.contains(hint)),
        "{told:?}"
    );

    let started = holdfast(&["serve", "--config", file]);
    assert_eq!(started.status.code(), Some(1));
    let warned = stderr(&started);
    for hint in hints {
        let warned = warned
            .lines()
            .any(|line| line.contains("WARN") && line.contains(&hint.replace('"', "\\\"")));
        assert!(warned, "{}", stderr(&started));
    }
}

#[test]
fn the_schema_of_a_configuration_is_json_with_ranges_in_units() {
    for arguments in [&["config", "schema"][..], &["--json", "config", "schema"]] {
        let schema: serde_json::Value = serde_json::from_slice(&holdfast(arguments).stdout).unwrap();
        let heartbeat = &schema["properties"]["raft"]["properties"]["heartbeat"];
        assert_eq!(heartbeat["default"], "50ms");
        assert_eq!(heartbeat["x-minimum"], "5ms");
        assert_eq!(heartbeat["x-maximum"], "10s");
    }
}

#[test]
fn help_goes_to_stdout_and_is_no_failure() {
    let output = holdfast(&["reserve", "--help"]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("Examples:"));
}
