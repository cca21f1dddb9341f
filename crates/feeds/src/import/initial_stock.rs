//! The stock that must be there before the first order.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use super::known::Known;
use super::steps::{Sale, Step};
use crate::read::Row;

/// The amount of stock that is received before the first order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum InitialStock {
    /// The amount that the file needs at its peak, so that nothing is refused.
    Enough,
    /// A share (0 to 1) of `Enough`, rounded up. With less than 1, some orders are refused.
    Share(f64),
    /// Nothing. Only the stock that the ledger has is sold.
    None,
}

/// The reason why a text is no initial stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InitialStockError {
    /// The share is no number, or out of its range.
    #[error("the share must be a number from 0 to 1, as in share:0.8")]
    Share,
    /// The word is none of those that are known.
    #[error("say enough, share:F (such as share:0.8) or none")]
    Word,
}

impl FromStr for InitialStock {
    type Err = InitialStockError;

    fn from_str(text: &str) -> Result<Self, InitialStockError> {
        match text.split_once(':') {
            None if text == "enough" => Ok(Self::Enough),
            None if text == "none" => Ok(Self::None),
            Some(("share", share)) => match share.parse::<f64>() {
                Ok(share) if (0.0..=1.0).contains(&share) => Ok(Self::Share(share)),
                _ => Err(InitialStockError::Share),
            },
            _ => Err(InitialStockError::Word),
        }
    }
}

impl fmt::Display for InitialStock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Enough => f.write_str("enough"),
            Self::Share(share) => write!(f, "share:{share}"),
            Self::None => f.write_str("none"),
        }
    }
}

/// Returns the arrivals that stock the cells for these steps, sorted by SKU, then warehouse. A cell gets what
/// the steps need at their peak in this order, or a share of it. Documents that other files brought need
/// nothing more.
pub(super) fn arrivals(
    steps: &[Step],
    sales: &[Sale],
    rows: &[Row],
    initial: InitialStock,
    known: &Known,
) -> Vec<Step> {
    let share = match initial {
        InitialStock::Enough => 1.0,
        InitialStock::Share(share) => share,
        InitialStock::None => return Vec::new(),
    };
    let mut cells: BTreeMap<(&str, usize), Balance> = BTreeMap::new();
    let mut moved = |sku, warehouse, units| cells.entry((sku, warehouse)).or_default().add(units);
    for step in steps
        .iter()
        .filter(|step| !known.is_same(document_of(step, sales, rows)))
    {
        match step {
            Step::Receive { .. } | Step::Ship { .. } => {}
            Step::Sell { sale } => {
                let sale = &sales[*sale];
                for line in &sale.lines {
                    moved(line.sku.as_str(), sale.warehouse, -line.quantity);
                }
            }
            Step::Cancel {
                sale, line, quantity, ..
            }
            | Step::Return {
                sale, line, quantity, ..
            } => {
                let sale = &sales[*sale];
                moved(sale.lines[*line].sku.as_str(), sale.warehouse, *quantity);
            }
            Step::ReturnUnreferenced {
                row,
                warehouse,
                quantity,
            } => {
                moved(rows[*row].sku.as_str(), *warehouse, *quantity);
            }
            Step::Adjust {
                row,
                warehouse,
                delta,
            } => moved(rows[*row].sku.as_str(), *warehouse, *delta),
        }
    }
    cells
        .into_iter()
        .filter(|(_, balance)| balance.lowest < 0)
        .map(|((sku, warehouse), balance)| (sku, warehouse, share_of(-balance.lowest, share)))
        .filter(|(_, _, quantity)| *quantity > 0)
        .map(|(sku, warehouse, quantity)| Step::Receive {
            sku: sku.to_owned(),
            warehouse,
            quantity,
        })
        .collect()
}

/// Returns the document that a step belongs to; an arrival belongs to none.
fn document_of<'a>(step: &Step, sales: &'a [Sale], rows: &'a [Row]) -> &'a str {
    match step {
        Step::Receive { .. } => "",
        Step::Sell { sale } | Step::Ship { sale } => &sales[*sale].document,
        Step::Cancel { row, .. }
        | Step::Return { row, .. }
        | Step::ReturnUnreferenced { row, .. }
        | Step::Adjust { row, .. } => &rows[*row].document,
    }
}

#[derive(Default)]
struct Balance {
    now: i64,
    lowest: i64,
}

impl Balance {
    fn add(&mut self, units: i64) {
        self.now += units;
        self.lowest = self.lowest.min(self.now);
    }
}

/// Returns `share` of `units`, rounded up, and never more than `units`.
fn share_of(units: i64, share: f64) -> i64 {
    ((units as f64 * share).ceil() as i64).clamp(0, units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initial_stock_is_read_as_it_is_written() {
        for text in ["enough", "none", "share:0.8", "share:0", "share:1"] {
            assert_eq!(text.parse::<InitialStock>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "lots",
            "share",
            "share:",
            "share:1.01",
            "share:-0.1",
            "share:NaN",
            "enough:1",
        ] {
            assert!(text.parse::<InitialStock>().is_err(), "{text}");
        }
    }
}
