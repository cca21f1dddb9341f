//! Files in an object store that are written once and never changed.
//!
//! A [`Location`] is a folder or a prefix of an S3 bucket. It writes a file only where none exists
//! ([`Location::put_if_absent`]), so two writers never overwrite each other, and a reader sees a whole file
//! or none. Archives of changes and backups are made of such files.
//!
//! ```text
//!  "lake", "file:///lake", "s3://bucket/lake" ──> Location ──> object_store: local files (synced), S3
//! ```
//!
//! - `location.rs` turns the text that a person wrote into a store, and has what all users of the store
//!   share.
//!
//! Start reading there.

mod location;

pub use location::{Location, LocationError};
