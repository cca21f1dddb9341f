//! `holdfast dev` with real processes: ready, used, stopped, started again, and a node that dies.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_holdfast");

/// A running `holdfast dev --json`.
struct Dev {
    child: Child,
    stdout: BufReader<ChildStdout>,
    ready: Value,
}

impl Dev {
    fn start(folder: &Path, port: u16) -> Self {
        let mut child = Command::new(BINARY)
            .args([
                "dev",
                "--json",
                "--nodes",
                "1",
                "--shards",
                "1",
                "--base-port",
                &port.to_string(),
            ])
            .arg("--data-dir")
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let ready = read_line(&mut stdout);
        assert_eq!(ready["event"], "ready");
        Self { child, stdout, ready }
    }

    fn node_pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.ready["nodes"][0]["pid"].as_i64().unwrap()).unwrap())
    }

    fn client_address(&self) -> &str {
        self.ready["nodes"][0]["client_address"].as_str().unwrap()
    }

    fn holdfast(&self, arguments: &[&str]) -> Output {
        Command::new(BINARY)
            .args(arguments)
            .arg("--json")
            .env("HOLDFAST_ENDPOINTS", format!("http://{}", self.client_address()))
            .output()
            .unwrap()
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let output = self.holdfast(arguments);
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn stop(mut self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        assert!(kill(self.node_pid(), None).is_err(), "the node still runs");
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // After a test that went well the process has ended already. Its node ends with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_line(from: &mut impl BufRead) -> Value {
    let mut line = String::new();
    from.read_line(&mut line).unwrap();
    serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
}

/// Returns the first of the four ports in a row that `dev` takes.
fn own_ports() -> u16 {
    holdfast_test_ports::take(4)[0]
}

#[test]
fn dev_is_ready_keeps_its_data_and_stops_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("dev");
    let port = own_ports();

    let dev = Dev::start(&data, port);
    dev.json(&[
        "stock",
        "receive",
        "SHIRT-1",
        "--warehouse",
        "LONDON",
        "--quantity",
        "10",
    ]);
    let reserved = dev.json(&["reserve", "SHIRT-1=3"]);
    let id = reserved["reservation_id"].as_str().unwrap().to_owned();
    let refused = dev.holdfast(&["reserve", "SHIRT-1=8"]);
    assert_eq!(refused.status.code(), Some(1));
    let error: Value = serde_json::from_slice(&refused.stderr).unwrap();
    assert_eq!(error["error"]["reason"], "insufficient_stock");
    assert_eq!(error["error"]["shortages"][0]["available"], 7);
    let mut listing = Command::new(BINARY)
        .args(["stock", "list", "--json"])
        .env("HOLDFAST_ENDPOINTS", format!("http://{}", dev.client_address()))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Nobody reads its output.
    drop(listing.stdout.take());
    let listing = listing.wait_with_output().unwrap();
    assert!(
        listing.status.success() && listing.stderr.is_empty(),
        "{listing:?}"
    );

    // A single node has no other node to hand leadership to. The question still goes to the admin port.
    let admin = dev.ready["nodes"][0]["admin_address"]
        .as_str()
        .unwrap()
        .to_owned();
    let alone = dev.holdfast(&[
        "cluster",
        "transfer-leader",
        "0",
        "--deadline-ms",
        "500",
        "--admin-address",
        &admin,
    ]);
    assert_eq!(alone.status.code(), Some(1));
    let error: Value = serde_json::from_slice(&alone.stderr).unwrap();
    assert!(
        error["error"]["message"]
            .as_str()
            .unwrap()
            .contains("no other replica"),
        "{error}"
    );

    let config = dev.ready["nodes"][0]["config"].as_str().unwrap().to_owned();
    assert_eq!(dev.json(&["doctor", "--config", &config])["problems"], 0);
    dev.stop();

    let dev = Dev::start(&data, port);
    assert_eq!(dev.json(&["get", &id])["reservation"]["state"], "held");
    assert_eq!(dev.json(&["commit", &id])["state"], "committed");
    let csv = dev.holdfast(&["stock", "list", "--format", "csv"]);
    let rows: Vec<String> = String::from_utf8(csv.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert!(
        rows[1].ends_with(",SHIRT-1,LONDON,10,7,0,0,0,3,0,0,0,0,0"),
        "{rows:?}"
    );
    dev.stop();
}

#[test]
fn a_generated_catalogue_is_received_once_however_often_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let dev = Dev::start(&folder.path().join("dev"), own_ports());
    let generate = [
        "stock",
        "generate",
        "--skus",
        "40",
        "--warehouses",
        "3",
        "--hot",
        "1",
        "--hot-quantity",
        "70",
    ];
    let first = dev.json(&[&generate[..], &["--quantity", "5"]].concat());
    let counted = |answer: &Value| (answer["received"].as_u64(), answer["replayed"].as_u64());
    assert_eq!(counted(&first), (Some(120), Some(0)));
    let run_id = first["run_id"].to_string();
    let again = [&generate[..], &["--run-id", &run_id]].concat();
    // More workers than cells, and one that sends alone.
    for concurrency in ["500", "1"] {
        let repeated = dev.json(&[&again[..], &["--quantity", "5", "--concurrency", concurrency]].concat());
        assert_eq!(counted(&repeated), (Some(0), Some(120)));
    }
    let changed = dev.holdfast(&[&again[..], &["--quantity", "6"]].concat());
    assert_eq!(changed.status.code(), Some(1));
    let error: Value = serde_json::from_slice(&changed.stderr).unwrap();
    assert_eq!(error["error"]["reason"], "operation_id_reused");
    assert!(error["error"]["operation_id"].is_string(), "{error}");
    for (sku, quantity) in [("SKU-000001", 70), ("SKU-000040", 5)] {
        let cells = dev.json(&["stock", "get", sku])["cells"].clone();
        let on_hand = cells.as_array().unwrap().iter().map(|cell| &cell["on_hand"]);
        assert_eq!(on_hand.collect::<Vec<_>>(), [quantity; 3], "{cells}");
    }
    dev.stop();
}

#[test]
fn dev_tells_when_a_node_dies_and_ends_with_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let mut dev = Dev::start(&folder.path().join("dev"), own_ports());
    kill(dev.node_pid(), Signal::SIGKILL).unwrap();
    let died = read_line(&mut dev.stdout);
    assert_eq!(
        (&died["event"], &died["alive"]),
        (&Value::from("node_died"), &Value::from(0))
    );
    assert_eq!(dev.child.wait().unwrap().code(), Some(1));
}
