//! A change as records: Debezium's envelope as the value, CloudEvents 1.0 in the headers.
//!
//! A change says by how much each bucket moved, and how many units it had afterwards. So `before` and `after`
//! hold the moved buckets of the cell, and no others. A consumer that keeps the last number of each bucket of
//! a cell has the whole cell. It follows that a topic of changes must not be compacted.
//!
//! A change with a SKU is a record of the cells topic. A change with a reservation is a record of the
//! reservations topic. Most changes of a reservation are both, so the sequence numbers of the two topics
//! together have no gap.

use holdfast_api::v1::{Bucket, Change, ChangeKind, ReservationState, SourcingReason};
use holdfast_changes::names;
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::sink::SinkError;

/// The topic of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    /// Changes of cells, stock policies and supplies.
    Cells,
    /// Changes of reservations.
    Reservations,
}

/// A record of a change.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) topic: Topic,
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    pub(super) headers: [(&'static str, String); 7],
}

/// The sink and the cluster, as each record names them.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// The name of the sink in the configuration.
    pub(super) sink: String,
    /// The cluster of the changes.
    pub(super) cluster_id: Uuid,
}

#[derive(Serialize)]
struct Value<'a> {
    before: Option<CellImage<'a>>,
    after: After<'a>,
    source: Source<'a>,
    op: &'static str,
    ts_ms: u64,
}

#[derive(Serialize)]
#[serde(untagged)]
enum After<'a> {
    Cell(CellImage<'a>),
    Reservation(ReservationImage<'a>),
}

/// The moved part of a cell, or a thing that was set for a SKU.
#[derive(Serialize)]
struct CellImage<'a> {
    sku: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    warehouse: &'a str,
    buckets: Units<'a>,
    pools: Units<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<PolicyImage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    supply: Option<SupplyImage<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    transfer: Option<TransferImage<'a>>,
}

/// Units by bucket or storefront, as a JSON object.
struct Units<'a>(Vec<(&'a str, i64)>);

impl Serialize for Units<'_> {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_map(self.0.iter().copied())
    }
}

#[derive(Serialize)]
struct PolicyImage<'a> {
    storefront: &'a str,
    may_borrow: bool,
    max_per_reservation: i64,
    backorder_limit: i64,
    preorder_limit: i64,
    preorder_until_ms: u64,
}

#[derive(Serialize)]
struct SupplyImage<'a> {
    supply_id: &'a str,
    quantity: i64,
    expected_at_ms: u64,
}

#[derive(Serialize)]
struct TransferImage<'a> {
    transfer_id: Uuid,
    from: &'a str,
    to: &'a str,
    expected_at_ms: u64,
    quantity: i64,
    in_transit: i64,
}

#[derive(Serialize)]
struct ReservationImage<'a> {
    reservation_id: Uuid,
    line: u32,
    state: &'static str,
    sku: Option<&'a str>,
    warehouse: Option<&'a str>,
    storefront: Option<&'a str>,
    requested: i64,
    quantity: i64,
    expires_at_ms: u64,
    home: Option<u32>,
    sourcing: Option<&'static str>,
}

#[derive(Serialize)]
struct Source<'a> {
    version: &'static str,
    connector: &'static str,
    name: &'a str,
    ts_ms: u64,
    snapshot: &'static str,
    table: &'static str,
    cluster_id: Uuid,
    shard: u32,
    seq: u64,
    entry_changes: u32,
    entry_offset: u32,
    log_index: u64,
    kind: &'static str,
    storefront: Option<&'a str>,
    reservation_id: Option<Uuid>,
    operation_id: Option<Uuid>,
    principal: Option<&'a str>,
    reason: Option<&'a str>,
    reference: Option<&'a str>,
    occurred_at_ms: Option<u64>,
}

impl Origin {
    /// Returns the one or two records of a change.
    ///
    /// # Errors
    /// [`SinkError::Unwritable`]: the change has a value that this version does not know.
    pub(super) fn envelopes(&self, change: &Change) -> Result<Vec<Envelope>, SinkError> {
        self.try_envelopes(change).map_err(|what| SinkError::Unwritable {
            shard: change.shard,
            seq: change.seq,
            what,
        })
    }

