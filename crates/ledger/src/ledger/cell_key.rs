//! The key of a cell.

use serde::{Deserialize, Serialize};

/// The key of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct CellKey {
    pub(crate) sku: u32,
    pub(crate) warehouse: u16,
}
