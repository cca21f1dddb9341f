//! `holdfast debug bundle`: what is in it, and what never is.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on stops")]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Output};

fn bundle(config: &Path, output: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_holdfast"))
        .args(["debug", "bundle", "--deadline-ms", "300", "--config"])
        .arg(config)
        .arg("--output")
        .arg(output)
        .args(more)
        .output()
        .unwrap()
}

/// Returns the files of an archive by their names.
fn content(archive: &Path) -> BTreeMap<String, String> {
    let gzip = flate2::read::GzDecoder::new(std::fs::File::open(archive).unwrap());
    let mut files = BTreeMap::new();
    for entry in tar::Archive::new(gzip).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().display().to_string();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        files.insert(name, text);
    }
    files
}

#[test]
fn a_bundle_of_a_node_that_is_down_has_what_can_be_had_and_no_private_key() {
    let folder = tempfile::tempdir().unwrap();
    let (data, key) = (folder.path().join("data"), folder.path().join("node.key"));
    std::fs::create_dir_all(data.join("log")).unwrap();
    let secret = rcgen::KeyPair::generate().unwrap().serialize_pem();
    std::fs::write(&key, &secret).unwrap();
    std::fs::write(data.join("log").join("copy.key"), &secret).unwrap();
    let log = folder.path().join("node.log");
    std::fs::write(&log, "a line of the log\n").unwrap();
    let config = folder.path().join("node.toml");
    // Nobody listens on the discard port and its neighbours.
    let text = format!(
        "[node]\nnode_id = 7\ndata_dir = \"{}\"\n[listen]\nclient = \"127.0.0.1:9\"\nhttp = \"127.0.0.1:8\"\n\
         [tls]\ncertificate = \"node.pem\"\nkey = \"{}\"\nclient_ca = \"ca.pem\"\nhttp = false\n",
        data.display(),
        key.display()
    );
    std::fs::write(&config, text).unwrap();
    let output = folder.path().join("bundle.tar.gz");
    let logs = ["--log", log.to_str().unwrap(), "--log", key.to_str().unwrap()];
    let made = bundle(&config, &output, &logs);
    assert!(made.status.success(), "{made:?}");

    let files = content(&output);
    let file = |name: &str| files[&format!("holdfast-node-7/{name}")].as_str();
    assert!(file("about.txt").contains("disk of the data folder"));
    assert!(file("config.toml").contains("node_id = 7"));
    assert!(file("doctor.json").contains("severity"));
    assert!(file("files.txt").contains("log/copy.key"));
    assert!(file("limits.md").starts_with("# Limits"));
    assert_eq!(file("log-1.txt"), "a line of the log\n");
    for unreachable in ["metrics.txt", "readyz.txt", "status.txt"] {
        assert!(file("missing.txt").contains(unreachable));
    }
    let body: Vec<&str> = secret.lines().filter(|line| !line.starts_with("---")).collect();
    assert!(!body.is_empty());
    for (name, text) in &files {
        let leaks = body.iter().any(|line| text.contains(line));
        assert!(!leaks && !text.contains("PRIVATE KEY"), "{name}: {text}");
    }

    let again = bundle(&config, &output, &[]);
    assert!(!again.status.success(), "it wrote over another bundle");
}
