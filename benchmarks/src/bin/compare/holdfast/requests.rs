//! Requests to Holdfast.

use anyhow::Result;
use holdfast_api::v1;
use holdfast_client::{ClientError, id_bytes};
use uuid::Uuid;

/// Stock of each SKU: more than any run takes.
const STOCK: i64 = 1_000_000_000_000;
/// Time to live of reservations. It is longer than the run, so nothing expires during a measurement.
const TTL_MS: u64 = 60 * 60 * 1000;

pub(crate) fn name(sku: usize) -> String {
    format!("SKU-{sku}")
}

fn operation(id: Uuid) -> Option<v1::Operation> {
    Some(v1::Operation {
        operation_id: id_bytes(id),
        ..v1::Operation::default()
    })
}

pub(crate) fn receipt(sku: String, warehouse: &str) -> v1::ReceiveRequest {
    v1::ReceiveRequest {
        operation: operation(Uuid::now_v7()),
        sku,
        warehouse: warehouse.to_owned(),
        quantity: STOCK,
        supply_id: String::new(),
    }
}

/// Requests one unit of each of these SKUs.
pub(crate) fn reservation(id: Uuid, skus: impl IntoIterator<Item = String>) -> v1::ReserveRequest {
    let line = |sku: String| v1::ReserveLine {
        sku,
        quantity: 1,
        source: None,
    };
    v1::ReserveRequest {
        operation: operation(id),
        storefront: "web".to_owned(),
        lines: skus.into_iter().map(line).collect(),
        ttl_ms: TTL_MS,
        mode: v1::ReserveMode::AllOrNothing.into(),
        ..v1::ReserveRequest::default()
    }
}

fn key(id: Uuid, shard: Option<u32>) -> Option<v1::ReservationKey> {
    Some(v1::ReservationKey {
        reservation_id: id_bytes(id),
        shard,
    })
}

pub(crate) fn commitment(id: Uuid, shard: Option<u32>) -> v1::CommitRequest {
    v1::CommitRequest {
        operation: operation(Uuid::now_v7()),
        reservation: key(id, shard),
    }
}

/// Requests the shipment of everything that was committed.
pub(crate) fn shipment(id: Uuid, shard: Option<u32>) -> v1::ShipRequest {
    v1::ShipRequest {
        operation: operation(Uuid::now_v7()),
        reservation: key(id, shard),
        lines: Vec::new(),
    }
}

pub(crate) fn was_granted<T>(answer: Result<T, ClientError>) -> Result<bool> {
    match answer {
        Ok(_) => Ok(true),
        Err(error) if error.reason() == Some(v1::Reason::InsufficientStock) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
