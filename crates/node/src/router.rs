//! Finds the shard that a request is for.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use holdfast_api::reasons;
use holdfast_api::slots::{SlotNumber, shard_of_slot, slot_of, slot_of_document};
use holdfast_api::v1::{Reason, Refusal};
use holdfast_ledger::{
    About, Action, Command, OperationId, Query, QueryReply, Reference, ReservationId, Rules, Sender, Sku,
    StorefrontId, TransferId,
};
use holdfast_shard::{Freshness, ShardHandle};
use tokio::time::Instant;

use crate::mapping::inbound::Taken;
use crate::mapping::outbound;

/// The time to wait for the answers of the other shards after one shard has the id. They may have it too.
const GRACE: Duration = Duration::from_millis(250);

/// Finds shards. All services share one.
pub(crate) struct Router {
    shards: Arc<[ShardHandle]>,
}

impl Router {
    /// Returns a router over all shards, in the order of their numbers.
    pub(crate) fn new(shards: Arc<[ShardHandle]>) -> Self {
        Self { shards }
    }

    /// Returns all shards, in the order of their numbers.
    pub(crate) fn shards(&self) -> &Arc<[ShardHandle]> {
        &self.shards
    }

    fn shard_count(&self) -> u32 {
        self.shards.len() as u32
    }

    /// Returns the shard with this number.
    ///
    /// # Errors
    /// There is no such shard; the refusal names `field`.
    pub(crate) fn shard(&self, field: &str, shard: u32) -> Result<&ShardHandle, Refusal> {
        self.shards.get(shard as usize).ok_or_else(|| {
            reasons::invalid(format!(
                "{field}: there is no shard {shard}, this cluster has {}",
                self.shard_count()
            ))
        })
    }

    /// Returns the shard of a SKU.
    pub(crate) fn shard_of(&self, sku: &Sku) -> u32 {
        shard_of_slot(slot_of(sku.as_str()), self.shard_count())
    }

    /// Returns the shard that decides about a unique reference.
    pub(crate) fn shard_of_document(&self, storefront: &StorefrontId, reference: &Reference) -> u32 {
        self.shard_with(slot_of_document(storefront.as_str(), reference.as_str()))
    }

    /// Returns the shard that has to decide a Reserve, even if it has none of its SKUs. This is the home of
    /// the hold that the Reserve replaces, or else the shard of its unique reference. Returns None when any
    /// shard may decide.
    ///
    /// # Errors
    /// The hold is not found, or the hold and the unique reference are decided in different shards.
    pub(crate) async fn home_of_reserve(
        &self,
        taken: &Taken,
        deadline: Instant,
    ) -> Result<Option<u32>, Refusal> {
        if !matches!(taken.command.action, Action::Reserve { .. }) {
            return Ok(None);
        }
        let details = &taken.command.details;
        let of_document = self.shard_of_unique_reference(&taken.command);
        let Some(replaces) = details.replaces else {
            return Ok(of_document);
        };
        let home = match self.located_shard(taken.replaced_shard_hint)? {
            Some(shard) => shard,
            None => self.find_reservation(replaces, deadline).await?,
        };
        let query = Query::Reservation {
            reservation_id: replaces,
        };
        let answer = self
            .handle(home)
            .query(query, Freshness::Linearizable, deadline)
            .await;
        let home = match answer.map(|answer| answer.reply) {
            Ok(QueryReply::Reservation(Some(view))) => view.order.map_or(home, |order| order.home),
            Ok(_) => {
                return Err(reasons::refusal(
                    Reason::UnknownReservation,
                    format!("shard {home} has no reservation to replace with this id"),
                ));
            }
            Err(error) => return Err(outbound::query_error(home, error)),
        };
        match of_document {
            Some(shard) if shard != home => Err(reasons::invalid(
                "unique_reference: this reference belongs to another shard than the hold to replace. A hold that was reserved with \
                 unique_reference can be replaced under its own reference. To use another reference, release the hold first",
            )),
            _ => Ok(Some(home)),
        }
    }

