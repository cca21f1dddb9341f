//! Converts the ledger's answers to public messages.

use bytes::Bytes;
use holdfast_api::reasons;
use holdfast_api::v1;
use holdfast_ledger::{
    Allocation, AvailabilityView, Bucket, CellView, Change, ChangeKind, GrantedLine, LineView, OperationId,
    PolicyEffect, Position, Refusal, ReservationState, ReservationView, Sku, SourcingReason, StorefrontId,
    Success,
};
use holdfast_orders::OrderError;
use holdfast_shard::{Answer, QueryError, SubmitError};
use v1::Reason;

use crate::reasoned;

/// Converts a stock policy.
pub(crate) fn stock_policy(sku: &Sku, storefront: &StorefrontId, rules: PolicyEffect) -> v1::StockPolicy {
    v1::StockPolicy {
        sku: sku.as_str().to_owned(),
        storefront: storefront.as_str().to_owned(),
        may_borrow: rules.may_borrow,
        max_per_reservation: rules.max_per_reservation,
        backorder_limit: rules.backorder_limit,
        preorder_limit: rules.preorder_limit,
        preorder_until_ms: rules.preorder_until_ms,
    }
}

/// Converts a position in the log of a shard.
pub fn position(shard: u32, position: Position) -> v1::Position {
    v1::Position {
        shard,
        log_index: position.log_index,
        log_time_ms: position.log_time_ms,
    }
}

/// Converts the place of a decision.
pub fn receipt(shard: u32, at: Position, replayed: bool) -> Option<v1::Receipt> {
    Some(v1::Receipt {
        position: Some(position(shard, at)),
        replayed,
    })
}

/// Returns the position at which a query was answered.
pub fn read_position(shard: u32, answer: &Answer) -> v1::ReadPosition {
    v1::ReadPosition {
        position: Some(position(shard, answer.position)),
        age_ms: answer.age_ms,
        change_seq: answer.last_seq,
    }
}

/// Returns the refusal for a success that does not fit its command, which is a defect.
fn wrong_kind(success: &Success) -> v1::Refusal {
    reasons::refusal(
        Reason::Internal,
        format!("the ledger answered with another kind of success: {success:?}"),
    )
}

/// Converts the answer to a Reserve.
pub fn reserved(shard: u32, success: Success) -> Result<v1::ReserveResponse, v1::Refusal> {
    match success {
        Success::Reserved {
            position,
            replayed,
            expires_at_ms,
            lines,
        } => Ok(v1::ReserveResponse {
            receipt: receipt(shard, position, replayed),
            expires_at_ms,
            lines: lines.into_iter().map(granted_line).collect(),
        }),
        other => Err(wrong_kind(&other)),
    }
}

/// Converts the answer to a command that changes the state of a reservation.
pub fn transitioned(shard: u32, success: Success) -> Result<v1::TransitionResponse, v1::Refusal> {
    match success {
        Success::Transitioned {
            position,
            replayed,
            state,
            expires_at_ms,
        } => Ok(v1::TransitionResponse {
            receipt: receipt(shard, position, replayed),
            state: state
                .map_or(v1::ReservationState::Unspecified, reservation_state)
                .into(),
            expires_at_ms,
        }),
        other => Err(wrong_kind(&other)),
    }
}

/// Converts the answer to a command on stock.
pub fn stocked(shard: u32, success: Success) -> Result<v1::StockResponse, v1::Refusal> {
    match success {
        Success::Stocked {
            position,
            replayed,
            cell: after,
        } => Ok(v1::StockResponse {
            receipt: receipt(shard, position, replayed),
            cell: after.map(cell),
        }),
        other => Err(wrong_kind(&other)),
    }
}

