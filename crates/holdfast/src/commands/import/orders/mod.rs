//! `holdfast import orders`: brings a shop's order lines into the ledger.
//!
//! The engine is `holdfast_feeds::import`. This folder has what people see of it: the arguments ([`args`]),
//! the progress and the notes, the summary, and what Ctrl-C does. Start reading in `command.rs`.

mod archive;
mod args;
mod command;
mod progress;
mod summary;

pub(crate) use args::Args;
pub(crate) use command::run;