    /// Refuses a command that the rules of a shard do not know yet, because a leader of the previous version
    /// could not read it. Only a node with a replica of the shard knows the shard's rules.
    ///
    /// # Errors
    /// The shard has to adopt newer rules first.
    pub(crate) fn check_rules(&self, shard: u32, command: &Command) -> Result<(), Refusal> {
        if command.details.is_empty() && !command.action.is_about_consumer() {
            return Ok(());
        }
        let status = self.handle(shard).status();
        // A new shard adopts the newest rules with its first command.
        if status.log_time_ms == 0 {
            return Ok(());
        }
        let rules = Rules::numbered(status.rules).unwrap_or_default();
        rules.check(command).map_err(outbound::refusal)
    }

    /// Returns the shard that has a slot.
    pub(crate) fn shard_with(&self, slot: SlotNumber) -> u32 {
        shard_of_slot(slot, self.shard_count())
    }

    /// Returns the handle of a shard whose number came from this router.
    pub(crate) fn handle(&self, shard: u32) -> &ShardHandle {
        &self.shards[shard as usize]
    }

    /// Returns the shard of a command, if it is known without asking another shard. Returns None also for a
    /// Reserve or TransferOut whose lines are in several shards.
    ///
    /// # Errors
    /// The hint names no shard.
    pub(crate) fn known_shard(&self, taken: &Taken) -> Result<Option<u32>, Refusal> {
        let command = &taken.command;
        let concerns = command.action.concerns();
        if concerns.sender == Sender::Node {
            return Err(reasons::refusal(
                Reason::Internal,
                "a step of an order is sent by its coordinator, and a seal by the node that settles a refusal",
            ));
        }
        match concerns.about {
            // The shard of the hold to replace is not known.
            About::Skus if command.details.replaces.is_some() => Ok((self.shard_count() == 1).then_some(0)),
            About::Skus => {
                let of_lines = self.shard_of_lines(concerns.skus.iter())?;
                let home = self.shard_of_unique_reference(command);
                Ok(of_lines.filter(|shard| home.is_none_or(|home| home == *shard)))
            }
            About::Reservation(..) | About::Transfer(_) | About::Shard => {
                self.located_shard(taken.shard_hint)
            }
        }
    }

    /// Returns the shard that decides about a reference which has to be unique.
    fn shard_of_unique_reference(&self, command: &Command) -> Option<u32> {
        match &command.action {
            Action::Reserve { storefront, .. } if command.details.unique_reference => {
                Some(self.shard_of_document(storefront, &command.reference))
            }
            _ => None,
        }
    }

    /// Returns the shard of a command. Asks all shards for its reservation or transfer when the shard is not
    /// known.
    ///
    /// # Errors
    /// The errors of [`Router::known_shard`]. Also when no shard has the reservation or transfer, or when a
    /// shard that may have it does not answer.
    pub(crate) async fn shard_of_command(&self, taken: &Taken, deadline: Instant) -> Result<u32, Refusal> {
        if let Some(shard) = self.known_shard(taken)? {
            return Ok(shard);
        }
        match taken.command.action.concerns().about {
            About::Reservation(reservation_id, _) => self.find_reservation(reservation_id, deadline).await,
            About::Transfer(transfer_id) => self.find_transfer(transfer_id, deadline).await,
            About::Skus | About::Shard => Err(reasons::refusal(
                Reason::Internal,
                "the shard of a SKU is always known",
            )),
        }
    }

    /// Returns the shard of a reservation or transfer, if it is known without asking another shard.
    ///
    /// # Errors
    /// The hint names no shard.
    pub(crate) fn located_shard(&self, hint: Option<u32>) -> Result<Option<u32>, Refusal> {
        match hint {
            Some(hint) => self.shard("reservation.shard", hint).map(|_| Some(hint)),
            None => Ok((self.shard_count() == 1).then_some(0)),
        }
    }

    /// Asks every shard for a reservation, and returns the shard that has it.
    ///
    /// # Errors
    /// No shard has it. Or several shards have different reservations with this id. Or no shard that answered
    /// has it, and another did not answer.
    pub(crate) async fn find_reservation(
        &self,
        id: ReservationId,
        deadline: Instant,
    ) -> Result<u32, Refusal> {
        let query = Query::Reservation { reservation_id: id };
        match self.find(id, query, deadline).await? {
            Some(shard) => Ok(shard),
            None => Err(reasons::refusal(
                Reason::UnknownReservation,
                "no shard has this reservation",
            )),
        }
    }

