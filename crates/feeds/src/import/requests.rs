//! Requests for the operations of a plan. An operation's name within its source begins with the document's
//! number. Customers and descriptions do not reach this module, so they cannot be sent.

use bytes::Bytes;
use holdfast_api::limits::MAX_OCCURRED_AGO_MS;
use holdfast_client::v1;
use holdfast_client::v1::batch_item::Request as Item;

use super::identity::Source;
use super::steps::Sale;
use super::target::Request;
use crate::read::Row;

/// Time to live of an import's holds until they are committed, in milliseconds. It is longer than an
/// interruption after which an import is resumed.
const HOLD_TTL_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// Name of the operation when units of a sale come back, or are cancelled before they leave.
pub(super) const BACK: &str = "back";
/// Name of the operation when units come back that belong to no sale.
pub(super) const BACK_UNREFERENCED: &str = "back-unreferenced";
/// Name of the operation when units are written off or found.
pub(super) const ADJUST: &str = "adjust";

/// Names one operation of a document. No part contains a line break, so the name is unambiguous.
fn named(parts: &[&str]) -> String {
    parts.join("\n")
}

/// Returns the name of a sale's operation: `reserve`, `commit` or `ship`.
pub(super) fn sale_document(document: &str, part: usize, operation: &str) -> String {
    named(&[document, "sale", &part.to_string(), operation])
}

/// Returns the name of a row's operation: [`BACK`], [`BACK_UNREFERENCED`] or [`ADJUST`].
pub(super) fn row_document(document: &str, sku: &str, rank: u32, operation: &str) -> String {
    named(&[document, operation, sku, &rank.to_string()])
}

/// Returns the name of the operation that receives a cell's initial stock. Each file has its own.
pub(super) fn stock_document(source: &Source, sku: &str, warehouse: &str) -> String {
    named(&["initial-stock", source.file(), warehouse, sku])
}

/// A maker of requests.
pub(super) struct Requests<'a> {
    /// The source of the documents.
    pub(super) source: &'a Source,
    /// The time in the operation ids, in milliseconds since the Unix epoch.
    pub(super) epoch_ms: u64,
    /// The names of the warehouses.
    pub(super) warehouses: &'a [String],
    /// The storefront that sells.
    pub(super) storefront: &'a str,
    /// Whether a sale takes as much as there is, instead of all or nothing.
    pub(super) best_effort: bool,
    /// The first day of the file that the ledger accepts. The initial stock is booked on it.
    pub(super) first_day: Option<&'a str>,
}

/// Returns the business time of a day in the file: noon in UTC, so that it is the same day nearly everywhere.
/// For the day of the import itself, it is noon or the beginning of the import, whichever is earlier. Returns
/// none for a day that the ledger does not accept: a day in the future, or more than 40 years ago.
fn occurred_at_ms(day: &str, epoch_ms: u64) -> Option<u64> {
    let at = |time: &str| {
        let time = humantime::parse_rfc3339(&format!("{day}T{time}Z")).ok()?;
        let since_epoch = time.duration_since(std::time::UNIX_EPOCH).ok()?;
        u64::try_from(since_epoch.as_millis()).ok()
    };
    let (begins_ms, noon_ms) = (at("00:00:00")?, at("12:00:00")?);
    // Retries may come days later, so the limit is kept with a margin of 30 days.
    let earliest_ms = epoch_ms.saturating_sub(MAX_OCCURRED_AGO_MS - 30 * 24 * 60 * 60 * 1000);
    (begins_ms <= epoch_ms && noon_ms >= earliest_ms).then_some(noon_ms.min(epoch_ms))
}

