//! The cells of one SKU.

use std::collections::BTreeMap;

use holdfast_api::v1::{self, Change};

use crate::image::{Image, Unmoved};
use crate::reading::Subject;

/// One SKU, in one warehouse or in all of them.
#[derive(Debug, Clone)]
pub struct Stock {
    sku: String,
    /// The warehouse; empty for all.
    warehouse: String,
    cells: BTreeMap<String, Image>,
}

impl Stock {
    /// Begins with a SKU before its first change. An empty warehouse means all warehouses.
    pub fn new(sku: impl Into<String>, warehouse: impl Into<String>) -> Self {
        Self {
            sku: sku.into(),
            warehouse: warehouse.into(),
            cells: BTreeMap::new(),
        }
    }

    /// Returns its cells, in byte order of the warehouse.
    pub fn cells(&self) -> Vec<v1::Cell> {
        let cells = self.cells.iter();
        cells
            .map(|(warehouse, image)| image.cell(&self.sku, warehouse))
            .collect()
    }
}

impl Subject for Stock {
    fn apply(&mut self, change: &Change) -> Result<bool, String> {
        let here = self.warehouse.is_empty() || change.warehouse == self.warehouse;
        if change.sku != self.sku || !here || change.moves.is_empty() {
            return Ok(false);
        }
        let image = match self.cells.get_mut(&change.warehouse) {
            Some(image) => image,
            None => self.cells.entry(change.warehouse.clone()).or_default(),
        };
        image.apply(change, Unmoved::Empty)?;
        Ok(true)
    }
}
