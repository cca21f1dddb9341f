//! The planner: turns rows into steps, the requests to the ledger, in the order of the file.
//!
//! The plan follows from the file, the options, the shards and what other files brought, so every run of an
//! import makes the same plan. A resumed import finds operations in the change stream, and the plan tells it
//! what each of them was for.
//!
//! The rows of one document make one order: one reservation, whichever shards its SKUs live in. An order
//! ships when the file reaches a row of another day. So a take-back on the day of the sale cancels it, and a
//! later one returns it.

use std::collections::{BTreeMap, HashMap};

use holdfast_api::limits::MAX_LINES;
use holdfast_api::names::Sku;
use holdfast_api::names::lookalikes;
use holdfast_client::{shard_of, v1};

use super::initial_stock::{InitialStock, arrivals};
use super::known::Known;
use super::matching::OpenSales;
use super::steps::{Sale, SaleLine, Step};
use crate::read::{Kind, OrderRows, Row};
use crate::reject::{Reject, RejectReason};

/// Options that shape a plan, beside the file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct PlanOptions {
    /// Number of warehouses that the documents are dealt out to. At least 1.
    pub(super) warehouses: usize,
    /// Stock that is received before the first order.
    pub(super) initial_stock: InitialStock,
}

/// The plan of an import.
#[derive(Debug)]
pub(super) struct Plan {
    /// The steps, in the order in which they must be decided.
    pub(super) steps: Vec<Step>,
    /// The sales, each of which becomes a reservation.
    pub(super) sales: Vec<Sale>,
    /// Rows that are not for the ledger, in file order.
    pub(super) rejects: Vec<Reject>,
    /// Documents with at least one sale row.
    pub(super) orders: u64,
}

/// Makes the plan of an import.
pub(super) fn plan(
    file: &OrderRows,
    topology: &v1::GetTopologyResponse,
    options: &PlanOptions,
    known: &Known,
) -> Plan {
    let mut planner = Planner {
        rows: &file.rows,
        topology,
        steps: Vec::new(),
        sales: Vec::new(),
        rejects: file.rejected.clone(),
        open: OpenSales::default(),
        unshipped: BTreeMap::new(),
        day: "",
    };
    let mut orders = 0;
    for document in documents(&file.rows) {
        let number = &file.rows[document[0]].document;
        if let Some(change) = known.change(number) {
            let changed = document.iter().map(|row| &file.rows[*row]);
            let rejects = changed.map(|row| row.reject(RejectReason::ChangedDocument, change));
            planner.rejects.extend(rejects);
            continue;
        }
        let placed = planner.placed(document);
        let Some((first, ..)) = placed.first() else {
            continue;
        };
        planner.turn_day(&file.rows[*first].day);
        let warehouse = warehouse_of(number, options.warehouses);
        let sold: Vec<(usize, u32)> = placed
            .iter()
            .filter(|(_, kind, _)| *kind == Kind::Sale)
            .map(|(row, _, shard)| (*row, *shard))
            .collect();
        if !sold.is_empty() {
            orders += 1;
            planner.sell(&sold, warehouse);
        }
        for (row, kind, _) in placed {
            match kind {
                Kind::Sale => {}
                Kind::TakeBack => planner.take_back(row, warehouse),
                Kind::WriteOff | Kind::Found => planner.steps.push(Step::Adjust {
                    row,
                    warehouse,
                    delta: file.rows[row].quantity,
                }),
            }
        }
    }
    planner.ship_all();
    let Planner {
        mut steps,
        sales,
        mut rejects,
        ..
    } = planner;
    rejects.sort_by_key(|reject| reject.row);
    let received = arrivals(&steps, &sales, &file.rows, options.initial_stock, known);
    steps.splice(0..0, received);
    Plan {
        steps,
        sales,
        rejects,
        orders,
    }
}

/// Returns the warehouse that a document is dealt to. It follows from the document's number, so it is the
/// same in every file.
fn warehouse_of(document: &str, warehouses: usize) -> usize {
    let hash = xxhash_rust::xxh3::xxh3_64(document.as_bytes());
    (hash % warehouses.max(1) as u64) as usize
}

/// Returns the rows of each document. Documents are in the order in which they first appear.
fn documents(rows: &[Row]) -> Vec<Vec<usize>> {
    let mut documents: Vec<Vec<usize>> = Vec::new();
    let mut by_number: HashMap<&str, usize> = HashMap::new();
    for (index, row) in rows.iter().enumerate() {
        let document = *by_number.entry(&row.document).or_insert(documents.len());
        if document == documents.len() {
            documents.push(Vec::new());
        }
        documents[document].push(index);
    }
    documents
}

