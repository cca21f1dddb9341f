//! Movements of cells and their policies.

use clap::ValueEnum;
use holdfast_client::v1;

use crate::arguments::{AsOfArgs, OperationArgs, time_ms, units};
use crate::commands::mutation::carry_out;
use crate::context::Context;
use crate::failure::Usage;

/// Arguments that name a cell.
#[derive(Debug, clap::Args)]
pub(super) struct CellArgs {
    /// SKU of the cell
    pub(super) sku: String,
    /// Warehouse of the cell
    #[arg(long)]
    pub(super) warehouse: String,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast stock receive SHIRT-1 --warehouse LONDON --quantity 100 --reference delivery-4711\n  holdfast stock receive SHIRT-1 --warehouse LONDON --quantity 100 --supply-id po-17\n  holdfast stock receive SHIRT-1 --warehouse LONDON --quantity 36 --as-of 1041 --occurred-at 2026-11-30T06:10:00Z"
)]
pub(super) struct ReceiveArgs {
    #[command(flatten)]
    cell: CellArgs,
    /// How many base units, at least 1
    #[arg(long, value_parser = units, allow_negative_numbers = true)]
    quantity: i64,
    /// The supply that the units were expected as (`stock expect`): it then expects that many fewer
    #[arg(long, default_value = "", hide_default_value = true)]
    supply_id: String,
    #[command(flatten)]
    as_of: AsOfArgs,
    #[command(flatten)]
    operation: OperationArgs,
}

pub(super) async fn receive(args: ReceiveArgs, context: &Context) -> anyhow::Result<()> {
    let operation = args.operation.start_as_of(args.as_of);
    carry_out(&operation, context, async |client, operation| {
        let request = v1::ReceiveRequest {
            operation,
            sku: args.cell.sku,
            warehouse: args.cell.warehouse,
            quantity: args.quantity,
            supply_id: args.supply_id,
        };
        client.receive(request).await
    })
    .await
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast stock adjust SHIRT-1 --warehouse LONDON --delta -3 --reason stolen\n  holdfast stock adjust SHIRT-1 --warehouse LONDON --delta 3 --reason found"
)]
pub(super) struct AdjustArgs {
    #[command(flatten)]
    cell: CellArgs,
    /// Units to add (positive) or take (negative), not 0
    #[arg(long, allow_negative_numbers = true)]
    delta: i64,
    #[command(flatten)]
    as_of: AsOfArgs,
    #[command(flatten)]
    operation: OperationArgs,
}

pub(super) async fn adjust(args: AdjustArgs, context: &Context) -> anyhow::Result<()> {
    if !args.operation.has_reason() {
        return Err(
            Usage("an adjustment needs a reason: add --reason, such as --reason stolen".to_owned()).into(),
        );
    }
    let operation = args.operation.start_as_of(args.as_of);
    carry_out(&operation, context, async |client, operation| {
        let request = v1::AdjustRequest {
            operation,
            sku: args.cell.sku,
            warehouse: args.cell.warehouse,
            delta: args.delta,
        };
        client.adjust(request).await
    })
    .await
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast stock count SHIRT-1 --warehouse LONDON --counted 97\n  holdfast stock count SHIRT-1 --warehouse LONDON --counted 97 --as-of-seq 1042"
)]
pub(super) struct CountArgs {
    #[command(flatten)]
    cell: CellArgs,
    /// Units that were counted, at least 0
    #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..))]
    counted: i64,
    /// The shard's change sequence number when it was counted (`stock get` shows it); movements since then
    /// are applied again
    #[arg(long)]
    as_of_seq: Option<u64>,
    #[command(flatten)]
    operation: OperationArgs,
}

pub(super) async fn count(args: CountArgs, context: &Context) -> anyhow::Result<()> {
    let operation = args.operation.start();
    carry_out(&operation, context, async |client, operation| {
        let request = v1::CountRequest {
            operation,
            sku: args.cell.sku,
            warehouse: args.cell.warehouse,
            counted: args.counted,
            as_of_seq: args.as_of_seq,
        };
        client.count(request).await
    })
    .await
}

/// A bucket of a cell that units can be moved from or to.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum MovableBucket {
    Free,
    Safety,
    Damaged,
    QualityHold,
}

