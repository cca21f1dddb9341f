//! `holdfast stock generate`: stocks a generated catalogue, with many receives in a message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::Context as _;
use holdfast_client::v1::batch_item::Request;
use holdfast_client::{BatchOptions, BatchStream, ClientError, MAX_BATCH_ITEMS, feed_operation_id, v1};
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::catalogue;
use crate::context::Context;
use crate::failure::{FailedOperation, Usage};

/// Arguments of `holdfast stock generate`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast stock generate --skus 10000 --warehouses 5 --hot 3\n  holdfast stock generate --skus 100 --warehouses 1 --run-id 1764000000000\n\nRun again with the same --run-id within the operation window (24 h) and nothing is received twice."
)]
pub(super) struct Args {
    /// How many SKUs: SKU-000001, SKU-000002, ...
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=20_000_000))]
    skus: u32,
    /// How many warehouses: WH-1, WH-2, ...
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=64))]
    warehouses: u32,
    /// How many of the first SKUs are hot
    #[arg(long, default_value_t = 3)]
    hot: u32,
    /// Units of each SKU in each warehouse
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(i64).range(1..))]
    quantity: i64,
    /// Units of each hot SKU in each warehouse
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(i64).range(1..))]
    hot_quantity: i64,
    /// How many receives are under way at a time
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    concurrency: u32,
    /// Milliseconds since the Unix epoch that go into the operation ids; the present time when left out
    #[arg(long, value_name = "MS")]
    run_id: Option<u64>,
}

pub(super) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    if args.hot > args.skus {
        return Err(Usage(format!("--hot {} is more than --skus {}", args.hot, args.skus)).into());
    }
    let run_id = args.run_id.unwrap_or_else(now_ms);
    let started = Instant::now();
    let cells = u64::from(args.skus) * u64::from(args.warehouses);
    let work = Arc::new(Work {
        args,
        run_id,
        cells,
        next: AtomicU64::new(0),
        replayed: AtomicU64::new(0),
    });
    let batch = context.client()?.batch(BatchOptions {
        max_items: MAX_BATCH_ITEMS,
        max_in_flight: work.args.concurrency as usize,
        ..BatchOptions::default()
    });
    let mut workers = JoinSet::new();
    for _ in 0..u64::from(work.args.concurrency).min(cells) {
        workers.spawn(receive_cells(batch.clone(), Arc::clone(&work)));
    }
    while let Some(done) = workers.join_next().await {
        done.context("a worker failed")??;
    }
    let elapsed = started.elapsed();
    let replayed = work.replayed.load(Ordering::Relaxed);
    if context.json {
        context.output.json(&json!({
            "skus": work.args.skus,
            "warehouses": work.args.warehouses,
            "cells": cells,
            "received": cells - replayed,
            "replayed": replayed,
            "run_id": run_id,
            "elapsed_ms": u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        }))?;
    } else {
        context.output.line(format!(
            "{} cells of {} SKUs in {} warehouses stocked in {:.1} s, {replayed} of them by an earlier run; --run-id {run_id} repeats this run without receiving twice",
            cells,
            work.args.skus,
            work.args.warehouses,
            elapsed.as_secs_f64(),
        ))?;
    }
    Ok(())
}

struct Work {
    args: Args,
    run_id: u64,
    cells: u64,
    next: AtomicU64,
    replayed: AtomicU64,
}

async fn receive_cells(batch: BatchStream, work: Arc<Work>) -> Result<(), FailedOperation> {
    loop {
        let cell = work.next.fetch_add(1, Ordering::Relaxed);
        if cell >= work.cells {
            return Ok(());
        }
        let warehouses = u64::from(work.args.warehouses);
        // Both fit: `cell` is below their product.
        let sku_index = u32::try_from(cell / warehouses).unwrap_or(u32::MAX);
        let warehouse_index = u32::try_from(cell % warehouses).unwrap_or(u32::MAX);
        let sku = catalogue::sku(sku_index);
        let warehouse = catalogue::warehouse(warehouse_index);
        let quantity = if sku_index < work.args.hot {
            work.args.hot_quantity
        } else {
            work.args.quantity
        };
        let operation_id = feed_operation_id(work.run_id, "stock-generate", &format!("{sku}/{warehouse}"));
        let failed = |source: ClientError| FailedOperation {
            operation_id: Uuid::from_slice(&operation_id).unwrap_or_default(),
            source,
        };
        let request = Request::Receive(v1::ReceiveRequest {
            operation: Some(v1::Operation {
                operation_id: operation_id.clone(),
                reference: String::new(),
                reason: "generated".to_owned(),
                repeats: false,
                ..v1::Operation::default()
            }),
            sku,
            warehouse,
            quantity,
            supply_id: String::new(),
        });
        let answer = batch.submit(request).await.map_err(failed)?;
        if answer.receipt().is_some_and(|receipt| receipt.replayed) {
            work.replayed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Returns the present time, by the clock that ids are made from.
fn now_ms() -> u64 {
    let (seconds, nanos) = Uuid::now_v7()
        .get_timestamp()
        .map_or((0, 0), |time| time.to_unix());
    seconds * 1000 + u64::from(nanos) / 1_000_000
}