/// Converts the result of one item of a batch.
pub fn batch_result(tag: u64, shard: u32, result: Result<Success, v1::Refusal>) -> v1::BatchResult {
    use v1::batch_result::Result as Kind;
    let result = match result {
        Ok(success @ Success::Reserved { .. }) => reserved(shard, success).map(Kind::Reserved),
        Ok(success @ Success::Stocked { .. }) => stocked(shard, success).map(Kind::Stocked),
        Ok(success) => transitioned(shard, success).map(Kind::Transitioned),
        Err(refusal) => Err(refusal),
    };
    v1::BatchResult {
        tag,
        result: Some(result.unwrap_or_else(Kind::Refused)),
    }
}

fn granted_line(line: GrantedLine) -> v1::GrantedLine {
    v1::GrantedLine {
        line: line.line,
        sku: line.sku.into(),
        requested: line.requested,
        granted: line.granted,
        allocations: line.allocations.into_iter().map(allocation).collect(),
    }
}

fn allocation(allocation: Allocation) -> v1::Allocation {
    v1::Allocation {
        warehouse: allocation.warehouse.into(),
        from_pool: allocation.from_pool,
        from_free: allocation.from_free,
        from_backorder: allocation.from_backorder,
        reason: sourcing_reason(allocation.reason).into(),
    }
}

fn sourcing_reason(reason: SourcingReason) -> v1::SourcingReason {
    match reason {
        SourcingReason::OnlySource => v1::SourcingReason::OnlySource,
        SourcingReason::FirstFillingAll => v1::SourcingReason::FirstFillingAll,
        SourcingReason::Preferred => v1::SourcingReason::Preferred,
        SourcingReason::MostAvailable => v1::SourcingReason::MostAvailable,
        SourcingReason::FewestShipments => v1::SourcingReason::FewestShipments,
        SourcingReason::SpillOver => v1::SourcingReason::SpillOver,
        SourcingReason::Backordered => v1::SourcingReason::Backordered,
    }
}

/// Converts a cell.
pub fn cell(cell: CellView) -> v1::Cell {
    v1::Cell {
        sku: cell.sku.into(),
        warehouse: cell.warehouse.into(),
        on_hand: cell.on_hand,
        free: cell.free,
        pools: cell
            .pools
            .into_iter()
            .map(|pool| v1::Pool {
                storefront: pool.storefront.into(),
                quantity: pool.quantity,
            })
            .collect(),
        safety: cell.safety,
        held: cell.held,
        committed: cell.committed,
        damaged: cell.damaged,
        quality_hold: cell.quality_hold,
        deficit: cell.deficit,
        backordered: cell.backordered,
        in_transit: cell.in_transit,
    }
}

/// Converts the availability of one SKU. The sum over warehouses saturates, because it is only information:
/// nothing is decided by it.
pub fn availability(read: v1::ReadPosition, view: AvailabilityView) -> v1::SkuAvailability {
    let available = view
        .warehouses
        .iter()
        .fold(0_i64, |sum, (_, units)| sum.saturating_add(*units));
    v1::SkuAvailability {
        sku: view.sku.into(),
        available,
        warehouses: view
            .warehouses
            .into_iter()
            .map(|(warehouse, available)| v1::WarehouseAvailability {
                warehouse: warehouse.into(),
                available,
            })
            .collect(),
        read: Some(read),
        backorderable: view.backorderable,
    }
}

/// Converts the state of a reservation.
pub fn reservation_state(state: ReservationState) -> v1::ReservationState {
    match state {
        ReservationState::Prepared => v1::ReservationState::Prepared,
        ReservationState::Held => v1::ReservationState::Held,
        ReservationState::Committed => v1::ReservationState::Committed,
        ReservationState::Shipped => v1::ReservationState::Shipped,
        ReservationState::Released => v1::ReservationState::Released,
        ReservationState::Expired => v1::ReservationState::Expired,
        ReservationState::Cancelled => v1::ReservationState::Cancelled,
        ReservationState::Returned => v1::ReservationState::Returned,
    }
}

/// Converts a reservation as it stands.
pub fn reservation(shard: u32, view: ReservationView) -> v1::Reservation {
    v1::Reservation {
        reservation_id: Bytes::copy_from_slice(view.reservation_id.as_bytes()),
        storefront: view.storefront.into(),
        state: reservation_state(view.state).into(),
        created_at_ms: view.created_at_ms,
        expires_at_ms: view.expires_at_ms,
        reference: view.reference.into(),
        lines: view.lines.into_iter().map(reservation_line).collect(),
        shard,
    }
}

