//! The operations of a plan as they are sent. A document names the operation within the file: its number, then what of it.
//! Customers and descriptions are not at hand here, so they cannot be sent.

use bytes::Bytes;
use holdfast_client::v1;
use holdfast_client::v1::batch_item::Request as Item;
use holdfast_feeds::Row;

use super::identity::Source;
use super::steps::Sale;
use super::target::Request;

/// How long a hold of an import lives before it is committed: longer than an interruption that one resumes from.
const HOLD_TTL_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// The document of a sale's operation: `reserve`, `commit` or `ship`.
pub(super) fn sale_document(sale: &Sale, operation: &str) -> String {
    format!("{}/{}/{operation}", sale.document, sale.part)
}

/// The document of a row's operation: `cancel`, `return`, `return-unreferenced` or `adjust`.
pub(super) fn row_document(row: &Row, operation: &str) -> String {
    format!("{}/{}/{operation}", row.document, row.number)
}

/// The document of the initial stock of a cell.
pub(super) fn stock_document(sku: &str, warehouse: &str) -> String {
    format!("initial-stock/{warehouse}/{sku}")
}

/// Makes requests.
pub(super) struct Requests<'a> {
    /// Who the feed is.
    pub(super) source: &'a Source,
    /// The time of the operation ids.
    pub(super) epoch_ms: u64,
    /// The names of the warehouses.
    pub(super) warehouses: &'a [String],
    /// Who sells.
    pub(super) storefront: &'a str,
    /// As much as there is, instead of all or nothing?
    pub(super) best_effort: bool,
}

impl Requests<'_> {
    /// `why` follows the import's reason; empty for none.
    fn operation(&self, document: &str, reference: &str, why: &str) -> Option<v1::Operation> {
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
        })
    }

    pub(super) fn receive(&self, sku: &str, warehouse: usize, quantity: i64) -> Request {
        let warehouse = &self.warehouses[warehouse];
        Request::Batched(Item::Receive(v1::ReceiveRequest {
            operation: self.operation(&stock_document(sku, warehouse), "", "initial-stock"),
            sku: sku.to_owned(),
            warehouse: warehouse.clone(),
            quantity,
            supply_id: String::new(),
        }))
    }

    /// From the warehouse it is dealt to first, then from the others.
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
            operation: self.operation(&sale_document(sale, "reserve"), &sale.document, ""),
            storefront: self.storefront.to_owned(),
            lines: lines.collect(),
            ttl_ms: HOLD_TTL_MS,
            mode: mode.into(),
            sourcing: v1::Sourcing::AsGiven.into(),
        }))
    }

    pub(super) fn commit(&self, sale: &Sale, reservation_id: &Bytes) -> Request {
        Request::Batched(Item::Commit(v1::CommitRequest {
            operation: self.operation(&sale_document(sale, "commit"), &sale.document, ""),
            reservation: key(sale, reservation_id),
        }))
    }

    pub(super) fn ship(&self, sale: &Sale, reservation_id: &Bytes) -> Request {
        Request::Batched(Item::Ship(v1::ShipRequest {
            operation: self.operation(&sale_document(sale, "ship"), &sale.document, ""),
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
            operation: self.operation(&row_document(row, "cancel"), &row.document, ""),
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
        Request::Batched(Item::Return(v1::ReturnRequest {
            operation: self.operation(&row_document(row, "return"), &row.document, ""),
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
        Request::Batched(Item::Return(v1::ReturnRequest {
            operation: self.operation(&row_document(row, "return-unreferenced"), &row.document, ""),
            what: Some(v1::return_request::What::Unreferenced(goods)),
            disposition: v1::Disposition::Restock.into(),
        }))
    }

    pub(super) fn adjust(&self, row: &Row, warehouse: usize, delta: i64) -> Request {
        let why = if delta < 0 { "written-off" } else { "found" };
        Request::Adjust(v1::AdjustRequest {
            operation: self.operation(&row_document(row, "adjust"), &row.document, why),
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
