//! The one table of reasons: the gRPC code of each, whether a retry can help, and what to do.
//! `docs/errors.md` is printed from it.

use std::fmt::Write as _;

use bytes::Bytes;
use prost::Message as _;
use tonic::{Code, Status};

use crate::v1;
use crate::v1::Reason;

/// The type URL of a refusal inside the details of a gRPC status.
pub const REFUSAL_TYPE_URL: &str = "type.googleapis.com/holdfast.v1.Refusal";

/// The type URLs of the standard messages beside it.
const ERROR_INFO_TYPE_URL: &str = "type.googleapis.com/google.rpc.ErrorInfo";
const RETRY_INFO_TYPE_URL: &str = "type.googleapis.com/google.rpc.RetryInfo";

/// The domain of the reasons in a `google.rpc.ErrorInfo` (<https://google.aip.dev/193#errorinfo>).
const ERROR_DOMAIN: &str = "holdfast.v1";

/// The longest message of a gRPC error, and the largest refusal in its details, in bytes. Both travel in
/// HTTP/2 headers; most clients accept 16 KiB of them in all.
const MAX_STATUS_MESSAGE_BYTES: usize = 1_500;
const MAX_REFUSAL_BYTES: usize = 4_096;

/// The consequences of a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Consequences {
    /// The reason.
    pub reason: Reason,
    /// The gRPC code with which it is sent.
    pub code: Code,
    /// True when the same request, with the same operation id, may succeed later although nothing else
    /// changes.
    pub retryable: bool,
    /// The meaning of the reason.
    pub meaning: &'static str,
    /// The advice to a caller.
    pub advice: &'static str,
}

const fn row(
    reason: Reason,
    code: Code,
    retryable: bool,
    meaning: &'static str,
    advice: &'static str,
) -> Consequences {
    Consequences {
        reason,
        code,
        retryable,
        meaning,
        advice,
    }
}

