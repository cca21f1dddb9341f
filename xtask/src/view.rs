//! The view in Redis at the end of the demo: a server, a runner, a comparison with the ledger, a page.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::steps;

/// How long the server may take to answer, and the view to be current.
const PATIENCE: Duration = Duration::from_secs(120);
const PAUSE: Duration = Duration::from_millis(100);

/// A program that runs beside the demo. It is told to stop when this is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = Command::new("kill")
            .args(["-TERM", &self.0.id().to_string()])
            .status();
        let _ = self.0.wait();
    }
}

/// Builds the view, compares it with the ledger, and reads a page. Nothing of it runs afterwards.
pub(crate) fn show(cluster: &Cluster, folder: &Path) -> Result<Value> {
    let folder = folder.join("redis");
    std::fs::create_dir_all(&folder)?;
    let port = free_port()?;
    let mut redis = start(
        Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", ""])
            .args(["--appendonly", "yes", "--dir"])
            .arg(&folder),
        &folder.join("redis.log"),
    )?;
    wait("redis-server does not answer", &mut redis, &folder, || {
        Ok(ask_redis(port, &["PING"]).is_ok_and(|answer| answer == ["PONG"]))
    })?;
    let config = folder.join("sinks.toml");
    let text = format!("[sinks.product-pages]\ntype = \"redis\"\nurl = \"redis://127.0.0.1:{port}\"\n");
    std::fs::write(&config, text)?;
    let config = config.to_string_lossy();

    let started = Instant::now();
    let run = &["sinks", "run", "--config", &config];
    let mut runner = start(&mut cluster.command(run), &folder.join("runner.log"))?;
    let mut status = Value::Null;
    wait("the view is not current", &mut runner, &folder, || {
        status = cluster.json(&["sinks", "status", "--config", &config])?;
        let shards = status["shards"]
            .as_array()
            .context("sinks status has no shards")?;
        let is_current = shards.iter().all(|shard| shard["lag_changes"] == 0);
        Ok(is_current && !ask_redis(port, &["HGET", "{holdfast}:live", "generation"])?.is_empty())
    })?;
    let seconds = started.elapsed().as_secs_f64();
    let numbers = |field: &'static str| {
        let shards = status["shards"].as_array().into_iter().flatten();
        shards.filter_map(move |shard| shard[field].as_u64())
    };
    let changes: u64 = numbers("through_seq").sum();
    let lag_changes: u64 = numbers("lag_changes").sum();
    let lag_ms = numbers("lag_ms").max().unwrap_or_default();
    steps::say(&format!(
        "the view has all {changes} changes after {seconds:.1} s; it lags by {lag_changes} changes, {lag_ms} ms"
    ));

    steps::say("comparing the view with the ledger, cell by cell");
    let compared = cluster.json(&["sinks", "compare", "--config", &config])?;
    let comparison = &compared["comparison"];
    ensure!(
        comparison["differences"] == 0,
        "the view differs from the ledger: {comparison}"
    );
    let page = page(port)?;
    Ok(json!({
        "changes": changes,
        "lag_changes": lag_changes,
        "lag_ms": lag_ms,
        "seconds_until_current": seconds,
        "cells_equal": comparison["cells"],
        "skus_equal": comparison["skus"],
        "page": page,
    }))
}

/// Reads one product page as a shop does: what can be sold of a SKU, in one round trip.
fn page(port: u16) -> Result<Value> {
    let found = ask_redis(port, &["--scan", "--pattern", "holdfast:1:*:sku:*"])?;
    let key = found.first().context("the view has no SKU")?;
    let (_, sku) = key.split_once("}:sku:").context("a key without a SKU")?;
    let units = ask_redis(port, &["HGET", key, "*"])?;
    let units = units.first().context("the SKU has no number")?;
    steps::say(&format!("redis-cli -p {port} HGET '{key}' '*'  says {units}"));
    Ok(json!({ "sku": sku, "units": units }))
}

/// Runs `redis-cli`. Returns the lines of the answer that are not empty.
fn ask_redis(port: u16, words: &[&str]) -> Result<Vec<String>> {
    let mut command = Command::new("redis-cli");
    command.args(["-e", "-p", &port.to_string()]).args(words);
    let output = command.stderr(Stdio::null()).output()?;
    ensure!(output.status.success(), "redis-cli {} failed", words.join(" "));
    let text = String::from_utf8(output.stdout)?;
    let lines = text.lines().filter(|line| !line.is_empty());
    Ok(lines.map(str::to_owned).collect())
}

fn start(command: &mut Command, log: &Path) -> Result<Running> {
    let file = File::create(log)?;
    let program = command.get_program().to_owned();
    let child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("could not start {}", program.to_string_lossy()))?;
    Ok(Running(child))
}

fn wait(
    what: &str,
    program: &mut Running,
    folder: &Path,
    mut is_so: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    while !is_so()? {
        let has_ended = program.0.try_wait()?.is_some();
        ensure!(
            !has_ended && Instant::now() < until,
            "{what}; look into the logs in {}",
            folder.display()
        );
        std::thread::park_timeout(PAUSE);
    }
    Ok(())
}

/// Returns a port on which nothing listens.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
