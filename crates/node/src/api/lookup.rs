//! Looks up reservations and transfers in all shards that have their lines.

use holdfast_api::reasons;
use holdfast_api::v1::{ReadPosition, Reason, Refusal};
use holdfast_ledger::{Query, QueryReply, ReservationId, ReservationView, TransferId, TransferView};
use holdfast_shard::Freshness;
use tokio::time::Instant;

use super::{Api, wrong_reply};
use crate::mapping::outbound;

/// A reservation or a transfer that was found.
pub(crate) struct Found<T> {
    /// The position of the shard that was asked first.
    pub(crate) read: ReadPosition,
    /// The shard that answers for the whole: the home, if there are several.
    pub(crate) shard: u32,
    /// The whole, with the lines of all shards.
    pub(crate) view: T,
}

impl Api {
    /// Returns a reservation, with its lines in all shards. `hint` is the shard that the caller named.
    pub(crate) async fn reservation(
        &self,
        (id, hint): (ReservationId, Option<u32>),
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<Found<ReservationView>, Refusal> {
        let shard = match self.router.located_shard(hint)? {
            Some(shard) => shard,
            None => self.router.find_reservation(id, deadline).await?,
        };
        let query = Query::Reservation { reservation_id: id };
        let answer = self.query(shard, query, freshness, deadline).await?;
        let read = outbound::read_position(shard, &answer);
        match answer.reply {
            QueryReply::Reservation(Some(part)) => {
                let whole = self.orders.whole(part, freshness, deadline).await;
                let (home, view) = whole.map_err(outbound::order_error)?;
                let shard = home.unwrap_or(shard);
                Ok(Found { read, shard, view })
            }
            // The shard may be the home of an order, and have forgotten it before the others.
            QueryReply::Reservation(None) => {
                let forgotten = self.orders.forgotten(id, shard, freshness, deadline).await;
                match forgotten.map_err(outbound::order_error)? {
                    Some((shard, view)) => Ok(Found { read, shard, view }),
                    None => Err(reasons::refusal(
                        Reason::UnknownReservation,
                        format!("shard {shard} has no such reservation"),
                    )),
                }
            }
            other => Err(wrong_reply(&other)),
        }
    }

    /// Returns a transfer, with its lines in all shards. `hint` is the shard that the caller named.
    pub(crate) async fn transfer(
        &self,
        (id, hint): (TransferId, Option<u32>),
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<Found<TransferView>, Refusal> {
        let shard = match self.router.located_shard(hint)? {
            Some(shard) => shard,
            None => self.router.find_transfer(id, deadline).await?,
        };
        let query = Query::Transfer { transfer_id: id };
        let answer = self.query(shard, query, freshness, deadline).await?;
        let read = outbound::read_position(shard, &answer);
        let whole = match answer.reply {
            QueryReply::Transfer(Some(view)) if view.home.is_none() => Some((shard, view)),
            // Other shards have a part of the transfer, or may have one.
            QueryReply::Transfer(_) => {
                let whole = self.orders.whole_transfer(id, freshness, deadline).await;
                whole.map_err(outbound::order_error)?
            }
            other => return Err(wrong_reply(&other)),
        };
        match whole {
            Some((shard, view)) => Ok(Found { read, shard, view }),
            None => Err(reasons::refusal(
                Reason::UnknownTransfer,
                format!("shard {shard} has no such transfer"),
            )),
        }
    }
}
