//! The view in Redis, against real servers.
//!
//! - `story.rs` makes random but sound changes.
//! - `model.rs` says what a view must be after them, by rules of its own.
//! - `view.rs` opens sinks, and reads what a view is.
//! - `equal.rs`: the view equals the model, however it was written.
//! - `crash.rs`: servers that die, come back with less, or lose everything.
//! - `refused.rs`: what a server says no to, and what a person is told.
//! - `generations.rs`: which view is live, and who may write to one that is not.
//! - `rights.rs`: what users of Redis must be allowed.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod crash;
mod equal;
mod generations;
mod model;
mod refused;
mod rights;
mod story;
mod view;
