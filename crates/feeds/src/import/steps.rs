//! Steps of an import, and the waves that they are cut into.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

/// Most steps in flight.
pub(super) const MAX_WAVE: usize = 64;

/// Most names (SKUs, warehouses) that the sales of one wave send together, so that a message stays far below
/// the server's limit. A single sale may have more.
pub(super) const MAX_WAVE_NAMES: usize = 1 << 15;

/// The sale rows of one document, which become one reservation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sale {
    /// The shard of the first line, which decides about the whole order.
    pub(super) home: u32,
    /// The shards of the SKUs, the home among them.
    pub(super) shards: BTreeSet<u32>,
    /// The document's number.
    pub(super) document: String,
    /// The day of its first row, as `2010-12-01`.
    pub(super) day: String,
    /// Number of this part: 0, or more when the document has more lines than a reservation may have.
    pub(super) part: usize,
    /// The warehouse that the document is dealt to, as an index into the warehouses.
    pub(super) warehouse: usize,
    /// The lines; no SKU occurs twice.
    pub(super) lines: Vec<SaleLine>,
}

/// All rows of one SKU in a sale, added up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SaleLine {
    /// SKU of the rows.
    pub(super) sku: String,
    /// Units of all rows together.
    pub(super) quantity: i64,
    /// The rows, as indices into the file's rows.
    pub(super) rows: Vec<usize>,
}

/// One request to the ledger. Rows and sales are indices into the file's rows and the plan's sales.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Receives initial stock.
    Receive {
        /// SKU of the cell.
        sku: String,
        /// Warehouse of the cell, as an index.
        warehouse: usize,
        /// At least 1.
        quantity: i64,
    },
    /// Reserves and then commits a sale.
    Sell {
        /// The sale.
        sale: usize,
    },
    /// Ships what is still committed of a sale.
    Ship {
        /// The sale.
        sale: usize,
    },
    /// Gives back units of a sale that has not shipped.
    Cancel {
        /// The row that asks for it.
        row: usize,
        /// The sale.
        sale: usize,
        /// The line of the sale.
        line: usize,
        /// At least 1.
        quantity: i64,
    },
    /// Takes back units of a sale that has shipped.
    Return {
        /// The row that asks for it.
        row: usize,
        /// The sale.
        sale: usize,
        /// The line of the sale.
        line: usize,
        /// At least 1.
        quantity: i64,
    },
    /// Takes back units whose sale is not in the file.
    ReturnUnreferenced {
        /// The row that asks for it.
        row: usize,
        /// The warehouse that gets the units, as an index.
        warehouse: usize,
        /// At least 1.
        quantity: i64,
    },
    /// Writes stock off (negative) or adds stock that was found.
    Adjust {
        /// The row that asks for it.
        row: usize,
        /// Warehouse of the cell, as an index.
        warehouse: usize,
        /// Never 0.
        delta: i64,
    },
}

#[derive(PartialEq, Eq)]
enum Kind {
    Receive,
    Sell,
    Ship,
    Back,
    Adjust,
}

impl Step {
    fn kind(&self) -> Kind {
        match self {
            Self::Receive { .. } => Kind::Receive,
            Self::Sell { .. } => Kind::Sell,
            Self::Ship { .. } => Kind::Ship,
            Self::Cancel { .. } | Self::Return { .. } | Self::ReturnUnreferenced { .. } => Kind::Back,
            Self::Adjust { .. } => Kind::Adjust,
        }
    }
}

