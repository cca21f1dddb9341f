//! Messages and stored records as an earlier version wrote them. While a cluster is upgraded, nodes of two
//! versions exchange messages; and the messages contain openraft's types, which are not ours.
//!
//! A difference in this test is a difference that those nodes would meet. A new layout needs its own version
//! byte (`codec.rs`), and a release that reads it before one that writes it. Then record them again:
//! `HOLDFAST_RECORD=1 cargo test -p holdfast-shard --lib recorded`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use bytes::Bytes;
use holdfast_ledger::{
    Action, Command, Details, Entry, OperationId, Position, Principal, Query, QueryReply, Refusal,
    ReservationId, Sku, WarehouseId,
};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, TransferLeaderRequest, VoteRequest, VoteResponse,
};
use openraft::{EntryPayload, Membership};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::message::{Addressed, RaftReply, RaftReplyBody, RaftRequest, SnapshotHeader, SnapshotReply};
use crate::codec::{decode, encode};
use crate::forward::{ForwardReply, ForwardRequest};
use crate::proposer::CommandReply;
use crate::raft_types::{EncodedCommand, EntryBytes, LogId, RaftEntry, SnapshotMeta, StoredMembership, Vote};
use crate::{Answer, QueryError};

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/peer/recorded.txt");

fn log_id(index: u64) -> LogId {
    LogId::new(*vote().leader_id(), index)
}

fn vote() -> Vote {
    Vote::new(3, 2)
}

fn command() -> Command {
    let mut id = [7; 16];
    (id[6], id[8]) = (0x70, 0x80);
    Command {
        operation_id: OperationId::from_slice(&id).unwrap(),
        principal: Principal::new("spiffe://shop/checkout").unwrap(),
        reference: Default::default(),
        reason: Default::default(),
        details: Details::default(),
        action: Action::Receive {
            sku: Sku::new("SHIRT").unwrap(),
            warehouse: WarehouseId::new("LDN").unwrap(),
            quantity: 300,
            supply_id: None,
        },
    }
}

fn entry(index: u64, payload: EntryPayload<EntryBytes, u64, openraft::EmptyNode>) -> RaftEntry {
    RaftEntry {
        log_id: log_id(index),
        payload,
    }
}

fn membership() -> Membership<u64, openraft::EmptyNode> {
    let voters = vec![BTreeSet::from([1, 2]), BTreeSet::from([2, 3])];
    let nodes = [1, 2, 3, 4].map(|node| (node, openraft::EmptyNode {}));
    Membership::new(voters, BTreeMap::from(nodes)).unwrap()
}

/// Returns the samples' names and bytes. Each is decoded as its type, and must encode to the same bytes.
fn samples() -> BTreeMap<&'static str, Bytes> {
    let mut samples = BTreeMap::new();
    let mut all = Sampled(&mut samples);
    stored(&mut all);
    raft(&mut all);
    forwarded(&mut all);
    samples
}

struct Sampled<'a>(&'a mut BTreeMap<&'static str, Bytes>);

impl Sampled<'_> {
    fn add<T: Serialize + DeserializeOwned>(&mut self, name: &'static str, value: &T) {
        let bytes = encode(value).unwrap();
        assert_eq!(encode(&decode::<T>(&bytes).unwrap()).unwrap(), bytes, "{name}");
        assert!(self.0.insert(name, bytes).is_none(), "{name} twice");
    }
}

/// Adds the records that are on disks.
fn stored(all: &mut Sampled<'_>) {
    all.add("vote", &vote());
    all.add("committed", &Some(log_id(9)));
    all.add("purged", &log_id(4));
    all.add("entry_blank", &entry(1, EntryPayload::Blank));
    all.add(
        "entry_membership",
        &entry(2, EntryPayload::Membership(membership())),
    );
    let commands = [EncodedCommand::new(command())];
    let bytes = EntryBytes::join(1_800_000_000_000, commands.iter()).unwrap();
    all.add("entry_commands", &entry(3, EntryPayload::Normal(bytes)));
    all.add(
        "ledger_entry",
        &Entry {
            log_time_ms: 1_800_000_000_000,
            commands: vec![command()],
        },
    );
    all.add("snapshot_meta", &meta());
}