fn reservation_line(line: LineView) -> v1::ReservationLine {
    v1::ReservationLine {
        line: line.line,
        sku: line.sku.into(),
        requested: line.requested,
        granted: line.granted,
        held: line.held,
        committed: line.committed,
        shipped: line.shipped,
        released: line.released,
        cancelled: line.cancelled,
        returned: line.returned,
        allocations: line.allocations.into_iter().map(allocation).collect(),
    }
}

/// Converts a refusal of the ledger.
pub fn refusal(refusal: Refusal) -> v1::Refusal {
    let mut refused = v1::Refusal {
        settled: refusal.is_lasting(),
        ..reasoned::told(&refusal)
    };
    if let Refusal::InsufficientStock(shortages) | Refusal::Contended(shortages) = refusal {
        refused.shortages = shortages
            .into_iter()
            .map(|shortage| v1::LineShortage {
                line: shortage.line,
                sku: shortage.sku.into(),
                requested: shortage.requested,
                available: shortage.available,
            })
            .collect();
    }
    refused
}

/// Converts the error of a command that has no outcome.
pub fn submit_error(shard: u32, error: &SubmitError) -> v1::Refusal {
    reasoned::told_of_shard(shard, error)
}

/// Converts the error of an operation on an order or a transfer over several shards.
pub fn order_error(error: OrderError) -> v1::Refusal {
    match error {
        OrderError::Refused(refused) => refusal(refused),
        OrderError::Submit { shard, error } => submit_error(shard, &error),
        OrderError::Query { shard, error } => query_error(shard, error),
        OrderError::Partly {
            refusal: ref refused, ..
        } => v1::Refusal {
            message: error.to_string(),
            ..refusal(refused.clone())
        },
        OrderError::Undispatched { refusal: ref refused } => v1::Refusal {
            message: error.to_string(),
            ..refusal(refused.clone())
        },
        OrderError::WrongAnswer { .. } => reasons::refusal(Reason::Internal, error.to_string()),
        OrderError::Ambiguous { ref id, ref shards } => ambiguous(id, shards),
    }
}

/// Returns the refusal for an id under which several shards have different things.
pub fn ambiguous(id: &OperationId, shards: &[u32]) -> v1::Refusal {
    reasons::refusal(
        Reason::OperationIdReused,
        format!("shards {shards:?} have different things under the id {id}: name the shard"),
    )
}

/// Converts the error of a query that has no answer.
pub fn query_error(shard: u32, error: QueryError) -> v1::Refusal {
    match error {
        QueryError::Refused(refused) => refusal(refused),
        error => reasoned::told_of_shard(shard, &error),
    }
}

fn change_kind(kind: ChangeKind) -> v1::ChangeKind {
    match kind {
        ChangeKind::Reserved => v1::ChangeKind::Reserved,
        ChangeKind::Extended => v1::ChangeKind::Extended,
        ChangeKind::Committed => v1::ChangeKind::Committed,
        ChangeKind::Released => v1::ChangeKind::Released,
        ChangeKind::Expired => v1::ChangeKind::Expired,
        ChangeKind::Shipped => v1::ChangeKind::Shipped,
        ChangeKind::Cancelled => v1::ChangeKind::Cancelled,
        ChangeKind::Returned => v1::ChangeKind::Returned,
        ChangeKind::Received => v1::ChangeKind::Received,
        ChangeKind::Adjusted => v1::ChangeKind::Adjusted,
        ChangeKind::Counted => v1::ChangeKind::Counted,
        ChangeKind::BucketMoved => v1::ChangeKind::BucketMoved,
        ChangeKind::PolicySet => v1::ChangeKind::PolicySet,
        ChangeKind::PoolAllocated => v1::ChangeKind::PoolAllocated,
        ChangeKind::Prepared => v1::ChangeKind::Prepared,
        ChangeKind::Confirmed => v1::ChangeKind::Confirmed,
        ChangeKind::Aborted => v1::ChangeKind::Aborted,
        ChangeKind::TransferredOut => v1::ChangeKind::TransferredOut,
        ChangeKind::TransferredIn => v1::ChangeKind::TransferredIn,
        ChangeKind::TransferClosed => v1::ChangeKind::TransferClosed,
        ChangeKind::SupplyExpected => v1::ChangeKind::SupplyExpected,
    }
}