/// Checks that the SKU does not look like another one, as a node does. Otherwise the import would end at the
/// first such row.
fn looks(sku: &str) -> Result<(), String> {
    let sku = Sku::new(sku).map_err(|error| error.to_string())?;
    lookalikes::check(&sku).map_err(|error| error.to_string())
}

struct Planner<'a> {
    rows: &'a [Row],
    topology: &'a v1::GetTopologyResponse,
    steps: Vec<Step>,
    sales: Vec<Sale>,
    rejects: Vec<Reject>,
    open: OpenSales,
    /// Sales of the current day, with the units that no row has cancelled.
    unshipped: BTreeMap<usize, i64>,
    day: &'a str,
}

impl<'a> Planner<'a> {
    /// Returns the rows of a document that a shard can take, each with its kind and its shard. Rejects the
    /// others.
    fn placed(&mut self, document: Vec<usize>) -> Vec<(usize, Kind, u32)> {
        let mut placed = Vec::with_capacity(document.len());
        for index in document {
            let row = &self.rows[index];
            match (shard_of(self.topology, &row.sku), looks(&row.sku)) {
                (Some(shard), Ok(())) => placed.push((index, row.kind, shard)),
                (None, _) => self
                    .rejects
                    .push(row.reject(RejectReason::BadSku, "no shard has it")),
                (_, Err(why)) => self.rejects.push(Reject {
                    sku: String::new(),
                    ..row.reject(RejectReason::BadSku, why)
                }),
            }
        }
        placed
    }

    fn turn_day(&mut self, day: &'a str) {
        if self.day != day {
            self.ship_all();
            self.day = day;
        }
    }

    fn ship_all(&mut self) {
        for (sale, units) in std::mem::take(&mut self.unshipped) {
            if units > 0 {
                self.steps.push(Step::Ship { sale });
            }
        }
    }

    /// Adds one sale, or more when there are too many lines for one reservation.
    fn sell(&mut self, sold: &[(usize, u32)], warehouse: usize) {
        let mut lines: Vec<(SaleLine, u32)> = Vec::new();
        let mut line_of: HashMap<&str, usize> = HashMap::new();
        for (index, shard) in sold {
            let row = &self.rows[*index];
            let line = *line_of.entry(&row.sku).or_insert(lines.len());
            if line == lines.len() {
                let line = SaleLine {
                    sku: row.sku.clone(),
                    quantity: 0,
                    rows: Vec::new(),
                };
                lines.push((line, *shard));
            }
            let (line, _) = &mut lines[line];
            line.quantity += row.quantity;
            line.rows.push(*index);
        }
        // Sort the lines, so that a line has the same number in whatever order the rows stand in the file.
        lines.sort_by(|(one, _), (other, _)| one.sku.cmp(&other.sku));
        for (part, lines) in lines.chunks(MAX_LINES).enumerate() {
            self.add_sale(part, warehouse, lines);
        }
    }

    fn add_sale(&mut self, part: usize, warehouse: usize, lines: &[(SaleLine, u32)]) {
        let sale = self.sales.len();
        for (line, (SaleLine { sku, quantity, rows }, _)) in lines.iter().enumerate() {
            // All rows of a document have one customer.
            if let Some(customer) = self.rows[rows[0]].customer {
                self.open.add(customer, sku, sale, line, *quantity);
            }
        }
        let (first, home) = &lines[0];
        let (document, day) = {
            let row = &self.rows[first.rows[0]];
            (row.document.clone(), row.day.clone())
        };
        self.unshipped
            .insert(sale, lines.iter().map(|(line, _)| line.quantity).sum());
        self.sales.push(Sale {
            home: *home,
            shards: lines.iter().map(|(_, shard)| *shard).collect(),
            document,
            day,
            part,
            warehouse,
            lines: lines.iter().map(|(line, _)| line.clone()).collect(),
        });
        self.steps.push(Step::Sell { sale });
    }

    fn take_back(&mut self, row: usize, warehouse: usize) {
        let quantity = -self.rows[row].quantity;
        let found = self.rows[row]
            .customer
            .and_then(|customer| self.open.take(customer, &self.rows[row].sku, quantity));
        let step = match found {
            None => Step::ReturnUnreferenced {
                row,
                warehouse,
                quantity,
            },
            Some((sale, line)) => match self.unshipped.get_mut(&sale) {
                Some(units) => {
                    *units -= quantity;
                    Step::Cancel {
                        row,
                        sale,
                        line,
                        quantity,
                    }
                }
                None => Step::Return {
                    row,
                    sale,
                    line,
                    quantity,
                },
            },
        };
        self.steps.push(step);
    }
}

#[cfg(test)]
mod tests;
