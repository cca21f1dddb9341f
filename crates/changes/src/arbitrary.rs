//! Generates any change that can be written, for the tests of the formats.

use holdfast_api::v1;
use proptest::prelude::*;

/// Generates changes with well-formed fields. The fields need not make sense together.
pub(crate) fn change() -> impl Strategy<Value = v1::Change> {
    let place = (
        any::<u16>(),
        0..=i64::MAX as u64,
        0..9u32,
        0..9u32,
        any::<u32>(),
        0..=i64::MAX as u64,
    );
    let what = (0..=21i32, name(), name(), name());
    (
        place,
        what,
        moves(),
        proptest::option::of(effect()),
        proptest::option::of(policy()),
        proptest::option::of(transfer()),
        proptest::option::of(supply()),
        cause(),
    )
        .prop_map(
            |(place, what, moves, reservation, policy, transfer, supply, cause)| v1::Change {
                shard: place.0.into(),
                seq: place.1,
                entry_changes: place.2,
                entry_offset: place.3,
                log_index: place.4.into(),
                log_time_ms: place.5,
                kind: what.0,
                sku: what.1,
                warehouse: what.2,
                storefront: what.3,
                moves,
                reservation,
                policy,
                transfer,
                supply,
                cause: Some(cause),
            },
        )
}

fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9._:/-]{0,20}"
}

/// Generates moves in the order of the buckets, as the ledger writes them.
fn moves() -> impl Strategy<Value = Vec<v1::BucketMove>> {
    proptest::collection::btree_map(1..=11i32, (any::<i64>(), any::<i64>()), 0..11).prop_map(|moves| {
        let one = |(bucket, (delta, after))| v1::BucketMove { bucket, delta, after };
        moves.into_iter().map(one).collect()
    })
}

fn effect() -> impl Strategy<Value = v1::ReservationEffect> {
    (
        any::<[u8; 16]>(),
        any::<u16>(),
        0..=8i32,
        0..=i64::MAX as u64,
        any::<i64>(),
        any::<i64>(),
        proptest::option::of(0..=i32::MAX as u32),
        0..=7i32,
    )
        .prop_map(
            |(id, line, state, expires_at_ms, requested, quantity, home, sourcing)| v1::ReservationEffect {
                reservation_id: id.to_vec().into(),
                line: line.into(),
                state,
                expires_at_ms,
                requested,
                quantity,
                home,
                sourcing,
            },
        )
}

fn policy() -> impl Strategy<Value = v1::PolicyEffect> {
    let time = 0..=i64::MAX as u64;
    (any::<bool>(), any::<i64>(), any::<i64>(), any::<i64>(), time).prop_map(
        |(may_borrow, max_per_reservation, backorder_limit, preorder_limit, preorder_until_ms)| {
            v1::PolicyEffect {
                may_borrow,
                max_per_reservation,
                backorder_limit,
                preorder_limit,
                preorder_until_ms,
            }
        },
    )
}

fn transfer() -> impl Strategy<Value = v1::TransferEffect> {
    let time = 0..=i64::MAX as u64;
    (
        any::<[u8; 16]>(),
        name(),
        name(),
        time,
        any::<i64>(),
        any::<i64>(),
    )
        .prop_map(
            |(id, from, to, expected_at_ms, quantity, in_transit)| v1::TransferEffect {
                transfer_id: id.to_vec().into(),
                from_warehouse: from,
                to_warehouse: to,
                expected_at_ms,
                quantity,
                in_transit,
            },
        )
}

fn supply() -> impl Strategy<Value = v1::SupplyEffect> {
    let time = 0..=i64::MAX as u64;
    ("[A-Za-z0-9#]{1,20}", any::<i64>(), time).prop_map(|(supply_id, quantity, expected_at_ms)| {
        v1::SupplyEffect {
            supply_id,
            quantity,
            expected_at_ms,
        }
    })
}

fn cause() -> impl Strategy<Value = v1::Cause> {
    let id = proptest::option::of(any::<[u8; 16]>());
    let occurred_at_ms = proptest::option::of(0..1_u64 << 48);
    (id, name(), name(), name(), occurred_at_ms).prop_map(
        |(id, principal, reason, reference, occurred_at_ms)| v1::Cause {
            operation_id: id.map(|id| id.to_vec().into()).unwrap_or_default(),
            principal,
            reason,
            reference,
            occurred_at_ms,
        },
    )
}
