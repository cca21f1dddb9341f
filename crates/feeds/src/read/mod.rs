//! The reader half: the bytes of a file become rows, and rejects that say why a row is none.
//!
//! A [`Mapping`] describes how a file is written (separator, quotes, encoding), which columns hold what, and
//! how dates and numbers look. It also has the rules that make a row a sale, a return, a write-off, or
//! nothing for the ledger.
//!
//! ```text
//! bytes ── table: lines, fields ── orders: columns, numbers, dates, rules ──> rows, and rejects that say why
//! mapping file ── mapping ──────────────────┘
//! ```
//!
//! Start reading in `mapping.rs`, then `orders.rs`. `table.rs` is the strict reader of lines and fields.

mod dates;
mod mapping;
mod numbers;
mod orders;
mod rules;
mod table;

pub use mapping::{MAX_MAPPING_BYTES, Mapping, MappingError};
pub use orders::{Customer, MAX_UNITS, OrderRows, Row, read_orders};
pub use rules::Kind;
pub use table::FeedError;
