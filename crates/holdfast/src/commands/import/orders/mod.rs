//! `holdfast import orders`: turns a shop's order lines into operations of the ledger.
//!
//! ```text
//! file ─ holdfast_feeds ─┬─ plan (matching, initial_stock) ─> steps, cut into waves
//!                      known                                  │
//! change stream ─ applied ┴─────────┐                         ▼
//! state file ─ state ───────────────┴─────────────> run ─ waves ─ kinds ─ requests ─> target
//!                                                             │
//!                               rejects file, summary <─ book <┘
//! ```
//!
//! The plan follows from the file, the options, the shards, and what other files brought before. That is why
//! an import can be interrupted anywhere and run any number of times. `docs/import-orders.md` says what
//! happens to each kind of row. Start reading in `plan.rs`, then `waves.rs`.

mod applied;
mod args;
mod book;
mod command;
mod files;
mod identity;
mod initial_stock;
mod kinds;
mod known;
mod matching;
mod plan;
mod progress;
mod reject;
mod requests;
mod run;
mod state;
mod steps;
mod summary;
mod target;
#[cfg(test)]
mod tests;
mod waves;

pub(crate) use args::Args;
pub(crate) use command::run;
