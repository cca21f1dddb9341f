//! Writes changes into a Parquet file. One version of this program always writes the same bytes for the same
//! changes.

use std::sync::Arc;

use arrow_array::builder::{
    BooleanBuilder, Int32Builder, Int64Builder, StringBuilder, TimestampMillisecondBuilder,
};
use arrow_array::{ArrayRef, RecordBatch};
use bytes::Bytes;
use holdfast_api::v1::{Bucket, Change, ChangeKind, ReservationState, SourcingReason};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::effects::EffectBuilders;
use super::page_checksums;
use super::row::{EncodeError, Row};
use super::schema::{BUCKETS, FIRST_BUCKETS, schema, timestamp};
use crate::names;

/// Writes these changes as the rows of a Parquet file. Each page has a checksum.
///
/// # Errors
/// [`EncodeError`]: a change does not fit the columns.
pub fn encode(changes: &[Change]) -> Result<Bytes, EncodeError> {
    let properties = WriterProperties::builder()
        .set_created_by("holdfast".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), schema(), Some(properties.clone()))?;
    for part in changes.chunks(ROWS_PER_BATCH) {
        writer.write(&batch(part)?)?;
    }
    Ok(page_checksums::add(&writer.into_inner()?.into(), properties)?)
}

/// The rows of one batch. Limits the memory of the arrays, which exist beside the changes themselves.
const ROWS_PER_BATCH: usize = 16 * 1024;

/// Returns these changes as rows in the columns of the schema, for a writer of another format.
///
/// # Errors
/// [`EncodeError`]: a change does not fit the columns.
pub fn batch(changes: &[Change]) -> Result<RecordBatch, EncodeError> {
    let mut columns = Columns::new();
    for change in changes {
        columns.push(change)?;
    }
    Ok(RecordBatch::try_new(schema(), columns.finish())?)
}

/// One builder for each column, in the order of the schema.
#[derive(Default)]
struct Columns {
    shard: Int32Builder,
    seq: Int64Builder,
    entry_changes: Int32Builder,
    entry_offset: Int32Builder,
    log_index: Int64Builder,
    log_time: TimestampMillisecondBuilder,
    kind: StringBuilder,
    sku: StringBuilder,
    warehouse: StringBuilder,
    storefront: StringBuilder,
    buckets: [(Int64Builder, Int64Builder); BUCKETS.len()],
    reservation_id: StringBuilder,
    line: Int32Builder,
    reservation_state: StringBuilder,
    expires_at: TimestampMillisecondBuilder,
    requested: Int64Builder,
    quantity: Int64Builder,
    policy_may_borrow: BooleanBuilder,
    policy_max_per_reservation: Int64Builder,
    operation_id: StringBuilder,
    principal: StringBuilder,
    reason: StringBuilder,
    reference: StringBuilder,
    home: Int32Builder,
    sourcing: StringBuilder,
    effects: EffectBuilders,
}

impl Columns {
    fn new() -> Self {
        Self {
            log_time: TimestampMillisecondBuilder::new().with_data_type(timestamp()),
            expires_at: TimestampMillisecondBuilder::new().with_data_type(timestamp()),
            ..Self::default()
        }
    }

    fn push(&mut self, change: &Change) -> Result<(), EncodeError> {
        let row = Row { seq: change.seq };
        self.shard.append_value(row.int32("shard", change.shard)?);
        self.seq.append_value(row.int64("seq", change.seq)?);
        self.entry_changes
            .append_value(row.int32("entry_changes", change.entry_changes)?);
        self.entry_offset
            .append_value(row.int32("entry_offset", change.entry_offset)?);
        self.log_index
            .append_value(row.int64("log_index", change.log_index)?);
        self.log_time
            .append_value(row.int64("log_time", change.log_time_ms)?);
        let kind = ChangeKind::try_from(change.kind).map_err(|_| row.unknown_number("kind", change.kind))?;
        self.kind.append_value(names::kind(kind));
        self.sku.append_option(text(&change.sku));
        self.warehouse.append_option(text(&change.warehouse));
        self.storefront.append_option(text(&change.storefront));
        self.push_moves(row, change)?;
        self.push_reservation(row, change)?;
        let policy = change.policy.as_ref();
        self.policy_may_borrow.append_option(policy.map(|p| p.may_borrow));
        self.policy_max_per_reservation
            .append_option(policy.map(|p| p.max_per_reservation));
        self.effects.push(row, change)?;
        self.push_cause(row, change)
    }

