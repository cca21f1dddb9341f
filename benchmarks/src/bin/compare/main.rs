//! Holdfast beside PostgreSQL, Redis and the floor beneath them, in one run on one machine.
//!
//! - `workload.rs` says what buyers want, `load.rs` is the buyers: a closed loop, or a fixed rate.
//! - `holdfast.rs`, `postgres.rs`, `redis.rs`, `floor.rs` each start one system and reserve from it.
//! - `usage.rs` reads what the servers use, `report.rs` prints everything, `machine.rs` says where it was.
//!
//! The systems run one after another, each alone. Only ratios are worth comparing with another machine's.

mod clock;
mod floor;
mod holdfast;
mod load;
mod machine;
mod postgres;
mod redis;
mod report;
mod usage;
mod workload;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::{Parser, Subcommand};
use holdfast_benchmarks::{Catalogue, reserve_and_commit};

use load::{Target, at_rate, closed};
use report::Report;
use usage::UsageMeter;
use workload::Workload;

/// Callers of the closed loops.
const CALLERS: [usize; 3] = [1, 16, 256];
/// Callers that keep batched streams full.
const STREAM_CALLERS: usize = 16_384;
/// Commands that Redis may have under way in all.
const REDIS_PIPELINED: usize = 1024;
/// What orders with a line in each of five shards are called.
const ORDERS: &str = "orders of 5 lines";
/// Connections that carry them.
const REDIS_CONNECTIONS: usize = 16;
/// The fixed rate of the design's goal for latency.
const RATE: u32 = 2_000;
/// The fixed rate at which the change stream's lag is measured.
const CHANGE_RATE: u32 = 20_000;

