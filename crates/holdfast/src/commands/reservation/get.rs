//! `holdfast get`: shows one reservation as it stands, or as it stood.

use holdfast_client::v1;
use serde_json::json;

use super::shown;
use crate::arguments::{ReservationArgs, consistency};
use crate::commands::as_of::{self, AsOfArgs};
use crate::context::Context;
use crate::render;

/// Arguments of `holdfast get`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast get 01936f3e-6a00-7000-8000-000000000001\n  holdfast get 01936f3e-6a00-7000-8000-000000000001 --as-of 2026-11-21T09:30:00Z"
)]
pub(crate) struct Args {
    #[command(flatten)]
    reservation: ReservationArgs,
    /// Read what the asked node knows, without asking a quorum; it may be old
    #[arg(long)]
    stale: bool,
    #[command(flatten)]
    as_of: AsOfArgs,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    if let Some(asked) = args.as_of.asked() {
        return as_of::reservation(&args.reservation, asked, context).await;
    }
    let request = v1::GetReservationRequest {
        reservation: args.reservation.key(),
        consistency: consistency(args.stale),
    };
    let answer = context.client()?.get_reservation(request).await?;
    let reservation = answer
        .reservation
        .ok_or_else(|| anyhow::anyhow!("the answer has no reservation"))?;
    if context.json {
        context.output.json(&json!({
            "read": render::read(answer.read.as_ref()),
            "reservation": shown::json(&reservation),
        }))?;
        return Ok(());
    }
    shown::print(&reservation, context)?;
    context.output.note(render::read_note(answer.read.as_ref()));
    Ok(())
}
