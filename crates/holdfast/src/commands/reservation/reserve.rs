//! `holdfast reserve`: takes stock for a buyer.

use clap::ValueEnum;
use holdfast_client::{id_bytes, v1};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::arguments::{OperationArgs, OrderLine, duration_ms, order_line};
use crate::context::Context;
use crate::render;

/// Behaviour when a line cannot be filled.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Mode {
    /// Grant every line in full, or nothing
    AllOrNothing,
    /// Fill as much of each line as there is
    BestEffort,
}

/// Choice of warehouses, for all lines together.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sourcing {
    /// Choose for each line by itself
    AsGiven,
    /// Use few warehouses for the whole order
    FewestShipments,
    /// Take each line from the warehouse that has most available
    Balance,
}

/// Arguments of `holdfast reserve`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast reserve SHIRT-1=2 --storefront web --reference order-1001\n  holdfast reserve SHIRT-1=2 HAT=1 --ttl 5m --mode best-effort\n  holdfast reserve SHIRT-1=2 --prefer LONDON,LEEDS\n  holdfast reserve SHIRT-1=2 HAT=1 --sourcing fewest-shipments\n  holdfast reserve SHIRT-1=2 SOCKS=3 --replace 01936f3e-6a00-7000-8000-000000000000\n  holdfast reserve SHIRT-1=2 --reference order-1001 --unique-reference"
)]
pub(crate) struct Args {
    /// SKU and quantity; one line for each
    #[arg(value_name = "SKU=QTY", required = true, value_parser = order_line)]
    lines: Vec<OrderLine>,
    /// Storefront that sells
    #[arg(long, default_value = "web")]
    storefront: String,
    /// How long the hold lives
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration_ms)]
    ttl: u64,
    /// Whether a line may be filled in part
    #[arg(long, value_enum, default_value_t = Mode::AllOrNothing)]
    mode: Mode,
    /// Only from this warehouse
    #[arg(long, conflicts_with = "prefer")]
    warehouse: Option<String>,
    /// Only from these warehouses, in this order
    #[arg(long, value_name = "WAREHOUSE,...", value_delimiter = ',')]
    prefer: Vec<String>,
    /// How warehouses are chosen for all lines together
    #[arg(long, value_enum, default_value_t = Sourcing::AsGiven)]
    sourcing: Sourcing,
    /// The hold that this reservation replaces in one step: units that both want stay taken, the rest of the
    /// old hold is released
    #[arg(long, value_name = "RESERVATION")]
    replace: Option<Uuid>,
    /// The shard that has the hold to replace, when you know it; otherwise every shard is asked
    #[arg(long, value_name = "SHARD", requires = "replace")]
    replace_shard: Option<u32>,
    /// Refuse when another hold or commit of the storefront has this reference and was made with this option
    /// too, so that an order saved twice is held once
    #[arg(long, requires = "reference")]
    unique_reference: bool,
    #[command(flatten)]
    operation: OperationArgs,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let kind = match args.warehouse {
        Some(warehouse) => Some(v1::source::Kind::Warehouse(warehouse)),
        None if !args.prefer.is_empty() => Some(v1::source::Kind::Preference(v1::WarehouseList {
            warehouses: args.prefer,
        })),
        None => None,
    };
    let source = kind.map(|kind| v1::Source { kind: Some(kind) });
    let mode = match args.mode {
        Mode::AllOrNothing => v1::ReserveMode::AllOrNothing,
        Mode::BestEffort => v1::ReserveMode::BestEffort,
    };
    let sourcing = match args.sourcing {
        Sourcing::AsGiven => v1::Sourcing::AsGiven,
        Sourcing::FewestShipments => v1::Sourcing::FewestShipments,
        Sourcing::Balance => v1::Sourcing::Balance,
    };
    let lines = args.lines.into_iter().map(|line| v1::ReserveLine {
        sku: line.sku,
        quantity: line.quantity,
        source: source.clone(),
    });
    let operation = args.operation.start();
    let request = v1::ReserveRequest {
        operation: operation.message(),
        storefront: args.storefront,
        lines: lines.collect(),
        ttl_ms: args.ttl,
        mode: mode.into(),
        sourcing: sourcing.into(),
        replaces: args.replace.map(|id| v1::ReservationKey {
            reservation_id: id_bytes(id),
            shard: args.replace_shard,
        }),
        unique_reference: args.unique_reference,
    };
    let granted = context
        .client()?
        .reserve(request)
        .await
        .map_err(|error| operation.failed(error))?;
    let id = operation.id.to_string();
    if context.json {
        let lines: Vec<Value> = granted.lines.iter().map(line_json).collect();
        context.output.json(&json!({
            "reservation_id": id,
            "receipt": render::receipt(granted.receipt.as_ref()),
            "expires_at_ms": granted.expires_at_ms,
            "lines": lines,
        }))?;
        return Ok(());
    }
    context.output.line(format!("reservation {id}"))?;
    context.output.line(format!(
        "held until {}, {}",
        render::time(granted.expires_at_ms),
        render::receipt_note(granted.receipt.as_ref())
    ))?;
    let rows: Vec<Vec<String>> = granted
        .lines
        .iter()
        .map(|line| {
            vec![
                line.line.to_string(),
                line.sku.clone(),
                line.requested.to_string(),
                line.granted.to_string(),
                render::allocations_text(&line.allocations),
            ]
        })
        .collect();
    context
        .output
        .table(&["LINE", "SKU", "REQUESTED", "GRANTED", "FROM"], &rows)?;
    context.output.note(format!("next: holdfast commit {id}"));
    Ok(())
}

fn line_json(line: &v1::GrantedLine) -> Value {
    json!({
        "line": line.line,
        "sku": line.sku,
        "requested": line.requested,
        "granted": line.granted,
        "allocations": render::allocations(&line.allocations),
    })
}
