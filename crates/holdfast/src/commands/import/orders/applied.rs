//! What an earlier run of this import did, as the change stream tells it.
//!
//! The state file may be lost or old; the change stream is neither. Every operation of an import carries its reason
//! (`import.` and the short hash of the file), and its id ends in a hash of source and document.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use futures::StreamExt as _;
use holdfast_client::{Client, v1};

use super::identity::{Source, Tail, tail_of, time_of};

/// An operation that took effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AppliedOperation {
    /// Its id: for a Reserve the reservation's id.
    pub(super) operation_id: Bytes,
    /// For a Reserve: the units granted of each line.
    pub(super) granted: BTreeMap<u32, i64>,
}

/// The operations of one import that took effect.
#[derive(Debug, Default)]
pub(super) struct Applied {
    operations: HashMap<Tail, AppliedOperation>,
    latest_ms: Option<u64>,
}

impl Applied {
    /// Takes note of a change if it is one of this source.
    pub(super) fn note(&mut self, change: &v1::Change, reason: &str) {
        let Some(cause) = &change.cause else { return };
        // Expiry repeats the Reserve's reason, without an operation.
        let of_this_source = cause
            .reason
            .strip_prefix(reason)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        let (true, Some(tail)) = (of_this_source, tail_of(&cause.operation_id)) else {
            return;
        };
        self.latest_ms = self.latest_ms.max(time_of(&cause.operation_id));
        let operation = self.operations.entry(tail).or_default();
        operation.operation_id = cause.operation_id.clone();
        if let (v1::ChangeKind::Reserved, Some(effect)) = (change.kind(), &change.reservation) {
            *operation.granted.entry(effect.line).or_default() += effect.quantity;
        }
    }

    /// The operation of a document, if it took effect.
    pub(super) fn get(&self, tail: &Tail) -> Option<&AppliedOperation> {
        self.operations.get(tail)
    }

    /// How many operations took effect.
    pub(super) fn len(&self) -> usize {
        self.operations.len()
    }

    /// The latest epoch among them, in milliseconds since the Unix epoch.
    pub(super) fn latest_epoch_ms(&self) -> Option<u64> {
        self.latest_ms
    }
}

/// Reads the change stream of every shard up to its present end and notes what is of this source. `from` says where to begin in
/// each shard; a shard that is not in it is read from the beginning.
///
/// # Errors
/// When the change stream cannot be read.
pub(super) async fn scan(
    client: &Client,
    source: &Source,
    from: &BTreeMap<u32, u64>,
    positions: &v1::GetPositionsResponse,
) -> anyhow::Result<Applied> {
    let mut applied = Applied::default();
    let reason = source.reason();
    for position in &positions.shards {
        let from_seq = from.get(&position.shard).copied().unwrap_or(1);
        if from_seq > position.last_seq {
            continue;
        }
        let mut changes = std::pin::pin!(client.tail_changes(position.shard, from_seq, true));
        // It follows until the position read before: a replica that lags must not hide operations.
        while let Some(answer) = changes.next().await {
            let answer = answer?;
            answer
                .changes
                .iter()
                .for_each(|change| applied.note(change, &reason));
            if answer.through_seq >= position.last_seq {
                break;
            }
        }
    }
    Ok(applied)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(operation_id: Bytes, reason: &str, line: u32, quantity: i64) -> v1::Change {
        v1::Change {
            kind: v1::ChangeKind::Reserved.into(),
            reservation: Some(v1::ReservationEffect {
                line,
                quantity,
                ..Default::default()
            }),
            cause: Some(v1::Cause {
                operation_id,
                reason: reason.to_owned(),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn only_operations_of_the_source_are_noted_and_their_lines_added_up() {
        let source = Source::of_content(b"orders");
        let id = source.operation_id(5_000, "1/0/0/reserve");
        let mut applied = Applied::default();
        applied.note(&change(id.clone(), &source.reason(), 0, 3), &source.reason());
        applied.note(&change(id.clone(), &source.reason(), 0, 2), &source.reason());
        applied.note(&change(id.clone(), &source.reason(), 1, 7), &source.reason());
        applied.note(
            &change(source.operation_id(9_000, "x"), "import.other", 0, 1),
            &source.reason(),
        );
        applied.note(
            &change(
                source.operation_id(9_000, "y"),
                &format!("{}0", source.reason()),
                0,
                1,
            ),
            &source.reason(),
        );
        applied.note(&change(Bytes::new(), &source.reason(), 0, 1), &source.reason());
        assert_eq!((applied.len(), applied.latest_epoch_ms()), (1, Some(5_000)));
        let operation = applied.get(&source.tail("1/0/0/reserve")).unwrap();
        assert_eq!(operation.operation_id, id);
        assert_eq!(operation.granted, BTreeMap::from([(0, 5), (1, 7)]));
    }
}
