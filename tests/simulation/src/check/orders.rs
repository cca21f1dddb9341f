//! An order over several shards is held by all of them or by none, and in the end nothing waits for a decision.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_ledger::{Action, Query, QueryReply, ReservationState, ReservationView, Success};

use super::Replayed;
use crate::history::Order;
use crate::workload::shard_of;

/// Checks all orders against the ledgers of all shards in the end; how many there were.
///
/// # Errors
/// Everything that did not hold.
pub fn check(orders: &[Order], shards: &BTreeMap<u32, Replayed>) -> Result<u64, Vec<String>> {
    let wrong: Vec<String> = orders
        .iter()
        .filter_map(|order| check_one(order, shards))
        .collect();
    match wrong.is_empty() {
        true => Ok(orders.len() as u64),
        false => Err(wrong),
    }
}

/// What is wrong with an order, if anything is.
fn check_one(order: &Order, shards: &BTreeMap<u32, Replayed>) -> Option<String> {
    let Action::Reserve { lines, .. } = &order.command.action else {
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
    let alike = states.values().collect::<BTreeSet<_>>().len() <= 1;
    let complete = states.keys().copied().eq(participants.iter().copied());
    if states.values().any(is_live) && !(complete && alike) {
        return Some(format!("held in part: {states:?} of {order:?}"));
    }
    let granted = |part: &ReservationView| part.lines.iter().all(|line| line.granted == line.requested);
    match &order.answer {
        Some(Ok(Success::Reserved { lines: told, .. })) => {
            let whole = complete && alike && parts.values().all(granted);
            let told_whole = told.iter().all(|line| line.granted == line.requested);
            (!whole || !told_whole).then(|| format!("acknowledged and not whole: {states:?} of {order:?}"))
        }
        Some(Ok(_)) => Some(format!("not the answer to a Reserve: {order:?}")),
        Some(Err(_)) => None,
        None => Some(format!("never settled: {order:?}")),
    }
}
