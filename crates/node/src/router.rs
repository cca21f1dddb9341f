//! Which shard a request is for.

use std::num::NonZeroUsize;
use std::sync::Arc;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use holdfast_ledger::{
    Action, OperationId, Query, QueryReply, ReservationId, ReserveLine, ReturnOf, SLOTS, Sku, TransferId,
    TransferLine, slot_of,
};
use holdfast_proto::v1::{Reason, Refusal};
use holdfast_shard::{Freshness, ShardHandle};
use lru::LruCache;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::errors;
use crate::mapping::inbound::Taken;
use crate::mapping::outbound;

/// How many reservations a node remembers the shard of. About 100 bytes each.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

/// Finds shards. Shared by all services.
pub(crate) struct Router {
    shards: Arc<[ShardHandle]>,
    /// Where reservations and transfers are that this node has seen. They never move, so this is never wrong.
    located: Mutex<LruCache<ReservationId, u32>>,
}

/// The shard that owns a slot, of `shard_count`: shard s owns slots from s·4096/n up to (s+1)·4096/n.
pub(crate) fn shard_of_slot(slot: u16, shard_count: u32) -> u32 {
    ((u32::from(slot) + 1) * shard_count - 1) / u32::from(SLOTS)
}

/// The first and the last slot of a shard, of `shard_count`.
pub(crate) fn slots_of_shard(shard: u32, shard_count: u32) -> (u32, u32) {
    let first = |shard: u32| shard * u32::from(SLOTS) / shard_count;
    (first(shard), first(shard + 1) - 1)
}

impl Router {
    /// A router over all shards, in order of their numbers.
    pub(crate) fn new(shards: Arc<[ShardHandle]>) -> Self {
        Self {
            shards,
            located: Mutex::new(LruCache::new(REMEMBERED)),
        }
    }

    /// All shards, in order.
    pub(crate) fn shards(&self) -> &Arc<[ShardHandle]> {
        &self.shards
    }

    fn shard_count(&self) -> u32 {
        self.shards.len() as u32
    }

    /// The shard with this number.
    ///
    /// # Errors
    /// A refusal that names `field` when there is none.
    pub(crate) fn shard(&self, field: &str, shard: u32) -> Result<&ShardHandle, Refusal> {
        self.shards.get(shard as usize).ok_or_else(|| {
            errors::invalid(format!(
                "{field}: there is no shard {shard}, this cluster has {}",
                self.shard_count()
            ))
        })
    }

    /// The shard of a SKU.
    pub(crate) fn shard_of(&self, sku: &Sku) -> u32 {
        shard_of_slot(slot_of(sku), self.shard_count())
    }

    /// The handle of a shard whose number came from this router.
    pub(crate) fn handle(&self, shard: u32) -> &ShardHandle {
        &self.shards[shard as usize]
    }

    /// The shard of a command, where that is known without asking anyone. None also for a Reserve whose lines live in several
    /// shards.
    ///
    /// # Errors
    /// The hint names no shard.
    pub(crate) fn known_shard(&self, taken: &Taken) -> Result<Option<u32>, Refusal> {
        match &taken.command.action {
            Action::Order(_) | Action::OfPart(_) => Err(errors::refusal(
                Reason::Internal,
                "a step of an order is sent by its coordinator",
            )),
            Action::Reserve { lines, .. } => self.shard_of_lines(lines),
            Action::TransferOut { lines, .. } => self.shard_of_transfer(lines).map(Some),
            Action::TransferIn { transfer_id, .. } | Action::CloseTransfer { transfer_id } => {
                self.located_shard(transfer_id, taken.shard_hint)
            }
            Action::Extend { reservation_id, .. }
            | Action::Commit { reservation_id }
            | Action::Release { reservation_id }
            | Action::Ship { reservation_id, .. }
            | Action::Cancel { reservation_id, .. }
            | Action::Return {
                of: ReturnOf::Reservation { reservation_id, .. },
                ..
            } => self.located_shard(reservation_id, taken.shard_hint),
            Action::Return {
                of: ReturnOf::Unreferenced { sku, .. },
                ..
            }
            | Action::Receive { sku, .. }
            | Action::Adjust { sku, .. }
            | Action::Count { sku, .. }
            | Action::MoveBucket { sku, .. }
            | Action::SetPolicy { sku, .. }
            | Action::ExpectSupply { sku, .. }
            | Action::AllocatePool { sku, .. } => Ok(Some(self.shard_of(sku))),
        }
    }

