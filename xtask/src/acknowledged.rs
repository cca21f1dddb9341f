//! The search for every reservation that the cluster has acknowledged.

use std::collections::HashSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Counts the acknowledged reservations, and checks that each is in the change streams.
///
/// # Errors
/// When one is missing.
pub(crate) fn all_found(acknowledged: &Path, shards: u64, tail: impl Fn(&str) -> Command) -> Result<u64> {
    let mut missing: HashSet<String> = HashSet::new();
    for line in std::fs::read_to_string(acknowledged)?.lines() {
        let step: Value =
            serde_json::from_str(line).context("a line of the acknowledged steps is not JSON")?;
        if step["step"] == "reserve" {
            missing.insert(step["reservation_id"].as_str().unwrap_or_default().to_owned());
        }
    }
    let all = missing.len();
    for shard in 0..shards {
        let mut child = tail(&shard.to_string()).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().context("no output of changes tail")?;
        for line in BufReader::new(output).lines() {
            let change: Value = serde_json::from_str(&line?)?;
            if change["kind"] == "reserved" {
                missing.remove(
                    change["reservation"]["reservation_id"]
                        .as_str()
                        .unwrap_or_default(),
                );
            }
        }
        ensure!(child.wait()?.success(), "changes tail failed on shard {shard}");
    }
    ensure!(
        missing.is_empty(),
        "{} of {all} acknowledged reservations are missing: {missing:?}",
        missing.len()
    );
    Ok(u64::try_from(all)?)
}
