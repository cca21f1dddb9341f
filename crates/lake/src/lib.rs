//! Files in an object store that are written once and never changed.
//!
//! A [`Location`] is a folder or a prefix of an S3 bucket. [`Location::put_once`] writes a file only where
//! none exists, so two writers never overwrite each other, and a reader sees a whole file or none. The caller
//! learns the SHA-256 of what it wrote, and [`Location::read_checked`] proves that a file still has it.
//! Archives of changes and backups are made of such files.
//!
//! ```text
//!  "lake", "file:///lake", "s3://bucket/lake" ──> Location ─┬─> put_once      once, hashed, perhaps locked
//!                                                           ├─> upload        large files, in parts
//!                                                           ├─> read_checked  by hash, size and version
//!                                                           └─> list_files    one folder, bounded
//! ```
//!
//! - `location.rs` turns the text that a person wrote into a store.
//! - `put.rs` and `upload.rs` write, and settle what happens when an answer is lost or another writer is
//!   faster.
//! - `lock.rs` adds the retention lock of S3 to a put.
//! - `read.rs` reads, checks and lists.
//!
//! Start reading in `location.rs`.

mod clock;
mod error;
mod location;
mod lock;
mod put;
mod read;
mod sha256;
mod upload;

pub use error::{PutError, ReadError};
pub use location::{Location, LocationError, whole_place};
pub use put::Stored;
pub use read::Expected;
pub use sha256::{NotASha256, Sha256};
pub use upload::Upload;
