//! A cluster with a large catalogue: the memory of its nodes, the latency of a reservation beside that with
//! few cells, and the time of a restart.

use std::fmt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, ensure};
use hdrhistogram::Histogram;
use holdfast_benchmarks::ledger_input::stocking;
use holdfast_benchmarks::nodes::{Member, Nodes};
use holdfast_client::{Client, ClientOptions};
use holdfast_ledger::{Ledger, LedgerOptions};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::holdfast::{SHARDS, name, receipt, reservation, stock, was_granted};
use crate::latencies::{histogram, microseconds};
use crate::load::WARM_UP;
use crate::usage::resident_bytes;

/// Warehouses of each SKU.
const WAREHOUSES: usize = 5;
/// Cells of the catalogue that counts as small.
const FEW_CELLS: usize = 1_000;
/// Cells between two lines of progress.
const TOLD_EVERY_CELLS: usize = 500_000;
/// Entries between snapshots. With this number each shard has a snapshot when the catalogue is loaded, and is
/// not busy with the next one afterwards.
const SNAPSHOT_EVERY_ENTRIES: &str = "3000";
/// Longest time that a node may take to start.
const PATIENCE: Duration = Duration::from_secs(600);

/// The measurements of a cluster with a catalogue of this size.
pub(crate) struct Scale {
    cells: usize,
    loaded_in: Duration,
    /// Resident bytes of each node, with the operation ids of the load.
    resident_bytes: Vec<u64>,
    /// Latency of one caller's reservations, in microseconds.
    with_few_cells: Histogram<u64>,
    with_all_cells: Histogram<u64>,
    /// Time from SIGKILL of one node until it was ready again.
    restarted_in: Duration,
    /// Bytes of that node's data folder.
    data_bytes: u64,
    snapshot_bytes: u64,
    snapshot: ShardSnapshot,
}

/// The costs of one shard's snapshot, in a process that does nothing else.
struct ShardSnapshot {
    cells: u64,
    /// Time to copy the state. Nothing is applied meanwhile.
    copied_in: Duration,
    /// Time to check and encode the copy, which happens beside the running shard.
    encoded_in: Duration,
    /// Time to decode the snapshot at a restart.
    decoded_in: Duration,
    bytes: usize,
}

impl ShardSnapshot {
    fn measure(cells: usize) -> Result<Self> {
        let mut ledger = Ledger::new(LedgerOptions::default());
        for (index, entry) in (1..).zip(stocking(cells, 0)) {
            ledger.apply(index, &entry)?;
        }
        let began = Instant::now();
        let copy = ledger.clone();
        let copied_in = began.elapsed();
        let began = Instant::now();
        copy.check()?;
        let bytes = copy.encode();
        let encoded_in = began.elapsed();
        drop((ledger, copy));
        let began = Instant::now();
        let decoded = Ledger::decode(&bytes).map_err(Error::msg)?;
        Ok(Self {
            cells: decoded.cell_count(),
            copied_in,
            encoded_in,
            decoded_in: began.elapsed(),
            bytes: bytes.len(),
        })
    }
}

pub(crate) async fn run(
    binary: &Path,
    folder: &Path,
    base_port: u16,
    cells: usize,
    duration: Duration,
) -> Result<Scale> {
    say("a shard's part of the catalogue, in this process: its snapshot");
    let snapshot = tokio::task::block_in_place(|| ShardSnapshot::measure(cells / SHARDS as usize))?;
    let settings = [("HOLDFAST__RAFT__SNAPSHOT_EVERY_ENTRIES", SNAPSHOT_EVERY_ENTRIES)];
    let nodes = Nodes::start(binary, &folder.join("holdfast"), base_port, SHARDS, &settings).await?;
    let client = Client::new(ClientOptions::new(nodes.endpoints()))?;
    load(&client, 0, FEW_CELLS).await?;
    say("reservations with few cells");
    let with_few_cells = reserve_one_by_one(&client, FEW_CELLS / WAREHOUSES, duration).await?;
    let began = Instant::now();
    let mut loaded = FEW_CELLS;
    while loaded < cells {
        let end = cells.min((loaded / TOLD_EVERY_CELLS + 1) * TOLD_EVERY_CELLS);
        load(&client, loaded, end).await?;
        loaded = end;
        let per_second = (loaded - FEW_CELLS) as f64 / began.elapsed().as_secs_f64();
        say(&format!("{loaded} of {cells} cells, {per_second:.0}/s"));
    }
    let loaded_in = began.elapsed();
    say("reservations with all cells");
    let with_all_cells = reserve_one_by_one(&client, cells / WAREHOUSES, duration).await?;
    let members = nodes.members();
    let resident_bytes = members.iter().map(|member| resident_bytes(member.process_id));
    let resident_bytes = resident_bytes.collect::<Result<Vec<u64>>>()?;
    let restarted = members.first().context("no nodes")?;
    let data_bytes = folder_bytes(&restarted.place.data)?;
    let snapshot_bytes = folder_bytes(&restarted.place.data.join("snapshots"))?;
    say("a node is killed and started again");
    let restarted_in = restart(binary, restarted).await?;
    nodes.stop().await?;
    Ok(Scale {
        cells,
        loaded_in,
        resident_bytes,
        with_few_cells,
        with_all_cells,
        restarted_in,
        data_bytes,
        snapshot_bytes,
        snapshot,
    })
}

