//! The Rust client of a Holdfast cluster.

mod client;
mod error;
mod options;

pub use client::Client;
pub use error::ClientError;
pub use options::ClientOptions;
