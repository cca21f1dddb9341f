//! `holdfast transfer`: goods in transit from one warehouse to another.

use clap::Subcommand;
use holdfast_client::{id_bytes, v1};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::arguments::{AsOfArgs, Disposition, OperationArgs, OrderLine, consistency, order_line, time_ms};
use crate::commands::mutation::carry_out;
use crate::context::Context;
use crate::render;

/// Most transfers that one request asks for.
const PAGE: u32 = 1_000;

/// Arguments of `holdfast transfer`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast transfer out SHIRT-1=20 --from LONDON --to LEEDS --expected-at 2026-12-01T08:00:00Z\n  holdfast transfer list"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: TransferCommand,
}

#[derive(Debug, Subcommand)]
enum TransferCommand {
    /// Send free units to another warehouse
    Out(OutArgs),
    /// Book in the units of a transfer that have arrived, all or some
    In(InArgs),
    /// Write off what is in transit and will never arrive
    Close(CloseArgs),
    /// Show one transfer as it stands
    Get(GetArgs),
    /// List the transfers with units in transit
    List(ListArgs),
}

/// Arguments that name a transfer.
#[derive(Debug, clap::Args)]
struct TransferArgs {
    /// The transfer's id: the operation id of its `transfer out`
    #[arg(value_name = "TRANSFER")]
    transfer: Uuid,
    /// The shard that has it, when you know it; otherwise every shard is asked
    #[arg(long)]
    shard: Option<u32>,
}

