//! `holdfast backup list`: shows which backups there are.

use holdfast_backup::{Backups, Listed};
use serde_json::{Value, json};

use crate::context::Context;

/// Arguments of `holdfast backup list`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast backup list --from ./backups\n  holdfast backup list --from s3://bucket/holdfast --json"
)]
pub(crate) struct Args {
    /// A folder, file:///folder or s3://bucket/prefix
    #[arg(long, value_name = "URL|FOLDER")]
    from: String,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let listed = Backups::open_existing(&args.from)?.list().await?;
    if context.json {
        let backups: Vec<Value> = listed.iter().map(to_json).collect();
        context.output.json(&json!({ "backups": backups }))?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = listed.iter().map(row).collect();
    context
        .output
        .table(&["NAME", "STATE", "CREATED", "CLUSTER", "SHARDS", "BYTES"], &rows)?;
    Ok(())
}

fn row(listed: &Listed) -> Vec<String> {
    let without_manifest = |name: &String, state: String| vec![name.clone(), state];
    match listed {
        Listed::Whole(manifest) => vec![
            manifest.name.clone(),
            "whole".to_owned(),
            manifest.created_at.clone(),
            manifest.cluster_id.to_string(),
            manifest.shard_count.to_string(),
            manifest
                .shards
                .iter()
                .map(|shard| shard.bytes)
                .sum::<u64>()
                .to_string(),
        ],
        Listed::Unfinished { name } => without_manifest(name, "unfinished".to_owned()),
        Listed::Unusable { name, error } => without_manifest(name, format!("unusable: {error}")),
    }
}

fn to_json(listed: &Listed) -> Value {
    match listed {
        Listed::Whole(manifest) => json!({ "name": manifest.name, "state": "whole", "manifest": manifest }),
        Listed::Unfinished { name } => json!({ "name": name, "state": "unfinished" }),
        Listed::Unusable { name, error } => {
            json!({ "name": name, "state": "unusable", "error": error.to_string() })
        }
    }
}
