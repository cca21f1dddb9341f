//! The lines of a request: how many units of which SKU, from where.

use serde::{Deserialize, Serialize};

use crate::{Sku, WarehouseId};

/// Units of one SKU in a transfer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferLine {
    /// The SKU to transfer.
    pub sku: Sku,
    /// At least 1.
    pub quantity: i64,
}

/// One line of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReserveLine {
    /// The SKU to reserve.
    pub sku: Sku,
    /// At least 1.
    pub quantity: i64,
    /// The warehouses that may fill the line.
    pub source: Source,
}

/// Which warehouses may fill a line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Source {
    /// Any warehouse. Takes the first by name that can fill the whole line, else those with the most units.
    Any,
    /// Only this warehouse.
    Warehouse(WarehouseId),
    /// These warehouses, in this order. 1 to 64, no name twice.
    Preference(Vec<WarehouseId>),
}

/// How warehouses are chosen for all lines of a Reserve together. A line's [`Source`] always says which
/// warehouses may be chosen. Its order of warehouses counts only with `AsGiven`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Sourcing {
    /// Fills each line by itself, as its source says.
    #[default]
    AsGiven,
    /// Uses few warehouses for the whole request, found greedily. Starts with those that a line insists on.
    /// Then adds, again and again, the one that completes the most lines (among equals: with the most units
    /// for them, then the first by name).
    FewestShipments,
    /// Fills each line from the warehouse with the most available, the first by name among equals.
    Balance,
}

/// How a Reserve treats lines that cannot be filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReserveMode {
    /// Takes every line in full, or nothing.
    AllOrNothing,
    /// Takes as much of each line as there is, and at least one unit overall.
    BestEffort,
}

/// Units of one line of a reservation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineQuantity {
    /// The line's number.
    pub line: u32,
    /// At least 1.
    pub quantity: i64,
    /// The warehouse of the units. None: in the order of allocation.
    pub warehouse: Option<WarehouseId>,
}

/// The bucket that goods go to when they come back or arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Disposition {
    /// Adds them to free.
    Restock,
    /// Adds them to damaged.
    Damaged,
    /// Adds them to quality hold.
    QualityHold,
}