impl MovableBucket {
    fn message(self) -> i32 {
        match self {
            Self::Free => v1::Bucket::Free,
            Self::Safety => v1::Bucket::Safety,
            Self::Damaged => v1::Bucket::Damaged,
            Self::QualityHold => v1::Bucket::QualityHold,
        }
        .into()
    }
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast stock move SHIRT-1 --warehouse LONDON --quantity 2 --from free --to damaged --reason torn"
)]
pub(super) struct MoveArgs {
    #[command(flatten)]
    cell: CellArgs,
    /// How many base units, at least 1
    #[arg(long, value_parser = units, allow_negative_numbers = true)]
    quantity: i64,
    /// Bucket that the units leave
    #[arg(long)]
    from: MovableBucket,
    /// Bucket that the units go to
    #[arg(long)]
    to: MovableBucket,
    #[command(flatten)]
    operation: OperationArgs,
}

pub(super) async fn move_bucket(args: MoveArgs, context: &Context) -> anyhow::Result<()> {
    let operation = args.operation.start();
    carry_out(&operation, context, async |client, operation| {
        let request = v1::MoveBucketRequest {
            operation,
            sku: args.cell.sku,
            warehouse: args.cell.warehouse,
            from_bucket: args.from.message(),
            to_bucket: args.to.message(),
            quantity: args.quantity,
        };
        client.move_bucket(request).await
    })
    .await
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast stock policy SHIRT-1 --storefront outlet --may-borrow false\n  holdfast stock policy SHIRT-1 --storefront web --max-per-reservation 2\n  holdfast stock policy SHIRT-1 --storefront web --backorder-limit 50 --preorder-limit 500 --preorder-until 2026-12-01T00:00:00Z"
)]
pub(super) struct PolicyArgs {
    /// SKU that the stock policy is for
    sku: String,
    /// Storefront that the stock policy is for
    #[arg(long)]
    storefront: String,
    /// Whether it may take free stock when its pool is empty
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set)]
    may_borrow: bool,
    /// Most units of this SKU that one reservation may ask for; 0 means no limit
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..))]
    max_per_reservation: i64,
    /// Units of this SKU that may be sold beyond stock, over all warehouses; 0 means none
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..))]
    backorder_limit: i64,
    /// The same, but for the time before --preorder-until, and in place of that limit
    #[arg(long, default_value_t = 0, allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..), requires = "preorder_until")]
    preorder_limit: i64,
    /// When the preorder ends: RFC 3339, or milliseconds since the Unix epoch
    #[arg(long, value_name = "TIME", value_parser = time_ms)]
    preorder_until: Option<u64>,
    #[command(flatten)]
    operation: OperationArgs,
}

pub(super) async fn set_policy(args: PolicyArgs, context: &Context) -> anyhow::Result<()> {
    let operation = args.operation.start();
    carry_out(&operation, context, async |client, operation| {
        let request = v1::SetPolicyRequest {
            operation,
            sku: args.sku,
            storefront: args.storefront,
            may_borrow: args.may_borrow,
            max_per_reservation: args.max_per_reservation,
            backorder_limit: args.backorder_limit,
            preorder_limit: args.preorder_limit,
            preorder_until_ms: args.preorder_until.unwrap_or(0),
        };
        client.set_policy(request).await
    })
    .await
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast stock pool SHIRT-1 --warehouse LONDON --target 20 --storefront outlet"
)]
pub(super) struct PoolArgs {
    #[command(flatten)]
    cell: CellArgs,
    /// Units that the pool should have, at least 0
    #[arg(long, allow_negative_numbers = true, value_parser = clap::value_parser!(i64).range(0..))]
    target: i64,
    /// Storefront of the pool
    #[arg(long)]
    storefront: String,
    #[command(flatten)]
    operation: OperationArgs,
}

pub(super) async fn allocate_pool(args: PoolArgs, context: &Context) -> anyhow::Result<()> {
    let operation = args.operation.start();
    carry_out(&operation, context, async |client, operation| {
        let request = v1::AllocatePoolRequest {
            operation,
            sku: args.cell.sku,
            warehouse: args.cell.warehouse,
            storefront: args.storefront,
            target: args.target,
        };
        client.allocate_pool(request).await
    })
    .await
}
