//! Claims about clusters of three nodes, proved over real gRPC on loopback.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod as_of;
mod batches;
mod changes;
mod concurrency;
#[cfg(feature = "faults")]
mod halting;
mod intake;
mod malformed;
mod membership;
mod metrics;
mod names;
mod orders;
mod plans;
mod reservations;
mod restart;
mod sealing;
mod security;
mod sizes;
mod support;
mod surface;
mod transfers;
mod upgrade;
