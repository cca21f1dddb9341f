//! Reads changes from a Parquet file.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, TimestampMillisecondType};
use arrow_array::{Array, BooleanArray, PrimitiveArray, RecordBatch, StringArray};
use bytes::Bytes;
use holdfast_api::v1::{BucketMove, Cause, Change, PolicyEffect, ReservationEffect, SourcingReason};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::columns::{DecodeError, column, text};
use super::effects::EffectColumns;
use super::schema::{BUCKETS, schema};
use crate::names;

/// The changes of a file, some thousands at a time.
pub struct Decoder {
    /// The remaining batches; None when there is no more to read.
    batches: Option<ParquetRecordBatchReader>,
    rows_before: u64,
}

/// Turns a panic into an error. The Parquet library panics on some damaged files, as the documentation of
/// `ColumnChunkMetaData::byte_range` says. Whatever it leaves behind is not used again.
fn catching<T>(read: impl FnOnce() -> T) -> Result<T, DecodeError> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|_| DecodeError::Damaged)
}

impl Decoder {
    /// Reads the file's footer and checks its columns. More columns at the end are fine.
    ///
    /// # Errors
    /// [`DecodeError`]: the file is not an archived one.
    pub fn open(file: Bytes) -> Result<Self, DecodeError> {
        let builder = catching(|| ParquetRecordBatchReaderBuilder::try_new(file))??;
        for field in schema().fields() {
            let found = builder
                .schema()
                .field_with_name(field.name())
                .map(|f| f.data_type());
            // This is the newest column. Older files do not have it.
            let may_be_absent = field.name() == "occurred_at" && found.is_err();
            if found.ok() != Some(field.data_type()) && !may_be_absent {
                let expected = field.data_type().to_string();
                return Err(DecodeError::Column {
                    column: field.name().clone(),
                    expected,
                });
            }
        }
        let names = schema();
        let known = names.fields().iter().map(|field| field.name().as_str());
        let mask = ProjectionMask::columns(builder.parquet_schema(), known);
        let builder = builder.with_projection(mask).with_batch_size(8 * 1024);
        let batches = catching(|| builder.build())??;
        Ok(Self {
            batches: Some(batches),
            rows_before: 0,
        })
    }
}

impl Iterator for Decoder {
    type Item = Result<Vec<Change>, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut batches = self.batches.take()?;
        let batch = match catching(|| batches.next()) {
            Ok(Some(Ok(batch))) => batch,
            Ok(Some(Err(error))) => return Some(Err(error.into())),
            Ok(None) => return None,
            Err(damaged) => return Some(Err(damaged)),
        };
        self.batches = Some(batches);
        let rows_before = self.rows_before;
        self.rows_before += batch.num_rows() as u64;
        Some(rows(&batch, rows_before))
    }
}

/// Reads all changes of a file.
///
/// # Errors
/// [`DecodeError`]: the file is not an archived one, or is damaged.
pub fn decode(file: Bytes) -> Result<Vec<Change>, DecodeError> {
    let mut changes = Vec::new();
    for some in Decoder::open(file)? {
        changes.extend(some?);
    }
    Ok(changes)
}

fn rows(batch: &RecordBatch, rows_before: u64) -> Result<Vec<Change>, DecodeError> {
    let columns = Columns::of(batch)?;
    (0..batch.num_rows())
        .map(|at| columns.change(at, rows_before))
        .collect()
}