/// Stocks the cells in this range.
async fn load(client: &Client, from: usize, to: usize) -> Result<()> {
    let arrivals = (from..to).map(|cell| {
        let warehouse = format!("W{}", cell % WAREHOUSES);
        receipt(name(cell / WAREHOUSES), &warehouse)
    });
    stock(client, arrivals).await
}

/// Reserves as one caller with one call at a time, from any of this many SKUs.
async fn reserve_one_by_one(client: &Client, skus: usize, duration: Duration) -> Result<Histogram<u64>> {
    let mut random = SmallRng::seed_from_u64(skus as u64);
    let mut latency = histogram()?;
    let counted_from = Instant::now() + duration.mul_f64(WARM_UP);
    while counted_from.elapsed() < duration {
        let sku = name(random.random_range(0..skus));
        let began = Instant::now();
        let answer = client.reserve(reservation(Uuid::now_v7(), [sku])).await;
        let took = began.elapsed();
        ensure!(was_granted(answer)?, "a reservation was refused");
        if began >= counted_from {
            latency.saturating_record(microseconds(took));
        }
    }
    Ok(latency)
}

async fn restart(binary: &Path, member: &Member) -> Result<Duration> {
    let began = Instant::now();
    kill(Pid::from_raw(member.process_id.cast_signed()), Signal::SIGKILL)?;
    // The node's ports and folder are free only when the old process has ended, which is soon.
    let node = loop {
        let mut node = member.place.start(binary)?;
        match node.ready(PATIENCE).await {
            Ok(()) => break node,
            Err(error) if began.elapsed() > PATIENCE => return Err(error),
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    let took = began.elapsed();
    node.kill().await?;
    Ok(took)
}

/// Returns the total size of all files below a folder.
fn folder_bytes(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_dir() {
            bytes += folder_bytes(&entry.path())?;
        } else {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

#[allow(clippy::print_stderr, reason = "progress of a long run")]
fn say(text: &str) {
    eprintln!("{text}");
}

impl Scale {
    fn bytes_per_cell(&self) -> Vec<f64> {
        let each = |bytes: &u64| *bytes as f64 / self.cells as f64;
        self.resident_bytes.iter().map(each).collect()
    }

    pub(crate) fn to_json(&self, machine: &Value) -> Value {
        let latency = |latency: &Histogram<u64>| json!({ "p50_us": latency.value_at_quantile(0.5), "p99_us": latency.value_at_quantile(0.99) });
        json!({
            "machine": machine,
            "cells": self.cells,
            "load_s": self.loaded_in.as_secs_f64(),
            "resident_bytes": self.resident_bytes,
            "resident_bytes_per_cell": self.bytes_per_cell(),
            "reservation_with_few_cells": latency(&self.with_few_cells),
            "reservation_with_all_cells": latency(&self.with_all_cells),
            "few_cells": FEW_CELLS,
            "restart_s": self.restarted_in.as_secs_f64(),
            "data_bytes": self.data_bytes,
            "snapshot_bytes": self.snapshot_bytes,
            "shard_snapshot": {
                "cells": self.snapshot.cells,
                "copy_ms": self.snapshot.copied_in.as_secs_f64() * 1000.0,
                "check_and_encode_s": self.snapshot.encoded_in.as_secs_f64(),
                "decode_and_check_s": self.snapshot.decoded_in.as_secs_f64(),
                "bytes": self.snapshot.bytes,
            },
        })
    }
}

impl fmt::Display for Scale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, figure: String| writeln!(f, "{name:<56}{figure:>16}");
        line("cells", self.cells.to_string())?;
        line("loaded in, s", format!("{:.1}", self.loaded_in.as_secs_f64()))?;
        for (number, (bytes, per_cell)) in (1..).zip(self.resident_bytes.iter().zip(self.bytes_per_cell())) {
            line(&format!("resident bytes of node {number}"), bytes.to_string())?;
            line("  per cell", format!("{per_cell:.1}"))?;
        }
        for (cells, latency) in [
            (FEW_CELLS, &self.with_few_cells),
            (self.cells, &self.with_all_cells),
        ] {
            for (name, quantile) in [("p50", 0.5), ("p99", 0.99)] {
                let name = format!("reservation with {cells} cells, {name} us");
                line(&name, latency.value_at_quantile(quantile).to_string())?;
            }
        }
        let restarted_s = self.restarted_in.as_secs_f64();
        line(
            "from SIGKILL of a node until it is ready, s",
            format!("{restarted_s:.2}"),
        )?;
        line("its data folder, bytes", self.data_bytes.to_string())?;
        line("  of these its snapshots", self.snapshot_bytes.to_string())?;
        let ShardSnapshot {
            cells,
            copied_in,
            encoded_in,
            decoded_in,
            bytes,
        } = &self.snapshot;
        let what = format!("a shard of {cells} cells alone, with as many operation ids:");
        line(&what, String::new())?;
        let copied_ms = copied_in.as_secs_f64() * 1000.0;
        line(
            "  copied (nothing is applied meanwhile), ms",
            format!("{copied_ms:.1}"),
        )?;
        let seconds = |took: &Duration| format!("{:.2}", took.as_secs_f64());
        line("  checked and encoded beside it, s", seconds(encoded_in))?;
        line("  decoded and checked, s", seconds(decoded_in))?;
        line("  snapshot, bytes", bytes.to_string())
    }
}
