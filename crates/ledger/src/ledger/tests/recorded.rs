//! Tests of recorded histories: logs that an earlier version of this crate wrote, and their results. While a
//! cluster is upgraded, replicas of two versions apply one log. Each must read the bytes of the other, and
//! both must decide everything alike.
//!
//! A difference here is a difference between those replicas. Bytes with a new layout need a version of their
//! own (`codec.rs`), and a release that reads it before one that writes it. A new way to decide must be asked
//! for by an entry in the log. Then the histories are recorded again, from all the stories of these tests:
//! `HOLDFAST_RECORD=1 cargo test -p holdfast-ledger --lib`.

#![allow(
    clippy::disallowed_types,
    reason = "tests run beside each other, and their stories go into one file"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{LazyLock, Mutex};

use serde::{Deserialize, Serialize};

use super::*;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ledger/tests/recorded.bin");

/// The histories of the first release, by the first rules. This file is never written again.
const FIRST_FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ledger/tests/recorded_first.bin");

/// The histories by the first and the second rules that were recorded before there were others. This file is
/// never written again.
const SECOND_FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/src/ledger/tests/recorded_second.bin"
);

/// The largest history that is recorded, in bytes. A longer one shows nothing that shorter ones do not.
const MAX_BYTES: usize = 4_096;

/// The encoded entries of a log, from index 1 on, and their effect.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct History {
    entries: Vec<Vec<u8>>,
    /// BLAKE3 of all outcomes, without the words of refusals, and of all changes.
    decided: [u8; 32],
    /// The digest of the final state.
    digest: [u8; 32],
    snapshot: Vec<u8>,
}

impl History {
    /// Applies the entries to a new ledger.
    fn of(entries: Vec<Vec<u8>>) -> Result<Self, String> {
        let mut ledger = Ledger::new(LedgerOptions::default());
        let mut decided = blake3::Hasher::new();
        for (index, bytes) in (1..).zip(&entries) {
            let entry = decode_entry(bytes).map_err(|error| error.to_string())?;
            if &encode_entry(&entry) != bytes {
                return Err(format!("entry {index} is written in another way: {entry:?}"));
            }
            let applied = ledger
                .apply(index, &entry)
                .map_err(|violation| violation.to_string())?;
            let outcomes: Vec<Outcome> = applied.outcomes.into_iter().map(without_words).collect();
            decided.update(&codec::encode(&outcomes));
            decided.update(&encode_changes(&applied.changes));
        }
        Ok(Self {
            entries,
            decided: decided.finalize().into(),
            digest: ledger.digest(),
            snapshot: ledger.encode(),
        })
    }
}

/// Takes the words out of an outcome. They are for people and leave nothing behind, so they may differ
/// between versions.
fn without_words(outcome: Outcome) -> Outcome {
    match outcome {
        Err(Refusal::InvalidRequest(_)) => Err(Refusal::InvalidRequest(String::new())),
        other => other,
    }
}

/// Records the entries of a story, if recording is on.
pub(super) fn take(entries: Vec<Vec<u8>>) {
    /// Histories by their entries, so that the file does not depend on the order of the tests.
    static TAKEN: LazyLock<Mutex<BTreeMap<Vec<Vec<u8>>, History>>> = LazyLock::new(Mutex::default);
    let bytes: usize = entries.iter().map(Vec::len).sum();
    if !is_recording() || std::thread::panicking() || bytes > MAX_BYTES {
        return;
    }
    // Some stories have a ledger with other options. They are not recorded.
    let Ok(history) = History::of(entries.clone()) else {
        return;
    };
    let mut taken = TAKEN.lock().unwrap();
    taken.insert(entries, history);
    let all: Vec<&History> = taken.values().collect();
    std::fs::write(FILE, postcard::to_stdvec(&all).unwrap()).unwrap();
}

fn is_recording() -> bool {
    std::env::var_os("HOLDFAST_RECORD").is_some()
}