    fn push_moves(&mut self, row: Row, change: &Change) -> Result<(), EncodeError> {
        let mut moved = [None; BUCKETS.len()];
        for one in &change.moves {
            let bucket =
                Bucket::try_from(one.bucket).map_err(|_| row.unknown_number("bucket", one.bucket))?;
            let Some(at) = BUCKETS.iter().position(|known| *known == bucket) else {
                return Err(row.unknown_number("bucket", one.bucket));
            };
            if moved[at].replace((one.delta, one.after)).is_some() {
                return Err(EncodeError::BucketTwice {
                    seq: row.seq,
                    bucket: names::bucket(bucket),
                });
            }
        }
        for ((delta, after), moved) in self.buckets.iter_mut().zip(moved) {
            delta.append_value(moved.map_or(0, |(delta, _)| delta));
            after.append_option(moved.map(|(_, after)| after));
        }
        Ok(())
    }

    fn push_reservation(&mut self, row: Row, change: &Change) -> Result<(), EncodeError> {
        let Some(effect) = &change.reservation else {
            self.reservation_id.append_null();
            self.line.append_null();
            self.reservation_state.append_null();
            self.expires_at.append_null();
            self.requested.append_null();
            self.quantity.append_null();
            self.home.append_null();
            self.sourcing.append_null();
            return Ok(());
        };
        let state = ReservationState::try_from(effect.state)
            .map_err(|_| row.unknown_number("reservation_state", effect.state))?;
        self.reservation_id
            .append_value(row.uuid("reservation_id", &effect.reservation_id)?);
        self.line.append_value(row.int32("line", effect.line)?);
        self.reservation_state.append_value(names::state(state));
        self.expires_at
            .append_value(row.int64("expires_at", effect.expires_at_ms)?);
        self.requested.append_value(effect.requested);
        self.quantity.append_value(effect.quantity);
        let home = effect.home.map(|home| row.int32("home", home)).transpose()?;
        self.home.append_option(home);
        let sourcing = SourcingReason::try_from(effect.sourcing)
            .map_err(|_| row.unknown_number("sourcing", effect.sourcing))?;
        let sourcing = (sourcing != SourcingReason::Unspecified).then(|| names::sourcing(sourcing));
        self.sourcing.append_option(sourcing);
        Ok(())
    }

    fn push_cause(&mut self, row: Row, change: &Change) -> Result<(), EncodeError> {
        let cause = change.cause.clone().unwrap_or_default();
        if cause.operation_id.is_empty() {
            self.operation_id.append_null();
        } else {
            self.operation_id
                .append_value(row.uuid("operation_id", &cause.operation_id)?);
        }
        self.principal.append_option(text(&cause.principal));
        self.reason.append_option(text(&cause.reason));
        self.reference.append_option(text(&cause.reference));
        Ok(())
    }

    fn finish(mut self) -> Vec<ArrayRef> {
        let mut arrays: Vec<ArrayRef> = vec![
            Arc::new(self.shard.finish()),
            Arc::new(self.seq.finish()),
            Arc::new(self.entry_changes.finish()),
            Arc::new(self.entry_offset.finish()),
            Arc::new(self.log_index.finish()),
            Arc::new(self.log_time.finish()),
            Arc::new(self.kind.finish()),
            Arc::new(self.sku.finish()),
            Arc::new(self.warehouse.finish()),
            Arc::new(self.storefront.finish()),
        ];
        let mut buckets = self.buckets.into_iter().flat_map(|(mut delta, mut after)| {
            let of_bucket: [ArrayRef; 2] = [Arc::new(delta.finish()), Arc::new(after.finish())];
            of_bucket
        });
        arrays.extend(buckets.by_ref().take(2 * FIRST_BUCKETS));
        arrays.extend([
            Arc::new(self.reservation_id.finish()) as ArrayRef,
            Arc::new(self.line.finish()),
            Arc::new(self.reservation_state.finish()),
            Arc::new(self.expires_at.finish()),
            Arc::new(self.requested.finish()),
            Arc::new(self.quantity.finish()),
            Arc::new(self.policy_may_borrow.finish()),
            Arc::new(self.policy_max_per_reservation.finish()),
            Arc::new(self.operation_id.finish()),
            Arc::new(self.principal.finish()),
            Arc::new(self.reason.finish()),
            Arc::new(self.reference.finish()),
            Arc::new(self.home.finish()),
        ]);
        arrays.extend(buckets);
        arrays.push(Arc::new(self.sourcing.finish()));
        arrays.extend(self.effects.finish());
        arrays
    }
}

fn text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
