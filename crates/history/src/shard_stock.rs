//! All cells of a shard.

use std::collections::BTreeMap;

use holdfast_api::v1::{self, Change};

use crate::image::{Image, Unmoved};
use crate::reading::Subject;

/// Every cell of a shard. Memory grows with the number of cells.
#[derive(Debug, Clone, Default)]
pub struct ShardStock {
    cells: BTreeMap<(String, String), Image>,
}

impl ShardStock {
    /// Begins before the first change of a shard, when it has no cells.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns its cells, in byte order of SKU and warehouse.
    pub fn cells(&self) -> impl Iterator<Item = v1::Cell> {
        self.cells
            .iter()
            .map(|((sku, warehouse), image)| image.cell(sku, warehouse))
    }
}

impl Subject for ShardStock {
    fn apply(&mut self, change: &Change) -> Result<bool, String> {
        if change.moves.is_empty() {
            return Ok(false);
        }
        let cell = (change.sku.clone(), change.warehouse.clone());
        self.cells
            .entry(cell)
            .or_default()
            .apply(change, Unmoved::Empty)?;
        Ok(true)
    }
}
