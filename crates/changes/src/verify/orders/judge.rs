//! Compares the parts of one order.

use std::collections::{BTreeMap, BTreeSet};

use super::{Decision, DecisionKind, Ends};
use crate::verify::finding::Check;

/// One fault: check, shard, change and message.
pub(super) type Fault = (Check, u32, u64, String);

/// An order's part in one shard.
#[derive(Debug, Default)]
struct Part {
    /// The last decision on units that were not aborted. A shard takes units for an order once.
    kept: Option<Decision>,
    /// Units that are taken and undecided at the end.
    prepared: Option<Decision>,
    aborted: Option<Decision>,
    is_short: bool,
    /// The attempt whose units were kept. `aborted_attempt` is the last attempt whose units were given back.
    kept_attempt: Attempt,
    aborted_attempt: Attempt,
}

/// One time that an order asked a shard for units. Under one id several orders may be tried one after the
/// other, as long as none was granted. An order that was granted may be sent again; it then asks the shards
/// that had nothing for it.
#[derive(Debug, Clone, Default)]
struct Attempt {
    /// The lines that took units.
    lines: BTreeSet<u32>,
    /// The log time of its first line.
    prepared_ms: Option<u64>,
    /// The log time at which it was held or given back.
    decided_ms: u64,
}

impl Attempt {
    /// Returns whether units that were given back can belong to the attempt that the home holds. The log
    /// times of several shards may differ by as much as their leaders' clocks do.
    fn may_be_of(&self, held: &Attempt, kept_lines: &BTreeSet<u32>) -> bool {
        // In one attempt, a line takes its units in one shard.
        let took_lines_of_others = !self.lines.is_disjoint(kept_lines);
        let began_after = self.prepared_ms > Some(held.decided_ms);
        let ended_before = held
            .prepared_ms
            .is_some_and(|began_ms| self.decided_ms < began_ms);
        !took_lines_of_others && !began_after && !ended_before
    }
}

/// Returns the faults in the decisions on one order. The decisions have one home and are sorted by shard and
/// change.
pub(super) fn faults(order: &[Decision], ends: &Ends) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut parts: BTreeMap<u32, Part> = BTreeMap::new();
    for of_shard in order.chunk_by(|a, b| a.shard == b.shard) {
        parts.insert(of_shard[0].shard, part(of_shard, &mut faults));
    }
    let Some(first) = order.first() else { return faults };
    for prepared in parts.values().filter_map(|part| part.prepared) {
        let age_ms = age_ms(&prepared, order, ends);
        let message = format!("its units are prepared for {age_ms} ms and nobody has decided");
        faults.push((Check::UnsettledOrder, prepared.shard, prepared.seq, message));
    }
    let at_home = parts.get(&first.home).and_then(|part| part.kept);
    let home_is_replayed = ends.contains_key(&first.home);
    let Some(reference) = at_home.or_else(|| parts.values().find_map(|part| part.kept)) else {
        return faults;
    };
    if at_home.is_none() && home_is_replayed {
        let (shard, name, home) = (reference.shard, reference.kind.name(), first.home);
        let message = format!("it is {name} in shard {shard}, and shard {home}, its home, never held it");
        faults.push((Check::TornOrder, shard, reference.seq, message));
    }
    let takes_what_it_gets = parts.values().any(|part| part.is_short);
    let kept = parts.values().filter(|part| part.kept.is_some());
    let kept_lines: BTreeSet<u32> = kept
        .flat_map(|part| part.kept_attempt.lines.iter().copied())
        .collect();
    let held = parts
        .get(&reference.shard)
        .map(|part| part.kept_attempt.clone())
        .unwrap_or_default();
    for (shard, part) in &parts {
        match (part.kept, part.aborted) {
            (Some(kept), _) => faults.extend(differs(&kept, &reference, home_is_replayed, order, ends)),
            (None, Some(aborted))
                if part.prepared.is_none()
                    && !takes_what_it_gets
                    && part.aborted_attempt.may_be_of(&held, &kept_lines) =>
            {
                let (name, elsewhere) = (reference.kind.name(), reference.shard);
                let message = format!("it is {name} in shard {elsewhere} and aborted in shard {shard}");
                faults.push((Check::TornOrder, *shard, aborted.seq, message));
            }
            _ => {}
        }
    }
    faults
}

