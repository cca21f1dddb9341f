//! Operations of earlier imports, of this file or of others, as the change stream shows them.
//!
//! The state file may be lost or old; the change stream is neither. Every operation of an import carries a
//! reason (`import.` and the short hash of the file), and its id ends in a hash of source and document.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::error::Error;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use holdfast_client::{Client, ClientError, v1};

use super::identity::{REASON, Source, Tail, tail_of, time_of};

/// A failure of an archive of changes.
pub type ArchiveFailure = Box<dyn Error + Send + Sync>;

/// A reader of archived changes. It is called with a shard and the first change that is needed, and returns
/// the archived changes from there on: file after file, each with all its changes. The first file may begin
/// before the change that was asked for.
pub type ArchivedChanges<'a> =
    dyn Fn(u32, u64) -> BoxStream<'a, Result<Vec<v1::Change>, ArchiveFailure>> + Sync + 'a;

/// The reason why the changes of earlier imports cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The cluster did not send its changes.
    #[error("the change stream cannot be read")]
    Client(#[from] ClientError),
    /// The archive failed.
    #[error(transparent)]
    Archive(ArchiveFailure),
    /// The stream ends before the import began.
    #[error(
        "the state file says that the import began with change {from_seq} of shard {shard}, the stream ends \
         with {last_seq}: the cluster has lost changes; choose another state file with --state"
    )]
    LostChanges {
        /// The shard.
        shard: u32,
        /// The first change that may belong to the import.
        from_seq: u64,
        /// The last change of the stream.
        last_seq: u64,
    },
    /// The nodes have compacted changes away that are needed.
    #[error(
        "the nodes begin with change {first_seq} of shard {shard}: what earlier imports brought before is in \
         the archive only, name it with --archive"
    )]
    NotInNodes {
        /// The shard.
        shard: u32,
        /// The first change that the nodes have.
        first_seq: u64,
    },
}

/// An operation that took effect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AppliedOperation {
    /// The operation's id. A Reserve's is also the id of the reservation.
    pub(super) operation_id: Bytes,
    /// The units granted of each line, for a Reserve.
    pub(super) granted: BTreeMap<u32, i64>,
    /// Units by SKU. For a Reserve, the units that were asked for; for returns and adjustments, the units
    /// that moved.
    pub(super) units: BTreeMap<String, i64>,
    /// Whether it was done through this very file.
    pub(super) is_of_this_file: bool,
}

impl AppliedOperation {
    fn begin(&mut self, id: &Bytes, is_of_this_file: bool) {
        self.operation_id = id.clone();
        self.is_of_this_file |= is_of_this_file;
    }

    fn note_units(&mut self, change: &v1::Change) {
        use v1::ChangeKind::{Committed, Prepared, Reserved, Shipped};
        if matches!(change.kind(), Committed | Shipped) {
            return;
        }
        let units = self.units.entry(change.sku.clone()).or_default();
        match (change.kind(), &change.reservation) {
            // The request for a line counts once, even when several warehouses fill it.
            (Reserved | Prepared, Some(effect)) => *units = effect.requested,
            (_, Some(effect)) => *units = units.saturating_add(effect.quantity),
            (_, None) => {
                let on_hand = change
                    .moves
                    .iter()
                    .filter(|moved| moved.bucket() == v1::Bucket::OnHand);
                *units = on_hand.fold(*units, |sum, moved| sum.saturating_add(moved.delta));
            }
        }
    }
}

/// Operations of imports that took effect.
#[derive(Debug, Default)]
pub(super) struct Applied {
    operations: HashMap<Tail, AppliedOperation>,
    /// Orders over several shards. An order that is not held, or not yet, did not take effect.
    orders: HashMap<Tail, AppliedOrder>,
    /// The operations that carry a document's number as their reference, of whatever source.
    documents: HashMap<String, BTreeSet<Tail>>,
    latest_ms: Option<u64>,
}

#[derive(Debug, Default)]
struct AppliedOrder {
    reserve: AppliedOperation,
    is_held: bool,
}

impl Applied {
    /// Notes a change if an import made it. `reason` is the reason of this file.
    pub(super) fn note(&mut self, change: &v1::Change, reason: &str) {
        let Some(cause) = &change.cause else { return };
        // An expiry, and the abort of an order that nobody decided, carry no import's reason: no operation is
        // repeated for them.
        let of_an_import = cause.reason.starts_with(REASON);
        let of_this_file = cause
            .reason
            .strip_prefix(reason)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        if self.note_order(change, of_an_import, of_this_file) {
            return;
        }
        let (true, Some(tail)) = (of_an_import, tail_of(&cause.operation_id)) else {
            return;
        };
        self.latest_ms = self.latest_ms.max(time_of(&cause.operation_id));
        self.note_document(&cause.reference, tail);
        let operation = self.operations.entry(tail).or_default();
        operation.begin(&cause.operation_id, of_this_file);
        operation.note_units(change);
        if let (v1::ChangeKind::Reserved, Some(effect)) = (change.kind(), &change.reservation) {
            *operation.granted.entry(effect.line).or_default() += effect.quantity;
        }
    }

