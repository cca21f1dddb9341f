//! `holdfast debug bundle`: puts what is known of a node into one file.

use std::fmt::Write as _;
use std::path::PathBuf;

use holdfast_node::doctor::examine;
use holdfast_node::{NodeConfig, limits};
use serde_json::json;

use super::archive::Archive;
use super::gather;
use crate::context::Context;

/// Arguments of `holdfast debug bundle`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast debug bundle --config /etc/holdfast/node.toml --output holdfast-1.tar.gz\n  holdfast debug bundle --config node-1.toml --output holdfast-1.tar.gz --log node-1.log\n\nIt works whether the node runs or not, and changes nothing. Keys, the content of the ledger and the names of admins are left out.\nA log is copied as it is: look through it before you pass it on."
)]
pub(crate) struct Args {
    /// The node's configuration
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// The file to write, a tar archive compressed with gzip; it must not exist
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// A log file of the node, of which the last 4 MiB are taken; may be given several times
    #[arg(long, value_name = "FILE")]
    log: Vec<PathBuf>,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let config = NodeConfig::load(&args.config)?;
    let folder = format!("holdfast-node-{}", config.node.node_id);
    let mut archive = Archive::begin(&args.output, folder)?;
    let mut missing = String::new();
    let findings = serde_json::to_vec_pretty(&examine(&config).await)?;
    let mut parts = vec![
        ("about.txt".to_owned(), Ok(gather::about(&config).into_bytes())),
        (
            "config.toml".to_owned(),
            gather::configuration(&config).map(String::into_bytes),
        ),
        ("doctor.json".to_owned(), Ok(findings)),
        (
            "files.txt".to_owned(),
            gather::files(&config.node.data_dir)
                .map(String::into_bytes)
                .map_err(Into::into),
        ),
        ("limits.md".to_owned(), Ok(limits::page().into_bytes())),
        ("metrics.txt".to_owned(), gather::http(&config, "/metrics").await),
        ("readyz.txt".to_owned(), gather::http(&config, "/readyz").await),
        (
            "status.txt".to_owned(),
            gather::status(&config, context).await.map(String::into_bytes),
        ),
    ];
    for (number, log) in args.log.iter().enumerate() {
        let end = gather::log_end(log).map_err(|error| anyhow::anyhow!("{}: {error}", log.display()));
        parts.push((format!("log-{}.txt", number + 1), end));
    }
    let mut names = Vec::new();
    for (name, content) in parts {
        match content {
            Ok(content) => {
                archive.add(&name, &content)?;
                names.push(name);
            }
            Err(error) => {
                // Writing to a String cannot fail.
                let _ = writeln!(missing, "{name}: {error:#}");
            }
        }
    }
    if !missing.is_empty() {
        archive.add("missing.txt", missing.as_bytes())?;
    }
    archive.finish()?;
    if context.json {
        let missing: Vec<&str> = missing.lines().collect();
        let output = args.output.display().to_string();
        context
            .output
            .json(&json!({ "output": output, "files": names, "missing": missing }))?;
        return Ok(());
    }
    context
        .output
        .line(format!("{} has {}", args.output.display(), names.join(", ")))?;
    for line in missing.lines() {
        context.output.note(format!("not in it: {line}"));
    }
    Ok(())
}
