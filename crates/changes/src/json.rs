//! A change as one line of JSON.
//!
//! The field names are those of `proto/holdfast/v1/changes.proto`. A field that is empty or absent in the
//! stream is `null`. The fields `transfer`, `supply`, and a reservation's `home` and `sourcing` are left out
//! instead. Ids are UUID text, enums are [`crate::names`], times are milliseconds since the Unix epoch of log
//! time.
//!
//! ```json
//! {"shard":0,"seq":7,"entry_changes":1,"entry_offset":0,"log_index":12,"log_time_ms":1700000000000,
//!  "kind":"reserved","sku":"SKU-1","warehouse":"W1","storefront":"web",
//!  "moves":[{"bucket":"free","delta":-2,"after":8},{"bucket":"held","delta":2,"after":2}],
//!  "reservation":{"reservation_id":"018bcfe5-6800-7000-8000-000000000001","line":0,"state":"held",
//!                 "expires_at_ms":1700000060000,"requested":2,"quantity":2,"home":null},
//!  "policy":null,
//!  "cause":{"operation_id":"018bcfe5-6800-7000-8000-000000000001","principal":"anonymous",
//!           "reason":null,"reference":"order#1"}}
//! ```

use bytes::Bytes;
use holdfast_api::v1;
use serde::{Deserialize, Serialize};

use crate::names;

/// A line is not a change, or a change cannot be written as a line.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The line is not the JSON of a change.
    #[error("the line is not a change: {0}")]
    Syntax(#[from] serde_json::Error),
    /// A value is not allowed in its field.
    #[error("change {seq}: {field} is not allowed to be {value:?}")]
    Value {
        /// The change.
        seq: u64,
        /// The field.
        field: &'static str,
        /// The value.
        value: String,
    },
}

/// Writes a change as a line, without the line feed.
///
/// # Errors
/// [`JsonError::Value`]: an enum number or an id that this version does not know.
pub fn encode(change: &v1::Change) -> Result<String, JsonError> {
    Ok(serde_json::to_string(&Line::of(change)?)?)
}

