//! Readers of the change stream: one for each replica, each with a cursor that outlives crashes.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_shard::{ChangeReadError, ChangeReader};
use parking_lot::Mutex;

use crate::record::Record;

/// The position of each reader, by (node, shard). Clones share their content.
#[derive(Debug, Clone, Default)]
pub struct Cursors(Arc<Mutex<BTreeMap<(u64, u32), u64>>>);

/// Most bytes of changes that are read at once.
const READ_BYTES: usize = 4_096;

/// Reads on from the cursor until the replica ends.
pub async fn follow(node: u64, shard: u32, changes: ChangeReader, cursors: Cursors, record: Record) {
    loop {
        let last = cursors.0.lock().get(&(node, shard)).copied().unwrap_or(0);
        if changes.wait_past(last).await.is_err() {
            return;
        }
        let read = match changes.read(last + 1, READ_BYTES) {
            Ok(read) => read,
            // A replica takes a snapshot only after the changes before it, so no change is ever missing.
            Err(ChangeReadError::NotHere { first_seq }) => {
                record.violation(format!(
                    "node {node} lost the changes of shard {shard} before {first_seq}; its reader was at {last}"
                ));
                return;
            }
            // The disk failed, and the node will soon notice it.
            Err(_) => return,
        };
        let Some(end) = read.last() else {
            record.violation(format!("node {node} has no change after {last} of shard {shard}"));
            return;
        };
        if end.entry_offset + 1 != end.entry_changes {
            record.violation(format!(
                "node {node} streams a torn entry at {} of shard {shard}",
                end.seq
            ));
        }
        let first_is_next = read.first().is_some_and(|first| first.seq <= last + 1);
        if !first_is_next || read.windows(2).any(|pair| pair[1].seq != pair[0].seq + 1) {
            record.violation(format!(
                "node {node} streams with a gap after {last} of shard {shard}"
            ));
        }
        cursors.0.lock().insert((node, shard), end.seq);
        for change in read {
            record.change(node, shard, change);
        }
    }
}
