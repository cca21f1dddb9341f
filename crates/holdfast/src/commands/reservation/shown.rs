//! A reservation as it is shown: as JSON, and as two tables.

use holdfast_client::v1;
use serde_json::{Value, json};

use crate::context::Context;
use crate::render;

/// Renders a reservation as JSON.
pub(crate) fn json(reservation: &v1::Reservation) -> Value {
    let lines: Vec<Value> = reservation.lines.iter().map(line_json).collect();
    json!({
        "reservation_id": render::id(&reservation.reservation_id),
        "storefront": reservation.storefront,
        "state": render::state(reservation.state()),
        "created_at_ms": reservation.created_at_ms,
        "expires_at_ms": reservation.expires_at_ms,
        "reference": reservation.reference,
        "lines": lines,
        "shard": reservation.shard,
    })
}

/// Prints a reservation as two tables.
///
/// # Errors
/// When stdout is closed.
pub(crate) fn print(reservation: &v1::Reservation, context: &Context) -> std::io::Result<()> {
    context.output.table(
        &[
            "RESERVATION",
            "STATE",
            "STOREFRONT",
            "CREATED",
            "EXPIRES",
            "REFERENCE",
            "SHARD",
        ],
        &[vec![
            render::id(&reservation.reservation_id),
            render::state(reservation.state()).to_owned(),
            reservation.storefront.clone(),
            render::time(reservation.created_at_ms),
            render::time(reservation.expires_at_ms),
            if reservation.reference.is_empty() {
                "-".to_owned()
            } else {
                reservation.reference.clone()
            },
            reservation.shard.to_string(),
        ]],
    )?;
    context.output.line("")?;
    let rows: Vec<Vec<String>> = reservation.lines.iter().map(line_row).collect();
    context.output.table(
        &[
            "LINE",
            "SKU",
            "REQUESTED",
            "GRANTED",
            "HELD",
            "COMMITTED",
            "SHIPPED",
            "RELEASED",
            "CANCELLED",
            "RETURNED",
            "FROM",
        ],
        &rows,
    )
}

fn line_json(line: &v1::ReservationLine) -> Value {
    json!({
        "line": line.line,
        "sku": line.sku,
        "requested": line.requested,
        "granted": line.granted,
        "held": line.held,
        "committed": line.committed,
        "shipped": line.shipped,
        "released": line.released,
        "cancelled": line.cancelled,
        "returned": line.returned,
        "allocations": render::allocations(&line.allocations),
    })
}

fn line_row(line: &v1::ReservationLine) -> Vec<String> {
    let units = [
        line.requested,
        line.granted,
        line.held,
        line.committed,
        line.shipped,
        line.released,
        line.cancelled,
        line.returned,
    ];
    let mut row = vec![line.line.to_string(), line.sku.clone()];
    row.extend(units.map(|units| units.to_string()));
    row.push(render::allocations_text(&line.allocations));
    row
}