/// Reads the recorded histories. Returns none while the file is being written.
fn recorded() -> Vec<History> {
    match is_recording() {
        true => Vec::new(),
        false => {
            let read =
                |file| -> Vec<History> { postcard::from_bytes(&std::fs::read(file).unwrap()).unwrap() };
            let mut all = read(FIRST_FILE);
            all.extend(read(SECOND_FILE));
            all.extend(read(FILE));
            all
        }
    }
}

/// Returns the name of an action. A new kind of action must be recorded too.
fn name(action: &Action) -> &'static str {
    match action {
        Action::Reserve { .. } => "Reserve",
        Action::Extend { .. } => "Extend",
        Action::Commit { .. } => "Commit",
        Action::Release { .. } => "Release",
        Action::Ship { .. } => "Ship",
        Action::Cancel { .. } => "Cancel",
        Action::Return { .. } => "Return",
        Action::Receive { .. } => "Receive",
        Action::Adjust { .. } => "Adjust",
        Action::Count { .. } => "Count",
        Action::MoveBucket { .. } => "MoveBucket",
        Action::SetPolicy { .. } => "SetPolicy",
        Action::AllocatePool { .. } => "AllocatePool",
        Action::Order(OrderStep::Begin { .. }) => "Begin",
        Action::Order(OrderStep::Prepare { .. }) => "Prepare",
        Action::Order(OrderStep::Decide { .. }) => "Decide",
        Action::Order(OrderStep::Settle(_)) => "Settle",
        Action::Order(OrderStep::Acknowledge(_)) => "Acknowledge",
        Action::Order(OrderStep::Inquire { .. }) => "Inquire",
        Action::OfPart(_) => "OfPart",
        Action::TransferOut { .. } => "TransferOut",
        Action::TransferIn { .. } => "TransferIn",
        Action::CloseTransfer { .. } => "CloseTransfer",
        Action::ExpectSupply { .. } => "ExpectSupply",
        Action::Dispatch { .. } => "Dispatch",
        Action::AdoptRules { .. } => "AdoptRules",
        Action::Seal => "Seal",
        Action::RegisterConsumer { .. } => "RegisterConsumer",
        Action::AdvanceConsumer { .. } => "AdvanceConsumer",
        Action::RemoveConsumer { .. } => "RemoveConsumer",
    }
}

const NAMES: [&str; 30] = [
    "Reserve",
    "Extend",
    "Commit",
    "Release",
    "Ship",
    "Cancel",
    "Return",
    "Receive",
    "Adjust",
    "Count",
    "MoveBucket",
    "SetPolicy",
    "AllocatePool",
    "Begin",
    "Prepare",
    "Decide",
    "Settle",
    "Acknowledge",
    "Inquire",
    "OfPart",
    "TransferOut",
    "TransferIn",
    "CloseTransfer",
    "ExpectSupply",
    "Dispatch",
    "AdoptRules",
    "Seal",
    "RegisterConsumer",
    "AdvanceConsumer",
    "RemoveConsumer",
];

#[test]
fn what_an_earlier_version_wrote_is_read_and_decided_as_it_was() {
    for (number, earlier) in recorded().into_iter().enumerate() {
        let now =
            History::of(earlier.entries.clone()).unwrap_or_else(|why| panic!("history {number}: {why}"));
        let decoded = Ledger::decode(&earlier.snapshot)
            .unwrap_or_else(|why| panic!("the snapshot of history {number}: {why}"));
        assert_eq!(
            decoded.digest(),
            earlier.digest,
            "the snapshot of history {number}"
        );
        if now != earlier {
            let entries: Vec<Entry> = now
                .entries
                .iter()
                .map(|bytes| decode_entry(bytes).unwrap())
                .collect();
            panic!("history {number} has another effect than it had: {entries:#?}");
        }
    }
}

#[test]
fn every_kind_of_command_was_recorded() {
    let histories = recorded();
    if is_recording() {
        return;
    }
    let entries = histories.iter().flat_map(|history| &history.entries);
    let reached: BTreeSet<&str> = entries
        .flat_map(|bytes| decode_entry(bytes).unwrap().commands)
        .map(|command| name(&command.action))
        .collect();
    assert_eq!(reached, BTreeSet::from(NAMES));
}
