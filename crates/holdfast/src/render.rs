//! Answers as JSON values and as rows of tables. JSON fields have the names of `proto/holdfast/v1`. Ids are
//! UUID text, enums their names in lower case.

use holdfast_changes::names;
use holdfast_client::v1;
use serde_json::{Value, json};
use uuid::Uuid;

/// Returns an id as text: a UUID, or hexadecimal digits when it is not one.
pub(crate) fn id(bytes: &[u8]) -> String {
    Uuid::from_slice(bytes).map_or_else(
        |_| bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        |id| id.to_string(),
    )
}

/// Renders the receipt of a mutation: where and how it was decided.
pub(crate) fn receipt(receipt: Option<&v1::Receipt>) -> Value {
    json!({
        "position": receipt.and_then(|receipt| receipt.position).map(position),
        "replayed": receipt.is_some_and(|receipt| receipt.replayed),
    })
}

fn position(position: v1::Position) -> Value {
    json!({
        "shard": position.shard,
        "log_index": position.log_index,
        "log_time_ms": position.log_time_ms,
    })
}

/// Renders the position that a read was answered from.
pub(crate) fn read(read: Option<&v1::ReadPosition>) -> Value {
    json!({
        "position": read.and_then(|read| read.position).map(position),
        "age_ms": read.map_or(0, |read| read.age_ms),
        "change_seq": read.map_or(0, |read| read.change_seq),
    })
}

/// Like [`read`], for people.
pub(crate) fn read_note(read: Option<&v1::ReadPosition>) -> String {
    let Some((read, position)) = read.and_then(|read| Some((read, read.position?))) else {
        return String::new();
    };
    let age = match read.age_ms {
        0 => String::new(),
        age_ms => format!(", {age_ms} ms old"),
    };
    format!(
        "shard {}, change {}, log index {}{age}",
        position.shard, read.change_seq, position.log_index
    )
}

/// Renders the moment of an as-of read.
pub(crate) fn as_of(as_of: &v1::AsOf) -> Value {
    let at = as_of.position.unwrap_or_default();
    json!({
        "position": { "shard": at.shard, "seq": at.seq },
        "log_index": as_of.log_index,
        "log_time_ms": as_of.log_time_ms,
        "entry_complete": as_of.entry_complete,
        "last_change_seq": as_of.last_change_seq,
    })
}

/// Like [`as_of`], for people.
pub(crate) fn as_of_note(as_of: &v1::AsOf) -> String {
    let at = as_of.position.unwrap_or_default();
    let mut note = format!(
        "as of shard {}, change {}, log index {}, {}",
        at.shard,
        at.seq,
        as_of.log_index,
        time(as_of.log_time_ms)
    );
    if as_of.last_change_seq != 0 {
        note.push_str(&format!("; last changed by change {}", as_of.last_change_seq));
    }
    if !as_of.entry_complete {
        note.push_str("; its entry goes on, so an operation may be only half done");
    }
    note
}

/// Like [`receipt`], for people.
pub(crate) fn receipt_note(receipt: Option<&v1::Receipt>) -> String {
    let position = receipt.and_then(|receipt| receipt.position).unwrap_or_default();
    let replayed = match receipt.is_some_and(|receipt| receipt.replayed) {
        true => " (this operation id had taken effect before; nothing happened now)",
        false => "",
    };
    format!(
        "shard {}, log index {}{replayed}",
        position.shard, position.log_index
    )
}

/// Renders one cell as JSON.
pub(crate) fn cell(cell: &v1::Cell) -> Value {
    let pools: Vec<Value> = cell
        .pools
        .iter()
        .map(|pool| json!({ "storefront": pool.storefront, "quantity": pool.quantity }))
        .collect();
    json!({
        "sku": cell.sku,
        "warehouse": cell.warehouse,
        "on_hand": cell.on_hand,
        "free": cell.free,
        "pools": pools,
        "safety": cell.safety,
        "held": cell.held,
        "committed": cell.committed,
        "damaged": cell.damaged,
        "quality_hold": cell.quality_hold,
        "deficit": cell.deficit,
        "backordered": cell.backordered,
        "in_transit": cell.in_transit,
    })
}