/// Compares Holdfast with what a user would pick instead
#[derive(Parser)]
#[command(
    after_help = "Examples:\n  cargo xtask bench\n  cargo xtask bench --quick --json\n  target/release/compare --seconds 5\n\n`cargo xtask bench` builds and installs what this needs, then runs it."
)]
struct Args {
    #[command(subcommand)]
    command: Option<Internal>,
    /// The `holdfast` binary to start the nodes with
    #[arg(long, default_value = "target/release/holdfast")]
    binary: PathBuf,
    /// How long each measurement takes, in seconds
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Where the systems keep their data meanwhile
    #[arg(long, default_value = "target")]
    folder: PathBuf,
    /// The first port of the nodes; PostgreSQL and Redis take the ones 100 and 101 above
    #[arg(long, default_value_t = 7711, value_parser = clap::value_parser!(u16).range(1..=65_000))]
    base_port: u16,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Internal {
    /// Serves echoes for the floor; started by the comparison itself
    #[command(hide = true)]
    ServeEchoes,
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    if let Some(Internal::ServeEchoes) = args.command {
        return floor::serve_echoes().await;
    }
    let machine = machine::describe();
    let folder = tempfile::Builder::new()
        .prefix("compare-")
        .tempdir_in(&args.folder)?;
    let mut report = Report::default();
    compare(&args, folder.path(), &mut report).await?;
    if args.json {
        report.print_json(&machine);
    } else {
        report.print_table(&machine);
    }
    Ok(())
}

async fn compare(args: &Args, folder: &Path, report: &mut Report) -> Result<()> {
    let duration = Duration::from_secs(args.seconds);
    report.ratios.insert("apply_per_s", applied_per_second(duration));
    let syncs = floor::data_syncs(folder, duration.min(Duration::from_secs(2)))?;
    let sync_us = syncs.value_at_quantile(0.5) as f64;

    let (echoes, server) = floor::Echoes::start().await?;
    let meter = UsageMeter::new(server.id().unwrap_or_default());
    for callers in CALLERS {
        let measured = closed(&echoes, &meter, Workload::Spread, callers, duration).await?;
        report.add(
            "gRPC echo",
            Workload::Spread.name(),
            &callers.to_string(),
            measured,
        );
    }
    drop(server);

    measure_holdfast(args, folder, duration, report).await?;

    let postgres = postgres::Server::start(folder, args.base_port + 100).await?;
    let meter = postgres.meter()?;
    for callers in CALLERS {
        let target = postgres.callers(callers).await?;
        measure_workloads("PostgreSQL", &target, &meter, callers, duration, report).await?;
    }
    let target = postgres.callers(32).await?;
    measure_rate("PostgreSQL", &target, &meter, duration, report).await?;
    drop((target, postgres));

    let redis = redis::Server::start(folder, args.base_port + 101).await?;
    let meter = redis.meter()?;
    for callers in CALLERS {
        let target = redis.callers(callers).await?;
        measure_workloads("Redis", &target, &meter, callers, duration, report).await?;
    }
    let target = redis.callers(REDIS_CONNECTIONS).await?;
    for workload in [Workload::Hot, Workload::Spread] {
        let measured = closed(&target, &meter, workload, REDIS_PIPELINED, duration).await?;
        report.add("Redis", workload.name(), "pipelined", measured);
    }
    measure_rate("Redis", &target, &meter, duration, report).await?;

    compute_ratios(report, sync_us);
    Ok(())
}

async fn measure_holdfast(args: &Args, folder: &Path, duration: Duration, report: &mut Report) -> Result<()> {
    let cluster = holdfast::Cluster::start(&args.binary, folder, args.base_port).await?;
    let meter = cluster.meter()?;
    let unary = cluster.unary();
    for callers in CALLERS {
        measure_workloads("Holdfast", &unary, &meter, callers, duration, report).await?;
    }
    measure_rate("Holdfast", &unary, &meter, duration, report).await?;
    let orders = cluster.orders().await?;
    let measured = closed(&orders, &meter, Workload::Spread, 1, duration).await?;
    report.add("Holdfast", ORDERS, "1", measured);
    let batched = cluster.batched();
    for workload in [Workload::Hot, Workload::Spread] {
        let measured = closed(&batched, &meter, workload, STREAM_CALLERS, duration).await?;
        report.add("Holdfast", workload.name(), "stream", measured);
    }
    let (measured, lag) = tokio::try_join!(
        at_rate(&batched, &meter, Workload::Spread, CHANGE_RATE, duration),
        cluster.change_lag(duration),
    )?;
    report.add("Holdfast", Workload::Spread.name(), "20K/s stream", measured);
    report
        .ratios
        .insert("change_lag_p99_ms", lag.value_at_quantile(0.99) as f64 / 1000.0);
    drop(batched);
    cluster.stop().await
}

async fn measure_workloads<T: Target>(
    system: &'static str,
    target: &T,
    meter: &UsageMeter,
    callers: usize,
    duration: Duration,
    report: &mut Report,
) -> Result<()> {
    for workload in [Workload::Hot, Workload::Spread, Workload::SoldOut] {
        let measured = closed(target, meter, workload, callers, duration).await?;
        report.add(system, workload.name(), &callers.to_string(), measured);
    }
    Ok(())
}

async fn measure_rate<T: Target>(
    system: &'static str,
    target: &T,
    meter: &UsageMeter,
    duration: Duration,
    report: &mut Report,
) -> Result<()> {
    let measured = at_rate(target, meter, Workload::Spread, RATE, duration).await?;
    report.add(system, Workload::Spread.name(), "2K/s", measured);
    Ok(())
}

/// What the ledger alone applies on one core, in commands per second.
fn applied_per_second(duration: Duration) -> f64 {
    const ENTRIES: usize = 64;
    const ENTRY_COMMANDS: usize = 1024;
    let catalogue = Catalogue::new(workload::SKUS);
    let stocked = catalogue.stocked();
    let entries = reserve_and_commit(&catalogue, ENTRIES, ENTRY_COMMANDS);
    let (mut applied, mut took) = (0, Duration::ZERO);
    while took < duration {
        let mut ledger = stocked.clone();
        let began = Instant::now();
        for (index, entry) in (catalogue.next_index()..).zip(&entries) {
            applied += ledger
                .apply(index, entry)
                .map_or(0, |applied| applied.outcomes.len());
        }
        took += began.elapsed();
    }
    applied as f64 / took.as_secs_f64()
}

/// The goals of the design that this run can judge. What was not measured is not there.
fn compute_ratios(report: &mut Report, sync_us: f64) {
    let (hot, spread) = (Workload::Hot.name(), Workload::Spread.name());
    let p50 = |system: &str, workload: &str, callers: &str| {
        let measured = report.find(system, workload, callers)?;
        Some(measured.microseconds(0.5) as f64)
    };
    let rate = |system: &str, workload: &str, callers: &str| {
        Some(report.find(system, workload, callers)?.per_second())
    };
    let over = |one: Option<f64>, other: Option<f64>| Some(one? / other?);
    let floor = p50("gRPC echo", spread, "1").map(|echo| 2.0 * echo + sync_us);
    let ratios = [
        (
            "unary_1_p50_over_floor",
            over(p50("Holdfast", spread, "1"), floor),
        ),
        (
            "order5_over_single_p50",
            over(p50("Holdfast", ORDERS, "1"), p50("Holdfast", spread, "1")),
        ),
        (
            "unary_256_over_echo",
            over(rate("Holdfast", spread, "256"), rate("gRPC echo", spread, "256")),
        ),
        (
            "unary_256_spread_over_postgres",
            over(rate("Holdfast", spread, "256"), rate("PostgreSQL", spread, "256")),
        ),
        (
            "unary_256_hot_over_postgres",
            over(rate("Holdfast", hot, "256"), rate("PostgreSQL", hot, "256")),
        ),
        (
            "stream_spread_over_redis_best",
            over(
                rate("Holdfast", spread, "stream"),
                report.best_per_second("Redis", spread),
            ),
        ),
        (
            "stream_hot_over_redis_best",
            over(
                rate("Holdfast", hot, "stream"),
                report.best_per_second("Redis", hot),
            ),
        ),
    ];
    let known = ratios
        .into_iter()
        .filter_map(|(name, ratio)| Some((name, ratio?)));
    let known: Vec<(&'static str, f64)> = known.collect();
    report.ratios.extend(known);
}
