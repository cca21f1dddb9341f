//! Why a row was not imported, and the file that says so.

use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::files::write_atomically;

/// Why a row was not imported, or not in full. `docs/import-orders.md` says what to do about each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum RejectReason {
    /// Not as many fields as the header.
    WrongNumberOfFields,
    /// A field is not UTF-8.
    NotUtf8,
    /// The invoice number cannot be a reference.
    BadInvoice,
    /// The stock code cannot be a SKU.
    BadStockCode,
    /// The quantity is no whole number other than 0, or has the wrong sign.
    BadQuantity,
    /// The date is empty or unreadable.
    BadDate,
    /// The price is unreadable.
    BadPrice,
    /// A fee, postage, a voucher: nothing that lies on a shelf.
    NotStock,
    /// There was not enough stock for the order or the write-off.
    InsufficientStock,
    /// With best effort: fewer units than asked for.
    PartlyFilled,
    /// It cancels a sale that was itself refused, so nothing can come back.
    CancelsRefusedSale,
    /// The hold ran out before it could be committed.
    HoldExpired,
    /// The ledger refused for another reason, named in the detail.
    Refused,
}

impl RejectReason {
    /// The code written to the rejects file and the summary.
    pub(super) fn code(self) -> &'static str {
        match self {
            Self::WrongNumberOfFields => "wrong_number_of_fields",
            Self::NotUtf8 => "not_utf8",
            Self::BadInvoice => "bad_invoice",
            Self::BadStockCode => "bad_stock_code",
            Self::BadQuantity => "bad_quantity",
            Self::BadDate => "bad_date",
            Self::BadPrice => "bad_price",
            Self::NotStock => "not_stock",
            Self::InsufficientStock => "insufficient_stock",
            Self::PartlyFilled => "partly_filled",
            Self::CancelsRefusedSale => "cancels_refused_sale",
            Self::HoldExpired => "hold_expired",
            Self::Refused => "refused",
        }
    }
}

/// One row that was not imported. Holds nothing personal: neither customer nor description.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reject {
    /// The row, counted from 1 after the header.
    pub(super) row: u64,
    /// The line of the file it begins on; the header is line 1.
    pub(super) line: u64,
    /// Why.
    pub(super) reason: RejectReason,
    /// What exactly was wrong, for a person.
    pub(super) detail: String,
    /// The invoice as it stands in the file, when it could be read.
    pub(super) invoice: String,
    /// The stock code as it stands in the file, when it could be read.
    pub(super) stock_code: String,
    /// The quantity as it stands in the file, when it could be read.
    pub(super) quantity: String,
}

const HEADER: [&str; 7] = [
    "row",
    "line",
    "reason",
    "detail",
    "InvoiceNo",
    "StockCode",
    "Quantity",
];

/// Writes the rejects as CSV, in the order given, replacing an older rejects file in one step.
///
/// # Errors
/// When the file cannot be written, or when something else than a rejects file is there; it then stays.
pub(super) fn write_rejects(path: &Path, rejects: &[Reject]) -> anyhow::Result<()> {
    if path.is_file() {
        let old = csv::Reader::from_path(path).and_then(|mut old| Ok(*old.headers()? == HEADER[..]));
        anyhow::ensure!(
            matches!(old, Ok(true)),
            "{} is there and is no rejects file; choose another with --rejects",
            path.display()
        );
    }
    write_atomically(path, |file| {
        let mut csv = csv::Writer::from_writer(file);
        csv.write_record(HEADER)?;
        for reject in rejects {
            csv.write_record([
                reject.row.to_string().as_str(),
                reject.line.to_string().as_str(),
                reject.reason.code(),
                &reject.detail,
                &reject.invoice,
                &reject.stock_code,
                &reject.quantity,
            ])?;
        }
        csv.flush()?;
        Ok(())
    })
    .with_context(|| format!("cannot write the rejects file {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_file_is_never_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let orders = folder.path().join("orders.csv");
        std::fs::write(&orders, "InvoiceNo,StockCode\n1,A\n").unwrap();
        let error = write_rejects(&orders, &[]).unwrap_err().to_string();
        assert!(error.contains("--rejects"), "{error}");
        assert_eq!(
            std::fs::read_to_string(&orders).unwrap(),
            "InvoiceNo,StockCode\n1,A\n"
        );
    }

    #[test]
    fn a_rejects_file_is_replaced_by_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rejects.csv");
        let reject = Reject {
            row: 7,
            line: 8,
            reason: RejectReason::NotStock,
            detail: "a, \"b\"".to_owned(),
            invoice: "1".to_owned(),
            stock_code: "POST".to_owned(),
            quantity: "1".to_owned(),
        };
        write_rejects(&path, &[]).unwrap();
        write_rejects(&path, &[reject]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.ends_with("7,8,not_stock,\"a, \"\"b\"\"\",1,POST,1\n"),
            "{text}"
        );
    }
}