/// Converts a bucket.
pub fn bucket(bucket: Bucket) -> v1::Bucket {
    match bucket {
        Bucket::OnHand => v1::Bucket::OnHand,
        Bucket::Free => v1::Bucket::Free,
        Bucket::Pool => v1::Bucket::Pool,
        Bucket::Safety => v1::Bucket::Safety,
        Bucket::Held => v1::Bucket::Held,
        Bucket::Committed => v1::Bucket::Committed,
        Bucket::Damaged => v1::Bucket::Damaged,
        Bucket::QualityHold => v1::Bucket::QualityHold,
        Bucket::Deficit => v1::Bucket::Deficit,
        Bucket::Backordered => v1::Bucket::Backordered,
        Bucket::InTransit => v1::Bucket::InTransit,
    }
}

/// Converts one change of a shard.
pub fn change(shard: u32, change: Change) -> v1::Change {
    v1::Change {
        shard,
        seq: change.seq,
        entry_changes: change.entry_changes,
        entry_offset: change.entry_offset,
        log_index: change.log_index,
        log_time_ms: change.log_time_ms,
        kind: change_kind(change.kind).into(),
        sku: change.sku.map(String::from).unwrap_or_default(),
        warehouse: change.warehouse.map(String::from).unwrap_or_default(),
        storefront: change.storefront.map(String::from).unwrap_or_default(),
        moves: change
            .moves
            .into_iter()
            .map(|moved| v1::BucketMove {
                bucket: bucket(moved.bucket).into(),
                delta: moved.delta,
                after: moved.after,
            })
            .collect(),
        reservation: change.reservation.map(|effect| v1::ReservationEffect {
            reservation_id: Bytes::copy_from_slice(effect.reservation_id.as_bytes()),
            line: effect.line,
            state: reservation_state(effect.state).into(),
            expires_at_ms: effect.expires_at_ms,
            requested: effect.requested,
            quantity: effect.quantity,
            home: effect.home,
            sourcing: effect
                .sourcing
                .map_or(v1::SourcingReason::Unspecified, sourcing_reason)
                .into(),
        }),
        policy: change.policy.map(|effect| v1::PolicyEffect {
            may_borrow: effect.may_borrow,
            max_per_reservation: effect.max_per_reservation,
            backorder_limit: effect.backorder_limit,
            preorder_limit: effect.preorder_limit,
            preorder_until_ms: effect.preorder_until_ms,
        }),
        transfer: change.transfer.map(|effect| v1::TransferEffect {
            transfer_id: Bytes::copy_from_slice(effect.transfer_id.as_bytes()),
            from_warehouse: effect.from.into(),
            to_warehouse: effect.to.into(),
            expected_at_ms: effect.expected_at_ms,
            quantity: effect.quantity,
            in_transit: effect.in_transit,
        }),
        supply: change.supply.map(|effect| v1::SupplyEffect {
            supply_id: effect.supply_id.into(),
            quantity: effect.quantity,
            expected_at_ms: effect.expected_at_ms,
        }),
        cause: Some(v1::Cause {
            operation_id: change
                .cause
                .operation_id
                .map(|id| Bytes::copy_from_slice(id.as_bytes()))
                .unwrap_or_default(),
            principal: change.cause.principal.map(String::from).unwrap_or_default(),
            reason: change.cause.reason.into(),
            reference: change.cause.reference.into(),
            occurred_at_ms: change.cause.occurred_at_ms,
        }),
    }
}
