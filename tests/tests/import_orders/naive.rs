//! A second reading of the file: the sums of its rows, by SKU and by invoice.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Result, ensure};

/// Units by SKU.
pub(crate) type Units = BTreeMap<String, i64>;

/// A row, as the naive reading sees it.
pub(crate) struct NaiveRow {
    pub(crate) number: u64,
    invoice: String,
    pub(crate) sku: String,
    quantity: i64,
    price: f64,
    customer: String,
    /// Day of the row, such as `2010-12-01`.
    day: String,
}

/// Reads every row that has eight UTF-8 fields and a whole quantity. The files' columns must be in the
/// documented order.
pub(crate) fn naive_rows(path: &Path) -> Result<Vec<NaiveRow>> {
    let mut rows = Vec::new();
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(path)?;
    for (index, record) in reader.byte_records().enumerate() {
        let record = record?;
        let fields: Vec<&str> = record
            .iter()
            .map_while(|field| std::str::from_utf8(field).ok())
            .collect();
        let [invoice, sku, _, quantity, date, price, customer, _] = fields[..] else {
            continue;
        };
        let Ok(quantity) = quantity.parse() else { continue };
        rows.push(NaiveRow {
            number: index as u64 + 1,
            invoice: invoice.to_owned(),
            sku: sku.to_uppercase(),
            quantity,
            price: price.parse()?,
            customer: customer.to_owned(),
            day: date.chars().take(10).collect(),
        });
    }
    Ok(rows)
}

pub(crate) fn is_fee(sku: &str) -> bool {
    let fees = ["POST", "DOT", "M", "D", "S", "C2", "BANK CHARGES", "AMAZONFEE"];
    fees.contains(&sku) || sku.starts_with("GIFT")
}

/// Returns by how much stock on hand changes, by SKU, when all rows but these take effect.
pub(crate) fn naive_change(rows: &[NaiveRow], except: &BTreeSet<u64>) -> Units {
    let mut rows_of_invoice: BTreeMap<&str, u32> = BTreeMap::new();
    for row in rows {
        *rows_of_invoice.entry(&row.invoice).or_default() += 1;
    }
    let mut change = Units::new();
    for row in rows.iter().filter(|row| !except.contains(&row.number)) {
        let alone = rows_of_invoice[row.invoice.as_str()] == 1;
        let units = if row.invoice.starts_with('C') {
            row.quantity.abs()
        } else if row.quantity < 0 || (alone && row.price == 0.0 && row.customer.is_empty()) {
            row.quantity
        } else {
            -row.quantity
        };
        *change.entry(row.sku.clone()).or_default() += units;
    }
    change
}

/// Returns the rows that sell, and the orders of their invoices: units by SKU, and whether they were granted.
pub(crate) fn naive_orders(
    rows: &[NaiveRow],
    rejects: &BTreeMap<u64, String>,
) -> Result<BTreeMap<String, (bool, Units)>> {
    let mut rows_of_invoice: BTreeMap<String, Vec<&NaiveRow>> = BTreeMap::new();
    for row in rows {
        rows_of_invoice
            .entry(row.invoice.to_uppercase())
            .or_default()
            .push(row);
    }
    let mut orders = BTreeMap::new();
    for (invoice, rows) in rows_of_invoice {
        let (mut units, mut refused) = (Units::new(), BTreeSet::new());
        for row in &rows {
            let found = rows.len() == 1 && row.price == 0.0 && row.customer.is_empty();
            let reason = rejects.get(&row.number).map(String::as_str);
            let is_short = reason == Some("insufficient_stock");
            if invoice.starts_with('C') || row.quantity < 1 || found || (reason.is_some() && !is_short) {
                continue;
            }
            *units.entry(row.sku.clone()).or_default() += row.quantity;
            refused.insert(is_short);
        }
        ensure!(refused.len() <= 1, "invoice {invoice} was imported in part");
        if let Some(refused) = refused.first() {
            orders.insert(invoice, (!refused, units));
        }
    }
    Ok(orders)
}

/// Returns the units sold, by the day of their orders.
pub(crate) fn naive_sold_by_day(rows: &[NaiveRow], rejects: &BTreeMap<u64, String>) -> Units {
    let mut rows_of_invoice: BTreeMap<&str, Vec<&NaiveRow>> = BTreeMap::new();
    for row in rows {
        rows_of_invoice.entry(&row.invoice).or_default().push(row);
    }
    let mut sold = Units::new();
    for (invoice, rows) in rows_of_invoice {
        let found = rows.len() == 1 && rows[0].price == 0.0 && rows[0].customer.is_empty();
        if invoice.starts_with('C') || found {
            continue;
        }
        for row in rows {
            if row.quantity > 0 && !rejects.contains_key(&row.number) {
                *sold.entry(row.day.clone()).or_default() += row.quantity;
            }
        }
    }
    sold
}
