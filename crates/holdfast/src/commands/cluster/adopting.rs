//! `holdfast cluster adopt-rules`: the last step of an upgrade.

use holdfast_client::{AdminClient, v1};
use serde_json::json;

use crate::context::Context;

/// Arguments of `holdfast cluster adopt-rules`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A release that decides something in another way goes on deciding by the rules of the cluster's log until this. It is refused unless every member knows the rules, and it cannot be taken back: until then a cluster can be rolled back to the release before. See docs/membership.md.\n\nExamples:\n  holdfast cluster adopt-rules --dry-run\n  holdfast cluster adopt-rules"
)]
pub(super) struct Args {
    /// Version of the rules; the newest that the asked node knows when left out
    #[arg(long, value_name = "VERSION", default_value_t = 0, hide_default_value = true)]
    rules: u32,
    /// Say what would be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(args: &Args, admin: &AdminClient, context: &Context) -> anyhow::Result<()> {
    let request = v1::AdoptRulesRequest {
        rules: args.rules,
        dry_run: args.dry_run,
    };
    let answer = admin.adopt_rules(request).await?;
    if context.json {
        let shards: Vec<_> = answer
            .shards
            .iter()
            .map(|shard| json!({ "shard": shard.shard, "before": shard.before, "adopted": shard.adopted }))
            .collect();
        let answer = json!({ "rules": answer.rules, "dry_run": args.dry_run, "shards": shards });
        context.output.json(&answer)?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = answer
        .shards
        .iter()
        .map(|shard| {
            let now = match (shard.adopted, shard.before >= answer.rules) {
                (true, _) => format!("{} from now on", answer.rules),
                (false, true) => format!("{} already", shard.before),
                (false, false) => format!("would be {}", answer.rules),
            };
            vec![shard.shard.to_string(), shard.before.to_string(), now]
        })
        .collect();
    context.output.table(&["SHARD", "RULES BEFORE", "RULES"], &rows)?;
    if args.dry_run {
        context.output.note("nothing was changed");
    }
    Ok(())
}