struct Columns<'a> {
    shard: &'a PrimitiveArray<Int32Type>,
    seq: &'a PrimitiveArray<Int64Type>,
    entry_changes: &'a PrimitiveArray<Int32Type>,
    entry_offset: &'a PrimitiveArray<Int32Type>,
    log_index: &'a PrimitiveArray<Int64Type>,
    log_time: &'a PrimitiveArray<TimestampMillisecondType>,
    kind: &'a StringArray,
    sku: &'a StringArray,
    warehouse: &'a StringArray,
    storefront: &'a StringArray,
    buckets: Vec<(&'a PrimitiveArray<Int64Type>, &'a PrimitiveArray<Int64Type>)>,
    reservation_id: &'a StringArray,
    line: &'a PrimitiveArray<Int32Type>,
    reservation_state: &'a StringArray,
    expires_at: &'a PrimitiveArray<TimestampMillisecondType>,
    requested: &'a PrimitiveArray<Int64Type>,
    quantity: &'a PrimitiveArray<Int64Type>,
    policy_may_borrow: &'a BooleanArray,
    policy_max_per_reservation: &'a PrimitiveArray<Int64Type>,
    operation_id: &'a StringArray,
    principal: &'a StringArray,
    reason: &'a StringArray,
    reference: &'a StringArray,
    home: &'a PrimitiveArray<Int32Type>,
    sourcing: &'a StringArray,
    effects: EffectColumns<'a>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, DecodeError> {
        let int32 = |name: &str| column(batch, name, |array| array.as_primitive_opt::<Int32Type>());
        let int64 = |name: &str| column(batch, name, |array| array.as_primitive_opt::<Int64Type>());
        let time = |name: &str| {
            column(batch, name, |array| {
                array.as_primitive_opt::<TimestampMillisecondType>()
            })
        };
        let string = |name: &str| column(batch, name, |array| array.as_string_opt::<i32>());
        let mut buckets = Vec::with_capacity(BUCKETS.len());
        for bucket in BUCKETS {
            let name = names::bucket(bucket);
            buckets.push((int64(&format!("{name}_delta"))?, int64(&format!("{name}_after"))?));
        }
        Ok(Self {
            shard: int32("shard")?,
            seq: int64("seq")?,
            entry_changes: int32("entry_changes")?,
            entry_offset: int32("entry_offset")?,
            log_index: int64("log_index")?,
            log_time: time("log_time")?,
            kind: string("kind")?,
            sku: string("sku")?,
            warehouse: string("warehouse")?,
            storefront: string("storefront")?,
            buckets,
            reservation_id: string("reservation_id")?,
            line: int32("line")?,
            reservation_state: string("reservation_state")?,
            expires_at: time("expires_at")?,
            requested: int64("requested")?,
            quantity: int64("quantity")?,
            policy_may_borrow: column(batch, "policy_may_borrow", |array| array.as_boolean_opt())?,
            policy_max_per_reservation: int64("policy_max_per_reservation")?,
            operation_id: string("operation_id")?,
            principal: string("principal")?,
            reason: string("reason")?,
            reference: string("reference")?,
            home: int32("home")?,
            sourcing: string("sourcing")?,
            effects: EffectColumns::of(batch)?,
        })
    }

    fn change(&self, at: usize, rows_before: u64) -> Result<Change, DecodeError> {
        let bad = |column| DecodeError::Value {
            row: rows_before + at as u64,
            column,
        };
        let u32_of = |array: &PrimitiveArray<Int32Type>, column| {
            u32::try_from(array.value(at)).map_err(|_| bad(column))
        };
        let u64_of = |value: i64, column| u64::try_from(value).map_err(|_| bad(column));
        let uuid_of = |array: &StringArray, column| match text(array, at).as_str() {
            "" => Ok(Bytes::new()),
            text => uuid::Uuid::try_parse(text)
                .map(|id| Bytes::copy_from_slice(id.as_bytes()))
                .map_err(|_| bad(column)),
        };
        let kind = names::kind_of(self.kind.value(at)).ok_or_else(|| bad("kind"))?;
        let reservation = if self.reservation_id.is_null(at) {
            None
        } else {
            let state = names::state_of(&text(self.reservation_state, at));
            let sourcing = match text(self.sourcing, at).as_str() {
                "" => SourcingReason::Unspecified,
                name => names::sourcing_of(name).ok_or_else(|| bad("sourcing"))?,
            };
            Some(ReservationEffect {
                sourcing: sourcing.into(),
                reservation_id: uuid_of(self.reservation_id, "reservation_id")?,
                line: u32_of(self.line, "line")?,
                state: state.ok_or_else(|| bad("reservation_state"))?.into(),
                expires_at_ms: u64_of(self.expires_at.value(at), "expires_at")?,
                requested: self.requested.value(at),
                quantity: self.quantity.value(at),
                home: (!self.home.is_null(at))
                    .then(|| u32_of(self.home, "home"))
                    .transpose()?,
            })
        };
        let policy = (!self.policy_may_borrow.is_null(at)).then(|| PolicyEffect {
            may_borrow: self.policy_may_borrow.value(at),
            max_per_reservation: self.policy_max_per_reservation.value(at),
            ..PolicyEffect::default()
        });
        let policy = policy.map(|policy| self.effects.policy(at, policy, bad));
        let moves = BUCKETS
            .iter()
            .zip(&self.buckets)
            .filter(|(_, (_, after))| !after.is_null(at))
            .map(|(bucket, (delta, after))| BucketMove {
                bucket: (*bucket).into(),
                delta: delta.value(at),
                after: after.value(at),
            });
        Ok(Change {
            shard: u32_of(self.shard, "shard")?,
            seq: u64_of(self.seq.value(at), "seq")?,
            entry_changes: u32_of(self.entry_changes, "entry_changes")?,
            entry_offset: u32_of(self.entry_offset, "entry_offset")?,
            log_index: u64_of(self.log_index.value(at), "log_index")?,
            log_time_ms: u64_of(self.log_time.value(at), "log_time")?,
            kind: kind.into(),
            sku: text(self.sku, at),
            warehouse: text(self.warehouse, at),
            storefront: text(self.storefront, at),
            moves: moves.collect(),
            reservation,
            policy: policy.transpose()?,
            transfer: self.effects.transfer(at, bad)?,
            supply: self.effects.supply(at, bad)?,
            cause: Some(Cause {
                operation_id: uuid_of(self.operation_id, "operation_id")?,
                principal: text(self.principal, at),
                reason: text(self.reason, at),
                reference: text(self.reference, at),
                occurred_at_ms: self.effects.occurred_at_ms(at, bad)?,
            }),
        })
    }
}