/// All reasons, in the order of their numbers.
pub const REASONS: [Consequences; 28] = [
    row(
        Reason::InvalidRequest,
        Code::InvalidArgument,
        false,
        "The request is malformed. The message names the field and the rule that it breaks.",
        "Correct the request. Nothing happened, and the operation id can be used again.",
    ),
    row(
        Reason::InsufficientStock,
        Code::FailedPrecondition,
        false,
        "There is not enough stock. `shortages` says which lines lack units, and how many units there were.",
        "Offer the buyer fewer units, another warehouse, or nothing. Nothing was taken, and the operation id can be used again.",
    ),
    row(
        Reason::UnknownReservation,
        Code::NotFound,
        false,
        "There is no such reservation: it never existed, or it was closed so long ago that it is forgotten.",
        "Check the id and the shard that the request names. After an unknown outcome of a Reserve, repeat the Reserve with its id.",
    ),
    row(
        Reason::WrongState,
        Code::FailedPrecondition,
        false,
        "The reservation's state does not allow this, for example a commit after a release.",
        "Read the reservation with GetReservation, and decide again.",
    ),
    row(
        Reason::Expired,
        Code::FailedPrecondition,
        false,
        "The hold's time had run out, and its units can be sold again.",
        "Reserve again with a new operation id.",
    ),
    row(
        Reason::ExceedsLine,
        Code::FailedPrecondition,
        false,
        "The request names more units than the reservation's line has in the needed state.",
        "Read the reservation with GetReservation, and name at most the units that it has.",
    ),
    row(
        Reason::OperationIdReused,
        Code::AlreadyExists,
        false,
        "This operation id was used before, with another request. Or the request names no shard, and several shards have different things under the id. The message names these shards.",
        "Give each operation an id of its own, and repeat an id only with exactly the same request. If the message names several shards, name the right one in the request.",
    ),
    row(
        Reason::OperationIdTooOld,
        Code::FailedPrecondition,
        false,
        "The operation id's time lies before the operation window, so the ledger cannot know whether the operation already took effect.",
        "Find out whether it took effect, with GetReservation or from the change stream. If it did not, use a new id.",
    ),
    row(
        Reason::OperationIdFromFuture,
        Code::InvalidArgument,
        false,
        "The operation id's time lies too far ahead of the shard's log time.",
        "Correct the caller's clock, then use a new id.",
    ),
    row(
        Reason::Overflow,
        Code::OutOfRange,
        false,
        "The result would not fit a 64-bit quantity.",
        "Check the quantity and its unit: quantities are whole base units.",
    ),
    row(
        Reason::LimitReached,
        Code::ResourceExhausted,
        false,
        "A fixed limit of the shard is reached. The message says which one.",
        "Check the names that you send: perhaps each request names a new warehouse or storefront. Otherwise ask the operators.",
    ),
    row(
        Reason::PositionInFuture,
        Code::OutOfRange,
        false,
        "A count or an as-of read names a change that its shard has not made yet, or a time in the future.",
        "For a count, take the position from the shard of the SKU, at the time of the count. For a read, name a moment that has passed.",
    ),
    row(
        Reason::NoLeader,
        Code::Unavailable,
        true,
        "No leader of the shard could be reached. Nothing was written.",
        "Wait a moment, then retry with the same operation id on any node.",
    ),
    row(
        Reason::OutcomeUnknown,
        Code::Unavailable,
        true,
        "The request may or may not take effect, because its answer was lost.",
        "Retry with the same operation id until there is an answer. The operation takes effect at most once.",
    ),
    row(
        Reason::Overloaded,
        Code::ResourceExhausted,
        true,
        "The queue of the shard or of the node is full. Nothing was written.",
        "Wait `retry_after_ms`, then retry with the same operation id.",
    ),
    row(
        Reason::Deadline,
        Code::DeadlineExceeded,
        true,
        "The deadline passed before there was an answer. The outcome is unknown.",
        "Retry with the same operation id and a longer deadline. The operation takes effect at most once.",
    ),
    row(
        Reason::PositionTooOld,
        Code::FailedPrecondition,
        false,
        "The changes that the request needs are gone. A count names a change whose later movements are no longer kept, an as-of read names a moment before the first change, or a change stream begins with changes that no node has any more. After a restore, these are the changes before the backup.",
        "For a count, count again, or send it without a position while nothing moves. For a read, name a later moment. For a stream, begin with the first change that GetPositions names. An archive has the older changes; `archives` says where archives are, as far as the shard knows them.",
    ),
    row(
        Reason::Internal,
        Code::Internal,
        false,
        "The server has a defect. The message describes it.",
        "Report the defect with its message. To learn the outcome, repeat the request with the same operation id.",
    ),
    row(
        Reason::Contended,
        Code::Aborted,
        true,
        "Other orders over several shards hold the units that this one needs, and these orders are not decided yet. Nothing was taken.",
        "Wait a moment, then repeat the request with the same operation id.",
    ),
    row(
        Reason::UnknownTransfer,
        Code::NotFound,
        false,
        "There is no such transfer: it never existed, or it was closed so long ago that it is forgotten.",
        "Check the id and the shard that the request names. After an unknown outcome of a TransferOut, repeat it with its id.",
    ),
    row(
        Reason::TransferClosed,
        Code::FailedPrecondition,
        false,
        "Nothing of the transfer is in transit any more: all units arrived or were written off.",
        "If the goods turn up after all, book them with Receive or Adjust.",
    ),
    row(
        Reason::PermissionDenied,
        Code::PermissionDenied,
        false,
        "The access policy does not allow the caller to do this, or not for that storefront or warehouse. Nothing happened.",
        "Ask the operators for a rule of the access policy that allows what the message names. The operation id can be used again.",
    ),
    row(
        Reason::Unauthenticated,
        Code::Unauthenticated,
        false,
        "The caller's certificate expired or was revoked while the caller was connected. Nothing happened.",
        "Connect again with a valid certificate. The operation id can be used again.",
    ),
    row(
        Reason::OperationSealed,
        Code::FailedPrecondition,
        false,
        "The request with this operation id was repeated after an attempt without an answer, and was refused. The id was sealed, so that no late copy takes effect.",
        "Nothing happened. Use a new operation id.",
    ),
    row(
        Reason::LowSpace,
        Code::ResourceExhausted,
        false,
        "The disks of the shard's nodes are nearly full, and the request begins something new: a reservation, an arrival, a correction or a transfer. Requests that end or continue something that exists are still taken, and so are reads. Nothing was written.",
        "Ask the operators to make room on the disks. Then the operation id can be used again.",
    ),
    row(
        Reason::OtherCluster,
        Code::FailedPrecondition,
        false,
        "The request continues the history of another cluster than this one. Its cursor or archive belongs to another cluster, or to the cluster from whose backup this one was restored.",
        "Check the addresses of the nodes. After a restore, set the consumer back to the backup's last change (docs/backup.md).",
    ),
    row(
        Reason::ReferenceTaken,
        Code::AlreadyExists,
        false,
        "Another hold or commit of the storefront has this reference, and both asked to be the only one with it (`unique_reference`). One document was probably saved twice. Nothing was taken.",
        "Go on with the reservation that the message names. If this is another document, give it a reference of its own. If the other hold is not wanted any more, release it first or replace it (`replaces`).",
    ),
    row(
        Reason::UnknownConsumer,
        Code::NotFound,
        false,
        "No consumer of this name is registered in the shard: it never was, or it was removed.",
        "Check the name with `holdfast changes consumers list`. An administrator registers a consumer.",
    ),
];

