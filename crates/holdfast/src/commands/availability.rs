//! `holdfast availability`: what a storefront could sell now.

use holdfast_client::v1;
use serde_json::{Value, json};

use crate::arguments::consistency;
use crate::context::Context;
use crate::render;

/// Arguments of `holdfast availability`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast availability SHIRT-1 HAT --storefront web")]
pub(crate) struct Args {
    /// SKUs to ask for, at most 256
    #[arg(value_name = "SKU", required = true)]
    skus: Vec<String>,
    /// Storefront that wants to sell
    #[arg(long, default_value = "web")]
    storefront: String,
    /// Read what the asked node knows, without asking a quorum; it may be old
    #[arg(long)]
    stale: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let request = v1::CheckAvailabilityRequest {
        storefront: args.storefront,
        skus: args.skus,
        consistency: consistency(args.stale),
    };
    let answer = context.client()?.check_availability(request).await?;
    if context.json {
        let skus: Vec<Value> = answer.skus.iter().map(sku_json).collect();
        context.output.json(&json!({ "skus": skus }))?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = answer
        .skus
        .iter()
        .map(|sku| {
            let places: Vec<String> = sku
                .warehouses
                .iter()
                .map(|place| format!("{}={}", place.warehouse, place.available))
                .collect();
            let places = if places.is_empty() {
                "-".to_owned()
            } else {
                places.join(" ")
            };
            vec![sku.sku.clone(), sku.available.to_string(), places]
        })
        .collect();
    context.output.table(&["SKU", "AVAILABLE", "WAREHOUSES"], &rows)?;
    Ok(())
}

fn sku_json(sku: &v1::SkuAvailability) -> Value {
    let warehouses: Vec<Value> = sku
        .warehouses
        .iter()
        .map(|place| json!({ "warehouse": place.warehouse, "available": place.available }))
        .collect();
    json!({
        "sku": sku.sku,
        "available": sku.available,
        "warehouses": warehouses,
        "read": render::read(sku.read.as_ref()),
    })
}
