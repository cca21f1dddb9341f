//! `cargo xtask demo`: the whole system at work, with its default settings.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{self, Cluster};
use crate::{acknowledged, needs, report, steps, view};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Real orders (CSV) instead of the generated flash sale
    #[arg(long, value_name = "FILE")]
    orders: Option<PathBuf>,
    /// SKUs of the generated catalogue
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..))]
    skus: u32,
    /// Concurrent buyers
    #[arg(long, default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    buyers: u32,
    /// How long the sale lasts, in seconds; the leader is killed in the middle of it
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(6..=600))]
    sale_seconds: u64,
    /// Build with full optimization: the sale is several times faster, the first build more than twice as
    /// long
    #[arg(long)]
    release: bool,
    /// Print the report as one JSON object on standard output
    #[arg(long)]
    json: bool,
}

/// Returns the folder where a run leaves its data. The next run empties it first.
fn folder() -> PathBuf {
    steps::target().join("demo")
}

pub(crate) fn run(args: &Args) -> Result<()> {
    needs::python()?;
    let redis = needs::redis_server();
    let profile = if args.release { "release" } else { "quick" };
    let minutes = if args.release { "about 12" } else { "about 5" };
    steps::say(&format!(
        "building holdfast ({minutes} minutes the first time, on two cores); the demo itself takes about 2"
    ));
    steps::run(steps::cargo().args(["build", "--profile", profile, "--package", "holdfast"]))?;
    let binary = steps::target().join(profile).join("holdfast");
    let folder = folder();
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("could not empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder)?;

    let started = Instant::now();
    steps::say("starting three nodes on loopback");
    let mut cluster = Cluster::start(&binary, &folder.join("nodes"))?;
    let mut results = match &args.orders {
        Some(orders) => json!({ "import": import(&mut cluster, orders, &folder)? }),
        None => json!({ "sale": sale(&mut cluster, args, &folder)? }),
    };

    steps::say("verify: replaying the change streams and comparing with the live stock");
    results["verify"] = cluster.json(&["verify"])?;
    ensure!(
        results["verify"]["ok"] == true,
        "verify found something wrong: {}",
        results["verify"]
    );

    steps::say("archiving the changes as Parquet");
    let lake = folder.join("lake");
    cluster.json(&[
        "changes",
        "export",
        "--format",
        "parquet",
        "--to",
        &lake.to_string_lossy(),
    ])?;
    let stock = folder.join("ledger_stock.csv");
    std::fs::write(
        &stock,
        steps::output(&mut cluster.command(&["stock", "list", "--format", "csv"]))?,
    )?;

    steps::say("building the warehouse with dbt on DuckDB, and reconciling it with the ledger");
    results["warehouse"] = warehouse(&lake, &stock, &folder)?;

    results["view"] = match redis {
        Ok(()) => {
            steps::say("keeping what product pages read in Redis, beside the ledger");
            view::show(&cluster, &folder)?
        }
        Err(error) => {
            let advice = "install redis-server and redis-cli, and run the demo again";
            steps::say(&format!("the view in Redis is left out: {error:#}; {advice}"));
            json!({ "left_out": advice })
        }
    };
    results["elapsed_seconds"] = json!(started.elapsed().as_secs());

    steps::say("stopping the nodes");
    drop(cluster);
    if args.json {
        report::print_json(&results)
    } else {
        report::print(&results, &folder)
    }
}

/// Stocks a catalogue, lets buyers reserve from it, kills the busiest leader in the middle and starts it
/// again.
fn sale(cluster: &mut Cluster, args: &Args, folder: &Path) -> Result<Value> {
    steps::say(&format!("stocking {} SKUs in 5 warehouses", args.skus));
    let skus = args.skus.to_string();
    cluster.json(&[
        "stock",
        "generate",
        "--skus",
        &skus,
        "--warehouses",
        "5",
        "--hot",
        "5",
    ])?;

    let seconds = args.sale_seconds;
    steps::say(&format!(
        "flash sale: {} buyers for {seconds} s; the leader is killed in the middle",
        args.buyers
    ));
    let acknowledged = folder.join("acknowledged.jsonl");
    let mut buyers = cluster
        .command(&["bench", "buyers", "--json"])
        .args([
            "--buyers",
            &args.buyers.to_string(),
            "--duration",
            &format!("{seconds}s"),
        ])
        .args([
            "--skus",
            &skus,
            "--warehouses",
            "5",
            "--hot",
            "5",
            "--acknowledged",
        ])
        .arg(&acknowledged)
        .stdout(Stdio::piped())
        .spawn()?;
    std::thread::park_timeout(Duration::from_secs(seconds / 2));
    let victim = cluster.busiest_leader()?;
    steps::say(&format!(
        "kill -9 node {} (pid {})",
        cluster.nodes[victim].node_id, cluster.nodes[victim].pid
    ));
    cluster.kill(victim)?;
    std::thread::park_timeout(Duration::from_secs(seconds / 6));
    steps::say(&format!("starting node {} again", cluster.nodes[victim].node_id));
    cluster.restart(victim)?;

    let mut text = String::new();
    std::io::Read::read_to_string(
        &mut buyers.stdout.take().context("no output of the buyers")?,
        &mut text,
    )?;
    ensure!(buyers.wait()?.success(), "the buyers failed:\n{text}");
    let mut report = cluster::last_json_line(&text)?;

    steps::say("looking for every acknowledged reservation in the change streams");
    let shards = report["shards"].as_array().map_or(0, Vec::len);
    let found = acknowledged::all_found(&acknowledged, u64::try_from(shards)?, |shard| {
        cluster.command(&["changes", "tail", "--json", "--shard", shard])
    })?;
    report["acknowledged_found"] = json!(found);
    Ok(report)
}

/// Replays a shop's orders.
fn import(cluster: &mut Cluster, orders: &Path, folder: &Path) -> Result<Value> {
    let orders = std::path::absolute(orders)?;
    ensure!(orders.is_file(), "{} is not a file", orders.display());
    steps::say(&format!("importing {}", orders.display()));
    let state = folder.join("import.state.json");
    let rejects = folder.join("rejects.csv");
    cluster.json(&[
        "import",
        "orders",
        &orders.to_string_lossy(),
        "--state",
        &state.to_string_lossy(),
        "--rejects",
        &rejects.to_string_lossy(),
    ])
}

fn warehouse(lake: &Path, stock: &Path, folder: &Path) -> Result<Value> {
    let mut build = Command::new("python3");
    build.arg("warehouse/build.py").arg("--json");
    build.arg("--changes").arg(lake).arg("--ledger-stock").arg(stock);
    build.arg("--database").arg(folder.join("warehouse.duckdb"));
    cluster::last_json_line(&steps::output(&mut build)?)
}
