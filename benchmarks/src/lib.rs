//! Benchmarks: how fast Holdfast is beside what a user would pick instead, and how fast its parts are by themselves.
//!
//! Whole systems are compared in one run on one machine, so that the ratios mean something where absolute times do not. A
//! part is measured without the others, so that a change of its speed is seen where it was made. The goals of the design
//! stand beside what was measured, and whether they were reached.
//!
//! # The parts
//! - `src/bin/compare/`: three Holdfast nodes, PostgreSQL, Redis, and the floor beneath them all (a gRPC echo, a data
//!   sync), under the same workloads and numbers of callers; then how fast a killed node replays its log, and what a cell
//!   costs in memory. `goals.rs` has the goals, `picture.rs` draws the bars. `--scale` is another run: a cluster with
//!   ten million cells, what its nodes hold, whether a reservation is slower then, and how long a restart takes.
//!   `cargo xtask bench` installs what it needs and runs it.
//! - `benches/`: parts alone, by Criterion, which prints elements or bytes per second as `thrpt`.
//!   - `ledger_apply.rs`: [`holdfast_ledger::Ledger::apply`] on one core, with entries that reserve and commit, on one hot
//!     SKU and on 100,000. The goal of the design is 2 million commands per second.
//!   - `snapshot.rs`: a ledger of 100,000 cells to bytes and back, and its digest.
//!   - `codec.rs`: an entry of 1,024 commands, and the changes it makes, to bytes and back.
//!   - `change_log.rs`: appending what entries changed to the change log of a shard, on a real folder.
//! - This library: [`nodes`] starts three Holdfast nodes, [`node`] one that is to be killed and started again,
//!   [`ledger_input`] makes what the ledger is fed with: the same numbers give the same log, so two runs are comparable.
//!
//! # How to run
//! `cargo xtask bench --quick` for everything within five minutes; `cargo xtask bench --scale` for the large catalogue;
//! `cargo bench -p holdfast-benchmarks` for the parts, with `-- hot` or `-- snapshot` only some of them. Absolute times on
//! a small shared machine are noisy: compare with a run of the version before, made right before, on the same machine.
//!
//! # Where to start reading
//! `src/bin/compare/main.rs` lists its files; for the parts, [`ledger_input::reserve_and_commit`] says what is measured,
//! and a bench file is the loop around it.

pub mod ledger_input;
pub mod node;
pub mod nodes;
