//! A server that plays Snowpipe Streaming (high performance) as its pages describe the REST interface, with
//! its failures. Tests of sinks start it.
//!
//! It refuses what Snowflake refuses: a token that no key of the user has signed, or that is too old or from
//! the future; a host with underscores; continuation tokens out of order; requests that are too large or too
//! many; rows that do not fit the table. It notes each broken rule ([`Snowflake::violations`]), so a test can
//! demand that there is none.
//!
//! - [`Server`] listens, stops and starts again. The account that it plays, [`Snowflake`], outlives that.
//! - [`Fault`] is one failure that a test orders.
//! - `account.rs` checks tokens, `channel.rs` keeps channels, `table.rs` has rows and columns, `rates.rs`
//!   counts the rates, and `http.rs` has the addresses.
//!
//! Sources: the pages of docs.snowflake.com on the REST endpoints, the limitations, the error handling and
//! the error tables of Snowpipe Streaming, and on key-pair authentication. Where a page says nothing (the
//! lifetime of a scoped token, the form of its answer), [`Options`] has a setting.

mod account;
mod channel;
mod faults;
mod http;
mod rates;
mod server;
mod snowflake;
mod table;

pub use faults::{Endpoint, Fault};
pub use server::Server;
pub use snowflake::{AnswerForm, Options, Snowflake};
pub use table::{ErrorRow, Row};
