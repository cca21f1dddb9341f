//! `holdfast doctor`: looks for faults of a node from outside.

use std::path::PathBuf;

use holdfast_node::config::LoadedConfig;
use holdfast_node::doctor::{Severity, examine};
use serde_json::json;

use crate::context::Context;

/// Arguments of `holdfast doctor`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast doctor --config node-1.toml\n\nIt works whether the node runs or not, and changes nothing. The exit code is 1 if there is a problem. Warnings alone do not count."
)]
pub(crate) struct Args {
    /// The node's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Show only warnings and problems
    #[arg(long)]
    quiet: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let LoadedConfig {
        config,
        old_spellings,
    } = LoadedConfig::load(&args.config)?;
    for old in old_spellings {
        context.output.note(old.to_string());
    }
    let mut findings = examine(&config).await;
    let problems = findings
        .iter()
        .filter(|finding| finding.severity == Severity::Problem)
        .count();
    if args.quiet {
        findings.retain(|finding| finding.severity > Severity::Good);
    }
    if context.json {
        context
            .output
            .json(&json!({ "node_id": config.node.node_id, "problems": problems, "findings": findings }))?;
    } else {
        for finding in &findings {
            let mark = format!(
                "{:<8}{:<14}",
                finding.severity.to_string(),
                finding.area.to_string()
            );
            context.output.line(format!("{mark}{}", finding.message))?;
            if !finding.advice.is_empty() {
                context.output.line(format!("{:22}{}", "", finding.advice))?;
            }
        }
    }
    if problems > 0 {
        anyhow::bail!("node {} has {problems} problem(s)", config.node.node_id);
    }
    Ok(())
}
