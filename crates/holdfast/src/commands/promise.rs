//! `holdfast promise`: what a storefront could sell, now and by when.

use holdfast_client::v1;
use serde_json::{Value, json};

use crate::arguments::{consistency, time_ms};
use crate::context::Context;
use crate::render;

/// Arguments of `holdfast promise`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast promise SHIRT-1 --storefront web\n  holdfast promise SHIRT-1 --until 2026-12-24T00:00:00Z"
)]
pub(crate) struct Args {
    /// SKU to ask for
    sku: String,
    /// Storefront that wants to sell
    #[arg(long, default_value = "web")]
    storefront: String,
    /// The last date that counts: a UTC time, or milliseconds since the Unix epoch; all dates when left out
    #[arg(long, value_name = "TIME", value_parser = time_ms)]
    until: Option<u64>,
    /// Read what the asked node knows, without asking a quorum; it may be old
    #[arg(long)]
    stale: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let request = v1::PromiseRequest {
        storefront: args.storefront,
        sku: args.sku,
        until_ms: args.until.unwrap_or(0),
        consistency: consistency(args.stale),
    };
    let answer = context.client()?.promise(request).await?;
    if context.json {
        let date = |date: &v1::PromiseDate| -> Value {
            json!({ "at_ms": date.at_ms, "arriving": date.arriving, "available": date.available })
        };
        context.output.json(&json!({
            "read": render::read(answer.read.as_ref()),
            "available_now": answer.available_now,
            "dates": answer.dates.iter().map(date).collect::<Vec<_>>(),
            "overdue": answer.overdue,
            "owed": answer.owed,
        }))?;
        return Ok(());
    }
    let mut rows = vec![vec![
        "now".to_owned(),
        "-".to_owned(),
        answer.available_now.to_string(),
    ]];
    rows.extend(answer.dates.iter().map(|date| {
        vec![
            render::time(date.at_ms),
            date.arriving.to_string(),
            date.available.to_string(),
        ]
    }));
    context.output.table(&["BY", "ARRIVING", "AVAILABLE"], &rows)?;
    if answer.owed > 0 || answer.overdue > 0 {
        context.output.note(format!(
            "{} units are promised and not there yet, {} are overdue and not counted",
            answer.owed, answer.overdue
        ));
    }
    context.output.note(render::read_note(answer.read.as_ref()));
    Ok(())
}
