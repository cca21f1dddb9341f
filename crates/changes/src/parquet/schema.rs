//! The columns of an archived change: the contract between the archive and `warehouse/`.
//!
//! One row is one change; the grain is `(shard, seq)`. Columns in order:
//!
//! | column | type | meaning |
//! |---|---|---|
//! | `shard` | INT32 | the shard |
//! | `seq` | INT64 | 1, 2, 3, ... in the shard, without a gap |
//! | `entry_changes` | INT32 | how many changes the log entry made |
//! | `entry_offset` | INT32 | its place among them, from 0 |
//! | `log_index` | INT64 | the entry's index in the Raft log |
//! | `log_time` | TIMESTAMP(ms, UTC) | the entry's log time |
//! | `kind` | STRING | `reserved`, `extended`, `committed`, `released`, `expired`, `shipped`, `cancelled`, `returned`, `received`, `adjusted`, `counted`, `bucket_moved`, `policy_set`, `pool_allocated`, `prepared`, `confirmed`, `aborted`, `transferred_out`, `transferred_in`, `transfer_closed`, `supply_expected` |
//! | `sku` | STRING, null | null for a note: `extended`, `confirmed`, and any decision on an order over several shards whose home has no units of it |
//! | `warehouse` | STRING, null | null for a note and for `policy_set` |
//! | `storefront` | STRING, null | the storefront of the reservation, pool or stock policy |
//! | `B_delta` | INT64 | for each bucket B of [`BUCKETS`]: how much it moved, 0 when it did not |
//! | `B_after` | INT64, null | units in it afterwards, null when it did not move |
//! | `reservation_id` | STRING, null | UUID text; this and the next five are null together, when no reservation is concerned |
//! | `line` | INT32, null | the reservation's line, 0 for a note |
//! | `reservation_state` | STRING, null | after the operation, in this shard: `prepared`, `held`, `committed`, `shipped`, `released`, `expired`, `cancelled`, `returned` |
//! | `expires_at` | TIMESTAMP(ms, UTC), null | when the hold ends; 1970-01-01 while it is `prepared` |
//! | `requested` | INT64, null | units of the line asked for, 0 for a note |
//! | `quantity` | INT64, null | units of this line and warehouse that this change moved, 0 for a note |
//! | `policy_may_borrow` | BOOLEAN, null | only for `policy_set` |
//! | `policy_max_per_reservation` | INT64, null | only for `policy_set`; 0 means no limit |
//! | `operation_id` | STRING, null | UUID text; null for expiry, and when an order failed because nobody decided it in time |
//! | `principal` | STRING, null | the authenticated principal who asked |
//! | `reason` | STRING, null | the caller's code |
//! | `reference` | STRING, null | the caller's document; for expiry that of the Reserve |
//! | `home` | INT32, null | the shard that decides on the reservation, when it is over several shards |
//! | `backordered_delta`, `backordered_after`, `in_transit_delta`, `in_transit_after` | INT64 | the two newest of [`BUCKETS`], in the same form |
//! | `sourcing` | STRING, null | why this warehouse was chosen, only where units are taken: `only_source`, `first_filling_all`, `preferred`, `most_available`, `fewest_shipments`, `spill_over`, `backordered` |
//! | `policy_backorder_limit` | INT64, null | only for `policy_set`: units of the SKU that may be backordered |
//! | `policy_preorder_limit` | INT64, null | only for `policy_set`: the same until `policy_preorder_until` |
//! | `policy_preorder_until` | TIMESTAMP(ms, UTC), null | only for `policy_set`; 1970 means no preorder |
//! | `transfer_id` | STRING, null | UUID text; this and the next five are null together, when no transfer is concerned |
//! | `transfer_from`, `transfer_to` | STRING, null | the two warehouses |
//! | `transfer_expected_at` | TIMESTAMP(ms, UTC), null | when its goods should arrive |
//! | `transfer_quantity` | INT64, null | units of the SKU that left, arrived or were written off |
//! | `transfer_in_transit` | INT64, null | units of the SKU still in transit afterwards |
//! | `supply_id` | STRING, null | this and the next two are null together, when no supply is concerned |
//! | `supply_quantity` | INT64, null | units that the supply will still bring, 0 when it is no longer expected |
//! | `supply_expected_at` | TIMESTAMP(ms, UTC), null | when it should arrive |
//! | `occurred_at` | TIMESTAMP(ms, UTC), null | business time: when it happened outside, as given by the operation; null when it gave none, and for expiry. Absent in files that were archived before there was business time |
//!
//! For each bucket the delta comes right before the after-image: `on_hand_delta, on_hand_after, free_delta,
//! ...`. The columns of the first nine buckets follow the storefront. `pool` is the pool of the row's
//! `storefront`. An empty text in the stream is null here. A column is only ever added, at the end; no column
//! is renamed, retyped or removed.