    fn note_document(&mut self, reference: &str, tail: Tail) {
        if let Some(tails) = self.documents.get_mut(reference) {
            tails.insert(tail);
        } else {
            self.documents
                .insert(reference.to_owned(), BTreeSet::from([tail]));
        }
    }

    /// Notes a step of an order over several shards. Returns false for any other change.
    fn note_order(&mut self, change: &v1::Change, of_an_import: bool, of_this_file: bool) -> bool {
        use v1::ChangeKind::{Aborted, Confirmed, Prepared};
        let kind = change.kind();
        let (Prepared | Confirmed | Aborted, Some(effect)) = (kind, &change.reservation) else {
            return false;
        };
        let Some(tail) = tail_of(&effect.reservation_id) else {
            return true;
        };
        if of_an_import && kind != Aborted {
            self.latest_ms = self.latest_ms.max(time_of(&effect.reservation_id));
            let reference = change.cause.as_ref().map_or("", |cause| cause.reference.as_str());
            self.note_document(reference, tail);
            let order = self.orders.entry(tail).or_default();
            order.reserve.begin(&effect.reservation_id, of_this_file);
            if kind == Prepared {
                order.reserve.note_units(change);
            }
        }
        // An abort may have no reason at all.
        if let Some(order) = self.orders.get_mut(&tail) {
            match kind {
                Prepared => *order.reserve.granted.entry(effect.line).or_default() += effect.quantity,
                Aborted => *order.reserve.granted.entry(effect.line).or_default() -= effect.quantity,
                _ => order.is_held = true,
            }
        }
        true
    }

    /// Returns the operation with this tail, if it took effect.
    pub(super) fn get(&self, tail: &Tail) -> Option<&AppliedOperation> {
        let order = self.orders.get(tail).filter(|order| order.is_held);
        order
            .map(|order| &order.reserve)
            .or_else(|| self.operations.get(tail))
    }

    /// Returns the operations that carry a document's number as their reference, each with the tail of its
    /// id.
    pub(super) fn of_document(&self, document: &str) -> impl Iterator<Item = (&Tail, &AppliedOperation)> {
        let tails = self.documents.get(document).into_iter().flatten();
        tails.filter_map(|tail| Some((tail, self.get(tail)?)))
    }

    /// Returns how many operations of this very file took effect.
    pub(super) fn count_of_this_file(&self) -> usize {
        let held = self.orders.values().filter(|order| order.is_held);
        let operations = self.operations.values().chain(held.map(|order| &order.reserve));
        operations.filter(|operation| operation.is_of_this_file).count()
    }

    /// Returns how many operations took effect.
    pub(super) fn len(&self) -> usize {
        self.operations.len() + self.orders.values().filter(|order| order.is_held).count()
    }

    /// Returns the latest epoch among the operations, in milliseconds since the Unix epoch.
    pub(super) fn latest_epoch_ms(&self) -> Option<u64> {
        self.latest_ms
    }
}

/// Reads the change stream of every shard up to its present end, and notes the changes that imports made.
/// `from` says where to begin in each shard; a shard that is missing in it is read from the beginning.
/// `positions` are ends that were read before this call.
///
/// Changes that the nodes no longer have are read from the archive.
///
/// An order that was held at these `positions` has all its units in the streams by their present ends, in
/// whichever shards. An order that is held later counts as not done, and asking for it again returns what it
/// got.
///
/// # Errors
/// When the change stream cannot be read, or begins after a change that is needed and no archive has that
/// change.
pub(super) async fn scan(
    client: &Client,
    source: &Source,
    from: &BTreeMap<u32, u64>,
    positions: &v1::GetPositionsResponse,
    archived: Option<&ArchivedChanges<'_>>,
) -> Result<Applied, ScanError> {
    let mut applied = Applied::default();
    let reason = source.reason();
    let held_until: BTreeMap<u32, u64> = positions
        .shards
        .iter()
        .map(|position| (position.shard, position.last_seq))
        .collect();
    let present = client.get_positions(v1::GetPositionsRequest {}).await?;
    for position in &present.shards {
        let mut from_seq = from.get(&position.shard).copied().unwrap_or(1);
        if from_seq > position.last_seq + 1 {
            return Err(ScanError::LostChanges {
                shard: position.shard,
                from_seq,
                last_seq: position.last_seq,
            });
        }
        if let Some(archived) = archived {
            let files = archived(position.shard, from_seq);
            from_seq = read_archive(files, from_seq, |change| applied.note(change, &reason)).await?;
        }
        if from_seq < position.first_seq {
            return Err(ScanError::NotInNodes {
                shard: position.shard,
                first_seq: position.first_seq,
            });
        }
        if from_seq > position.last_seq {
            continue;
        }
        let held_until = held_until.get(&position.shard).copied().unwrap_or(0);
        let is_late =
            |change: &v1::Change| change.kind() == v1::ChangeKind::Confirmed && change.seq > held_until;
        let mut changes = std::pin::pin!(client.tail_changes(position.shard, from_seq, true));
        // The stream is followed up to the end that was read before, so that a lagging replica hides no
        // operations.
        while let Some(answer) = changes.next().await {
            let answer = answer?;
            let changes = answer.changes.iter().filter(|change| !is_late(change));
            changes.for_each(|change| applied.note(change, &reason));
            if answer.through_seq >= position.last_seq {
                break;
            }
        }
    }
    Ok(applied)
}