/// Returns the consequences of a reason. A reason that is not in the table counts as internal.
pub fn consequences_of(reason: Reason) -> &'static Consequences {
    let find = |reason| REASONS.iter().find(|row| row.reason == reason);
    find(reason)
        .or_else(|| find(Reason::Internal))
        .unwrap_or(&REASONS[0])
}

/// Makes a refusal without shortages.
pub fn refusal(reason: Reason, message: impl Into<String>) -> v1::Refusal {
    v1::Refusal {
        reason: reason.into(),
        message: message.into(),
        shortages: Vec::new(),
        retry_after_ms: 0,
        settled: false,
        archives: Vec::new(),
    }
}

/// Makes a refusal of a malformed request.
pub fn invalid(message: impl Into<String>) -> v1::Refusal {
    refusal(Reason::InvalidRequest, message)
}

/// Makes the gRPC error that carries a refusal in its code, its message and its details. A long list of
/// shortages is cut, and the message says so. The results of a batch are not cut.
pub fn status(mut refusal: v1::Refusal) -> Status {
    let code = consequences_of(refusal.reason()).code;
    if refusal.message.len() > MAX_STATUS_MESSAGE_BYTES {
        refusal
            .message
            .truncate(refusal.message.floor_char_boundary(MAX_STATUS_MESSAGE_BYTES));
        refusal.message.push_str(" ...");
    }
    let shortages = refusal.shortages.len();
    while refusal.encoded_len() > MAX_REFUSAL_BYTES && refusal.shortages.pop().is_some() {}
    while refusal.encoded_len() > MAX_REFUSAL_BYTES && refusal.archives.pop().is_some() {}
    if refusal.shortages.len() < shortages {
        let _ = write!(
            refusal.message,
            " (the first {} of {shortages} shortages are listed)",
            refusal.shortages.len()
        );
    }
    let message = refusal.message.clone();
    let details = tonic_types::pb::Status {
        code: code as i32,
        message: message.clone(),
        details: details_of(&refusal),
    };
    Status::with_details(code, message, Bytes::from(details.encode_to_vec()))
}

