//! Files of orders: what stands in them, as a mapping describes them.
//!
//! Shops write their orders in as many ways as there are shops. What differs is data, not code: a [`Mapping`] says how a file is
//! written (separator, quotes, encoding), which columns hold what, how dates and numbers look, and which rule makes a row a
//! sale, goods that come back, a write-off, or nothing for the ledger.
//!
//! ```text
//! bytes ── table: lines, fields ── orders: columns, numbers, dates, rules ──> rows, and rejects that say why
//! mapping file ── mapping ──────────────────┘
//! ```
//!
//! Three things always hold:
//! - **No row vanishes.** Each is in [`OrderRows::rows`] as it stands, or in [`OrderRows::rejected`] with its line; a file of which that
//!   cannot be said is refused whole ([`FeedError`]), before anything was done with it.
//! - **Nothing is guessed.** A row that no rule fits is rejected, and so is a number or a date that can be read in two ways.
//! - **Nothing personal leaves.** Customers become numbers that say only which rows have the same one; a reject repeats a field
//!   only where it is what its column says.
//!
//! Start reading in [`mapping`], then `orders.rs`; `table.rs` is the strict reader of lines and fields.

mod dates;
pub mod mapping;
mod numbers;
mod orders;
mod reject;
mod rules;
mod table;

pub use mapping::{Mapping, MappingError};
pub use orders::{Customer, MAX_UNITS, OrderRows, Row, read_orders};
pub use reject::{Reject, RejectReason};
pub use rules::Kind;
pub use table::FeedError;
