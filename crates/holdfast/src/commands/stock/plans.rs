//! Supplies that are expected, and deficits.

use holdfast_client::v1;
use serde_json::{Value, json};

use super::mutate::CellArgs;
use crate::arguments::{OperationArgs, consistency, time_ms};
use crate::commands::mutation::carry_out;
use crate::context::Context;
use crate::render;

/// Most cells that one request asks for.
const PAGE: u32 = 20;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast stock expect SHIRT-1 --warehouse LONDON --supply-id po-17 --quantity 200 --at 2026-12-01T08:00:00Z\n  holdfast stock expect SHIRT-1 --warehouse LONDON --supply-id po-17 --quantity 0 --at 0"
)]
pub(super) struct ExpectArgs {
    #[command(flatten)]
    cell: CellArgs,
    /// Id of the supply, such as a purchase order or a delivery
    #[arg(long)]
    supply_id: String,
    /// Units that it will still bring; 0 means that nothing more is expected
    #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..))]
    quantity: i64,
    /// Time when it should be there: a UTC time, or milliseconds since the Unix epoch
    #[arg(long, value_name = "TIME", value_parser = time_ms)]
    at: u64,
    #[command(flatten)]
    operation: OperationArgs,
}

pub(super) async fn expect(args: ExpectArgs, context: &Context) -> anyhow::Result<()> {
    let operation = args.operation.start();
    carry_out(&operation, context, async |client, operation| {
        let request = v1::ExpectSupplyRequest {
            operation,
            sku: args.cell.sku,
            warehouse: args.cell.warehouse,
            supply_id: args.supply_id,
            quantity: args.quantity,
            expected_at_ms: args.at,
        };
        client.expect_supply(request).await
    })
    .await
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast stock supplies SHIRT-1")]
pub(super) struct SuppliesArgs {
    /// SKU to show
    sku: String,
    /// Only this warehouse
    #[arg(long, default_value = "", hide_default_value = true)]
    warehouse: String,
    /// Read what the asked node knows, without asking a quorum; it may be old
    #[arg(long)]
    stale: bool,
}

pub(super) async fn supplies(args: SuppliesArgs, context: &Context) -> anyhow::Result<()> {
    let request = v1::ListSuppliesRequest {
        sku: args.sku,
        warehouse: args.warehouse,
        consistency: consistency(args.stale),
    };
    let answer = context.client()?.list_supplies(request).await?;
    if context.json {
        let supply = |supply: &v1::Supply| -> Value {
            json!({
                "warehouse": supply.warehouse,
                "supply_id": supply.supply_id,
                "quantity": supply.quantity,
                "expected_at_ms": supply.expected_at_ms,
            })
        };
        context.output.json(&json!({
            "read": render::read(answer.read.as_ref()),
            "supplies": answer.supplies.iter().map(supply).collect::<Vec<_>>(),
        }))?;
        return Ok(());
    }
    let row = |supply: &v1::Supply| {
        vec![
            supply.warehouse.clone(),
            supply.supply_id.clone(),
            supply.quantity.to_string(),
            render::time(supply.expected_at_ms),
        ]
    };
    let rows: Vec<Vec<String>> = answer.supplies.iter().map(row).collect();
    context
        .output
        .table(&["WAREHOUSE", "SUPPLY", "QUANTITY", "EXPECTED"], &rows)?;
    context.output.note(render::read_note(answer.read.as_ref()));
    Ok(())
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast stock deficits\n  holdfast stock deficits --shard 0 --json")]
pub(super) struct DeficitsArgs {
    /// Only this shard
    #[arg(long)]
    shard: Option<u32>,
    /// Read what the asked node knows, without asking a quorum; it may be old
    #[arg(long)]
    stale: bool,
}

pub(super) async fn deficits(args: DeficitsArgs, context: &Context) -> anyhow::Result<()> {
    let client = context.client()?;
    let mut deficits = Vec::new();
    for shard in context.shards(args.shard).await? {
        let (mut after_sku, mut after_warehouse) = (String::new(), String::new());
        loop {
            let request = v1::ListDeficitsRequest {
                shard,
                after_sku,
                after_warehouse,
                limit: PAGE,
                consistency: consistency(args.stale),
            };
            let page = client.list_deficits(request).await?.deficits;
            let is_last = page.len() < PAGE as usize;
            let last = page.last().and_then(|last| last.cell.clone()).unwrap_or_default();
            (after_sku, after_warehouse) = (last.sku, last.warehouse);
            deficits.extend(page);
            if is_last {
                break;
            }
        }
    }
    if context.json {
        let deficits: Vec<Value> = deficits.iter().map(deficit_json).collect();
        context.output.json(&json!({ "deficits": deficits }))?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = deficits.iter().flat_map(deficit_rows).collect();
    context.output.table(
        &[
            "SKU",
            "WAREHOUSE",
            "DEFICIT",
            "RESERVATION",
            "STOREFRONT",
            "CREATED",
            "REFERENCE",
            "UNITS",
            "SHORT",
        ],
        &rows,
    )?;
    context.output.note(format!(
        "{} cells have less than was promised; the oldest reservations get their units first",
        deficits.len()
    ));
    Ok(())
}

fn deficit_rows(deficit: &v1::Deficit) -> Vec<Vec<String>> {
    let cell = deficit.cell.clone().unwrap_or_default();
    let row = |affected: &v1::AffectedReservation| {
        vec![
            cell.sku.clone(),
            cell.warehouse.clone(),
            cell.deficit.to_string(),
            render::id(&affected.reservation_id),
            affected.storefront.clone(),
            render::time(affected.created_at_ms),
            affected.reference.clone(),
            affected.quantity.to_string(),
            affected.missing.to_string(),
        ]
    };
    deficit.reservations.iter().map(row).collect()
}

fn deficit_json(deficit: &v1::Deficit) -> Value {
    let affected = |affected: &v1::AffectedReservation| {
        json!({
            "reservation_id": render::id(&affected.reservation_id),
            "storefront": affected.storefront,
            "created_at_ms": affected.created_at_ms,
            "reference": affected.reference,
            "committed": affected.committed,
            "quantity": affected.quantity,
            "short": affected.missing,
        })
    };
    json!({
        "cell": deficit.cell.as_ref().map(render::cell),
        "reservations": deficit.reservations.iter().map(affected).collect::<Vec<_>>(),
        "left_off": deficit.left_off,
    })
}
