//! Without looking at any log: some order of what clients did to one SKU, in which nobody answered before he was asked,
//! explains everything they were told (Wing and Gong's search, remembering where it has been).

use std::collections::{BTreeSet, HashMap, HashSet};

use holdfast_ledger::{Action, OperationId, Query, QueryReply, Refusal, Sku};

use crate::history::{Operation, Read};

/// What somebody did to the SKU, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SimpleEvent {
    /// When it was asked for.
    pub invoked_ms: u64,
    /// When it was answered; none if it never was, and then it may have happened at any time since, or not at all.
    pub answered_ms: Option<u64>,
    /// By how much it changes what is free.
    pub delta: i64,
    /// How much it says is free at its moment.
    pub sees: Sees,
}

/// What an answer says about the free units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sees {
    /// Nothing.
    Nothing,
    /// There were so many at least.
    AtLeast(i64),
    /// There were exactly so many.
    Exactly(i64),
}

/// The events of one SKU.
pub(super) fn events(sku: &Sku, operations: &[Operation], reads: &[Read]) -> Vec<SimpleEvent> {
    let mut held: HashMap<OperationId, i64> = HashMap::new();
    let mut events = Vec::new();
    for operation in operations {
        let answered_ms = operation.answer.as_ref().map(|(at_ms, _)| *at_ms);
        let refusal = operation
            .answer
            .as_ref()
            .and_then(|(_, outcome)| outcome.as_ref().err());
        let (delta, sees) = match &operation.command.action {
            Action::Receive {
                sku: of, quantity, ..
            } if of == sku => (*quantity, Sees::Nothing),
            Action::Reserve { lines, .. } if lines.len() == 1 && lines[0].sku == *sku => {
                let quantity = lines[0].quantity;
                match refusal {
                    Some(Refusal::InsufficientStock(short)) => {
                        // An earlier attempt without an answer may take effect nevertheless.
                        if !operation.without_effect {
                            held.insert(operation.command.operation_id, quantity);
                            events.push(SimpleEvent {
                                invoked_ms: operation.invoked_ms,
                                answered_ms: None,
                                delta: -quantity,
                                sees: Sees::AtLeast(quantity),
                            });
                        }
                        (0, Sees::Exactly(short.first().map_or(0, |short| short.available)))
                    }
                    _ => {
                        held.insert(operation.command.operation_id, quantity);
                        (-quantity, Sees::AtLeast(quantity))
                    }
                }
            }
            Action::Release { reservation_id } if held.contains_key(reservation_id) => {
                (held.get(reservation_id).copied().unwrap_or(0), Sees::Nothing)
            }
            _ => continue,
        };
        if operation.answer.is_none() && operation.without_effect {
            continue;
        }
        events.push(SimpleEvent {
            invoked_ms: operation.invoked_ms,
            answered_ms,
            delta,
            sees,
        });
    }
    events.extend(reads.iter().filter_map(|read| free_in(read, sku)));
    events
}

fn free_in(read: &Read, sku: &Sku) -> Option<SimpleEvent> {
    match (&read.query, &read.answer.reply) {
        (Query::Cells { sku: of, .. }, QueryReply::Cells(cells)) if of == sku && read.linearizable => {
            Some(SimpleEvent {
                invoked_ms: read.invoked_ms,
                answered_ms: Some(read.answered_ms),
                delta: 0,
                sees: Sees::Exactly(cells.iter().map(|cell| cell.free).sum()),
            })
        }
        _ => None,
    }
}

/// Whether such an order exists. All effects add up, so the state is known from the set of what has happened.
pub fn is_linearizable(events: &[SimpleEvent]) -> bool {
    let mut events: Vec<&SimpleEvent> = events.iter().collect();
    events.sort_by_key(|event| event.invoked_ms);
    let mut seen: HashSet<(usize, BTreeSet<usize>)> = HashSet::new();
    // (how many of the first have all happened, which later ones have, what is free)
    let mut open: Vec<(usize, BTreeSet<usize>, i64)> = vec![(0, BTreeSet::new(), 0)];
    while let Some((first, later, free)) = open.pop() {
        let pending: Vec<usize> = pending(&events, first, &later);
        if pending.iter().all(|index| events[*index].answered_ms.is_none())
            && (first..events.len())
                .all(|index| later.contains(&index) || events[index].answered_ms.is_none())
        {
            return true;
        }
        for index in pending {
            let event = events[index];
            let possible = match event.sees {
                Sees::Nothing => true,
                Sees::AtLeast(units) => free >= units,
                Sees::Exactly(units) => free == units,
            };
            if !possible {
                continue;
            }
            let (mut first, mut later) = (first, later.clone());
            later.insert(index);
            while later.remove(&first) {
                first += 1;
            }
            if seen.insert((first, later.clone())) {
                open.push((first, later, free + event.delta));
            }
        }
    }
    false
}

/// What may happen next: everything asked for before the earliest answer that is still to come.
fn pending(events: &[&SimpleEvent], first: usize, later: &BTreeSet<usize>) -> Vec<usize> {
    let mut deadline = u64::MAX;
    let mut pending = Vec::new();
    for (index, event) in events.iter().enumerate().skip(first) {
        if event.invoked_ms > deadline {
            break;
        }
        if !later.contains(&index) {
            deadline = deadline.min(event.answered_ms.unwrap_or(u64::MAX));
            pending.push(index);
        }
    }
    pending
}