/// Cuts the steps into waves. A wave is finished before the next one begins, and the steps of one wave are
/// sent together. A wave holds steps of one kind, so that no step in it gives stock to a sale in it. No two
/// sales and no two adjustments of a wave have a SKU in common, so that no step takes stock from another.
/// `sku_of` returns the SKU of a row, and `names_of_line` is the number of names that a line of a sale sends.
pub(super) fn cut_into_waves<'a>(
    steps: &[Step],
    sales: &'a [Sale],
    sku_of: impl Fn(usize) -> &'a str,
    names_of_line: usize,
) -> Vec<Range<usize>> {
    let mut waves = Vec::new();
    let mut start = 0;
    let mut taken: HashSet<&str> = HashSet::new();
    let mut names = 0;
    for (index, step) in steps.iter().enumerate() {
        let takes: Vec<&str> = match step {
            Step::Adjust { row, .. } => vec![sku_of(*row)],
            Step::Sell { sale } => sales[*sale].lines.iter().map(|line| line.sku.as_str()).collect(),
            _ => Vec::new(),
        };
        let more_names = takes.len() * names_of_line;
        let full = index - start == MAX_WAVE || names + more_names > MAX_WAVE_NAMES;
        let again = takes.iter().any(|sku| taken.contains(sku));
        if index > start && (steps[start].kind() != step.kind() || full || again) {
            waves.push(start..index);
            start = index;
            taken.clear();
            names = 0;
        }
        taken.extend(takes);
        names += more_names;
    }
    if start < steps.len() {
        waves.push(start..steps.len());
    }
    waves
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adjust(row: usize) -> Step {
        Step::Adjust {
            row,
            warehouse: 0,
            delta: -1,
        }
    }

    fn sale(skus: &[&str]) -> Sale {
        let line = |sku: &&str| SaleLine {
            sku: (*sku).to_owned(),
            quantity: 1,
            rows: vec![0],
        };
        Sale {
            home: 0,
            shards: BTreeSet::from([0]),
            document: "1".to_owned(),
            day: "2010-12-01".to_owned(),
            part: 0,
            warehouse: 0,
            lines: skus.iter().map(line).collect(),
        }
    }

    #[test]
    fn a_wave_holds_one_kind_and_takes_no_sku_twice() {
        let back = Step::ReturnUnreferenced {
            row: 0,
            warehouse: 0,
            quantity: 1,
        };
        let steps = [
            Step::Sell { sale: 0 },
            Step::Sell { sale: 1 },
            Step::Sell { sale: 2 },
            back.clone(),
            Step::Return {
                row: 1,
                sale: 0,
                line: 0,
                quantity: 1,
            },
            adjust(0),
            adjust(1),
            adjust(2),
            adjust(2),
            Step::Ship { sale: 0 },
        ];
        let sales = [sale(&["A", "B"]), sale(&["C"]), sale(&["D", "B"])];
        // Rows 0 and 2 have the same SKU.
        let waves = cut_into_waves(&steps, &sales, |row| if row == 1 { "B" } else { "A" }, 1);
        assert_eq!(waves, [0..2, 2..3, 3..5, 5..7, 7..8, 8..9, 9..10]);
    }

    #[test]
    fn a_wave_is_bounded_and_the_waves_cover_every_step_once() {
        let names: Vec<String> = (0..=2 * MAX_WAVE).map(|number| format!("SKU-{number}")).collect();
        let sales: Vec<Sale> = names.iter().map(|name| sale(&[name.as_str()])).collect();
        let steps: Vec<Step> = (0..sales.len()).map(|sale| Step::Sell { sale }).collect();
        let by_count = cut_into_waves(&steps, &sales, |_| "A", 1);
        assert_eq!(
            by_count,
            [
                0..MAX_WAVE,
                MAX_WAVE..2 * MAX_WAVE,
                2 * MAX_WAVE..2 * MAX_WAVE + 1
            ]
        );
        let by_names = cut_into_waves(&steps[..4], &sales, |_| "A", MAX_WAVE_NAMES / 2);
        assert_eq!(by_names, [0..2, 2..4]);
        let too_many = cut_into_waves(&steps[..2], &sales, |_| "A", MAX_WAVE_NAMES + 1);
        assert_eq!(too_many, [0..1, 1..2]);
    }
}
