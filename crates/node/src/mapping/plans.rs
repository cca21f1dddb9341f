//! Converts plans and shortfalls to public messages: transfers, supplies, promises by date, and deficits.

use bytes::Bytes;
use holdfast_api::v1;
use holdfast_ledger::{
    DeficitView, PromiseView, ReservationState, SupplyView, TransferLineView, TransferView,
};

use super::outbound;

/// Converts a transfer as it stands.
pub fn transfer(shard: u32, view: TransferView) -> v1::Transfer {
    let progress = |line: TransferLineView| v1::TransferProgress {
        sku: line.sku.into(),
        sent: line.sent,
        received: line.received,
        written_off: line.written_off,
        in_transit: line.in_transit,
    };
    v1::Transfer {
        transfer_id: Bytes::copy_from_slice(view.transfer_id.as_bytes()),
        from_warehouse: view.from.into(),
        to_warehouse: view.to.into(),
        created_at_ms: view.created_at_ms,
        expected_at_ms: view.expected_at_ms,
        closed_at_ms: view.closed_at_ms,
        reference: view.reference.into(),
        lines: view.lines.into_iter().map(progress).collect(),
        shard,
    }
}

/// Converts an expected supply.
pub fn supply(view: SupplyView) -> v1::Supply {
    v1::Supply {
        warehouse: view.warehouse.into(),
        supply_id: view.supply_id.into(),
        quantity: view.quantity,
        expected_at_ms: view.expected_at_ms,
    }
}

/// Converts a promise: the units that could be sold by each date.
pub fn promise(read: v1::ReadPosition, view: PromiseView) -> v1::PromiseResponse {
    let dates = view.dates.into_iter().map(|date| v1::PromiseDate {
        at_ms: date.at_ms,
        arriving: date.arriving,
        available: date.available,
    });
    v1::PromiseResponse {
        read: Some(read),
        available_now: view.available_now,
        dates: dates.collect(),
        overdue: view.overdue,
        owed: view.owed,
    }
}

/// Converts a cell with a deficit, and the reservations that it affects.
pub fn deficit(view: DeficitView) -> v1::Deficit {
    let reservations = view
        .reservations
        .into_iter()
        .map(|affected| v1::AffectedReservation {
            reservation_id: Bytes::copy_from_slice(affected.reservation_id.as_bytes()),
            storefront: affected.storefront.into(),
            created_at_ms: affected.created_at_ms,
            reference: affected.reference.into(),
            committed: affected.state == ReservationState::Committed,
            quantity: affected.quantity,
            missing: affected.short,
        });
    v1::Deficit {
        cell: Some(outbound::cell(view.cell)),
        reservations: reservations.collect(),
        left_off: view.left_off,
    }
}
