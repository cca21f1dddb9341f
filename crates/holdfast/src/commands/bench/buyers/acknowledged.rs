//! The file of what the cluster has acknowledged: one JSON line for each step, handed to the operating system
//! before the step counts. A test reads it after a crash of the cluster and looks for each promise.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;

use anyhow::Context as _;
use holdfast_client::v1;
use serde_json::{Value, json};
use uuid::Uuid;

use super::tally::Step;

#[derive(Debug)]
pub(super) struct Acknowledged {
    file: Mutex<File>,
}

impl Acknowledged {
    /// Makes the file anew.
    pub(super) fn create(path: &Path) -> anyhow::Result<Self> {
        let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self {
            file: Mutex::new(file),
        })
    }

    pub(super) fn reserved(&self, id: Uuid, shard: u32, granted: &v1::ReserveResponse) -> anyhow::Result<()> {
        let lines: Vec<Value> = granted
            .lines
            .iter()
            .map(|line| json!({ "line": line.line, "sku": line.sku, "granted": line.granted }))
            .collect();
        self.write(&json!({
            "step": Step::Reserve.name(),
            "reservation_id": id.to_string(),
            "shard": shard,
            "expires_at_ms": granted.expires_at_ms,
            "lines": lines,
        }))
    }

    pub(super) fn transitioned(&self, step: Step, id: Uuid, shard: u32) -> anyhow::Result<()> {
        self.write(&json!({ "step": step.name(), "reservation_id": id.to_string(), "shard": shard }))
    }

    fn write(&self, value: &Value) -> anyhow::Result<()> {
        let mut line = value.to_string();
        line.push('\n');
        // A poisoned lock only means that another writer panicked, and that happens only between whole lines.
        let mut file = self
            .file
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        file.write_all(line.as_bytes())
            .context("cannot write the file of acknowledged steps")
    }
}
