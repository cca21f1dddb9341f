//! Reading the order lines: each becomes a row that can be worked with, or a reject that says why not.

use std::collections::HashMap;
use std::io::Read;

use anyhow::Context as _;
use csv::ByteRecord;

use super::reject::{Reject, RejectReason};

/// Most units of one row. A feed that sells more in one line is broken, and sums stay far from overflow.
pub(super) const MAX_UNITS: i64 = 1_000_000_000;

const MIN_UNITS: i64 = -MAX_UNITS;

const COLUMNS: [&str; 8] = [
    "InvoiceNo",
    "StockCode",
    "Description",
    "Quantity",
    "InvoiceDate",
    "UnitPrice",
    "CustomerID",
    "Country",
];

/// A customer, as a number given out while the file is read: it says only which rows have the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Customer(usize);

/// One order line that can be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// The row, counted from 1 after the header.
    pub(super) number: u64,
    /// The line of the file it begins on; the header is line 1.
    pub(super) line: u64,
    /// The document, upper case.
    pub(super) invoice: String,
    /// The article, upper case: feeds write one code in both cases.
    pub(super) stock_code: String,
    /// Units: 1 to [`MAX_UNITS`] up or down, never 0.
    pub(super) quantity: i64,
    /// The date without the time, as it stands in the file.
    pub(super) day: String,
    /// Is the price zero or less?
    pub(super) free_of_charge: bool,
    /// Who bought, where the file says so.
    pub(super) customer: Option<Customer>,
}

impl Row {
    /// The reject of this row.
    pub(super) fn reject(&self, reason: RejectReason, detail: impl Into<String>) -> Reject {
        Reject {
            row: self.number,
            line: self.line,
            reason,
            detail: detail.into(),
            invoice: self.invoice.clone(),
            stock_code: self.stock_code.clone(),
            quantity: self.quantity.to_string(),
        }
    }
}

/// A file of order lines: every row is in exactly one of the two.
#[derive(Debug, Default)]
pub(super) struct FileRows {
    /// Rows that can be worked with, in file order.
    pub(super) rows: Vec<Row>,
    /// Rows that cannot, in file order.
    pub(super) malformed: Vec<Reject>,
}

impl FileRows {
    /// How many rows were read.
    pub(super) fn count(&self) -> u64 {
        (self.rows.len() + self.malformed.len()) as u64
    }
}

/// Reads all order lines. A bad row becomes a reject; only a file that is no table of orders is an error.
///
/// # Errors
/// When reading fails or the header lacks a column.
pub(super) fn read_rows(file: impl Read) -> anyhow::Result<FileRows> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(file);
    let header = reader.byte_headers().context("cannot read the header")?.clone();
    let columns = Columns::find(&header)?;
    let mut customers = HashMap::new();
    let mut result = FileRows::default();
    let mut record = ByteRecord::new();
    while reader.read_byte_record(&mut record).context("cannot read on")? {
        let number = result.count() + 1;
        let start = record.position().map_or(0, csv::Position::line);
        let end = reader.position().line();
        match columns.row(&record, number, start, end, &mut customers) {
            Ok(row) => result.rows.push(row),
            Err(reject) => result.malformed.push(reject),
        }
    }
    Ok(result)
}

/// Where each needed column stands.
struct Columns {
    count: usize,
    invoice: usize,
    stock_code: usize,
    quantity: usize,
    date: usize,
    price: usize,
    customer: usize,
}

impl Columns {
    fn find(header: &ByteRecord) -> anyhow::Result<Self> {
        let position = |name: &str| {
            header
                .iter()
                .position(|field| field.trim_ascii() == name.as_bytes())
        };
        let missing: Vec<&str> = COLUMNS
            .into_iter()
            .filter(|name| position(name).is_none())
            .collect();
        anyhow::ensure!(
            missing.is_empty(),
            "the header lacks the columns {}; expected are {}",
            missing.join(", "),
            COLUMNS.join(",")
        );
        let at = |name| position(name).context("checked above");
        Ok(Self {
            count: header.len(),
            invoice: at("InvoiceNo")?,
            stock_code: at("StockCode")?,
            quantity: at("Quantity")?,
            date: at("InvoiceDate")?,
            price: at("UnitPrice")?,
            customer: at("CustomerID")?,
        })
    }

