//! The units that a Reserve was granted, line by line.

use serde::{Deserialize, Serialize};

use crate::{Sku, WarehouseId};

/// The units that one merged line got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantedLine {
    /// The index in the request of the first line with this SKU and source.
    pub line: u32,
    /// The SKU of the line.
    pub sku: Sku,
    /// Units asked for, after lines are added up.
    pub requested: i64,
    /// Units that were granted. Less than requested only with best effort.
    pub granted: i64,
    /// The granted units by warehouse.
    pub allocations: Vec<Allocation>,
}

/// Units that a line got from one warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Allocation {
    /// The warehouse of the units.
    pub warehouse: WarehouseId,
    /// Units from the storefront's pool.
    pub from_pool: i64,
    /// Units from free.
    pub from_free: i64,
    /// Units beyond stock: they were not there when they were granted.
    pub from_backorder: i64,
    /// The reason for choosing this warehouse.
    pub reason: SourcingReason,
}

/// The reason for choosing a warehouse for units of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SourcingReason {
    /// The line names no other warehouse.
    OnlySource,
    /// It was the first by name that had the whole line.
    FirstFillingAll,
    /// It was the first of the line's list that had any units.
    Preferred,
    /// It had the most units.
    MostAvailable,
    /// It keeps the number of shipments of the request small.
    FewestShipments,
    /// It had units that the warehouses before it did not have.
    SpillOver,
    /// No warehouse had stock. The line's next supply is expected here, or else this is the first warehouse
    /// that may be chosen.
    Backordered,
}