/// Headers of the columns of [`cell_row`].
pub(crate) const CELL_HEADERS: [&str; 13] = [
    "SKU",
    "WAREHOUSE",
    "ON HAND",
    "FREE",
    "POOLS",
    "SAFETY",
    "HELD",
    "COMMITTED",
    "DAMAGED",
    "QUALITY HOLD",
    "DEFICIT",
    "BACKORDERED",
    "IN TRANSIT",
];

/// Renders one cell as a row of a table.
pub(crate) fn cell_row(cell: &v1::Cell) -> Vec<String> {
    let pools: Vec<String> = cell
        .pools
        .iter()
        .map(|pool| format!("{}={}", pool.storefront, pool.quantity))
        .collect();
    vec![
        cell.sku.clone(),
        cell.warehouse.clone(),
        cell.on_hand.to_string(),
        cell.free.to_string(),
        if pools.is_empty() {
            "-".to_owned()
        } else {
            pools.join(" ")
        },
        cell.safety.to_string(),
        cell.held.to_string(),
        cell.committed.to_string(),
        cell.damaged.to_string(),
        cell.quality_hold.to_string(),
        cell.deficit.to_string(),
        cell.backordered.to_string(),
        cell.in_transit.to_string(),
    ]
}

/// Renders the places that units were taken from.
pub(crate) fn allocations(allocations: &[v1::Allocation]) -> Value {
    allocations
        .iter()
        .map(|taken| {
            json!({
                "warehouse": taken.warehouse,
                "from_pool": taken.from_pool,
                "from_free": taken.from_free,
                "from_backorder": taken.from_backorder,
                "reason": names::sourcing(taken.reason()),
            })
        })
        .collect()
}

/// Like [`allocations`], for people.
pub(crate) fn allocations_text(allocations: &[v1::Allocation]) -> String {
    let parts: Vec<String> = allocations
        .iter()
        .map(|taken| {
            let stocked = taken.from_pool.saturating_add(taken.from_free);
            let mut notes = vec![names::sourcing(taken.reason()).replace('_', " ")];
            if taken.from_pool != 0 {
                notes.push(format!("{} of the pool", taken.from_pool));
            }
            if taken.from_backorder != 0 {
                notes.push(format!("{} beyond stock", taken.from_backorder));
            }
            format!(
                "{}={} ({})",
                taken.warehouse,
                stocked.saturating_add(taken.from_backorder),
                notes.join(", ")
            )
        })
        .collect();
    if parts.is_empty() {
        "-".to_owned()
    } else {
        parts.join(" ")
    }
}

/// Returns the name of a reservation's state.
pub(crate) fn state(state: v1::ReservationState) -> &'static str {
    names::state(state)
}

/// Renders log time as UTC, to the millisecond. A time without a year in RFC 3339 is rendered as milliseconds
/// since the Unix epoch.
pub(crate) fn time(time_ms: u64) -> String {
    // The last millisecond of the year 9999.
    const LATEST_MS: u64 = 253_402_300_799_999;
    match time_ms {
        0 => "-".to_owned(),
        1..=LATEST_MS => {
            let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(time_ms);
            humantime::format_rfc3339_millis(time).to_string()
        }
        _ => format!("{time_ms} ms"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_utc_and_no_time_is_a_dash() {
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
        assert_eq!(time(0), "-");
        assert_eq!(time(253_402_300_799_999), "9999-12-31T23:59:59.999Z");
        assert_eq!(time(253_402_300_800_000), "253402300800000 ms");
        assert_eq!(time(u64::MAX), "18446744073709551615 ms");
    }

    #[test]
    fn an_id_is_a_uuid_or_its_bytes() {
        assert_eq!(id(&[0; 16]), "00000000-0000-0000-0000-000000000000");
        assert_eq!(id(&[0xab, 1]), "ab01");
    }
}