use std::sync::{Arc, LazyLock};

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use holdfast_api::v1::Bucket;

/// The buckets in the order of their columns, which is the order of the proto's enum.
pub const BUCKETS: [Bucket; 11] = [
    Bucket::OnHand,
    Bucket::Free,
    Bucket::Pool,
    Bucket::Safety,
    Bucket::Held,
    Bucket::Committed,
    Bucket::Damaged,
    Bucket::QualityHold,
    Bucket::Deficit,
    Bucket::Backordered,
    Bucket::InTransit,
];

/// How many of the buckets have their columns right after the storefront. The columns of the other buckets
/// were added later, at the end.
pub(super) const FIRST_BUCKETS: usize = 9;

/// Returns the columns as an Arrow schema.
pub fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| Arc::new(build()));
    SCHEMA.clone()
}

/// Returns the type of all time columns.
pub(super) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()))
}

fn build() -> Schema {
    let required = |name: &str, data_type| Field::new(name, data_type, false);
    let nullable = |name: &str, data_type| Field::new(name, data_type, true);
    let mut fields = vec![
        required("shard", DataType::Int32),
        required("seq", DataType::Int64),
        required("entry_changes", DataType::Int32),
        required("entry_offset", DataType::Int32),
        required("log_index", DataType::Int64),
        required("log_time", timestamp()),
        required("kind", DataType::Utf8),
        nullable("sku", DataType::Utf8),
        nullable("warehouse", DataType::Utf8),
        nullable("storefront", DataType::Utf8),
    ];
    let (first, later) = BUCKETS.split_at(FIRST_BUCKETS);
    let of_bucket = |bucket: &Bucket| {
        let name = crate::names::bucket(*bucket);
        [
            required(&format!("{name}_delta"), DataType::Int64),
            nullable(&format!("{name}_after"), DataType::Int64),
        ]
    };
    fields.extend(first.iter().flat_map(of_bucket));
    fields.extend([
        nullable("reservation_id", DataType::Utf8),
        nullable("line", DataType::Int32),
        nullable("reservation_state", DataType::Utf8),
        nullable("expires_at", timestamp()),
        nullable("requested", DataType::Int64),
        nullable("quantity", DataType::Int64),
        nullable("policy_may_borrow", DataType::Boolean),
        nullable("policy_max_per_reservation", DataType::Int64),
        nullable("operation_id", DataType::Utf8),
        nullable("principal", DataType::Utf8),
        nullable("reason", DataType::Utf8),
        nullable("reference", DataType::Utf8),
        nullable("home", DataType::Int32),
    ]);
    fields.extend(later.iter().flat_map(of_bucket));
    fields.push(nullable("sourcing", DataType::Utf8));
    fields.extend(effect_fields());
    Schema::new(fields)
}

/// Returns the fields of stock policies, transfers, supplies and business time.
fn effect_fields() -> Vec<Field> {
    let nullable = |name: &str, data_type| Field::new(name, data_type, true);
    vec![
        nullable("policy_backorder_limit", DataType::Int64),
        nullable("policy_preorder_limit", DataType::Int64),
        nullable("policy_preorder_until", timestamp()),
        nullable("transfer_id", DataType::Utf8),
        nullable("transfer_from", DataType::Utf8),
        nullable("transfer_to", DataType::Utf8),
        nullable("transfer_expected_at", timestamp()),
        nullable("transfer_quantity", DataType::Int64),
        nullable("transfer_in_transit", DataType::Int64),
        nullable("supply_id", DataType::Utf8),
        nullable("supply_quantity", DataType::Int64),
        nullable("supply_expected_at", timestamp()),
        nullable("occurred_at", timestamp()),
    ]
}