/// Returns the details of a refusal's status: the refusal itself, and the two standard messages that
/// middleware knows (<https://google.aip.dev/193>).
fn details_of(refusal: &v1::Refusal) -> Vec<prost_types::Any> {
    let any = |type_url: &str, value: Vec<u8>| prost_types::Any {
        type_url: type_url.to_owned(),
        value,
    };
    let reason = refusal.reason().as_str_name();
    let info = tonic_types::pb::ErrorInfo {
        reason: reason.strip_prefix("REASON_").unwrap_or(reason).to_owned(),
        domain: ERROR_DOMAIN.to_owned(),
        metadata: std::collections::HashMap::new(),
    };
    let mut details = vec![
        any(REFUSAL_TYPE_URL, refusal.encode_to_vec()),
        any(ERROR_INFO_TYPE_URL, info.encode_to_vec()),
    ];
    // Without a time the caller's own pauses are better than none.
    if consequences_of(refusal.reason()).retryable && refusal.retry_after_ms > 0 {
        let millis = refusal.retry_after_ms;
        let retry = tonic_types::pb::RetryInfo {
            retry_delay: Some(prost_types::Duration {
                seconds: i64::try_from(millis / 1_000).unwrap_or(i64::MAX),
                nanos: (millis % 1_000) as i32 * 1_000_000,
            }),
        };
        details.push(any(RETRY_INFO_TYPE_URL, retry.encode_to_vec()));
    }
    details
}

/// Returns the refusal inside a gRPC error, if it has one.
pub fn refusal_in(status: &Status) -> Option<v1::Refusal> {
    let details = tonic_types::pb::Status::decode(status.details()).ok()?;
    let any = details
        .details
        .into_iter()
        .find(|any| any.type_url == REFUSAL_TYPE_URL)?;
    v1::Refusal::decode(any.value.as_slice()).ok()
}

