//! The Snowflake sink against a server that plays Snowflake (`tests/snowflake`).
//!
//! - `account.rs` has an account with its sink, and a runner that opens a new writer after each error.
//! - `delivery.rs` shows that each row arrives once, through crashes, rivals and lost answers.
//! - `failures.rs` has one test for each answer that Snowflake may give.
//! - `tokens.rs` is about keys, tokens, hosts and clocks.
//! - `limits.rs` is about sizes and rates.
//! - `rows.rs` is about rows that are refused, and rows that are lost.
//! - `any_failures.rs` tries any sequence of failures.
//! - `imitation.rs` shows that the server refuses what a wrong client does.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail as tests do")]

mod account;
mod any_failures;
mod delivery;
mod failures;
mod imitation;
mod limits;
mod rows;
mod tokens;
