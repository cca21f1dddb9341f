//! What a row is: the decisions that `docs/import-orders.md` explains, one function each.

use super::reject::{Reject, RejectReason};
use super::rows::Row;

/// Codes that are no goods: fees, postage, corrections of the bill. Compared in upper case.
pub(super) const NOT_STOCK: [&str; 11] = [
    "AMAZONFEE",
    "B",
    "BANK CHARGES",
    "C2",
    "C3",
    "CRUK",
    "D",
    "DOT",
    "M",
    "POST",
    "S",
];

/// How gift vouchers begin.
pub(super) const NOT_STOCK_PREFIX: &str = "GIFT_";

/// What a row does to stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Goods are sold.
    Sale,
    /// A sale is taken back: cancelled before it ships, returned after.
    Back,
    /// Goods are gone without a sale.
    WrittenOff,
    /// Goods turned up.
    Found,
}

/// What a row is, or why it is nothing for the ledger. `alone`: it is the only row of its invoice.
/// `also_not_stock`: more codes that are no goods, in upper case.
///
/// # Errors
/// The reject of the row.
pub(super) fn classify(row: &Row, alone: bool, also_not_stock: &[String]) -> Result<Class, Reject> {
    let code = row.stock_code.as_str();
    let not_stock = NOT_STOCK.contains(&code)
        || code.starts_with(NOT_STOCK_PREFIX)
        || also_not_stock.iter().any(|other| other == code);
    if not_stock {
        return Err(row.reject(
            RejectReason::NotStock,
            "a fee, postage, voucher or correction of the bill",
        ));
    }
    if let Err(error) = holdfast_ledger::Sku::new(code) {
        return Err(row.reject(RejectReason::BadStockCode, error.to_string()));
    }
    let cancels = row.invoice.starts_with('C');
    match (cancels, row.quantity > 0) {
        (true, true) => Err(row.reject(
            RejectReason::BadQuantity,
            "an invoice that starts with C takes goods back, this row sells",
        )),
        (true, false) => Ok(Class::Back),
        (false, false) => Ok(Class::WrittenOff),
        // A write-off the other way round: nobody bought it, nobody paid, it stands alone.
        (false, true) if alone && row.free_of_charge && row.customer.is_none() => Ok(Class::Found),
        (false, true) => Ok(Class::Sale),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::import::orders::rows::read_rows;

    fn class(line: &str, alone: bool) -> Result<Class, RejectReason> {
        let header = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n";
        let file = read_rows(format!("{header}{line}").as_bytes()).unwrap();
        classify(&file.rows[0], alone, &["PADS".to_owned()]).map_err(|reject| reject.reason)
    }

    #[test]
    fn each_kind_of_row_becomes_what_the_docs_say() {
        let cases = [
            ("1,85123A,,6,2010-12-01,2.55,1,X", false, Ok(Class::Sale)),
            ("1,DCGS0003,,6,2010-12-01,2.55,1,X", true, Ok(Class::Sale)),
            ("C1,85123A,,-6,2010-12-01,2.55,1,X", true, Ok(Class::Back)),
            ("c1,85123A,,-6,2010-12-01,2.55,1,X", true, Ok(Class::Back)),
            ("1,85123A,?,-6,2010-12-01,0.0,,X", true, Ok(Class::WrittenOff)),
            ("1,85123A,found,6,2010-12-01,0.0,,X", true, Ok(Class::Found)),
            ("1,85123A,,6,2010-12-01,0.0,,X", false, Ok(Class::Sale)),
            ("1,85123A,,6,2010-12-01,0.0,1,X", true, Ok(Class::Sale)),
            (
                "C1,85123A,,6,2010-12-01,2.55,1,X",
                true,
                Err(RejectReason::BadQuantity),
            ),
            (
                "1,8512 3A,,6,2010-12-01,2.55,1,X",
                true,
                Err(RejectReason::BadStockCode),
            ),
            (
                "C1,D,Discount,-1,2010-12-01,27.5,1,X",
                true,
                Err(RejectReason::NotStock),
            ),
            (
                "1,m,Manual,1,2010-12-01,2.55,1,X",
                true,
                Err(RejectReason::NotStock),
            ),
            (
                "1,BANK CHARGES,,1,2010-12-01,2.55,1,X",
                true,
                Err(RejectReason::NotStock),
            ),
            (
                "1,gift_0001_40,,1,2010-12-01,2.55,1,X",
                true,
                Err(RejectReason::NotStock),
            ),
            ("1,pads,,1,2010-12-01,2.55,1,X", true, Err(RejectReason::NotStock)),
        ];
        for (line, alone, expected) in cases {
            assert_eq!(class(line, alone), expected, "{line}");
        }
    }
}