    fn try_envelopes(&self, change: &Change) -> Result<Vec<Envelope>, String> {
        let kind = ChangeKind::try_from(change.kind).map_err(|_| format!("its kind is {}", change.kind))?;
        let kind = names::kind(kind);
        let time = i64::try_from(change.log_time_ms).ok();
        let time = time
            .and_then(chrono::DateTime::from_timestamp_millis)
            .map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true))
            .ok_or_else(|| format!("its log time is {} ms", change.log_time_ms))?;
        let reservation = self.reservation(change)?;
        let reservation_id = reservation.as_ref().map(|image| image.reservation_id);
        if change.sku.is_empty() && reservation.is_none() {
            return Err("it names neither a SKU nor a reservation".to_owned());
        }
        let mut envelopes = Vec::with_capacity(2);
        if !change.sku.is_empty() {
            let (before, after) = cell(change)?;
            let value = Value {
                before,
                after: After::Cell(after),
                source: self.source(change, kind, "cells", reservation_id)?,
                op: "u",
                ts_ms: change.log_time_ms,
            };
            let subject = match change.warehouse.as_str() {
                "" => change.sku.clone(),
                warehouse => format!("{warehouse}/{}", change.sku),
            };
            envelopes.push(Envelope {
                topic: Topic::Cells,
                key: change.sku.clone(),
                value: serde_json::to_vec(&value).map_err(|error| error.to_string())?,
                headers: self.headers(change, "cells", format!("holdfast.cell.{kind}"), &time, subject),
            });
        }
        if let Some(image) = reservation {
            let key = image.reservation_id.to_string();
            let value = Value {
                before: None,
                after: After::Reservation(image),
                source: self.source(change, kind, "reservations", reservation_id)?,
                op: if matches!(kind, "reserved" | "prepared") {
                    "c"
                } else {
                    "u"
                },
                ts_ms: change.log_time_ms,
            };
            envelopes.push(Envelope {
                topic: Topic::Reservations,
                value: serde_json::to_vec(&value).map_err(|error| error.to_string())?,
                headers: self.headers(
                    change,
                    "reservations",
                    format!("holdfast.reservation.{kind}"),
                    &time,
                    key.clone(),
                ),
                key,
            });
        }
        Ok(envelopes)
    }

    /// Returns the attributes of the event. An event is named by its source and its id, so the two records of
    /// one change have different sources.
    fn headers(
        &self,
        change: &Change,
        table: &str,
        event_type: String,
        time: &str,
        subject: String,
    ) -> [(&'static str, String); 7] {
        let cluster_id = self.cluster_id;
        [
            ("ce_specversion", "1.0".to_owned()),
            ("ce_id", format!("{cluster_id}/{}/{}", change.shard, change.seq)),
            ("ce_source", format!("/holdfast/{cluster_id}/{table}")),
            ("ce_type", event_type),
            ("ce_time", time.to_owned()),
            ("ce_subject", subject),
            ("content-type", "application/json".to_owned()),
        ]
    }

    fn source<'a>(
        &'a self,
        change: &'a Change,
        kind: &'static str,
        table: &'static str,
        reservation_id: Option<Uuid>,
    ) -> Result<Source<'a>, String> {
        let cause = change.cause.as_ref();
        let filled = |text: Option<&'a String>| text.map(String::as_str).filter(|text| !text.is_empty());
        let operation_id = match cause.map(|cause| cause.operation_id.as_ref()) {
            None | Some([]) => None,
            Some(bytes) => Some(id("operation_id", bytes)?),
        };
        Ok(Source {
            version: env!("CARGO_PKG_VERSION"),
            connector: "holdfast",
            name: &self.sink,
            ts_ms: change.log_time_ms,
            snapshot: "false",
            table,
            cluster_id: self.cluster_id,
            shard: change.shard,
            seq: change.seq,
            entry_changes: change.entry_changes,
            entry_offset: change.entry_offset,
            log_index: change.log_index,
            kind,
            storefront: filled(Some(&change.storefront)),
            reservation_id,
            operation_id,
            principal: filled(cause.map(|cause| &cause.principal)),
            reason: filled(cause.map(|cause| &cause.reason)),
            reference: filled(cause.map(|cause| &cause.reference)),
            occurred_at_ms: cause.and_then(|cause| cause.occurred_at_ms),
        })
    }

    fn reservation<'a>(&self, change: &'a Change) -> Result<Option<ReservationImage<'a>>, String> {
        let Some(effect) = &change.reservation else {
            return Ok(None);
        };
        let state = ReservationState::try_from(effect.state);
        let state = state.map_err(|_| format!("the state of its reservation is {}", effect.state))?;
        let sourcing = SourcingReason::try_from(effect.sourcing);
        let sourcing = sourcing.map_err(|_| format!("its sourcing is {}", effect.sourcing))?;
        let filled = |text: &'a String| Some(text.as_str()).filter(|text| !text.is_empty());
        Ok(Some(ReservationImage {
            reservation_id: id("reservation_id", &effect.reservation_id)?,
            line: effect.line,
            state: names::state(state),
            sku: filled(&change.sku),
            warehouse: filled(&change.warehouse),
            storefront: filled(&change.storefront),
            requested: effect.requested,
            quantity: effect.quantity,
            expires_at_ms: effect.expires_at_ms,
            home: effect.home,
            sourcing: (sourcing != SourcingReason::Unspecified).then(|| names::sourcing(sourcing)),
        }))
    }
}

