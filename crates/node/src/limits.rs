//! The fixed limits, in one table. `docs/limits.md` is printed from it, and `holdfast config reference` ends
//! with it.

use std::fmt::Write as _;

use holdfast_api::limits as api;
use holdfast_ledger::{
    CallerReason, ConsumerLocation, ConsumerName, Principal, Reference, Sku, StorefrontId, SupplyId,
    WarehouseId, limits as ledger,
};
use holdfast_shard::limits as shard;

use crate::descriptors::HTTP_CONNECTIONS;
use crate::intake;
use crate::servers::{
    CONNECTION_WINDOW_BYTES, MAX_HEADER_BYTES, MAX_LATE_FRAMES, MAX_PENDING_RESETS, STREAM_WINDOW_BYTES,
};
use crate::services::{BATCH_ANSWER_BYTES, STREAM_MESSAGE_BYTES};

/// A limit, as one row of the table.
struct Limit {
    what: &'static str,
    limit: String,
    /// The consequence of going beyond the limit.
    beyond: &'static str,
}

const INVALID: &str = "`REASON_INVALID_REQUEST`";
const REACHED: &str = "`REASON_LIMIT_REACHED`";
const OVERLOADED: &str = "`REASON_OVERLOADED`";
const BY_GRPC: &str = "gRPC `RESOURCE_EXHAUSTED` or `OUT_OF_RANGE`";

/// Writes a number with commas: `1024` becomes `1,024`.
fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn bytes(number: usize) -> String {
    match number {
        0..1024 => format!("{number} bytes"),
        1024..1_048_576 => format!("{} KiB", number >> 10),
        _ => format!("{} MiB", number >> 20),
    }
}

/// Returns the headings, each with its limits.
fn groups() -> Vec<(&'static str, Vec<Limit>)> {
    let limit = |what, limit: String, beyond| Limit { what, limit, beyond };
    vec![
        (
            "What a caller sends",
            vec![
                limit("message", bytes(api::MAX_MESSAGE_BYTES), BY_GRPC),
                limit(
                    "fields of a message, with those of the messages in it",
                    count(api::MAX_MESSAGE_FIELDS),
                    INVALID,
                ),
                limit(
                    "HTTP/2 headers of a call",
                    bytes(MAX_HEADER_BYTES as usize),
                    "the call is reset",
                ),
                limit(
                    "lines of an order or a transfer, parts named by a Ship, Cancel or Return",
                    count(api::MAX_LINES),
                    INVALID,
                ),
                limit(
                    "warehouses of a line's preference list",
                    count(api::MAX_PREFERENCES),
                    INVALID,
                ),
                limit(
                    "a request as it is stored (the largest order fits)",
                    bytes(shard::MAX_COMMAND_BYTES),
                    INVALID,
                ),
                limit(
                    "items of one message of a batch",
                    count(api::MAX_BATCH_ITEMS),
                    "the stream ends with `REASON_INVALID_REQUEST`",
                ),
                limit("SKUs of one availability check", count(api::MAX_SKUS), INVALID),
                limit(
                    "time to live of a hold",
                    format!("{} days", api::MAX_TTL_MS / 86_400_000),
                    INVALID,
                ),
                limit("name of a SKU", bytes(Sku::MAX_BYTES), INVALID),
                limit("name of a warehouse", bytes(WarehouseId::MAX_BYTES), INVALID),
                limit("name of a storefront", bytes(StorefrontId::MAX_BYTES), INVALID),
                limit("name of a supply", bytes(SupplyId::MAX_BYTES), INVALID),
                limit("name of a consumer", bytes(ConsumerName::MAX_BYTES), INVALID),
                limit(
                    "location of a consumer",
                    bytes(ConsumerLocation::MAX_BYTES),
                    INVALID,
                ),
                limit("reference", bytes(Reference::MAX_BYTES), INVALID),
                limit("reason", bytes(CallerReason::MAX_BYTES), INVALID),
                limit(
                    "name of a principal",
                    bytes(Principal::MAX_BYTES),
                    "the connection is refused",
                ),
            ],
        ),
        (
            "What callers take of a node",
            vec![
                limit("all callers", "`limits.caller_budget`".to_owned(), OVERLOADED),
                limit(
                    "one caller (a principal, or without TLS an address)",
                    format!("one part in {} of it", intake::CALLER_PART),
                    OVERLOADED,
                ),
                limit(
                    "one connection",
                    format!("one part in {} of it", intake::CONNECTION_PART),
                    OVERLOADED,
                ),
                limit(
                    "a call counts, with its headers and until it is answered, for",
                    bytes(intake::CALL_BYTES),
                    "",
                ),
                limit(
                    "a byte of a message that has come counts for",
                    format!("{} bytes", intake::HELD_FACTOR),
                    "",
                ),
                limit("a field of a message counts for", bytes(intake::FIELD_BYTES), ""),
                limit(
                    "a change stream counts for",
                    bytes(crate::services::CHANGE_STREAM_BYTES),
                    "",
                ),
                limit(
                    "a message is decoded beside the other calls from",
                    format!(
                        "{} or {} fields",
                        bytes(intake::LARGE_BYTES),
                        count(intake::LARGE_FIELDS)
                    ),
                    "",
                ),
                limit(
                    "a second in messages of more than 64 KiB, of all callers",
                    "`limits.large_messages_per_second`".to_owned(),
                    "the caller waits; after 2 seconds of it `REASON_OVERLOADED`",
                ),
                limit(
                    "a second in messages of more than 64 KiB, of one caller",
                    format!("one part in {} of it", intake::CALLER_PART),
                    "the same",
                ),
                limit(
                    "sent of one call before it is read",
                    bytes(STREAM_WINDOW_BYTES as usize),
                    "the caller waits",
                ),
                limit(
                    "sent on one connection before it is read",
                    bytes(CONNECTION_WINDOW_BYTES as usize),
                    "the caller waits",
                ),
                limit(
                    "calls of a connection that their caller gave up and the node has not seen",
                    count(MAX_PENDING_RESETS),
                    "the connection is closed",
                ),
                limit(
                    "frames of a connection for calls that have ended",
                    count(MAX_LATE_FRAMES),
                    "the connection is closed",
                ),
                limit(
                    "connections to `listen.http`",
                    count(HTTP_CONNECTIONS),
                    "the caller waits",
                ),
            ],
        ),
        (
            "What a shard holds",
            vec![
                limit(
                    "cells that one order takes units from, over all its lines in the shard",
                    count(api::MAX_ORDER_CELLS),
                    REACHED,
                ),
                limit(
                    "cells that one order searches: all of a SKU if any warehouse will do, else a quarter of those listed",
                    count(api::MAX_SOURCED_CELLS),
                    REACHED,
                ),
                limit(
                    "warehouses, so also cells of a SKU",
                    count(api::MAX_PLACES),
                    REACHED,
                ),
                limit("storefronts", count(api::MAX_PLACES), REACHED),
                limit(
                    "pools of a cell, to which AllocatePool adds one (units that come back may make more)",
                    count(api::MAX_CELL_POOLS),
                    REACHED,
                ),
                limit("SKUs", count(u32::MAX as usize), REACHED),
                limit("registered consumers", count(api::MAX_CONSUMERS), REACHED),
            ],
        ),
        (
            "What follows from them",
            vec![
                limit(
                    "changes of one command",
                    count(ledger::MAX_COMMAND_CHANGES),
                    "does not happen",
                ),
                limit(
                    "one change as it is stored",
                    bytes(ledger::MAX_CHANGE_BYTES),
                    "does not happen",
                ),
                limit(
                    "changes planned for the commands of one log entry",
                    count(shard::ENTRY_CHANGES),
                    "the next entry begins",
                ),
                limit(
                    "bytes of commands in one log entry",
                    format!("`raft.max_entry_size`, at most {}", bytes(shard::MAX_ENTRY_BYTES)),
                    "the next entry begins",
                ),
                limit(
                    "one record of the change log",
                    bytes(shard::MAX_RECORD_BYTES),
                    "the entry has several records",
                ),
                limit(
                    "one message of a change stream, about",
                    bytes(STREAM_MESSAGE_BYTES),
                    "the entry has several messages (`continues`)",
                ),
                limit(
                    "one message of results of a batch, about",
                    bytes(BATCH_ANSWER_BYTES),
                    "the results come in several messages",
                ),
                limit(
                    "one message between nodes",
                    bytes(shard::MAX_PEER_MESSAGE_BYTES),
                    "does not happen",
                ),
            ],
        ),
    ]
}

