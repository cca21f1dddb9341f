//! The rejects file: the rows that were not imported, and the reasons.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};

use super::files::write_atomically;
use crate::reject::Reject;

const HEADER: [&str; 7] = ["row", "line", "reason", "detail", "document", "sku", "quantity"];

/// The reason why the rejects file cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum RejectsFileError {
    /// Another kind of file is there.
    #[error("{} is there and is no rejects file; choose another with --rejects", path.display())]
    OtherFile {
        /// Path of the file.
        path: PathBuf,
    },
    /// The file system refuses it.
    #[error("cannot write the rejects file {}", path.display())]
    Unwritable {
        /// Path of the file.
        path: PathBuf,
        /// The fault of the file system.
        source: io::Error,
    },
}

/// Writes the rejects as CSV, in the order given. Replaces an older rejects file in one step.
///
/// # Errors
/// When the file cannot be written, or when a file that is not a rejects file is there. The old file then
/// stays.
pub(super) fn write_rejects(path: &Path, rejects: &[Reject]) -> Result<(), RejectsFileError> {
    if path.is_file() {
        let old = csv::Reader::from_path(path).and_then(|mut old| Ok(*old.headers()? == HEADER[..]));
        if !matches!(old, Ok(true)) {
            return Err(RejectsFileError::OtherFile {
                path: path.to_owned(),
            });
        }
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
                &reject.document,
                &without_formula(&reject.sku),
                &reject.quantity,
            ])?;
        }
        csv.flush()
    })
    .map_err(|source| RejectsFileError::Unwritable {
        path: path.to_owned(),
        source,
    })
}

/// Returns the code, with an apostrophe before it where a spreadsheet would take it for a formula.
fn without_formula(sku: &str) -> Cow<'_, str> {
    match sku.starts_with(['=', '+', '-', '@']) {
        true => Cow::Owned(format!("'{sku}")),
        false => Cow::Borrowed(sku),
    }
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

    fn reject(sku: &str) -> Reject {
        Reject {
            row: 7,
            line: 8,
            reason: crate::reject::RejectReason::NotStock,
            detail: "a, \"b\"".to_owned(),
            document: "1".to_owned(),
            sku: sku.to_owned(),
            quantity: "1".to_owned(),
        }
    }

    #[test]
    fn a_rejects_file_is_replaced_by_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rejects.csv");
        write_rejects(&path, &[]).unwrap();
        write_rejects(&path, &[reject("POST")]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.ends_with("7,8,not_stock,\"a, \"\"b\"\"\",1,POST,1\n"),
            "{text}"
        );
    }

    #[test]
    fn a_code_that_a_spreadsheet_would_calculate_is_written_as_text() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rejects.csv");
        let codes = [
            ("=1+1", "'=1+1"),
            ("+49", "'+49"),
            ("-1", "'-1"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("Größe-XL rot", "Größe-XL rot"),
            ("A=1", "A=1"),
        ];
        write_rejects(&path, &codes.map(|(sku, _)| reject(sku))).unwrap();
        let mut csv = csv::Reader::from_path(&path).unwrap();
        let written: Vec<String> = csv.records().map(|row| row.unwrap()[5].to_owned()).collect();
        assert_eq!(written, codes.map(|(_, written)| written));
    }
}