    /// Asks every shard for a transfer, and returns the shard that has it.
    ///
    /// # Errors
    /// No shard has it. Or several shards have different transfers with this id. Or no shard that answered
    /// has it, and another did not answer.
    pub(crate) async fn find_transfer(&self, id: TransferId, deadline: Instant) -> Result<u32, Refusal> {
        let query = Query::Transfer { transfer_id: id };
        match self.find(id, query, deadline).await? {
            Some(shard) => Ok(shard),
            None => Err(reasons::refusal(
                Reason::UnknownTransfer,
                "no shard has this transfer",
            )),
        }
    }

    /// Returns the shard that has the reservation or transfer with this id, or None when all shards answered
    /// and none has it. After one shard has it, waits only a short time for the others.
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
        let mut found = Vec::new();
        let mut until = deadline;
        loop {
            let next = tokio::select! {
                biased;
                next = asked.next() => next,
                () = tokio::time::sleep_until(until), if !found.is_empty() => None,
            };
            let Some((shard, answer)) = next else {
                break;
            };
            let home = match answer.map(|answer| answer.reply) {
                Ok(QueryReply::Reservation(Some(view))) => view.order.map(|order| order.home),
                Ok(QueryReply::Transfer(Some(view))) => view.home,
                Ok(_) => continue,
                Err(error) => {
                    unanswered = Some(outbound::query_error(shard, error));
                    continue;
                }
            };
            if found.is_empty() {
                until = deadline.min(Instant::now() + GRACE);
            }
            found.push(Found { shard, home });
        }
        match the_one(&mut found) {
            Ok(None) => unanswered.map_or(Ok(None), Err),
            Ok(found) => Ok(found),
            Err(shards) => Err(outbound::ambiguous(&id, &shards)),
        }
    }

    /// Returns the shard of the SKUs of all lines, or None when they are in several shards.
    fn shard_of_lines<'a>(&self, skus: impl Iterator<Item = &'a Sku>) -> Result<Option<u32>, Refusal> {
        let mut shards = skus.map(|sku| self.shard_of(sku));
        let Some(first) = shards.next() else {
            return Err(reasons::invalid("lines: has 0 entries"));
        };
        Ok(shards.all(|shard| shard == first).then_some(first))
    }
}

/// A shard that has a reservation or transfer with the id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Found {
    shard: u32,
    /// The home of its order or transfer, when that is over several shards.
    home: Option<u32>,
}

/// Returns the shard to go on with when all shards found have the same reservation or transfer: its home if
/// it was found, otherwise the first. Otherwise returns, as the error, all shards that have the id, in order.
fn the_one(found: &mut [Found]) -> Result<Option<u32>, Vec<u32>> {
    found.sort_by_key(|found| found.shard);
    let Some(first) = found.first() else {
        return Ok(None);
    };
    let is_one_order = first.home.is_some() && found.iter().all(|other| other.home == first.home);
    if found.len() > 1 && !is_one_order {
        return Err(found.iter().map(|found| found.shard).collect());
    }
    let home = found.iter().find(|found| first.home == Some(found.shard));
    Ok(Some(home.unwrap_or(first).shard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_two_shards_have_is_ambiguous_unless_it_is_one_order() {
        let found = |all: &[(u32, Option<u32>)]| {
            let found = all.iter().map(|(shard, home)| Found {
                shard: *shard,
                home: *home,
            });
            the_one(&mut found.collect::<Vec<_>>())
        };
        assert_eq!(found(&[]), Ok(None));
        assert_eq!(found(&[(3, None)]), Ok(Some(3)));
        assert_eq!(
            found(&[(3, Some(1))]),
            Ok(Some(3)),
            "the home has forgotten it, or is silent"
        );
        assert_eq!(found(&[(3, Some(1)), (1, Some(1))]), Ok(Some(1)));
        assert_eq!(found(&[(3, None), (0, None)]), Err(vec![0, 3]));
        assert_eq!(
            found(&[(3, Some(1)), (1, Some(1)), (0, None)]),
            Err(vec![0, 1, 3])
        );
        assert_eq!(found(&[(3, Some(3)), (1, Some(1))]), Err(vec![1, 3]));
    }
}
