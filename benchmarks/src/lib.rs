//! Benchmarks: the speed of Holdfast beside that of systems that a user would pick instead, and the speed of
//! its parts.
//!
//! Whole systems are compared in one run on one machine, because the ratios mean something where absolute
//! times do not. A part is measured without the others, so that a change of its speed shows where it was
//! made. Beside each measured figure the report has the goal of the design, and whether it was reached.
//!
//! # The parts
//! - `src/bin/compare/`: three Holdfast nodes, PostgreSQL, Redis, and the floor beneath them all (a gRPC
//!   echo, a data sync), under the same workloads and numbers of callers. After that, how fast a killed node
//!   replays its log, and how much memory a cell takes. `goals.rs` has the goals, `picture.rs` draws the
//!   bars. `--scale` is another run: a cluster with ten million cells, the memory of its nodes, whether a
//!   reservation is slower then, and how long a restart takes. `cargo xtask bench` installs what it needs and
//!   runs it.
//! - `benches/`: parts alone, by Criterion, which prints elements or bytes per second as `thrpt`.
//!   - `ledger_apply.rs`: [`holdfast_ledger::Ledger::apply`] on one core, with entries that reserve and
//!     commit, on one hot SKU and on 100,000. The goal of the design is 2 million commands per second.
//!   - `snapshot.rs`: a ledger of 100,000 cells, encoded to bytes and decoded again, and its digest.
//!   - `codec.rs`: an entry of 1,024 commands and the changes that it makes, encoded to bytes and decoded
//!     again.
//!   - `change_log.rs`: the changes of entries appended to the change log of a shard, on a real folder.
//! - This library: [`nodes`] starts three Holdfast nodes, [`node`] starts one that is to be killed and
//!   started again, and [`ledger_input`] makes the input of the ledger. The same numbers give the same log,
//!   so two runs are comparable.
//!
//! # How to run
//! `cargo xtask bench --quick` for everything within five minutes; `cargo xtask bench --scale` for the large
//! catalogue; `cargo bench -p holdfast-benchmarks` for the parts, with `-- hot` or `-- snapshot` for only
//! some of them. Absolute times on a small shared machine are noisy: compare with a run of the previous
//! version, made just before on the same machine.
//!
//! # Where to start reading
//! `src/bin/compare/main.rs` lists its files. For the parts, [`ledger_input::reserve_and_commit`] says what
//! is measured, and a bench file is the loop around it.

pub mod ledger_input;
pub mod node;
pub mod nodes;
