//! The Kafka sink against two brokers of independent makers.
//!
//! - krafka's fake broker runs in this process, with the whole protocol of transactions and faults on demand.
//!   librdkafka, which shares no code with it, reads its topics back.
//! - librdkafka's mock cluster speaks the requests of transactions, but gives nothing up and shuts nobody out
//!   by itself. `shim.rs` mends one answer of it.

#![expect(
    clippy::unwrap_used,
    reason = "a helper of a test stops the test, as the test itself would"
)]

mod exactly_once;
mod mock_cluster;
mod place;
mod refusals;
mod shim;
