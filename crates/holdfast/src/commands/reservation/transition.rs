//! `holdfast commit`, `release`, `extend`, `ship` and `cancel`: the steps that follow a hold.

use holdfast_client::v1;

use crate::arguments::{AsOfArgs, OperationArgs, ReservationArgs, duration_ms, line_quantity};
use crate::commands::mutation::carry_out;
use crate::context::Context;

/// Arguments of `holdfast commit`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast commit 01936f3e-6a00-7000-8000-000000000001")]
pub(crate) struct CommitArgs {
    #[command(flatten)]
    reservation: ReservationArgs,
    #[command(flatten)]
    operation: OperationArgs,
}

pub(crate) async fn commit(args: CommitArgs, context: &Context) -> anyhow::Result<()> {
    let operation = args.operation.start();
    carry_out(&operation, context, async |client, operation| {
        let request = v1::CommitRequest {
            operation,
            reservation: args.reservation.key(),
        };
        client.commit(request).await
    })
    .await
}

/// Arguments of `holdfast release`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast release 01936f3e-6a00-7000-8000-000000000001 --reason changed-mind"
)]
pub(crate) struct ReleaseArgs {
    #[command(flatten)]
    reservation: ReservationArgs,
    #[command(flatten)]
    operation: OperationArgs,
}

pub(crate) async fn release(args: ReleaseArgs, context: &Context) -> anyhow::Result<()> {
    let operation = args.operation.start();
    carry_out(&operation, context, async |client, operation| {
        let request = v1::ReleaseRequest {
            operation,
            reservation: args.reservation.key(),
        };
        client.release(request).await
    })
    .await
}

/// Arguments of `holdfast extend`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast extend 01936f3e-6a00-7000-8000-000000000001 --ttl 10m")]
pub(crate) struct ExtendArgs {
    #[command(flatten)]
    reservation: ReservationArgs,
    /// How long the hold lives from now on; never shorter than before
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = duration_ms)]
    ttl: u64,
    #[command(flatten)]
    operation: OperationArgs,
}

pub(crate) async fn extend(args: ExtendArgs, context: &Context) -> anyhow::Result<()> {
    let operation = args.operation.start();
    carry_out(&operation, context, async |client, operation| {
        let request = v1::ExtendRequest {
            operation,
            reservation: args.reservation.key(),
            ttl_ms: args.ttl,
        };
        client.extend(request).await
    })
    .await
}

/// Arguments of `holdfast ship`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast ship 01936f3e-6a00-7000-8000-000000000001\n  holdfast ship 01936f3e-6a00-7000-8000-000000000001 --line 0=1@LONDON"
)]
pub(crate) struct ShipArgs {
    #[command(flatten)]
    reservation: ReservationArgs,
    /// Units that leave; when left out, all that are committed
    #[arg(long = "line", value_name = "LINE=QTY[@WAREHOUSE]", value_parser = line_quantity)]
    lines: Vec<v1::LineQuantity>,
    #[command(flatten)]
    as_of: AsOfArgs,
    #[command(flatten)]
    operation: OperationArgs,
}

pub(crate) async fn ship(args: ShipArgs, context: &Context) -> anyhow::Result<()> {
    let operation = args.operation.start_as_of(args.as_of);
    carry_out(&operation, context, async |client, operation| {
        let request = v1::ShipRequest {
            operation,
            reservation: args.reservation.key(),
            lines: args.lines,
        };
        client.ship(request).await
    })
    .await
}

/// Arguments of `holdfast cancel`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast cancel 01936f3e-6a00-7000-8000-000000000001 --line 0=1 --reason changed-mind"
)]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    reservation: ReservationArgs,
    /// Units that will not ship; when left out, all that are committed
    #[arg(long = "line", value_name = "LINE=QTY[@WAREHOUSE]", value_parser = line_quantity)]
    lines: Vec<v1::LineQuantity>,
    #[command(flatten)]
    operation: OperationArgs,
}

pub(crate) async fn cancel(args: CancelArgs, context: &Context) -> anyhow::Result<()> {
    let operation = args.operation.start();
    carry_out(&operation, context, async |client, operation| {
        let request = v1::CancelRequest {
            operation,
            reservation: args.reservation.key(),
            lines: args.lines,
        };
        client.cancel(request).await
    })
    .await
}