/// Reads a shard's archived changes from `from_seq` on. Returns the number after the last one.
async fn read_archive(
    mut files: BoxStream<'_, Result<Vec<v1::Change>, ArchiveFailure>>,
    from_seq: u64,
    mut note: impl FnMut(&v1::Change),
) -> Result<u64, ScanError> {
    let mut next_seq = from_seq;
    while let Some(changes) = files.next().await {
        let changes = changes.map_err(ScanError::Archive)?;
        for change in changes.iter().filter(|change| change.seq >= from_seq) {
            note(change);
            next_seq = change.seq + 1;
        }
    }
    Ok(next_seq)
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

    fn of_an_order(
        kind: v1::ChangeKind,
        id: &Bytes,
        source: &Source,
        line: u32,
        quantity: i64,
    ) -> v1::Change {
        let mut change = change(id.clone(), &source.reason(), line, quantity);
        change.kind = kind.into();
        if let Some(effect) = &mut change.reservation {
            effect.reservation_id = id.clone();
            effect.home = Some(0);
        }
        change
    }

    #[test]
    fn an_order_over_several_shards_took_effect_when_it_is_held_with_what_its_last_attempt_took() {
        use v1::ChangeKind::{Aborted, Confirmed, Prepared};
        let source = Source::of_content("shop", b"orders");
        let id = source.operation_id(5_000, "1/0/reserve");
        let tail = source.tail("1/0/reserve");
        let mut applied = Applied::default();
        let mut note = |kind, line, quantity, reason: &str| {
            let mut change = of_an_order(kind, &id, &source, line, quantity);
            if let Some(cause) = &mut change.cause {
                cause.reason = reason.to_owned();
            }
            applied.note(&change, &source.reason());
            applied.get(&tail).map(|operation| operation.granted.clone())
        };
        let reason = source.reason();
        assert_eq!(note(Prepared, 0, 3, &reason), None);
        assert_eq!(note(Prepared, 1, 2, &reason), None);
        // Nobody decided it in time.
        assert_eq!(note(Aborted, 0, 3, ""), None);
        assert_eq!(note(Aborted, 1, 2, ""), None);
        assert_eq!(note(Prepared, 0, 3, &reason), None);
        assert_eq!(note(Prepared, 1, 4, &reason), None);
        assert_eq!(
            note(Confirmed, 0, 0, &reason),
            Some(BTreeMap::from([(0, 3), (1, 4)]))
        );
        assert_eq!((applied.len(), applied.latest_epoch_ms()), (1, Some(5_000)));
    }

    #[test]
    fn only_operations_of_imports_are_noted_and_their_lines_added_up() {
        let source = Source::of_content("shop", b"orders");
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
        applied.note(
            &change(source.operation_id(9_500, "z"), "by-hand", 0, 1),
            &source.reason(),
        );
        assert_eq!((applied.len(), applied.count_of_this_file()), (3, 1));
        assert_eq!(applied.latest_epoch_ms(), Some(9_000));
        let operation = applied.get(&source.tail("1/0/0/reserve")).unwrap();
        assert_eq!(operation.operation_id, id);
        assert!(operation.is_of_this_file);
        assert_eq!(operation.granted, BTreeMap::from([(0, 5), (1, 7)]));
    }

    #[tokio::test]
    async fn an_archive_is_read_from_the_needed_change_on_and_its_failure_is_no_end() {
        let file = |seqs: std::ops::RangeInclusive<u64>| {
            let changes = seqs.map(|seq| v1::Change {
                seq,
                ..Default::default()
            });
            Ok(changes.collect::<Vec<_>>())
        };
        let read = async |files: Vec<Result<Vec<v1::Change>, ArchiveFailure>>, from_seq| {
            let mut noted = Vec::new();
            let files = futures::stream::iter(files).boxed();
            let next_seq = read_archive(files, from_seq, |change| noted.push(change.seq)).await;
            next_seq
                .map(|next_seq| (next_seq, noted))
                .map_err(|error| error.to_string())
        };
        let whole = read(vec![file(1..=4), file(5..=6)], 3).await;
        assert_eq!(whole, Ok((7, vec![3, 4, 5, 6])));
        assert_eq!(read(Vec::new(), 9).await, Ok((9, Vec::new())));
        let torn = read(vec![file(1..=4), Err("a file is gone".into())], 3).await;
        assert_eq!(torn, Err("a file is gone".to_owned()));
    }
}