/// Returns the name of a gRPC code as its specification writes it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// Returns the text of `docs/errors.md`.
pub fn reference() -> String {
    let mut text = String::from(
        "# Errors\n\n\
         Each refused request says why: in the gRPC code, in the message, and as a `holdfast.v1.Refusal` in the \
         status details (`grpc-status-details-bin` holds a `google.rpc.Status`, whose details hold the refusal, a \
         `google.rpc.ErrorInfo` with the reason, and a `google.rpc.RetryInfo` when it is known how long to wait). Inside \
         a batch the refusal is the item's result. This page is printed from the table in \
         `crates/api/src/reasons.rs`; a test keeps them equal.\n\n\
         \"Retry\" says whether the same request with the same operation id can succeed later by itself. A retry is \
         always safe: an operation id takes effect at most once.\n\n\
         | reason | gRPC code | retry | what it means | what to do |\n\
         |---|---|---|---|---|\n",
    );
    for row in &REASONS {
        let retry = if row.retryable { "yes" } else { "no" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} | {retry} | {} | {} |",
            row.reason.as_str_name(),
            code_name(row.code),
            row.meaning,
            row.advice
        );
    }
    text.push_str(
        "\nErrors without a refusal come from the gRPC layer itself: `UNIMPLEMENTED` for a method that does not exist, \
         `RESOURCE_EXHAUSTED` or `OUT_OF_RANGE` for a message over 4 MiB, `CANCELLED` or `DEADLINE_EXCEEDED` when the call's own deadline passed. Bytes that are not the method's message (text that is not UTF-8, a missing message) are refused \
         as `REASON_INVALID_REQUEST`.\n\n\
         ## After an attempt without an answer\n\n\
         A refusal leaves nothing behind, so a copy of the request that is still on its way would be decided anew. Send each \
         further attempt with `Operation.repeats` set. A node then seals the operation id before it reports a refusal, and the refusal has \
         `settled` set: no copy takes effect any more, and the id cannot be used again (`REASON_OPERATION_SEALED`). A refusal \
         without `settled` after such an attempt says nothing about it: the outcome is unknown. The Rust client does all \
         of this. The ids of a cluster that has not adopted the second rules (docs/membership.md) cannot be sealed.\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_row_counts_as_internal() {
        assert_eq!(consequences_of(Reason::Unspecified).reason, Reason::Internal);
    }

    #[test]
    fn every_reason_but_unspecified_has_exactly_one_row_in_order() {
        let reasons: Vec<i32> = REASONS.iter().map(|row| row.reason as i32).collect();
        // 12 is reserved: the contract no longer has its reason.
        let expected: Vec<i32> = (1..64)
            .filter(|number| Reason::try_from(*number).is_ok())
            .collect();
        assert_eq!(reasons, expected);
    }

    #[test]
    fn the_codes_are_those_that_the_contract_promises() {
        let contract = include_str!("../../../proto/holdfast/v1/common.proto");
        for row in &REASONS {
            let name = row.reason.as_str_name();
            let before = contract
                .split(&format!("  {name} = "))
                .next()
                .expect("the reason is in the contract");
            let comment = before.lines().last().expect("a comment stands before it");
            let promised = format!("{}.", code_name(row.code));
            assert!(
                comment.ends_with(&promised),
                "{name}: the contract says `{comment}`, the table {promised}"
            );
        }
    }

    #[test]
    fn a_refusal_travels_in_the_details_of_its_status() {
        let mut sent = refusal(Reason::Overloaded, "busy");
        sent.retry_after_ms = 20;
        sent.shortages.push(v1::LineShortage {
            line: 1,
            sku: "A".into(),
            requested: 2,
            available: 1,
        });
        let status = status(sent.clone());
        assert_eq!(
            (status.code(), status.message()),
            (Code::ResourceExhausted, "busy")
        );
        assert_eq!(refusal_in(&status), Some(sent));
        assert_eq!(refusal_in(&Status::internal("x")), None);
    }

    #[test]
    fn standard_middleware_sees_the_reason_and_when_to_try_again() {
        use tonic_types::StatusExt as _;

        let mut busy = refusal(Reason::Overloaded, "busy");
        busy.retry_after_ms = 1_020;
        let sent = status(busy);
        let info = sent.get_details_error_info().unwrap();
        assert_eq!(
            (info.reason.as_str(), info.domain.as_str()),
            ("OVERLOADED", "holdfast.v1")
        );
        let retry = sent.get_details_retry_info().unwrap();
        assert_eq!(retry.retry_delay, Some(std::time::Duration::from_millis(1_020)));
        let silent = status(refusal(Reason::NoLeader, "none"));
        assert!(silent.get_details_retry_info().is_none(), "it is not known when");
        let last = status(refusal(Reason::InsufficientStock, "none"));
        assert!(
            last.get_details_retry_info().is_none(),
            "trying again does not help"
        );
        assert_eq!(
            last.get_details_error_info().unwrap().reason,
            "INSUFFICIENT_STOCK"
        );
    }

    #[test]
    fn a_long_refusal_is_cut_to_what_headers_can_carry() {
        let mut sent = refusal(Reason::InsufficientStock, "é".repeat(10_000));
        let shortage = v1::LineShortage {
            line: 1,
            sku: "ö".repeat(crate::names::Sku::MAX_BYTES / 2),
            requested: i64::MAX,
            available: i64::MAX,
        };
        sent.shortages = vec![shortage; 1024];
        let status = status(sent);
        assert!(status.details().len() < 7_000 && status.message().len() < 2_000);
        assert!(status.message().contains("of 1024 shortages"));
        assert!(!refusal_in(&status).expect("it can be read").shortages.is_empty());
    }

    #[test]
    fn the_page_is_the_print_of_the_table() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(&path, reference()).unwrap();
        }
        let page = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            page == reference(),
            "docs/errors.md differs from the table: run this test with UPDATE_DOCS=1"
        );
    }
}
