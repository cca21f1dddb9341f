//! Readers of order files. A mapping describes what a file contains.
//!
//! Shops write their orders in as many ways as there are shops. The differences are data, not code. A
//! [`Mapping`] describes how a file is written (separator, quotes, encoding), which columns hold what, and
//! how dates and numbers look. It also has the rules that make a row a sale, a return, a write-off, or
//! nothing for the ledger.
//!
//! ```text
//! bytes ── table: lines, fields ── orders: columns, numbers, dates, rules ──> rows, and rejects that say why
//! mapping file ── mapping ──────────────────┘
//! ```
//!
//! Three things always hold:
//! - **No row vanishes.** Each row is either in [`OrderRows::rows`] as the file has it, or in
//!   [`OrderRows::rejected`] with its line. A file that does not allow this is refused whole ([`FeedError`]),
//!   before anything is done with it.
//! - **Nothing is guessed.** A row that no rule fits is rejected. So is a number or a date that can be read
//!   in two ways.
//! - **Nothing personal leaves.** Customers become numbers, which show only which rows have the same
//!   customer. A reject repeats a field only if the content is what its column should have.
//!
//! Start reading in `read/mapping.rs`, then `read/orders.rs`. `read/table.rs` is the strict reader of lines and
//! fields.

mod read;
mod reject;

pub use read::{
    Customer, FeedError, Kind, MAX_MAPPING_BYTES, MAX_UNITS, Mapping, MappingError, OrderRows, Row,
    read_orders,
};
pub use reject::{Reject, RejectReason};