fn meta() -> SnapshotMeta {
    SnapshotMeta {
        last_log_id: Some(log_id(9)),
        last_membership: StoredMembership::new(Some(log_id(2)), membership()),
    }
}

/// Adds the messages of Raft.
fn raft(all: &mut Sampled<'_>) {
    let mut ask = |name, body| all.add(name, &Addressed { to: 258, body });
    ask(
        "append",
        RaftRequest::Append(AppendEntriesRequest {
            vote: vote(),
            prev_log_id: Some(log_id(3)),
            entries: vec![entry(4, EntryPayload::Blank)],
            leader_commit: Some(log_id(2)),
        }),
    );
    let wish = VoteRequest::new(vote(), Some(log_id(3)));
    ask("ask_for_a_vote", RaftRequest::Vote(wish.clone()));
    ask("ask_for_consent", RaftRequest::PreVote(wish));
    let transfer = TransferLeaderRequest::new(vote(), 3, Some(log_id(3)));
    ask("transfer_leader", RaftRequest::TransferLeader(transfer));

    let mut answer = |name, body| {
        all.add(
            name,
            &RaftReply {
                wall_clock_ms: 1_800_000_000_000,
                body,
            },
        );
    };
    for (name, reply) in [
        ("appended", AppendEntriesResponse::Success),
        (
            "appended_some",
            AppendEntriesResponse::PartialSuccess(Some(log_id(3))),
        ),
        ("append_conflict", AppendEntriesResponse::Conflict),
        ("append_higher_vote", AppendEntriesResponse::HigherVote(vote())),
    ] {
        answer(name, RaftReplyBody::Append(reply));
    }
    let voted = VoteResponse {
        vote: vote(),
        vote_granted: true,
        last_log_id: None,
    };
    answer("voted", RaftReplyBody::Vote(voted.clone()));
    answer("consent", RaftReplyBody::PreVote(voted));
    answer("leader_transferred", RaftReplyBody::TransferLeader(Ok(())));
    let header = SnapshotHeader {
        vote: vote(),
        meta: meta(),
        bytes: 70_000,
    };
    all.add(
        "snapshot_header",
        &Addressed {
            to: 258,
            body: header,
        },
    );
    all.add("snapshot_taken", &SnapshotReply::new(vote()));
}

/// Adds the messages between the replica that was asked and the one that leads.
fn forwarded(all: &mut Sampled<'_>) {
    all.add(
        "forward_submit",
        &ForwardRequest::Submit {
            commands: vec![command()],
            timeout_ms: 250,
        },
    );
    let id: ReservationId = command().operation_id;
    all.add(
        "forward_query",
        &ForwardRequest::Query {
            query: Query::Reservation { reservation_id: id },
            timeout_ms: 250,
        },
    );
    all.add("forward_who_leads", &ForwardRequest::WhoLeads);
    all.add("forward_changes", &ForwardRequest::Changes { from_seq: 300 });
    let replies = vec![
        CommandReply::Decided(Err(Refusal::UnknownReservation)),
        CommandReply::NotProposed,
        CommandReply::Unknown,
        CommandReply::Overloaded { retry_after_ms: 20 },
    ];
    all.add("forward_submitted", &ForwardReply::Submit(replies));
    all.add(
        "forward_low_space",
        &ForwardReply::Submit(vec![CommandReply::LowSpace]),
    );
    let answer = Answer {
        reply: QueryReply::Reservation(None),
        position: Position {
            log_index: 9,
            log_time_ms: 1_800_000_000_000,
        },
        last_seq: 30,
        age_ms: 0,
    };
    all.add("forward_answered", &ForwardReply::Query(Ok(answer)));
    all.add(
        "forward_no_leader",
        &ForwardReply::Query(Err(QueryError::NoLeader)),
    );
    all.add("forward_not_leader", &ForwardReply::NotLeader { leader: Some(3) });
    all.add("forward_malformed", &ForwardReply::Malformed("?".to_owned()));
}

#[test]
fn what_an_earlier_version_wrote_is_written_alike_and_read() {
    let mut text = String::new();
    for (name, bytes) in samples() {
        let hex = bytes.iter().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        });
        writeln!(text, "{name} {hex}").unwrap();
    }
    if std::env::var_os("HOLDFAST_RECORD").is_some() {
        std::fs::write(FILE, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(FILE).unwrap());
}
