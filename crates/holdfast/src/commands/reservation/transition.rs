//! `holdfast commit`, `release`, `extend`, `ship` and `cancel`: the steps that follow a hold.

use holdfast_client::{ClientError, v1};
use serde_json::json;

use crate::arguments::{AsOfArgs, Operation, OperationArgs, ReservationArgs, duration_ms, line_quantity};
use crate::context::Context;
use crate::render;

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
    let request = v1::CommitRequest {
        operation: operation.message(),
        reservation: args.reservation.key(),
    };
    report(context, &operation, context.client()?.commit(request).await)
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
    let request = v1::ReleaseRequest {
        operation: operation.message(),
        reservation: args.reservation.key(),
    };
    report(context, &operation, context.client()?.release(request).await)
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
    let request = v1::ExtendRequest {
        operation: operation.message(),
        reservation: args.reservation.key(),
        ttl_ms: args.ttl,
    };
    report(context, &operation, context.client()?.extend(request).await)
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
    let request = v1::ShipRequest {
        operation: operation.message(),
        reservation: args.reservation.key(),
        lines: args.lines,
    };
    report(context, &operation, context.client()?.ship(request).await)
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
    let request = v1::CancelRequest {
        operation: operation.message(),
        reservation: args.reservation.key(),
        lines: args.lines,
    };
    report(context, &operation, context.client()?.cancel(request).await)
}

/// Prints the answer to a transition.
pub(super) fn report(
    context: &Context,
    operation: &Operation,
    answer: Result<v1::TransitionResponse, ClientError>,
) -> anyhow::Result<()> {
    let answer = answer.map_err(|error| operation.failed(error))?;
    if context.json {
        context.output.json(&json!({
            "operation_id": operation.id.to_string(),
            "receipt": render::receipt(answer.receipt.as_ref()),
            "state": render::state(answer.state()),
            "expires_at_ms": answer.expires_at_ms,
        }))?;
        return Ok(());
    }
    let state = match (answer.state(), answer.expires_at_ms) {
        (v1::ReservationState::Unspecified, _) => "done".to_owned(),
        (state, 0) => render::state(state).to_owned(),
        (state, expires_at_ms) => format!("{} until {}", render::state(state), render::time(expires_at_ms)),
    };
    let note = render::receipt_note(answer.receipt.as_ref());
    context
        .output
        .line(format!("{state}: {note}, operation {}", operation.id))?;
    Ok(())
}