    /// The shard of a command; asks all shards for its reservation if need be.
    ///
    /// # Errors
    /// As [`Router::known_shard`], and when no shard has the reservation, or one that may have it does not answer.
    pub(crate) async fn shard_of_command(&self, taken: &Taken, deadline: Instant) -> Result<u32, Refusal> {
        if let Some(shard) = self.known_shard(taken)? {
            return Ok(shard);
        }
        match &taken.command.action {
            Action::Extend { reservation_id, .. }
            | Action::Commit { reservation_id }
            | Action::Release { reservation_id }
            | Action::Ship { reservation_id, .. }
            | Action::Cancel { reservation_id, .. }
            | Action::Return {
                of: ReturnOf::Reservation { reservation_id, .. },
                ..
            } => self.find_reservation(*reservation_id, deadline).await,
            Action::TransferIn { transfer_id, .. } | Action::CloseTransfer { transfer_id } => {
                self.find_transfer(*transfer_id, deadline).await
            }
            _ => Err(errors::refusal(
                Reason::Internal,
                "the shard of a SKU is always known",
            )),
        }
    }

    /// The shard of a reservation, where the caller or this node knows it.
    ///
    /// # Errors
    /// The hint names no shard.
    pub(crate) fn located_shard(
        &self,
        id: &ReservationId,
        hint: Option<u32>,
    ) -> Result<Option<u32>, Refusal> {
        match hint {
            Some(hint) => self.shard("reservation.shard", hint).map(|_| Some(hint)),
            None if self.shard_count() == 1 => Ok(Some(0)),
            None => Ok(self.located.lock().get(id).copied()),
        }
    }

    /// Remembers where a reservation or a transfer is.
    pub(crate) fn remember(&self, id: ReservationId, shard: u32) {
        self.located.lock().put(id, shard);
    }

    /// Asks every shard for a reservation.
    ///
    /// # Errors
    /// No shard has it; or none that answered has it, and another did not answer.
    pub(crate) async fn find_reservation(
        &self,
        id: ReservationId,
        deadline: Instant,
    ) -> Result<u32, Refusal> {
        let query = Query::Reservation { reservation_id: id };
        match self.find(id, query, deadline).await? {
            Some(shard) => Ok(shard),
            None => Err(errors::refusal(
                Reason::UnknownReservation,
                "no shard has this reservation",
            )),
        }
    }

    /// Asks every shard for a transfer.
    ///
    /// # Errors
    /// No shard has it; or none that answered has it, and another did not answer.
    pub(crate) async fn find_transfer(&self, id: TransferId, deadline: Instant) -> Result<u32, Refusal> {
        let query = Query::Transfer { transfer_id: id };
        match self.find(id, query, deadline).await? {
            Some(shard) => Ok(shard),
            None => Err(errors::refusal(
                Reason::UnknownTransfer,
                "no shard has this transfer",
            )),
        }
    }

    /// The shard that knows what was made by an operation; None when all answered and none does.
    async fn find(&self, id: OperationId, query: Query, deadline: Instant) -> Result<Option<u32>, Refusal> {
        let query = &query;
        let mut asked: FuturesUnordered<_> = self
            .shards
            .iter()
            .map(|handle| async move {
                let query = query.clone();
                (
                    handle.shard(),
                    handle.query(query, Freshness::Linearizable, deadline).await,
                )
            })
            .collect();
        let mut unanswered = None;
        while let Some((shard, answer)) = asked.next().await {
            match answer.map(|answer| answer.reply) {
                Ok(QueryReply::Reservation(Some(_)) | QueryReply::Transfer(Some(_))) => {
                    self.remember(id, shard);
                    return Ok(Some(shard));
                }
                Ok(_) => {}
                Err(error) => unanswered = Some(outbound::query_error(shard, error)),
            }
        }
        unanswered.map_or(Ok(None), Err)
    }

    /// The shard of all lines of a transfer.
    fn shard_of_transfer(&self, lines: &[TransferLine]) -> Result<u32, Refusal> {
        let Some(first) = lines.first().map(|line| self.shard_of(&line.sku)) else {
            return Err(errors::invalid("lines: has 0 entries"));
        };
        match lines.iter().position(|line| self.shard_of(&line.sku) != first) {
            None => Ok(first),
            Some(at) => Err(errors::invalid(format!(
                "lines[{at}].sku lives in another shard than lines[0].sku: send one transfer for each shard"
            ))),
        }
    }

    /// The shard of all lines; None when they live in several.
    fn shard_of_lines(&self, lines: &[ReserveLine]) -> Result<Option<u32>, Refusal> {
        let mut shards = lines.iter().map(|line| self.shard_of(&line.sku));
        let Some(first) = shards.next() else {
            return Err(errors::invalid("lines: has 0 entries"));
        };
        Ok(shards.all(|shard| shard == first).then_some(first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_belongs_to_the_shard_whose_range_holds_it() {
        for shard_count in 1..=64 {
            let mut next = 0;
            for shard in 0..shard_count {
                let (first, last) = slots_of_shard(shard, shard_count);
                assert_eq!(first, next);
                for slot in first..=last {
                    assert_eq!(
                        shard_of_slot(slot as u16, shard_count),
                        shard,
                        "slot {slot} of {shard_count}"
                    );
                }
                next = last + 1;
            }
            assert_eq!(next, u32::from(SLOTS));
        }
    }
}
