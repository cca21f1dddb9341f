//! Files of orders, and the way of their rows into the ledger.
//!
//! Shops write their orders in as many ways as there are shops. The differences are data, not code: a
//! mapping file describes how a file is written and what its rows mean. Everything behind the reading is the
//! same for all shops.
//!
//! ```text
//!             read                                    import
//! bytes ────> rows, rejects ────> plan ────> waves of operations ────> cluster
//! mapping file ─┘                  │                  │
//!                    what other files brought         └──> state file, rejects file, summary
//! ```
//!
//! - [`read`] is the reader: bytes become [`Row`](read::Row)s, and [`Reject`]s that say why a row is none.
//! - [`import`] is the engine: it plans the operations of a file and sends them. It can be interrupted
//!   anywhere.
//! - [`RejectReason`] is the one list of reasons, for rows that cannot be read and for rows that the ledger
//!   refuses.
//!
//! Four things always hold:
//! - **No row vanishes.** Each row is imported or rejected, and a reject names its line. A file that does not
//!   allow this is refused whole ([`FeedError`](read::FeedError)), before anything is done with it.
//! - **Nothing is guessed.** A row that no rule fits is rejected. So is a number or a date that can be read
//!   in two ways.
//! - **Nothing personal leaves.** Customers become numbers, which show only which rows have the same
//!   customer. A reject repeats a field only if the content is what its column should have.
//! - **Nothing happens twice.** The id of an operation follows from the source and the document, whichever
//!   file the document is in.
//!
//! Start reading in `read/mapping.rs` and `read/orders.rs` for the files, and in `import/plan.rs` and
//! `import/waves.rs` for the ledger. Each half has a map of its own. `holdfast import orders` is the caller.

pub mod import;
pub mod read;
mod reject;

pub use reject::{Reject, RejectReason};
