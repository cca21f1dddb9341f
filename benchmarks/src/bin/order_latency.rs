//! The latency of an order of 5 lines over 5 shards beside that of a single-shard one, both from one run.
//!
//! Starts three nodes on this machine with `holdfast dev`, puts stock into one SKU of each of 5 shards, and has each caller
//! reserve in turn one line in one shard and five lines in five, so that whatever else the machine does hits both alike.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use holdfast_benchmarks::nodes::Nodes;
use holdfast_client::{Client, ClientOptions, new_operation_id};
use holdfast_proto::v1;

const SHARDS: u32 = 5;

/// Compares the latency of orders over one and over five shards
#[derive(Parser)]
#[command(
    after_help = "Examples:\n  cargo build --release && cargo run --release -p holdfast-benchmarks --bin order_latency\n  cargo run --release -p holdfast-benchmarks --bin order_latency -- --callers 16 --json"
)]
struct Args {
    /// The `holdfast` binary to start the nodes with
    #[arg(long, default_value = "target/release/holdfast")]
    binary: PathBuf,
    /// How many callers at once, each one call at a time
    #[arg(long, default_value_t = 1)]
    callers: usize,
    /// Orders of each kind that are measured, over all callers
    #[arg(long, default_value_t = 2000)]
    orders: usize,
    /// The first port of the nodes
    #[arg(long, default_value_t = 7611)]
    base_port: u16,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Microseconds from call to answer.
struct Latencies {
    single: Histogram<u64>,
    five: Histogram<u64>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    let folder = tempfile::tempdir()?;
    let nodes = Nodes::start(&args.binary, &folder.path().join("nodes"), args.base_port, SHARDS).await?;
    let measured = measure(&args, nodes.endpoints()).await;
    nodes.stop().await?;
    report(&args, &measured?);
    Ok(())
}

async fn measure(args: &Args, endpoints: Vec<String>) -> Result<Latencies> {
    let client = Client::new(ClientOptions::new(endpoints))?;
    let skus = one_sku_of_each_shard(&client).await?;
    for sku in &skus {
        let receipt = v1::ReceiveRequest {
            operation: operation(),
            sku: sku.clone(),
            warehouse: "W1".to_owned(),
            quantity: 1_000_000_000,
            supply_id: String::new(),
        };
        client.receive(receipt).await?;
    }
    let rounds = args.orders.div_ceil(args.callers);
    // Connections, caches and the nodes' own batching settle first.
    try_join_all((0..args.callers).map(|caller| call(&client, &skus, caller, rounds / 10 + 1))).await?;
    let callers = (0..args.callers).map(|caller| call(&client, &skus, caller, rounds));
    let mut all = Latencies::new()?;
    for one in try_join_all(callers).await? {
        all.single.add(&one.single)?;
        all.five.add(&one.five)?;
    }
    Ok(all)
}

async fn one_sku_of_each_shard(client: &Client) -> Result<Vec<String>> {
    let mut skus: BTreeMap<u32, String> = BTreeMap::new();
    for number in 0.. {
        let sku = format!("SKU-{number}");
        skus.entry(client.shard_of(&sku).await?).or_insert(sku);
        if skus.len() == SHARDS as usize {
            break;
        }
    }
    Ok(skus.into_values().collect())
}

async fn call(client: &Client, skus: &[String], caller: usize, rounds: usize) -> Result<Latencies> {
    let mut latencies = Latencies::new()?;
    for round in 0..rounds {
        let one = std::slice::from_ref(&skus[(caller + round) % skus.len()]);
        // The home moves too, as the first line does.
        let mut five = skus.to_vec();
        five.rotate_left((caller + round) % skus.len());
        latencies.single.record(reserve(client, one).await?)?;
        latencies.five.record(reserve(client, &five).await?)?;
    }
    Ok(latencies)
}

async fn reserve(client: &Client, skus: &[String]) -> Result<u64> {
    let line = |sku: &String| v1::ReserveLine {
        sku: sku.clone(),
        quantity: 1,
        source: None,
    };
    let request = v1::ReserveRequest {
        operation: operation(),
        storefront: "web".to_owned(),
        lines: skus.iter().map(line).collect(),
        ttl_ms: Duration::from_secs(3600).as_millis() as u64,
        mode: v1::ReserveMode::AllOrNothing.into(),
        ..v1::ReserveRequest::default()
    };
    let began = Instant::now();
    let held = client.reserve(request).await?;
    let took = began.elapsed();
    ensure!(
        held.lines.len() == skus.len(),
        "not all lines were granted: {held:?}"
    );
    Ok(took.as_micros() as u64)
}

fn operation() -> Option<v1::Operation> {
    Some(v1::Operation {
        operation_id: new_operation_id(),
        ..v1::Operation::default()
    })
}

impl Latencies {
    fn new() -> Result<Self> {
        Ok(Self {
            single: Histogram::new(3)?,
            five: Histogram::new(3)?,
        })
    }
}

#[allow(clippy::print_stdout, reason = "this is what the program is for")]
fn report(args: &Args, latencies: &Latencies) {
    let at = |histogram: &Histogram<u64>, quantile| histogram.value_at_quantile(quantile);
    let ratio = |quantile| at(&latencies.five, quantile) as f64 / at(&latencies.single, quantile) as f64;
    if args.json {
        let object = serde_json::json!({
            "callers": args.callers,
            "orders_of_each": latencies.single.len(),
            "single_p50_us": at(&latencies.single, 0.5), "single_p99_us": at(&latencies.single, 0.99),
            "five_p50_us": at(&latencies.five, 0.5), "five_p99_us": at(&latencies.five, 0.99),
            "ratio_p50": ratio(0.5), "ratio_p99": ratio(0.99),
        });
        println!("{object}");
        return;
    }
    println!(
        "{} callers, {} orders of each kind, microseconds",
        args.callers,
        latencies.single.len()
    );
    println!("{:<28}{:>10}{:>10}{:>10}", "", "p50", "p90", "p99");
    for (name, histogram) in [
        ("1 line in 1 shard", &latencies.single),
        ("5 lines in 5 shards", &latencies.five),
    ] {
        println!(
            "{name:<28}{:>10}{:>10}{:>10}",
            at(histogram, 0.5),
            at(histogram, 0.9),
            at(histogram, 0.99)
        );
    }
    println!(
        "{:<28}{:>10.2}{:>10.2}{:>10.2}",
        "ratio",
        ratio(0.5),
        ratio(0.9),
        ratio(0.99)
    );
}
