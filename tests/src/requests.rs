//! Requests as tests send them, each with a fresh operation id.

use bytes::Bytes;
use holdfast_api::v1;
use holdfast_client::new_operation_id;

/// The only warehouse of most tests.
pub const WAREHOUSE: &str = "LDN-1";

/// The only storefront of most tests.
pub const STOREFRONT: &str = "web";

/// Makes a fresh operation.
pub fn operation() -> v1::Operation {
    v1::Operation {
        operation_id: new_operation_id(),
        reference: String::new(),
        reason: "test".to_owned(),
        repeats: false,
        ..v1::Operation::default()
    }
}

/// Makes a request that receives goods in [`WAREHOUSE`].
pub fn receive(sku: &str, quantity: i64) -> v1::ReceiveRequest {
    v1::ReceiveRequest {
        operation: Some(operation()),
        sku: sku.to_owned(),
        warehouse: WAREHOUSE.to_owned(),
        quantity,
        supply_id: String::new(),
    }
}

/// Makes a request for units of one SKU, for ten minutes, all or nothing.
pub fn reserve(sku: &str, quantity: i64) -> v1::ReserveRequest {
    v1::ReserveRequest {
        operation: Some(operation()),
        storefront: STOREFRONT.to_owned(),
        lines: vec![v1::ReserveLine {
            sku: sku.to_owned(),
            quantity,
            source: None,
        }],
        ttl_ms: 600_000,
        mode: v1::ReserveMode::AllOrNothing.into(),
        sourcing: v1::Sourcing::AsGiven.into(),
        ..v1::ReserveRequest::default()
    }
}

/// Makes a request for one unit of each SKU, for ten minutes, all or nothing.
pub fn order(skus: &[&str]) -> v1::ReserveRequest {
    let mut request = reserve("", 1);
    let line = |sku: &&str| v1::ReserveLine {
        sku: (*sku).to_owned(),
        quantity: 1,
        source: None,
    };
    request.lines = skus.iter().map(line).collect();
    request
}

/// Makes the key of a reservation, without the shard that has it.
pub fn key(reservation_id: &Bytes) -> Option<v1::ReservationKey> {
    Some(v1::ReservationKey {
        reservation_id: reservation_id.clone(),
        shard: None,
    })
}

/// Makes a request that commits a reservation.
pub fn commit(reservation_id: &Bytes) -> v1::CommitRequest {
    v1::CommitRequest {
        operation: Some(operation()),
        reservation: key(reservation_id),
    }
}

/// Makes a linearizable request for a reservation.
pub fn get(reservation_id: &Bytes) -> v1::GetReservationRequest {
    v1::GetReservationRequest {
        reservation: key(reservation_id),
        consistency: v1::Consistency::Linearizable.into(),
    }
}

/// Returns the id of a request's operation.
pub fn id_of(operation: Option<&v1::Operation>) -> Bytes {
    operation
        .map(|operation| operation.operation_id.clone())
        .unwrap_or_default()
}

/// Returns the refusal inside a gRPC error, if it carries one.
pub fn refusal(status: &tonic::Status) -> Option<v1::Refusal> {
    holdfast_client::refusal_of(status)
}
