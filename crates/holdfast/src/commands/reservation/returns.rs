//! `holdfast return`: books goods that come back.

use holdfast_client::{id_bytes, v1};
use uuid::Uuid;

use crate::arguments::{AsOfArgs, Disposition, OperationArgs, line_quantity, units};
use crate::commands::mutation::carry_out;
use crate::context::Context;

/// Arguments of `holdfast return`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast return 01936f3e-6a00-7000-8000-000000000001 --line 0=1 --disposition damaged\n  holdfast return --sku SHIRT-1 --warehouse LONDON --quantity 1"
)]
pub(crate) struct Args {
    /// The reservation that the goods were shipped for; left out when this ledger never saw the sale
    #[arg(value_name = "RESERVATION", required_unless_present = "sku", conflicts_with_all = ["sku", "warehouse", "quantity"])]
    reservation: Option<Uuid>,
    /// The shard that has it, when you know it
    #[arg(long, conflicts_with = "sku")]
    shard: Option<u32>,
    /// Units that come back; when left out, all that were shipped and have not come back
    #[arg(long = "line", value_name = "LINE=QTY[@WAREHOUSE]", value_parser = line_quantity, conflicts_with = "sku")]
    lines: Vec<v1::LineQuantity>,
    /// Without a reservation: the SKU that comes back
    #[arg(long, requires = "warehouse", requires = "quantity")]
    sku: Option<String>,
    /// Without a reservation: the warehouse that gets the goods
    #[arg(long, requires = "sku")]
    warehouse: Option<String>,
    /// Without a reservation: how many units, at least 1
    #[arg(long, requires = "sku", value_parser = units, allow_negative_numbers = true)]
    quantity: Option<i64>,
    /// Where the goods go
    #[arg(long, value_enum, default_value_t = Disposition::Restock)]
    disposition: Disposition,
    #[command(flatten)]
    as_of: AsOfArgs,
    #[command(flatten)]
    operation: OperationArgs,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let what = match args.reservation {
        Some(reservation) => v1::return_request::What::Reservation(v1::ReservationReturn {
            reservation: Some(v1::ReservationKey {
                reservation_id: id_bytes(reservation),
                shard: args.shard,
            }),
            lines: args.lines,
        }),
        None => v1::return_request::What::Unreferenced(v1::UnreferencedReturn {
            sku: args.sku.unwrap_or_default(),
            warehouse: args.warehouse.unwrap_or_default(),
            quantity: args.quantity.unwrap_or_default(),
        }),
    };
    let operation = args.operation.start_as_of(args.as_of);
    carry_out(&operation, context, async |client, operation| {
        let request = v1::ReturnRequest {
            operation,
            what: Some(what),
            disposition: args.disposition.message(),
        };
        client.r#return(request).await
    })
    .await
}
