//! Changes as lines of JSON, one row each, in requests that keep the limits.
//!
//! The columns are those of the archive (`crates/changes/src/parquet/schema.rs`) and `INGESTED_AT`, our own
//! time of sending: Snowflake evaluates `CURRENT_TIMESTAMP` when a pipe is made, and not for each row. Names
//! are in large letters, as Snowflake keeps names without quotes. Null is left out.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use arrow_array::{Array, ArrayRef, RecordBatch, TimestampMillisecondArray};
use arrow_json::WriterBuilder;
use arrow_json::writer::LineDelimited;
use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use holdfast_api::v1::Change;
use holdfast_changes::parquet;

use super::config::Limits;
use super::offset::Offset;
use crate::sink::SinkError;

/// The level of zstd: the one that its authors call the default.
const ZSTD_LEVEL: i32 = 3;
/// The form of times: UTC without a zone, for columns without a zone.
const TIME_FORMAT: &str = "%Y-%m-%dT%H:%M:%S%.3f";
/// The last time that has this form, in milliseconds since the Unix epoch: the end of the year 9999.
const LAST_TIME_MS: i64 = 253_402_300_799_999;

/// Rows as text, and where each ends.
#[derive(Debug)]
pub(super) struct Rows {
    text: Vec<u8>,
    ends: Vec<usize>,
    offsets: Vec<Offset>,
}

/// Rows of one request.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) body: Bytes,
    pub(super) first: Offset,
    pub(super) last: Offset,
    pub(super) rows: usize,
    /// The bytes before they were compressed.
    pub(super) plain_bytes: usize,
}

impl Rows {
    /// Makes the rows of these changes, which are sent at a time since the Unix epoch.
    pub(super) fn encode(changes: &[Change], now: Duration) -> Result<Self, SinkError> {
        let text = lines(changes, now).map_err(|error| match error {
            Fault::Of(change, what) => unwritable(change, what),
            Fault::Batch(what) => {
                // One of them does not fit: name it.
                let one = changes.iter().find_map(|change| {
                    let fault = lines(std::slice::from_ref(change), now).err()?;
                    Some(unwritable(change, fault.to_string()))
                });
                one.unwrap_or(SinkError::Unavailable {
                    what,
                    retry_after_ms: 0,
                })
            }
        })?;
        let line_feeds = text.iter().enumerate().filter(|(_, byte)| **byte == b'\n');
        let ends: Vec<usize> = line_feeds.map(|(at, _)| at + 1).collect();
        debug_assert_eq!(ends.len(), changes.len(), "a line feed inside a text is escaped");
        Ok(Self {
            text,
            ends,
            offsets: changes.iter().map(offset).collect(),
        })
    }

    /// Packs as many rows from this one on as a request may have.
    ///
    /// # Errors
    /// [`SinkError::Unwritable`]: a single row is larger than a request.
    pub(super) fn pack(&self, from: usize, limits: &Limits) -> Result<Option<Packed>, SinkError> {
        let begin = from.checked_sub(1).and_then(|last| self.ends.get(last)).copied();
        let begin = begin.unwrap_or(0);
        let plain_max = limits.bytes_per_second as usize / 10;
        let left = self.ends.get(from..).unwrap_or_default();
        let mut rows = left.partition_point(|end| end - begin <= plain_max).max(1);
        loop {
            let (Some(end), Some(first), Some(last)) = (
                left.get(rows - 1),
                self.offsets.get(from),
                self.offsets.get(from + rows - 1),
            ) else {
                return Ok(None);
            };
            let plain = self.text.get(begin..*end).unwrap_or_default();
            let body = zstd::bulk::compress(plain, ZSTD_LEVEL).map_err(|error| SinkError::Unavailable {
                what: format!("rows cannot be compressed: {error}"),
                retry_after_ms: 0,
            })?;
            if body.len() <= limits.request_bytes {
                return Ok(Some(Packed {
                    body: body.into(),
                    first: *first,
                    last: *last,
                    rows,
                    plain_bytes: plain.len(),
                }));
            }
            if rows == 1 {
                return Err(SinkError::Unwritable {
                    shard: first.shard,
                    seq: first.seq,
                    what: format!(
                        "its row has {} bytes compressed, and a request to Snowflake has at most {}",
                        body.len(),
                        limits.request_bytes
                    ),
                });
            }
            rows /= 2;
        }
    }
}

/// Some changes cannot become rows.
#[derive(Debug, thiserror::Error)]
enum Fault<'a> {
    #[error("{1}")]
    Of(&'a Change, String),
    #[error("{0}")]
    Batch(String),
}

fn unwritable(change: &Change, what: String) -> SinkError {
    SinkError::Unwritable {
        shard: change.shard,
        seq: change.seq,
        what,
    }
}

fn offset(change: &Change) -> Offset {
    let through = change.entry_offset.saturating_add(1);
    Offset {
        shard: change.shard,
        seq: change.seq,
        unfinished: if through >= change.entry_changes {
            0
        } else {
            through
        },
    }
}

/// Returns the columns in large letters, times without a zone, and the time of sending at the end.
fn schema() -> SchemaRef {
    static SCHEMA: LazyLock<SchemaRef> = LazyLock::new(|| {
        let archived = parquet::schema::schema();
        let fields = archived.fields().iter().map(|field| {
            let data_type = match field.data_type() {
                DataType::Timestamp(unit, _) => DataType::Timestamp(*unit, None),
                other => other.clone(),
            };
            Field::new(field.name().to_uppercase(), data_type, field.is_nullable())
        });
        let ingested_at = Field::new(
            "INGESTED_AT",
            DataType::Timestamp(TimeUnit::Millisecond, None),
            false,
        );
        Arc::new(Schema::new(fields.chain([ingested_at]).collect::<Vec<_>>()))
    });
    Arc::clone(&SCHEMA)
}

fn lines(changes: &[Change], now: Duration) -> Result<Vec<u8>, Fault<'_>> {
    let fault = |error: &dyn std::fmt::Display| Fault::Batch(error.to_string());
    let archived = parquet::batch(changes).map_err(|error| fault(&error))?;
    let mut columns: Vec<ArrayRef> = Vec::with_capacity(archived.num_columns() + 1);
    for (column, field) in archived.columns().iter().zip(archived.schema_ref().fields()) {
        columns.push(
            match column.as_any().downcast_ref::<TimestampMillisecondArray>() {
                None => Arc::clone(column),
                Some(times) => {
                    let wrong = times
                        .iter()
                        .position(|time| time.is_some_and(|time| !(0..=LAST_TIME_MS).contains(&time)));
                    if let Some(change) = wrong.and_then(|row| changes.get(row)) {
                        return Err(Fault::Of(
                            change,
                            format!("{} is not between the years 1970 and 9999", field.name()),
                        ));
                    }
                    Arc::new(times.clone().with_timezone_opt(None::<Arc<str>>))
                }
            },
        );
    }
    let now_ms = i64::try_from(now.as_millis())
        .unwrap_or(LAST_TIME_MS)
        .min(LAST_TIME_MS);
    columns.push(Arc::new(TimestampMillisecondArray::from(vec![
        now_ms;
        changes.len()
    ])));
    let batch = RecordBatch::try_new(schema(), columns).map_err(|error| fault(&error))?;
    let mut text = Vec::new();
    let mut writer = WriterBuilder::new()
        .with_timestamp_format(TIME_FORMAT.to_owned())
        .build::<_, LineDelimited>(&mut text);
    writer.write(&batch).map_err(|error| fault(&error))?;
    writer.finish().map_err(|error| fault(&error))?;
    Ok(text)
}

#[cfg(test)]
mod tests;