impl Requests<'_> {
    /// Makes an operation. `why` is appended to the import's reason, unless it is empty.
    fn operation(
        &self,
        document: &str,
        reference: &str,
        (why, day): (&str, Option<&str>),
    ) -> Option<v1::Operation> {
        let mut reason = self.source.reason();
        if !why.is_empty() {
            reason.push('.');
            reason.push_str(why);
        }
        Some(v1::Operation {
            operation_id: self.source.operation_id(self.epoch_ms, document),
            reference: reference.to_owned(),
            reason,
            repeats: false,
            occurred_at_ms: day.and_then(|day| occurred_at_ms(day, self.epoch_ms)),
            as_of: Vec::new(),
        })
    }

    fn sale_operation(&self, sale: &Sale, operation: &str) -> Option<v1::Operation> {
        let document = sale_document(&sale.document, sale.part, operation);
        self.operation(&document, &sale.document, ("", Some(&sale.day)))
    }

    fn row_operation(&self, row: &Row, operation: &str, why: &str) -> Option<v1::Operation> {
        let document = row_document(&row.document, &row.sku, row.rank, operation);
        self.operation(&document, &row.document, (why, Some(&row.day)))
    }

    pub(super) fn receive(&self, sku: &str, warehouse: usize, quantity: i64) -> Request {
        let warehouse = &self.warehouses[warehouse];
        Request::Batched(Item::Receive(v1::ReceiveRequest {
            operation: self.operation(
                &stock_document(self.source, sku, warehouse),
                "",
                ("initial-stock", self.first_day),
            ),
            sku: sku.to_owned(),
            warehouse: warehouse.clone(),
            quantity,
            supply_id: String::new(),
        }))
    }

    /// Makes the request for a sale: from the warehouse that it is dealt to first, then from the others.
    pub(super) fn reserve(&self, sale: &Sale) -> Request {
        let mut warehouses = self.warehouses.to_vec();
        warehouses.rotate_left(sale.warehouse);
        let source = v1::source::Kind::Preference(v1::WarehouseList { warehouses });
        let lines = sale.lines.iter().map(|line| v1::ReserveLine {
            sku: line.sku.clone(),
            quantity: line.quantity,
            source: Some(v1::Source {
                kind: Some(source.clone()),
            }),
        });
        let mode = if self.best_effort {
            v1::ReserveMode::BestEffort
        } else {
            v1::ReserveMode::AllOrNothing
        };
        Request::Batched(Item::Reserve(v1::ReserveRequest {
            operation: self.sale_operation(sale, "reserve"),
            storefront: self.storefront.to_owned(),
            lines: lines.collect(),
            ttl_ms: HOLD_TTL_MS,
            mode: mode.into(),
            sourcing: v1::Sourcing::AsGiven.into(),
            ..v1::ReserveRequest::default()
        }))
    }

    pub(super) fn commit(&self, sale: &Sale, reservation_id: &Bytes) -> Request {
        Request::Batched(Item::Commit(v1::CommitRequest {
            operation: self.sale_operation(sale, "commit"),
            reservation: key(sale, reservation_id),
        }))
    }

    pub(super) fn ship(&self, sale: &Sale, reservation_id: &Bytes) -> Request {
        Request::Batched(Item::Ship(v1::ShipRequest {
            operation: self.sale_operation(sale, "ship"),
            reservation: key(sale, reservation_id),
            lines: Vec::new(),
        }))
    }

    pub(super) fn cancel(
        &self,
        row: &Row,
        sale: &Sale,
        reservation_id: &Bytes,
        line: usize,
        quantity: i64,
    ) -> Request {
        Request::Batched(Item::Cancel(v1::CancelRequest {
            operation: self.row_operation(row, BACK, ""),
            reservation: key(sale, reservation_id),
            lines: line_quantity(line, quantity),
        }))
    }

    pub(super) fn give_back(
        &self,
        row: &Row,
        sale: &Sale,
        reservation_id: &Bytes,
        line: usize,
        quantity: i64,
    ) -> Request {
        let part = v1::ReservationReturn {
            reservation: key(sale, reservation_id),
            lines: line_quantity(line, quantity),
        };
        Request::Batched(Item::ReturnGoods(v1::ReturnRequest {
            operation: self.row_operation(row, BACK, ""),
            what: Some(v1::return_request::What::Reservation(part)),
            disposition: v1::Disposition::Restock.into(),
        }))
    }

    pub(super) fn give_back_unreferenced(&self, row: &Row, warehouse: usize, quantity: i64) -> Request {
        let goods = v1::UnreferencedReturn {
            sku: row.sku.clone(),
            warehouse: self.warehouses[warehouse].clone(),
            quantity,
        };
        Request::Batched(Item::ReturnGoods(v1::ReturnRequest {
            operation: self.row_operation(row, BACK_UNREFERENCED, ""),
            what: Some(v1::return_request::What::Unreferenced(goods)),
            disposition: v1::Disposition::Restock.into(),
        }))
    }

    pub(super) fn adjust(&self, row: &Row, warehouse: usize, delta: i64) -> Request {
        let why = if delta < 0 { "written-off" } else { "found" };
        Request::Adjust(v1::AdjustRequest {
            operation: self.row_operation(row, ADJUST, why),
            sku: row.sku.clone(),
            warehouse: self.warehouses[warehouse].clone(),
            delta,
        })
    }
}

fn key(sale: &Sale, reservation_id: &Bytes) -> Option<v1::ReservationKey> {
    Some(v1::ReservationKey {
        reservation_id: reservation_id.clone(),
        shard: Some(sale.home),
    })
}

fn line_quantity(line: usize, quantity: i64) -> Vec<v1::LineQuantity> {
    let line = u32::try_from(line).unwrap_or(u32::MAX);
    vec![v1::LineQuantity {
        line,
        quantity,
        warehouse: String::new(),
    }]
}

/// Returns the first day of these rows that the ledger accepts as a business time.
pub(super) fn first_day(rows: &[Row], epoch_ms: u64) -> Option<&str> {
    let days = rows.iter().map(|row| row.day.as_str());
    days.filter(|day| occurred_at_ms(day, epoch_ms).is_some()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_on_a_day_is_booked_at_its_noon_and_never_ahead_of_the_import() {
        let ms = |text: &str| {
            let time = humantime::parse_rfc3339(text).unwrap();
            time.duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
        };
        let began_ms = ms("2026-11-30T09:00:00Z");
        let booked = |day: &str| occurred_at_ms(day, began_ms);
        assert_eq!(booked("2010-12-01"), Some(ms("2010-12-01T12:00:00Z")));
        assert_eq!(booked("2026-11-30"), Some(began_ms), "noon is to come");
        assert_eq!(booked("2026-12-01"), None, "the day is to come");
        assert_eq!(booked("1970-01-01"), None, "too long ago");
        assert_eq!(booked("no day"), None);
    }
}