impl TransferArgs {
    fn key(&self) -> Option<v1::TransferKey> {
        Some(v1::TransferKey {
            transfer_id: id_bytes(self.transfer),
            shard: self.shard,
        })
    }
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast transfer out SHIRT-1=20 --from LONDON --to LEEDS --expected-at 2026-12-01T08:00:00Z --reference note-17"
)]
struct OutArgs {
    /// SKU and quantity; lines of one SKU are added up. All of it leaves or nothing, whichever shards the
    /// SKUs live in
    #[arg(value_name = "SKU=QTY", required = true, value_parser = order_line)]
    lines: Vec<OrderLine>,
    /// Warehouse that the goods leave
    #[arg(long)]
    from: String,
    /// Warehouse that the goods go to
    #[arg(long)]
    to: String,
    /// Time when the goods should be there: a UTC time, or milliseconds since the Unix epoch
    #[arg(long, value_name = "TIME", value_parser = time_ms)]
    expected_at: u64,
    #[command(flatten)]
    as_of: AsOfArgs,
    #[command(flatten)]
    operation: OperationArgs,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast transfer in 01936f3e-6a00-7000-8000-000000000001\n  holdfast transfer in 01936f3e-6a00-7000-8000-000000000001 SHIRT-1=3 --disposition damaged"
)]
struct InArgs {
    #[command(flatten)]
    transfer: TransferArgs,
    /// SKU and quantity that arrived; everything that is still in transit when left out
    #[arg(value_name = "SKU=QTY", value_parser = order_line)]
    lines: Vec<OrderLine>,
    /// Where the goods go
    #[arg(long, value_enum, default_value_t = Disposition::Restock)]
    disposition: Disposition,
    #[command(flatten)]
    as_of: AsOfArgs,
    #[command(flatten)]
    operation: OperationArgs,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast transfer close 01936f3e-6a00-7000-8000-000000000001 --reason lost"
)]
struct CloseArgs {
    #[command(flatten)]
    transfer: TransferArgs,
    #[command(flatten)]
    operation: OperationArgs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast transfer get 01936f3e-6a00-7000-8000-000000000001")]
struct GetArgs {
    #[command(flatten)]
    transfer: TransferArgs,
    /// Read what the asked node knows, without asking a quorum; it may be old
    #[arg(long)]
    stale: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast transfer list\n  holdfast transfer list --shard 0 --json")]
struct ListArgs {
    /// Only this shard
    #[arg(long)]
    shard: Option<u32>,
    /// Read what the asked node knows, without asking a quorum; it may be old
    #[arg(long)]
    stale: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    match args.command {
        TransferCommand::Out(args) => out(args, context).await,
        TransferCommand::In(args) => arrive(args, context).await,
        TransferCommand::Close(args) => close(args, context).await,
        TransferCommand::Get(args) => get(args, context).await,
        TransferCommand::List(args) => list(args, context).await,
    }
}

fn transfer_lines(lines: Vec<OrderLine>) -> Vec<v1::TransferLine> {
    let line = |line: OrderLine| v1::TransferLine {
        sku: line.sku,
        quantity: line.quantity,
    };
    lines.into_iter().map(line).collect()
}

async fn out(args: OutArgs, context: &Context) -> anyhow::Result<()> {
    let operation = args.operation.start_as_of(args.as_of);
    carry_out(&operation, context, async |client, operation| {
        let request = v1::TransferOutRequest {
            operation,
            lines: transfer_lines(args.lines),
            from_warehouse: args.from,
            to_warehouse: args.to,
            expected_at_ms: args.expected_at,
        };
        client.transfer_out(request).await
    })
    .await?;
    context
        .output
        .note(format!("next: holdfast transfer in {}", operation.id));
    Ok(())
}

async fn arrive(args: InArgs, context: &Context) -> anyhow::Result<()> {
    let operation = args.operation.start_as_of(args.as_of);
    carry_out(&operation, context, async |client, operation| {
        let request = v1::TransferInRequest {
            operation,
            transfer: args.transfer.key(),
            lines: transfer_lines(args.lines),
            disposition: args.disposition.message(),
        };
        client.transfer_in(request).await
    })
    .await
}

async fn close(args: CloseArgs, context: &Context) -> anyhow::Result<()> {
    let operation = args.operation.start();
    carry_out(&operation, context, async |client, operation| {
        let request = v1::CloseTransferRequest {
            operation,
            transfer: args.transfer.key(),
        };
        client.close_transfer(request).await
    })
    .await
}

async fn get(args: GetArgs, context: &Context) -> anyhow::Result<()> {
    let request = v1::GetTransferRequest {
        transfer: args.transfer.key(),
        consistency: consistency(args.stale),
    };
    let answer = context.client()?.get_transfer(request).await?;
    let transfer = answer
        .transfer
        .ok_or_else(|| anyhow::anyhow!("the answer has no transfer"))?;
    if context.json {
        context.output.json(&json!({
            "read": render::read(answer.read.as_ref()),
            "transfer": transfer_json(&transfer),
        }))?;
        return Ok(());
    }
    context.output.table(&HEADERS, &rows(&transfer))?;
    context.output.note(render::read_note(answer.read.as_ref()));
    Ok(())
}

async fn list(args: ListArgs, context: &Context) -> anyhow::Result<()> {
    let client = context.client()?;
    let shards = context.shards(args.shard).await?;
    let mut transfers = Vec::new();
    for shard in shards {
        let mut after_transfer_id = bytes::Bytes::new();
        loop {
            let request = v1::ListTransfersRequest {
                shard,
                after_transfer_id,
                limit: PAGE,
                consistency: consistency(args.stale),
            };
            let page = client.list_transfers(request).await?.transfers;
            let Some(last) = page.last() else { break };
            after_transfer_id = last.transfer_id.clone();
            transfers.extend(page);
        }
    }
    if context.json {
        let transfers: Vec<Value> = transfers.iter().map(transfer_json).collect();
        context.output.json(&json!({ "transfers": transfers }))?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = transfers.iter().flat_map(rows).collect();
    context.output.table(&HEADERS, &rows)?;
    context.output.note(format!("{} transfers", transfers.len()));
    Ok(())
}

const HEADERS: [&str; 10] = [
    "TRANSFER",
    "FROM",
    "TO",
    "EXPECTED",
    "CLOSED",
    "SKU",
    "SENT",
    "RECEIVED",
    "WRITTEN OFF",
    "IN TRANSIT",
];

fn rows(transfer: &v1::Transfer) -> Vec<Vec<String>> {
    let row = |line: &v1::TransferProgress| {
        vec![
            render::id(&transfer.transfer_id),
            transfer.from_warehouse.clone(),
            transfer.to_warehouse.clone(),
            render::time(transfer.expected_at_ms),
            render::time(transfer.closed_at_ms),
            line.sku.clone(),
            line.sent.to_string(),
            line.received.to_string(),
            line.written_off.to_string(),
            line.in_transit.to_string(),
        ]
    };
    transfer.lines.iter().map(row).collect()
}

fn transfer_json(transfer: &v1::Transfer) -> Value {
    let line = |line: &v1::TransferProgress| {
        json!({
            "sku": line.sku,
            "sent": line.sent,
            "received": line.received,
            "written_off": line.written_off,
            "in_transit": line.in_transit,
        })
    };
    json!({
        "transfer_id": render::id(&transfer.transfer_id),
        "from": transfer.from_warehouse,
        "to": transfer.to_warehouse,
        "created_at_ms": transfer.created_at_ms,
        "expected_at_ms": transfer.expected_at_ms,
        "closed_at_ms": transfer.closed_at_ms,
        "reference": transfer.reference,
        "lines": transfer.lines.iter().map(line).collect::<Vec<_>>(),
        "shard": transfer.shard,
    })
}
