//! The things that were made under each id. The caller chooses an id, and it should name one reservation or
//! one transfer. Calls that name no shard are refused when two shards have different things under the id.

use holdfast_api::v1::ChangeKind;

use super::finding::{Check, Findings};
use super::operations::number;
use super::spill::Spill;
use super::step::{Id, Step};

const KEY: usize = 16;
/// The size of a record: the key, whether it is an order, the shard that decides on it, the shard of the
/// change, and the change.
const RECORD: usize = KEY + 1 + 4 + 4 + 8;
/// The bytes that identify one thing.
const THING: usize = KEY + 1 + 4;

/// Everything that was granted, by id.
#[derive(Debug)]
pub(super) struct Ids {
    made: Spill<KEY, RECORD>,
    /// The id and the entry of the last grant. A grant of several lines makes several changes.
    last: Option<(Id, u32, u64)>,
}

impl Ids {
    pub(super) fn new() -> Self {
        Self {
            made: Spill::new(),
            last: None,
        }
    }

    pub(super) fn observe(&mut self, step: &Step<'_>) -> std::io::Result<()> {
        let change = step.change;
        let reservation = step.reservation.map(|effect| (effect.id, effect.home));
        let made = match step.kind {
            ChangeKind::Reserved => reservation,
            // Units that were prepared and given back do not count as a grant.
            ChangeKind::Confirmed | ChangeKind::Committed => reservation.filter(|(_, home)| home.is_some()),
            // The departure of an order's part has its own operation.
            ChangeKind::TransferredOut => match (&step.transfer, step.operation) {
                (Some((id, _)), Some(operation)) if *id == operation => Some((*id, None)),
                _ => None,
            },
            _ => None,
        };
        let Some((id, home)) = made else {
            return Ok(());
        };
        let this = (id, change.shard, change.log_index);
        if self.last.replace(this) == Some(this) {
            return Ok(());
        }
        let mut record = [0; RECORD];
        record[..KEY].copy_from_slice(&id);
        record[KEY] = u8::from(home.is_some());
        record[KEY + 1..THING].copy_from_slice(&home.unwrap_or(change.shard).to_be_bytes());
        record[THING..THING + 4].copy_from_slice(&change.shard.to_be_bytes());
        record[THING + 4..].copy_from_slice(&change.seq.to_be_bytes());
        self.made.push(&record)
    }

    /// Reports the ids that name several things.
    pub(super) fn finish(self, findings: &mut Findings) -> std::io::Result<()> {
        self.made.drain(|records| {
            for same_id in records.chunk_by(|a, b| a[..KEY] == b[..KEY]) {
                let things: Vec<&[u8; RECORD]> = same_id
                    .chunk_by(|a, b| a[..THING] == b[..THING])
                    .map(|same_thing| &same_thing[0])
                    .collect();
                for pair in things.windows(2) {
                    let [(first, _), (shard, seq)] = [pair[0], pair[1]].map(|record| {
                        let shard = number(&record[THING..THING + 4]) as u32;
                        (shard, number(&record[THING + 4..]))
                    });
                    findings.add(Check::AmbiguousId, shard, seq, || {
                        let id = uuid::Uuid::from_slice(&pair[1][..KEY]).unwrap_or_default();
                        format!("shard {shard} and shard {first} have different things under the id {id}")
                    });
                }
            }
        })
    }
}
