//! A hold ends by itself only when its time is over, by log time and by true time.

use std::collections::{BTreeMap, HashMap};

use holdfast_ledger::{Action, ChangeKind, OperationId, Success};

use super::replay::{Key, key_of};
use super::{Checked, Replayed};
use crate::history::Operation;
use crate::record::{AppliedEntry, CLOCK_ERROR_MS, Record};
use crate::time::EPOCH_MS;

/// Greatest difference of clocks that count as agreeing. Log time may be late by this much when a clock is
/// missing.
const AGREEING_MS: u64 = 1_000;

/// Greatest age of a peer's clock: its answer was under way for a while, and is kept while the peer is not
/// heard.
const HEARD_LATE_MS: u64 = 1_000;

/// Time until the right clocks are heard after they can be asked again.
const DISPUTE_LASTS_MS: u64 = 1_000;

pub(super) fn check(
    record: &Record,
    entries: &BTreeMap<u64, AppliedEntry>,
    operations: &[Operation],
    replayed: &Replayed,
    checked: &mut Checked,
    wrong: &mut Vec<String>,
) {
    let mut invoked: HashMap<Key, u64> = HashMap::new();
    for operation in operations {
        let first_ms = invoked.entry(key_of(&operation.command)).or_insert(u64::MAX);
        *first_ms = operation.invoked_ms.min(*first_ms);
    }
    // The end of each hold's promised life, by log time and by true time.
    let mut promised: HashMap<OperationId, (u64, Option<u64>)> = HashMap::new();
    let mut promises = extensions(entries, replayed, &invoked);
    for (id, (index, success)) in &replayed.effects {
        if let Success::Reserved { expires_at_ms, .. } = success
            && let Some(Action::Reserve { ttl_ms, .. }) = action_at(entries, *index, id)
            && let Some(invoked_ms) = invoked.get(id)
        {
            promises.push(Promise {
                reservation: id.0,
                index: *index,
                log_ms: *expires_at_ms,
                invoked_ms: *invoked_ms,
                true_ms: invoked_ms + ttl_ms,
            });
        }
    }
    for promise in promises {
        let (log_ms, true_ms) = promised.entry(promise.reservation).or_insert((0, Some(0)));
        *log_ms = promise.log_ms.max(*log_ms);
        let applied_ms = entries
            .get(&promise.index)
            .map_or(0, |applied| applied.first_applied_ms);
        let disputed =
            record.were_clocks_disputed(promise.invoked_ms.saturating_sub(DISPUTE_LASTS_MS), applied_ms);
        *true_ms = true_ms
            .filter(|_| !disputed)
            .map(|true_ms| true_ms.max(promise.true_ms));
    }
    for change in replayed
        .changes
        .iter()
        .filter(|change| change.kind == ChangeKind::Expired)
    {
        let Some(effect) = &change.reservation else {
            wrong.push(format!("an expiry of nothing: {change:?}"));
            continue;
        };
        let Some((log_ms, true_ms)) = promised.get(&effect.reservation_id) else {
            continue;
        };
        checked.expiries += 1;
        if change.log_time_ms < *log_ms {
            wrong.push(format!(
                "a hold promised until log time {log_ms} ended early: {change:?}"
            ));
        }
        let ended_ms = entries
            .get(&change.log_index)
            .map_or(0, |applied| applied.first_applied_ms);
        let tolerated_ms = AGREEING_MS + HEARD_LATE_MS + CLOCK_ERROR_MS;
        let Some(true_ms) = true_ms else { continue };
        checked.true_expiries += 1;
        if ended_ms + tolerated_ms < *true_ms {
            wrong.push(format!(
                "a hold promised until {true_ms} ms ended at {ended_ms} ms (log time {}): {change:?}",
                change.log_time_ms.saturating_sub(EPOCH_MS)
            ));
        }
    }
}

/// A promise that a hold lives until some time.
struct Promise {
    reservation: OperationId,
    /// The entry that made the promise.
    index: u64,
    log_ms: u64,
    invoked_ms: u64,
    true_ms: u64,
}

/// Returns a promise for each prolonged hold: its end by log time, and the earliest end by true time.
fn extensions(
    entries: &BTreeMap<u64, AppliedEntry>,
    replayed: &Replayed,
    invoked: &HashMap<Key, u64>,
) -> Vec<Promise> {
    let effects = replayed.effects.iter();
    effects
        .filter_map(|(id, (index, success))| {
            let Success::Transitioned { expires_at_ms, .. } = success else {
                return None;
            };
            let Some(Action::Extend {
                reservation_id,
                ttl_ms,
                ..
            }) = action_at(entries, *index, id)
            else {
                return None;
            };
            // An extension never shortens a hold, so its promise may be the older one.
            let true_ms = (invoked.get(id)? + ttl_ms).min(expires_at_ms.saturating_sub(EPOCH_MS));
            Some(Promise {
                reservation: *reservation_id,
                index: *index,
                log_ms: *expires_at_ms,
                invoked_ms: *invoked.get(id)?,
                true_ms,
            })
        })
        .collect()
}

fn action_at<'a>(entries: &'a BTreeMap<u64, AppliedEntry>, index: u64, id: &Key) -> Option<&'a Action> {
    let commands = &entries.get(&index)?.entry.commands;
    let command = commands.iter().find(|command| key_of(command) == *id)?;
    Some(&command.action)
}
