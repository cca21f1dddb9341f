//! `holdfast bench buyers`: many buyers at once, each with one call at a time.
//!
//! `buyer.rs` has the steps of one buyer, `tally.rs` the counts and measurements, `acknowledged.rs` the file
//! of everything that the cluster has promised.

mod acknowledged;
mod buyer;
mod tally;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::task::JoinSet;

use crate::arguments::{duration, duration_ms};
use crate::context::Context;
use crate::failure::Usage;
use acknowledged::Acknowledged;
use buyer::Buyer;
use tally::{ShardClocks, Tally};

/// Arguments of `holdfast bench buyers`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast bench buyers --buyers 200 --duration 30s\n  holdfast bench buyers --buyers 1000 --operations 1000 --skus 1 --hot 1 --commit-share 0\n  holdfast bench buyers --duration 10s --acknowledged promised.jsonl --json\n\nIt sells the catalogue that `holdfast stock generate` stocks. Ctrl-C ends it early, with its report."
)]
pub(super) struct Args {
    /// How many buyers, each with one call at a time
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    buyers: u32,
    /// How long to go on; 10s when --operations is not given either
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// How many reservations to ask for in all
    #[arg(long)]
    operations: Option<u64>,
    /// How many SKUs of the catalogue to buy from
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=20_000_000))]
    skus: u32,
    /// How many of the first SKUs are hot
    #[arg(long, default_value_t = 3)]
    hot: u32,
    /// How many warehouses the catalogue is in
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=64))]
    warehouses: u32,
    /// The share of reservations that want their goods from one warehouse, 0 to 1; the others take any
    #[arg(long, default_value_t = 0.2, value_parser = share)]
    one_warehouse_share: f64,
    /// The share of reservations that want a hot SKU, 0 to 1
    #[arg(long, default_value_t = 0.5, value_parser = share)]
    hot_share: f64,
    /// Units of a reservation: between 1 and this many
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(i64).range(1..=1_000_000))]
    max_quantity: i64,
    /// The share of granted reservations that are paid for, 0 to 1
    #[arg(long, default_value_t = 0.6, value_parser = share)]
    commit_share: f64,
    /// The share of paid reservations that are shipped at once, 0 to 1
    #[arg(long, default_value_t = 0.5, value_parser = share)]
    ship_share: f64,
    /// The share of granted and unpaid reservations that are released at once, 0 to 1; the others are left to
    /// expire
    #[arg(long, default_value_t = 0.5, value_parser = share)]
    release_share: f64,
    /// How long holds live
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration_ms)]
    ttl: u64,
    /// Storefront of the buyers
    #[arg(long, default_value = "web")]
    storefront: String,
    /// Seed that makes the buyers' choices repeatable
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write each acknowledged step here, as a JSON line, before it counts
    #[arg(long, value_name = "FILE")]
    acknowledged: Option<PathBuf>,
}

/// State that all buyers share.
#[derive(Debug)]
struct Market {
    args: Args,
    /// Reservations that may still be asked for.
    left: AtomicU64,
    ends_at: Option<Instant>,
    closed: AtomicBool,
    acknowledged: Option<Acknowledged>,
    clocks: ShardClocks,
    /// One tally for all buyers: a histogram for each of many thousand would not fit into memory.
    tally: Mutex<Tally>,
}

impl Market {
    /// Returns whether another reservation may be asked for, and counts it.
    fn admits(&self) -> bool {
        let in_time = self.ends_at.is_none_or(|end| Instant::now() < end);
        let open = in_time && !self.closed.load(Ordering::Relaxed);
        open && self
            .left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
            .is_ok()
    }
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    if args.hot > args.skus {
        return Err(Usage(format!("--hot {} is more than --skus {}", args.hot, args.skus)).into());
    }
    let client = context.client()?.clone();
    let topology = client.topology().await?;
    let acknowledged = args
        .acknowledged
        .as_deref()
        .map(Acknowledged::create)
        .transpose()?;
    let duration = match (args.duration, args.operations) {
        (None, None) => Some(Duration::from_secs(10)),
        (duration, _) => duration,
    };
    let started = Instant::now();
    let buyers = args.buyers;
    let market = Arc::new(Market {
        left: AtomicU64::new(args.operations.unwrap_or(u64::MAX)),
        ends_at: duration.map(|duration| started + duration),
        closed: AtomicBool::new(false),
        acknowledged,
        clocks: ShardClocks::start(topology.shards.len(), started),
        tally: Mutex::new(Tally::new()?),
        args,
    });
    let mut running = JoinSet::new();
    for number in 0..buyers {
        let buyer = Buyer::new(client.clone(), Arc::clone(&market), topology.clone(), number);
        running.spawn(buyer.run());
    }
    loop {
        tokio::select! {
            done = running.join_next() => match done {
                Some(done) => done.context("a buyer failed")??,
                None => break,
            },
            _ = tokio::signal::ctrl_c(), if !market.closed.load(Ordering::Relaxed) => {
                context.output.note("ending early; press Ctrl-C again to give up waiting");
                market.closed.store(true, Ordering::Relaxed);
            }
        }
    }
    let elapsed = started.elapsed();
    let shards = market.clocks.finish();
    let total = market.tally.lock().unwrap_or_else(PoisonError::into_inner);
    if context.json {
        context.output.json(&total.to_json(buyers, elapsed, &shards))?;
    } else {
        total.print(context.output, elapsed, &shards)?;
    }
    Ok(())
}

fn share(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("is not a share: write a number from 0 to 1, such as 0.5".to_owned()),
    }
}
