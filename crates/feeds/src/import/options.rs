//! Options of an import.

use std::ops::RangeInclusive;

use holdfast_api::names::{IdError, StorefrontId, WarehouseId};

use super::initial_stock::InitialStock;
use super::plan::PlanOptions;
use super::state::KeptOptions;

/// Most warehouses that orders can be dealt out to. Every line of an order names all of them.
const MAX_WAREHOUSES: usize = 16;

/// Length of a source's name in bytes. The name is part of a file's name.
const SOURCE_LENGTH: RangeInclusive<usize> = 1..=64;

fn is_source_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b".-_".contains(&byte)
}

/// The options of an import. Every run of it must have the same ones.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportOptions {
    /// Name of the shop or feed. A document's number means the same document in all files of one source.
    pub source: String,
    /// Stock that is received before the first order.
    pub initial_stock: InitialStock,
    /// Whether a sale takes as much as there is, instead of all or nothing.
    pub best_effort: bool,
    /// Names of the warehouses that orders are dealt out to.
    pub warehouses: Vec<String>,
    /// Name of the storefront that sells.
    pub storefront: String,
    /// More codes that are not goods, in any case.
    pub not_stock: Vec<String>,
}

/// The reason why an option is refused.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// There are too many warehouses. The number is how many there are.
    #[error("{0} warehouses, at most {MAX_WAREHOUSES} are allowed")]
    TooManyWarehouses(usize),
    /// A warehouse is named twice.
    #[error("warehouse {0} is named twice")]
    WarehouseTwice(String),
    /// The name of a warehouse or of the storefront is not valid.
    #[error(transparent)]
    Name(#[from] IdError),
    /// The name of the source is not valid.
    #[error(
        "--source is {name:?}; it has 1 to {} letters, digits, dots, hyphens or underscores",
        SOURCE_LENGTH.end()
    )]
    Source {
        /// The name.
        name: String,
    },
}

impl ImportOptions {
    /// Checks the options. Returns them as the state file keeps them. `mapping` is the mapping's hash.
    ///
    /// # Errors
    /// When a name is not valid.
    pub(super) fn kept(&self, mapping: &str) -> Result<KeptOptions, OptionsError> {
        let count = self.warehouses.len();
        if count > MAX_WAREHOUSES {
            return Err(OptionsError::TooManyWarehouses(count));
        }
        for (index, name) in self.warehouses.iter().enumerate() {
            WarehouseId::new(name.as_str())?;
            if self.warehouses[..index].contains(name) {
                return Err(OptionsError::WarehouseTwice(name.clone()));
            }
        }
        StorefrontId::new(self.storefront.as_str())?;
        if !SOURCE_LENGTH.contains(&self.source.len()) || !self.source.bytes().all(is_source_byte) {
            let name = self.source.clone();
            return Err(OptionsError::Source { name });
        }
        let mut not_stock: Vec<String> = self
            .not_stock
            .iter()
            .map(|code| code.trim().to_ascii_uppercase())
            .collect();
        not_stock.sort();
        not_stock.dedup();
        let mode = if self.best_effort {
            "best-effort"
        } else {
            "all-or-nothing"
        };
        Ok(KeptOptions {
            initial_stock: self.initial_stock.to_string(),
            mode: mode.to_owned(),
            warehouses: self.warehouses.clone(),
            storefront: self.storefront.clone(),
            source: self.source.clone(),
            not_stock,
            mapping: mapping.to_owned(),
        })
    }

    /// Returns the options that shape the plan.
    pub(super) fn of_plan(&self) -> PlanOptions {
        PlanOptions {
            warehouses: self.warehouses.len(),
            initial_stock: self.initial_stock,
        }
    }
}
