//! An order over several shards is held by all of them or by none. In the end nothing waits for a decision.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_ledger::{
    Action, GrantedLine, LedgerOptions, LineView, Query, QueryReply, ReservationState, ReservationView,
    ReserveMode, Success,
};

use super::Replayed;
use crate::history::Order;
use crate::names::shard_of;

/// Checks all orders against the ledgers of all shards in the end. Returns how many orders there were.
///
/// # Errors
/// Everything that did not hold.
pub fn check(
    orders: &[Order],
    shards: &BTreeMap<u32, Replayed>,
    options: &LedgerOptions,
) -> Result<u64, Vec<String>> {
    let wrong: Vec<String> = orders
        .iter()
        .filter_map(|order| check_one(order, shards, options))
        .collect();
    match wrong.is_empty() {
        true => Ok(orders.len() as u64),
        false => Err(wrong),
    }
}

/// Returns what is wrong with an order, if anything is.
fn check_one(order: &Order, shards: &BTreeMap<u32, Replayed>, options: &LedgerOptions) -> Option<String> {
    let Action::Reserve { lines, mode, .. } = &order.command.action else {
        return Some(format!("not a Reserve: {order:?}"));
    };
    let participants: BTreeSet<u32> = lines.iter().map(|line| shard_of(&line.sku)).collect();
    let query = Query::Reservation {
        reservation_id: order.command.operation_id,
    };
    let part = |shard: &u32| match shards.get(shard)?.ledger.query(&query) {
        Ok(QueryReply::Reservation(view)) => Some((*shard, view?)),
        _ => None,
    };
    let parts: BTreeMap<u32, ReservationView> = participants.iter().filter_map(part).collect();
    let states: BTreeMap<u32, ReservationState> =
        parts.iter().map(|(shard, part)| (*shard, part.state)).collect();
    if states.values().any(|state| *state == ReservationState::Prepared) {
        return Some(format!("still undecided: {states:?} of {order:?}"));
    }
    let is_live =
        |state: &ReservationState| matches!(state, ReservationState::Held | ReservationState::Committed);
    // A home that got nothing for a best-effort order closes its part, which has no units, when the others
    // are committed.
    let has_units = |part: &ReservationView| part.lines.iter().any(|line| line.granted > 0);
    let alike = parts
        .values()
        .filter(|part| has_units(part))
        .map(|part| part.state)
        .collect::<BTreeSet<_>>()
        .len()
        <= 1;
    let complete = states.keys().copied().eq(participants.iter().copied());
    let best_effort = *mode == ReserveMode::BestEffort;
    // A shard that had nothing for a best-effort order may have no part of it.
    if states.values().any(is_live) && !(alike && (complete || best_effort)) {
        return Some(format!("held in part: {states:?} of {order:?}"));
    }
    // A closed part is forgotten after a while, in one shard sooner than in another.
    let id_time_ms = order.command.operation_id.time_ms();
    let is_old = |shard: &u32| {
        let now_ms = shards.get(shard).map_or(0, |shard| shard.ledger.log_time_ms());
        id_time_ms + options.operation_window_ms < now_ms
    };
    if participants.iter().any(is_old) && !states.values().any(is_live) {
        return None;
    }
    let granted = |part: &ReservationView| part.lines.iter().all(|line| line.granted == line.requested);
    match &order.answer {
        Some(Ok(Success::Reserved { lines: told, .. })) => {
            let whole = match best_effort {
                true => {
                    alike && granted_units(parts.values().flat_map(|part| &part.lines)) == told_units(told)
                }
                false => {
                    let told_whole = told.iter().all(|line| line.granted == line.requested);
                    complete && alike && told_whole && parts.values().all(granted)
                }
            };
            (!whole).then(|| format!("acknowledged and not whole: {states:?} of {order:?}"))
        }
        Some(Ok(_)) => Some(format!("not the answer to a Reserve: {order:?}")),
        Some(Err(_)) => None,
        None => Some(format!("never settled: {order:?}")),
    }
}

fn granted_units<'a>(lines: impl Iterator<Item = &'a LineView>) -> i64 {
    lines.map(|line| line.granted).sum()
}

fn told_units(lines: &[GrantedLine]) -> i64 {
    lines.iter().map(|line| line.granted).sum()
}