fn part(decisions: &[Decision], faults: &mut Vec<Fault>) -> Part {
    let mut part = Part::default();
    // The number of times that units were taken and not aborted.
    let mut lives = 0;
    let mut attempt = Attempt::default();
    for (at, decision) in decisions.iter().enumerate() {
        if decision.kind == DecisionKind::Prepared {
            attempt.lines.insert(decision.line);
            attempt.prepared_ms.get_or_insert(decision.log_time_ms);
        }
        let before = at.checked_sub(1).map(|before| &decisions[before]);
        if before.is_some_and(|before| (before.kind, before.log_index) == (decision.kind, decision.log_index))
        {
            continue;
        }
        part.is_short |= decision.is_short;
        let was_prepared = part.prepared.take().is_some();
        match decision.kind {
            DecisionKind::Prepared => part.prepared = Some(*decision),
            DecisionKind::Aborted => {
                part.aborted = Some(*decision);
                part.aborted_attempt = Attempt {
                    decided_ms: decision.log_time_ms,
                    ..std::mem::take(&mut attempt)
                };
            }
            _ => {
                // The home may hold an order without units of its own. In that case nothing was prepared.
                if was_prepared || decision.kind == DecisionKind::Confirmed {
                    lives += 1;
                    part.kept_attempt = Attempt {
                        decided_ms: decision.log_time_ms,
                        ..std::mem::take(&mut attempt)
                    };
                }
                part.kept = Some(*decision);
            }
        }
    }
    if let Some(kept) = part.kept.filter(|_| lives > 1) {
        let message = format!("its units were taken {lives} times in shard {}", kept.shard);
        faults.push((Check::ReservedTwice, kept.shard, kept.seq, message));
    }
    part
}

/// Returns a fault when a part is not in the same state as the order.
fn differs(
    kept: &Decision,
    reference: &Decision,
    home_is_replayed: bool,
    order: &[Decision],
    ends: &Ends,
) -> Option<Fault> {
    let is_open = |decision: &Decision| decision.kind == DecisionKind::Confirmed;
    let (shard, name) = (kept.shard, kept.kind.name());
    let (at, elsewhere) = (reference.shard, reference.kind.name());
    match (is_open(kept), is_open(reference)) {
        (true, true) => None,
        (true, false) => {
            let age_ms = age_ms(reference, order, ends);
            let message =
                format!("it is {elsewhere} in shard {at} for {age_ms} ms, shard {shard} has not followed");
            Some((Check::UnsettledOrder, shard, kept.seq, message))
        }
        // Only the home's stream tells which of two participants is ahead.
        (false, true) if !home_is_replayed => None,
        (false, false) if (kept.kind, kept.operation) == (reference.kind, reference.operation) => None,
        (false, false) if kept.kind == reference.kind => {
            let message = format!("shard {shard} has it {name} by another operation than shard {at}");
            Some((Check::TornOrder, shard, kept.seq, message))
        }
        _ => {
            let message = format!("it is {elsewhere} in shard {at} and {name} in shard {shard}");
            Some((Check::TornOrder, shard, kept.seq, message))
        }
    }
}

/// Returns the log time from a decision to the end of the longest stream concerned, in milliseconds.
fn age_ms(since: &Decision, order: &[Decision], ends: &Ends) -> u64 {
    let concerned = order.iter().flat_map(|decision| [decision.shard, decision.home]);
    let end_ms = concerned.filter_map(|shard| Some(ends.get(&shard)?.1)).max();
    end_ms.unwrap_or(0).saturating_sub(since.log_time_ms)
}
