//! The search for the sale that a cancellation takes back, because feeds do not name it.
//!
//! Customers are compared here, in memory, and nowhere else. The result is a sale and a line.

use std::collections::HashMap;

use crate::read::Customer;

/// Sale lines of known customers, with the units that nobody has taken back yet.
#[derive(Debug, Default)]
pub(super) struct OpenSales {
    lines: HashMap<Customer, HashMap<String, Vec<OpenLine>>>,
}

#[derive(Debug)]
struct OpenLine {
    sale: usize,
    line: usize,
    left: i64,
}

impl OpenSales {
    /// Adds a sale line.
    pub(super) fn add(&mut self, customer: Customer, sku: &str, sale: usize, line: usize, quantity: i64) {
        let lines = self
            .lines
            .entry(customer)
            .or_default()
            .entry(sku.to_owned())
            .or_default();
        lines.push(OpenLine {
            sale,
            line,
            left: quantity,
        });
    }

    /// Returns the latest sale of this SKU to this customer that has at least this many units left, as (sale,
    /// line), and takes the units from it. When no single sale has enough left, it returns none.
    pub(super) fn take(&mut self, customer: Customer, sku: &str, quantity: i64) -> Option<(usize, usize)> {
        let lines = self.lines.get_mut(&customer)?.get_mut(sku)?;
        let line = lines.iter_mut().rev().find(|line| line.left >= quantity)?;
        line.left -= quantity;
        Some((line.sale, line.line))
    }
}