/// Returns the text of `docs/limits.md`.
pub fn page() -> String {
    let mut text = String::from(
        "# Limits\n\n\
         The fixed limits of Holdfast. This page is printed from the table in `crates/node/src/limits.rs`, which takes the \
         numbers from the code; a test keeps them equal. Sums between limits are checked when the program is \
         compiled (`holdfast_ledger::limits`, `holdfast_shard::limits`): what is within the limits of a caller can be logged, \
         applied, recorded, sent and read back. Limits that an operator can choose are in `holdfast config reference`.\n",
    );
    for (heading, limits) in groups() {
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n## {heading}\n\n| what | limit | beyond it |\n|---|---|---|\n"
        );
        for Limit { what, limit, beyond } in limits {
            let _ = writeln!(text, "| {what} | {limit} | {beyond} |");
        }
    }
    text.push_str(
        "\n`cargo xtask hostile` plays floods and fails when one takes more memory of a node than three times `limits.caller_budget`, \
         and so does a test. That is room for what is counted here, for what the allocator keeps of it, and for calls that \
         wait in HTTP/2; it is not a sum of the limits above.\n",
    );
    text.push_str(
        "\nThe limits on what a shard holds are rules of the ledger: a shard that still decides by its first rules (see \
         `docs/membership.md`) has no limit on the cells of an order or the pools of a cell, 65,535 warehouses and as many storefronts, and only SKUs of at most 64 bytes of \
         letters, digits and `._:/-`. Its \
         entries may then make more changes than planned; they are applied and recorded all the same.\n\n\
         A Reserve makes no SKU known: a line of a best-effort order whose SKU the shard does not know gets nothing, and is not kept. \
         Its storefront becomes known when it takes effect. What is refused leaves nothing. Names that became known stay.\n",
    );
    text
}

/// Returns the limits as comments of a TOML file, for the end of `holdfast config reference`.
pub fn comments() -> String {
    let mut text = String::from(
        "# Fixed limits, which cannot be configured. docs/limits.md says what happens beyond them.\n",
    );
    for Limit { what, limit, .. } in groups().into_iter().flat_map(|(_, limits)| limits) {
        let _ = writeln!(text, "# {what}: {limit}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    // The print of the configuration reference, which has the limits too, is compared in `config`.
    #[test]
    fn the_page_is_the_print_of_the_table() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/limits.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, page()).unwrap();
        }
        assert!(
            std::fs::read_to_string(&path).unwrap_or_default() == page(),
            "docs/limits.md differs from the table of limits: run this test with UPDATE_DOCS=1"
        );
    }
}
