//! Cuts changes into messages below gRPC's usual limit of 4 MiB.
//!
//! A message has whole entries. Only an entry that alone is larger than [`MESSAGE_BYTES`] is spread over
//! several messages, which are marked as continued. The position of all these messages is before the entry.
//! So a consumer that resumes gets the entry from its first change again.

use holdfast_api::v1;
use holdfast_ledger::Change;
use prost::Message as _;

use crate::mapping::outbound;

/// The approximate maximum size of a message, in bytes. One more change may be in it.
pub(crate) const MESSAGE_BYTES: usize = 3 << 20;

/// The bytes of a change's tag and length in a message.
const FRAMING_BYTES: usize = 8;

/// The messages that are being built for one consumer.
pub(super) struct Slices {
    shard: u32,
    changes: Vec<v1::Change>,
    bytes: usize,
    /// The number of changes in entries that have ended, and the bytes of these changes.
    whole: (usize, usize),
    /// The sequence number of the last change of the last entry that has ended.
    through_seq: u64,
    /// The sequence number through which whole entries were sent.
    sent_seq: u64,
}

impl Slices {
    /// Begins with the first change of an entry.
    pub(super) fn new(shard: u32, from_seq: u64) -> Self {
        Self {
            shard,
            changes: Vec::new(),
            bytes: 0,
            whole: (0, 0),
            through_seq: from_seq - 1,
            sent_seq: from_seq - 1,
        }
    }

    /// Returns the sequence number of the last change of the last entry that has ended.
    pub(super) fn through_seq(&self) -> u64 {
        self.through_seq
    }

    /// Adds the next change. A change that is not `wanted` is only counted. Returns a message when one is
    /// full.
    pub(super) fn push(&mut self, change: Change, wanted: bool) -> Option<v1::TailChangesResponse> {
        let seq = change.seq;
        let ends = change.entry_offset.saturating_add(1) >= change.entry_changes;
        if wanted {
            let change = outbound::change(self.shard, change);
            self.bytes += change.encoded_len() + FRAMING_BYTES;
            self.changes.push(change);
        }
        if ends {
            self.through_seq = seq;
            self.whole = (self.changes.len(), self.bytes);
        }
        match (self.bytes >= MESSAGE_BYTES, self.whole) {
            (false, _) => None,
            (true, (0, _)) => {
                self.bytes = 0;
                Some(v1::TailChangesResponse {
                    changes: std::mem::take(&mut self.changes),
                    through_seq: self.through_seq,
                    continues: true,
                    // The sender sets the cluster.
                    ..v1::TailChangesResponse::default()
                })
            }
            (true, _) => self.whole_entries(),
        }
    }

    /// Returns a message of the entries that have ended since the last message, even when a filter left none
    /// of their changes. Returns None when no entry has ended.
    pub(super) fn whole_entries(&mut self) -> Option<v1::TailChangesResponse> {
        if self.through_seq == self.sent_seq {
            return None;
        }
        let (count, bytes) = std::mem::take(&mut self.whole);
        let rest = self.changes.split_off(count);
        self.bytes -= bytes;
        self.sent_seq = self.through_seq;
        Some(v1::TailChangesResponse {
            changes: std::mem::replace(&mut self.changes, rest),
            through_seq: self.through_seq,
            continues: false,
            ..v1::TailChangesResponse::default()
        })
    }
}

#[cfg(test)]
mod tests {
    use holdfast_ledger::{BucketMoves, CallerReason, Cause, ChangeKind, Reference, Sku};

    use super::*;

    fn change(seq: u64, entry_offset: u32, entry_changes: u32) -> Change {
        Change {
            seq,
            entry_changes,
            entry_offset,
            log_index: 1,
            log_time_ms: 1_800_000_000_000,
            kind: ChangeKind::Committed,
            sku: Some(Sku::new("ö".repeat(Sku::MAX_BYTES / 2)).unwrap()),
            warehouse: None,
            storefront: None,
            moves: BucketMoves::new(),
            reservation: None,
            policy: None,
            transfer: None,
            supply: None,
            cause: Cause {
                operation_id: None,
                principal: None,
                reason: CallerReason::default(),
                reference: Reference::new("r".repeat(Reference::MAX_BYTES)).unwrap(),
                occurred_at_ms: Some(u64::MAX),
            },
        }
    }

    /// Returns all messages for entries of these sizes.
    fn messages(entries: &[u32], wanted: bool) -> Vec<v1::TailChangesResponse> {
        let mut slices = Slices::new(0, 1);
        let (mut messages, mut seq) = (Vec::new(), 0);
        for size in entries {
            for offset in 0..*size {
                seq += 1;
                messages.extend(slices.push(change(seq, offset, *size), wanted));
            }
        }
        messages.extend(slices.whole_entries());
        messages
    }

    #[test]
    fn no_message_is_over_the_usual_limit_and_nothing_is_lost() {
        for entries in [
            vec![1],
            vec![100_000],
            vec![5, 60_000, 5],
            vec![9_000, 9_000, 60_000],
            vec![1; 70_000],
        ] {
            let messages = messages(&entries, true);
            assert!(messages.iter().all(|message| message.encoded_len() < 4 << 20));
            let seqs = messages.iter().flat_map(|message| &message.changes);
            let total: u64 = entries.iter().copied().map(u64::from).sum();
            assert!(seqs.map(|change| change.seq).eq(1..=total));
            assert_eq!(messages.last().map(|last| last.through_seq), Some(total));
        }
    }

    #[test]
    fn only_an_entry_that_is_too_large_is_spread_and_its_parts_stand_before_it() {
        let messages = messages(&[9_000, 60_000, 9_000], true);
        for message in &messages {
            let (first, last) = (&message.changes[0], message.changes.last().unwrap());
            let ends = last.entry_offset + 1 == last.entry_changes;
            assert_eq!(message.continues, !ends);
            assert!(first.entry_offset == 0 || first.entry_changes == 60_000);
            let stands = if message.continues { 9_000 } else { last.seq };
            assert_eq!(message.through_seq, stands);
        }
        assert!(messages.iter().filter(|message| message.continues).count() > 1);
    }

    #[test]
    fn what_a_filter_leaves_out_is_counted() {
        let messages = messages(&[10, 20], false);
        assert_eq!(messages.len(), 1);
        assert_eq!((messages[0].through_seq, messages[0].changes.len()), (30, 0));
    }
}
