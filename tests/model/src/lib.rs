//! A model of orders over several shards, checked on every order of events within its bounds.
//!
//! The protocol is not written a second time: a state holds real [`Ledger`](holdfast_ledger::Ledger)s and
//! real [`Coordinator`](holdfast_ledger::Coordinator)s, and the checker (`stateright`) tries every move from
//! every state.
//!
//! ```text
//! Scope (how much may happen) ──> World: shards, coordinators, messages, what callers were told
//!                                   │  moves: a message arrives (once, again, never), a step times out,
//!                                   v         a caller pays or gives back, log time leaps in one shard
//!                                 Judge: are the answers to callers still true?  and if all but the shards
//!                                        died now, would the resolvers bring every order to all or nothing?
//! ```
//!
//! # How real events appear in the model
//! - **Lost, late, reordered.** The network keeps messages in no order. A lost message is one that never
//!   arrives.
//! - **Doubled.** The messages of resolvers and the decisions of coordinators may come any number of times. A
//!   Begin or Prepare, which may take units each time, may be repeated as often as the scope says.
//! - **A coordinator dies** anywhere: nothing reaches it any more. The healing of each state is without
//!   coordinators, and with every message lost.
//! - **Time.** A shard's log time leaps to the next moment at which something is due there, each shard by
//!   itself.
//! - **Equal states.** States count as one when they differ only in future log indexes, in the number of the
//!   last change, or in which of two coordinators of one request is which.
//!
//! # Where to start reading
//! `scope.rs` for the bounds and `scopes.rs` for the runs, then `model.rs` for the moves, `judge.rs` and
//! `heal.rs` for the claims. The folder `faults/` has known faults of the ledger. `cargo xtask mutants --only
//! order_` puts them into a copy of it, and each has to break a claim. `docs/orders.md` has the protocol.

mod driver;
mod finish;
mod heal;
mod judge;
mod judgement;
mod model;
mod moves;
mod packet;
mod run;
mod scope;
pub mod scopes;
mod shard;
mod world;

pub use run::{Limit, Report, Violation, run};
pub use scope::{OrderScope, Scope, Wish};
pub use world::Broken;
