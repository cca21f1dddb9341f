//! Events of one SKU, for [`holdfast_check::is_linearizable`].

use std::collections::HashMap;

use holdfast_check::{Sees, StockEvent};
use holdfast_ledger::{Action, OperationId, Query, QueryReply, Refusal, Sku};

use crate::history::{Operation, Read};

/// Returns the events of one SKU.
pub(super) fn events(sku: &Sku, operations: &[Operation], reads: &[Read]) -> Vec<StockEvent> {
    let mut held: HashMap<OperationId, i64> = HashMap::new();
    let mut events = Vec::new();
    for operation in operations {
        let answered_at = operation.answer.as_ref().map(|(at_ms, _)| *at_ms);
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
                        // An earlier attempt without an answer may still take effect.
                        if !operation.without_effect {
                            held.insert(operation.command.operation_id, quantity);
                            events.push(StockEvent {
                                invoked_at: operation.invoked_ms,
                                answered_at: None,
                                delta: -quantity,
                                sees: Sees::AtLeast(quantity),
                            });
                        }
                        (0, Sees::Exactly(short.first().map_or(0, |short| short.available)))
                    }
                    // The operation was refused as too old, so only an earlier attempt can have taken effect.
                    Some(_) if operation.without_effect => continue,
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
        if refusal.is_some() && !matches!(sees, Sees::Exactly(_)) {
            events.extend((!operation.without_effect).then_some(StockEvent {
                invoked_at: operation.invoked_ms,
                answered_at: None,
                delta,
                sees,
            }));
            continue;
        }
        if operation.answer.is_none() && operation.without_effect {
            continue;
        }
        events.push(StockEvent {
            invoked_at: operation.invoked_ms,
            answered_at,
            delta,
            sees,
        });
    }
    events.extend(reads.iter().filter_map(|read| free_in(read, sku)));
    events
}

fn free_in(read: &Read, sku: &Sku) -> Option<StockEvent> {
    match (&read.query, &read.answer.reply) {
        (Query::Cells { sku: of, .. }, QueryReply::Cells(cells)) if of == sku && read.linearizable => {
            Some(StockEvent {
                invoked_at: read.invoked_ms,
                answered_at: Some(read.answered_ms),
                delta: 0,
                sees: Sees::Exactly(cells.iter().map(|cell| cell.free).sum()),
            })
        }
        _ => None,
    }
}