    fn row(
        &self,
        record: &ByteRecord,
        number: u64,
        line: u64,
        end: u64,
        customers: &mut HashMap<String, Customer>,
    ) -> Result<Row, Reject> {
        let blank = Reject {
            row: number,
            line,
            reason: RejectReason::WrongNumberOfFields,
            detail: String::new(),
            invoice: String::new(),
            stock_code: String::new(),
            quantity: String::new(),
        };
        if record.len() != self.count {
            let mut detail = format!("{} fields, the header has {}", record.len(), self.count);
            if end > line + 1 {
                // A quote that is never closed swallows the lines after it.
                detail.push_str(&format!(
                    "; it reaches from line {line} to line {}: is a quote left open?",
                    end - 1
                ));
            }
            return Err(Reject { detail, ..blank });
        }
        let lossy = |column: usize| String::from_utf8_lossy(&record[column]).trim().to_owned();
        let refuse = |reason, detail: String| Reject {
            reason,
            detail,
            invoice: lossy(self.invoice),
            stock_code: lossy(self.stock_code),
            quantity: lossy(self.quantity),
            ..blank.clone()
        };
        if let Some(column) = record
            .iter()
            .position(|field| std::str::from_utf8(field).is_err())
        {
            return Err(refuse(
                RejectReason::NotUtf8,
                format!("field {} is not UTF-8", column + 1),
            ));
        }
        let invoice = lossy(self.invoice).to_ascii_uppercase();
        holdfast_ledger::Reference::new(invoice.clone())
            .map_err(|error| error.to_string())
            .and_then(|_| {
                if invoice.is_empty() {
                    Err("the invoice number is empty".to_owned())
                } else {
                    Ok(())
                }
            })
            .map_err(|detail| refuse(RejectReason::BadInvoice, detail))?;
        let stock_code = lossy(self.stock_code).to_ascii_uppercase();
        if stock_code.is_empty() {
            return Err(refuse(
                RejectReason::BadStockCode,
                "the stock code is empty".to_owned(),
            ));
        }
        let quantity = lossy(self.quantity)
            .parse::<i64>()
            .map_err(|_| "not a whole number".to_owned())
            .and_then(|quantity| match quantity {
                0 => Err("the quantity is 0".to_owned()),
                MIN_UNITS..=MAX_UNITS => Ok(quantity),
                _ => Err(format!("more than {MAX_UNITS} units in one row")),
            })
            .map_err(|detail| refuse(RejectReason::BadQuantity, detail))?;
        let date = lossy(self.date);
        let day = day_of(&date).ok_or_else(|| {
            refuse(
                RejectReason::BadDate,
                "the date is not like 2010-12-01 08:26:00 or 12/1/2010 8:26".to_owned(),
            )
        })?;
        let price = lossy(self.price)
            .parse::<f64>()
            .ok()
            .filter(|price| price.is_finite())
            .ok_or_else(|| refuse(RejectReason::BadPrice, "the price is not a number".to_owned()))?;
        let customer = lossy(self.customer);
        let next = Customer(customers.len());
        let customer = (!customer.is_empty()).then(|| *customers.entry(customer).or_insert(next));
        Ok(Row {
            number,
            line,
            invoice,
            stock_code,
            quantity,
            day: day.to_owned(),
            free_of_charge: price <= 0.0,
            customer,
        })
    }
}

/// The date without the time of day: what stands before a blank or a `T`, made of three numbers. Only whether
/// two rows are of the same day matters here, so no calendar is needed.
fn day_of(date: &str) -> Option<&str> {
    let day = date.split([' ', 'T']).next()?;
    let numbers = day.split(['-', '/']);
    let good = numbers.clone().count() == 3
        && numbers.clone().all(|number| {
            (1..=4).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
        });
    good.then_some(day)
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
