//! Reading cells.

use futures::StreamExt as _;
use holdfast_client::v1;
use serde_json::{Value, json};

use crate::arguments::consistency;
use crate::context::Context;
use crate::render;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast stock get SHIRT-1\n  holdfast stock get SHIRT-1 --warehouse LONDON --json")]
pub(super) struct GetArgs {
    /// What
    sku: String,
    /// Only there
    #[arg(long, default_value = "", hide_default_value = true)]
    warehouse: String,
    /// Take what the asked node knows, without asking a quorum
    #[arg(long)]
    stale: bool,
}

pub(super) async fn get(args: GetArgs, context: &Context) -> anyhow::Result<()> {
    let request = v1::GetStockRequest {
        sku: args.sku.clone(),
        warehouse: args.warehouse,
        consistency: consistency(args.stale),
    };
    let answer = context.client()?.get_stock(request).await?;
    if context.json {
        let cells: Vec<Value> = answer.cells.iter().map(render::cell).collect();
        context.output.json(&json!({ "read": render::read(answer.read.as_ref()), "cells": cells }))?;
        return Ok(());
    }
    if answer.cells.is_empty() {
        context.output.line(format!("{} has no stock there ({})", args.sku, render::read_note(answer.read.as_ref())))?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = answer.cells.iter().map(render::cell_row).collect();
    context.output.table(&render::CELL_HEADERS, &rows)?;
    context.output.note(render::read_note(answer.read.as_ref()));
    Ok(())
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast stock list\n  holdfast stock list --shard 0 --json > cells.jsonl")]
pub(super) struct ListArgs {
    /// Only this shard
    #[arg(long)]
    shard: Option<u32>,
    /// Take what the asked node knows, without asking a quorum
    #[arg(long)]
    stale: bool,
}

/// Prints cells as they come, so that a large cluster needs no memory here: with JSON one object for each cell, then one for
/// the end of each shard.
pub(super) async fn list(args: ListArgs, context: &Context) -> anyhow::Result<()> {
    let request = v1::ListStockRequest { shard: args.shard, consistency: consistency(args.stale) };
    let mut answers = std::pin::pin!(context.client()?.list_stock(request));
    let mut cells: u64 = 0;
    while let Some(answer) = answers.next().await {
        let answer = answer?;
        cells += answer.cells.len() as u64;
        if context.json {
            for cell in &answer.cells {
                context.output.json(&render::cell(cell))?;
            }
            if !answer.state_digest.is_empty() {
                let digest: String = answer.state_digest.iter().map(|byte| format!("{byte:02x}")).collect();
                context.output.json(&json!({ "read": render::read(answer.read.as_ref()), "state_digest": digest }))?;
            }
            continue;
        }
        if !answer.cells.is_empty() {
            let rows: Vec<Vec<String>> = answer.cells.iter().map(render::cell_row).collect();
            context.output.table(&render::CELL_HEADERS, &rows)?;
        }
        if !answer.state_digest.is_empty() {
            context.output.note(render::read_note(answer.read.as_ref()));
        }
    }
    context.output.note(format!("{cells} cells"));
    Ok(())
}
