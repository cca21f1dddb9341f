//! Commands that read cells.

use clap::ValueEnum;
use futures::StreamExt as _;
use holdfast_client::v1;
use serde_json::{Value, json};

use crate::arguments::consistency;
use crate::commands::as_of::{self, AsOfArgs};
use crate::context::Context;
use crate::output::Output;
use crate::render;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast stock get SHIRT-1\n  holdfast stock get SHIRT-1 --warehouse LONDON --json\n  holdfast stock get SHIRT-1 --as-of 2026-11-21T09:30:00Z\n  holdfast stock get SHIRT-1 --as-of 0:17 --archive ./lake"
)]
pub(super) struct GetArgs {
    /// SKU to show
    sku: String,
    /// Only this warehouse
    #[arg(long, default_value = "", hide_default_value = true)]
    warehouse: String,
    /// Read what the asked node knows, without asking a quorum; it may be old
    #[arg(long)]
    stale: bool,
    #[command(flatten)]
    as_of: AsOfArgs,
}

pub(super) async fn get(args: GetArgs, context: &Context) -> anyhow::Result<()> {
    if let Some(asked) = args.as_of.asked() {
        return as_of::stock(&args.sku, &args.warehouse, asked, context).await;
    }
    let request = v1::GetStockRequest {
        sku: args.sku.clone(),
        warehouse: args.warehouse,
        consistency: consistency(args.stale),
    };
    let answer = context.client()?.get_stock(request).await?;
    if context.json {
        let cells: Vec<Value> = answer.cells.iter().map(render::cell).collect();
        context
            .output
            .json(&json!({ "read": render::read(answer.read.as_ref()), "cells": cells }))?;
        return Ok(());
    }
    if answer.cells.is_empty() {
        context.output.line(format!(
            "{} has no stock there ({})",
            args.sku,
            render::read_note(answer.read.as_ref())
        ))?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = answer.cells.iter().map(render::cell_row).collect();
    context.output.table(&render::CELL_HEADERS, &rows)?;
    context.output.note(render::read_note(answer.read.as_ref()));
    Ok(())
}

/// The shape of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Table, for people
    Table,
    /// One object for each cell, then one for the end of each shard
    Json,
    /// One row for each cell, with the shard's position; pools are added up
    Csv,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "CSV has each SKU as it is. A spreadsheet treats a SKU that begins with = + - or @ as a formula: let it read the column as text.\n\nExamples:\n  holdfast stock list\n  holdfast stock list --shard 0 --json > cells.jsonl\n  holdfast stock list --format csv > ledger_stock.csv"
)]
pub(super) struct ListArgs {
    /// Only this shard
    #[arg(long)]
    shard: Option<u32>,
    /// Read what the asked node knows, without asking a quorum; it may be old
    #[arg(long)]
    stale: bool,
    /// The shape of the list; --json is the same as --format json
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
}

/// Columns of a CSV list: those of the warehouse's `ledger_stock`.
const CSV_HEADER: [&str; 15] = [
    "shard",
    "change_seq",
    "sku",
    "warehouse",
    "on_hand",
    "free",
    "pool",
    "safety",
    "held",
    "committed",
    "damaged",
    "quality_hold",
    "deficit",
    "backordered",
    "in_transit",
];

/// Prints cells as they arrive, so that a large cluster needs no memory here.
pub(super) async fn list(args: ListArgs, context: &Context) -> anyhow::Result<()> {
    let format = match args.format {
        Format::Table if context.json => Format::Json,
        format => format,
    };
    let request = v1::ListStockRequest {
        shard: args.shard,
        consistency: consistency(args.stale),
    };
    let mut answers = std::pin::pin!(context.client()?.list_stock(request));
    let mut cells: u64 = 0;
    if format == Format::Csv {
        context.output.line(CSV_HEADER.join(","))?;
    }
    while let Some(answer) = answers.next().await {
        let answer = answer?;
        cells += answer.cells.len() as u64;
        match format {
            Format::Table => print_table(&answer, context.output)?,
            Format::Json => print_json(&answer, context.output)?,
            Format::Csv => print_csv(&answer, context.output)?,
        }
    }
    if format == Format::Table {
        context.output.note(format!("{cells} cells"));
    }
    Ok(())
}

fn print_table(answer: &v1::ListStockResponse, output: Output) -> anyhow::Result<()> {
    if !answer.cells.is_empty() {
        let rows: Vec<Vec<String>> = answer.cells.iter().map(render::cell_row).collect();
        output.table(&render::CELL_HEADERS, &rows)?;
    }
    if !answer.state_digest.is_empty() {
        output.note(render::read_note(answer.read.as_ref()));
    }
    Ok(())
}

fn print_json(answer: &v1::ListStockResponse, output: Output) -> anyhow::Result<()> {
    let mut lines = Vec::new();
    for cell in &answer.cells {
        lines.push(render::cell(cell).to_string());
    }
    if !answer.state_digest.is_empty() {
        let digest: String = answer
            .state_digest
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let end = json!({ "read": render::read(answer.read.as_ref()), "state_digest": digest });
        lines.push(end.to_string());
    }
    if !lines.is_empty() {
        output.line(lines.join("\n"))?;
    }
    Ok(())
}

fn print_csv(answer: &v1::ListStockResponse, output: Output) -> anyhow::Result<()> {
    let shard = answer
        .read
        .and_then(|read| read.position)
        .map_or(0, |position| position.shard);
    let change_seq = answer.read.map_or(0, |read| read.change_seq);
    let mut writer = csv::Writer::from_writer(Vec::new());
    for cell in &answer.cells {
        let pool: i64 = cell
            .pools
            .iter()
            .map(|pool| pool.quantity)
            .fold(0, i64::saturating_add);
        writer.serialize((
            (shard, change_seq, &cell.sku, &cell.warehouse),
            (cell.on_hand, cell.free, pool, cell.safety, cell.held),
            (cell.committed, cell.damaged, cell.quality_hold, cell.deficit),
            (cell.backordered, cell.in_transit),
        ))?;
    }
    let rows = String::from_utf8(writer.into_inner()?)?;
    if !rows.is_empty() {
        output.line(rows.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_csv_row_has_as_many_fields_as_the_header() {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let row = ((0, 0, "A", "B"), (1, 2, 3, 4, 5), (6, 7, 8, 9), (10, 11));
        writer.serialize(row).unwrap();
        let text = String::from_utf8(writer.into_inner().unwrap()).unwrap();
        assert_eq!(text, "0,0,A,B,1,2,3,4,5,6,7,8,9,10,11\n");
        assert_eq!(text.split(',').count(), CSV_HEADER.len());
    }
}
