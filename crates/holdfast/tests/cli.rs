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
fn help_goes_to_stdout_and_is_no_failure() {
    let output = holdfast(&["reserve", "--help"]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("Examples:"));
}