/// Returns the moved buckets before and after a change. There is no `before` when nothing moved.
fn cell(change: &Change) -> Result<(Option<CellImage<'_>>, CellImage<'_>), String> {
    let image = |buckets, pools| CellImage {
        sku: &change.sku,
        warehouse: &change.warehouse,
        buckets: Units(buckets),
        pools: Units(pools),
        policy: None,
        supply: None,
        transfer: None,
    };
    let mut before = (Vec::with_capacity(change.moves.len()), Vec::new());
    let mut after = (Vec::with_capacity(change.moves.len()), Vec::new());
    for one in &change.moves {
        let bucket = Bucket::try_from(one.bucket).map_err(|_| format!("it moves bucket {}", one.bucket))?;
        let units_before = one.after.checked_sub(one.delta);
        let units_before = units_before.ok_or_else(|| {
            format!(
                "bucket {} has {} after it moved by {}",
                names::bucket(bucket),
                one.after,
                one.delta
            )
        })?;
        if bucket == Bucket::Pool {
            if change.storefront.is_empty() {
                return Err("it moves a pool of no storefront".to_owned());
            }
            before.1.push((change.storefront.as_str(), units_before));
            after.1.push((change.storefront.as_str(), one.after));
        } else {
            before.0.push((names::bucket(bucket), units_before));
            after.0.push((names::bucket(bucket), one.after));
        }
    }
    let before = (!change.moves.is_empty()).then(|| image(before.0, before.1));
    let transfer = match &change.transfer {
        None => None,
        Some(effect) => Some(TransferImage {
            transfer_id: id("transfer_id", &effect.transfer_id)?,
            from: &effect.from_warehouse,
            to: &effect.to_warehouse,
            expected_at_ms: effect.expected_at_ms,
            quantity: effect.quantity,
            in_transit: effect.in_transit,
        }),
    };
    let after = CellImage {
        policy: change.policy.as_ref().map(|policy| PolicyImage {
            storefront: &change.storefront,
            may_borrow: policy.may_borrow,
            max_per_reservation: policy.max_per_reservation,
            backorder_limit: policy.backorder_limit,
            preorder_limit: policy.preorder_limit,
            preorder_until_ms: policy.preorder_until_ms,
        }),
        supply: change.supply.as_ref().map(|effect| SupplyImage {
            supply_id: &effect.supply_id,
            quantity: effect.quantity,
            expected_at_ms: effect.expected_at_ms,
        }),
        transfer,
        ..image(after.0, after.1)
    };
    Ok((before, after))
}

fn id(field: &str, bytes: &[u8]) -> Result<Uuid, String> {
    Uuid::from_slice(bytes).map_err(|_| format!("its {field} has {} bytes", bytes.len()))
}

#[cfg(test)]
mod tests;