/// Reads the change in a line.
///
/// # Errors
/// [`JsonError`] describes the fault.
pub fn decode(line: &[u8]) -> Result<v1::Change, JsonError> {
    serde_json::from_slice::<Line>(line)?.change()
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    shard: u32,
    seq: u64,
    entry_changes: u32,
    entry_offset: u32,
    log_index: u64,
    log_time_ms: u64,
    kind: String,
    sku: Option<String>,
    warehouse: Option<String>,
    storefront: Option<String>,
    moves: Vec<Move>,
    reservation: Option<Reservation>,
    policy: Option<StockPolicy>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    transfer: Option<Transfer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    supply: Option<Supply>,
    cause: Cause,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Move {
    bucket: String,
    delta: i64,
    after: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reservation {
    reservation_id: String,
    line: u32,
    state: String,
    expires_at_ms: u64,
    requested: i64,
    quantity: i64,
    /// Absent in lines that were written before there were orders over several shards.
    #[serde(default)]
    home: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sourcing: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StockPolicy {
    may_borrow: bool,
    max_per_reservation: i64,
    backorder_limit: i64,
    preorder_limit: i64,
    preorder_until_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Transfer {
    transfer_id: String,
    from: String,
    to: String,
    expected_at_ms: u64,
    quantity: i64,
    in_transit: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Supply {
    supply_id: String,
    quantity: i64,
    expected_at_ms: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cause {
    operation_id: Option<String>,
    principal: Option<String>,
    reason: Option<String>,
    reference: Option<String>,
    /// Business time. It is left out when the operation gave none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    occurred_at_ms: Option<u64>,
}

impl Line {
    fn of(change: &v1::Change) -> Result<Self, JsonError> {
        let bad = |field, value: String| JsonError::Value {
            seq: change.seq,
            field,
            value,
        };
        let kind = v1::ChangeKind::try_from(change.kind).map_err(|_| bad("kind", change.kind.to_string()))?;
        let uuid = |field, bytes: &[u8]| {
            let parsed = uuid::Uuid::from_slice(bytes).map(|id| id.to_string());
            parsed.map_err(|_| bad(field, format!("{} bytes", bytes.len())))
        };
        let mut moves = Vec::with_capacity(change.moves.len());
        for one in &change.moves {
            let bucket = v1::Bucket::try_from(one.bucket);
            let bucket = bucket.map_err(|_| bad("bucket", one.bucket.to_string()))?;
            moves.push(Move {
                bucket: names::bucket(bucket).into(),
                delta: one.delta,
                after: one.after,
            });
        }
        let reservation = match &change.reservation {
            None => None,
            Some(effect) => {
                let state = v1::ReservationState::try_from(effect.state);
                let state = state.map_err(|_| bad("state", effect.state.to_string()))?;
                let sourcing = v1::SourcingReason::try_from(effect.sourcing);
                let sourcing = sourcing.map_err(|_| bad("sourcing", effect.sourcing.to_string()))?;
                Some(Reservation {
                    sourcing: (sourcing != v1::SourcingReason::Unspecified)
                        .then(|| names::sourcing(sourcing).into()),
                    reservation_id: uuid("reservation_id", &effect.reservation_id)?,
                    line: effect.line,
                    state: names::state(state).into(),
                    expires_at_ms: effect.expires_at_ms,
                    requested: effect.requested,
                    quantity: effect.quantity,
                    home: effect.home,
                })
            }
        };
        let transfer = match &change.transfer {
            None => None,
            Some(effect) => Some(Transfer {
                transfer_id: uuid("transfer_id", &effect.transfer_id)?,
                from: effect.from_warehouse.clone(),
                to: effect.to_warehouse.clone(),
                expected_at_ms: effect.expected_at_ms,
                quantity: effect.quantity,
                in_transit: effect.in_transit,
            }),
        };
        let cause = change.cause.clone().unwrap_or_default();
        let operation_id = if cause.operation_id.is_empty() {
            None
        } else {
            Some(uuid("operation_id", &cause.operation_id)?)
        };
        Ok(Self {
            shard: change.shard,
            seq: change.seq,
            entry_changes: change.entry_changes,
            entry_offset: change.entry_offset,
            log_index: change.log_index,
            log_time_ms: change.log_time_ms,
            kind: names::kind(kind).into(),
            sku: filled(&change.sku),
            warehouse: filled(&change.warehouse),
            storefront: filled(&change.storefront),
            moves,
            reservation,
            policy: change.policy.map(|policy| StockPolicy {
                may_borrow: policy.may_borrow,
                max_per_reservation: policy.max_per_reservation,
                backorder_limit: policy.backorder_limit,
                preorder_limit: policy.preorder_limit,
                preorder_until_ms: policy.preorder_until_ms,
            }),
            transfer,
            supply: change.supply.as_ref().map(|effect| Supply {
                supply_id: effect.supply_id.clone(),
                quantity: effect.quantity,
                expected_at_ms: effect.expected_at_ms,
            }),
            cause: Cause {
                operation_id,
                principal: filled(&cause.principal),
                reason: filled(&cause.reason),
                reference: filled(&cause.reference),
                occurred_at_ms: cause.occurred_at_ms,
            },
        })
    }

    fn change(self) -> Result<v1::Change, JsonError> {
        let seq = self.seq;
        let bad = |field, value: &str| JsonError::Value {
            seq,
            field,
            value: value.to_owned(),
        };
        let uuid = |field, text: &str| match uuid::Uuid::try_parse(text) {
            Ok(id) => Ok(Bytes::copy_from_slice(id.as_bytes())),
            Err(_) => Err(bad(field, text)),
        };
        let kind = names::kind_of(&self.kind).ok_or_else(|| bad("kind", &self.kind))?;
        let mut moves = Vec::with_capacity(self.moves.len());
        for one in &self.moves {
            let bucket = names::bucket_of(&one.bucket).ok_or_else(|| bad("bucket", &one.bucket))?;
            moves.push(v1::BucketMove {
                bucket: bucket.into(),
                delta: one.delta,
                after: one.after,
            });
        }
        let reservation = match &self.reservation {
            None => None,
            Some(effect) => {
                let state = names::state_of(&effect.state).ok_or_else(|| bad("state", &effect.state))?;
                let sourcing = match &effect.sourcing {
                    None => v1::SourcingReason::Unspecified,
                    Some(name) => names::sourcing_of(name).ok_or_else(|| bad("sourcing", name))?,
                };
                Some(v1::ReservationEffect {
                    sourcing: sourcing.into(),
                    reservation_id: uuid("reservation_id", &effect.reservation_id)?,
                    line: effect.line,
                    state: state.into(),
                    expires_at_ms: effect.expires_at_ms,
                    requested: effect.requested,
                    quantity: effect.quantity,
                    home: effect.home,
                })
            }
        };
        let transfer = match self.transfer {
            None => None,
            Some(effect) => Some(v1::TransferEffect {
                transfer_id: uuid("transfer_id", &effect.transfer_id)?,
                from_warehouse: effect.from,
                to_warehouse: effect.to,
                expected_at_ms: effect.expected_at_ms,
                quantity: effect.quantity,
                in_transit: effect.in_transit,
            }),
        };
        let operation_id = match &self.cause.operation_id {
            None => Bytes::new(),
            Some(text) => uuid("operation_id", text)?,
        };
        Ok(v1::Change {
            shard: self.shard,
            seq,
            entry_changes: self.entry_changes,
            entry_offset: self.entry_offset,
            log_index: self.log_index,
            log_time_ms: self.log_time_ms,
            kind: kind.into(),
            sku: self.sku.unwrap_or_default(),
            warehouse: self.warehouse.unwrap_or_default(),
            storefront: self.storefront.unwrap_or_default(),
            moves,
            reservation,
            policy: self.policy.map(|policy| v1::PolicyEffect {
                may_borrow: policy.may_borrow,
                max_per_reservation: policy.max_per_reservation,
                backorder_limit: policy.backorder_limit,
                preorder_limit: policy.preorder_limit,
                preorder_until_ms: policy.preorder_until_ms,
            }),
            transfer,
            supply: self.supply.map(|effect| v1::SupplyEffect {
                supply_id: effect.supply_id,
                quantity: effect.quantity,
                expected_at_ms: effect.expected_at_ms,
            }),
            cause: Some(v1::Cause {
                operation_id,
                principal: self.cause.principal.unwrap_or_default(),
                reason: self.cause.reason.unwrap_or_default(),
                reference: self.cause.reference.unwrap_or_default(),
                occurred_at_ms: self.cause.occurred_at_ms,
            }),
        })
    }
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests;
