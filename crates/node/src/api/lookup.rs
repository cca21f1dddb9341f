//! Looks up reservations and transfers in all shards that have their lines.

use holdfast_api::reasons;
use holdfast_api::v1::{Reason, Refusal};
use holdfast_ledger::{Query, QueryReply, ReservationId, ReservationView, TransferId, TransferView};
use holdfast_shard::Freshness;
use tokio::time::Instant;

use super::{Api, wrong_reply};
use crate::mapping::outbound;

impl Api {
    /// Returns a reservation, with its lines in all shards.
    pub(super) async fn reservation(
        &self,
        id: ReservationId,
        hint: Option<u32>,
        deadline: Instant,
    ) -> Result<ReservationView, Refusal> {
        let shard = match self.router.located_shard(hint)? {
            Some(shard) => shard,
            None => self.router.find_reservation(id, deadline).await?,
        };
        let query = Query::Reservation { reservation_id: id };
        let answer = self
            .query(shard, query, Freshness::Linearizable, deadline)
            .await?;
        match answer.reply {
            QueryReply::Reservation(Some(part)) => {
                let whole = self.orders.whole(part, Freshness::Linearizable, deadline).await;
                whole.map(|(_, whole)| whole).map_err(outbound::order_error)
            }
            QueryReply::Reservation(None) => Err(reasons::refusal(
                Reason::UnknownReservation,
                format!("shard {shard} has no such reservation"),
            )),
            other => Err(wrong_reply(&other)),
        }
    }

    /// Returns a transfer, with its lines in all shards.
    pub(super) async fn transfer(
        &self,
        id: TransferId,
        hint: Option<u32>,
        deadline: Instant,
    ) -> Result<TransferView, Refusal> {
        let shard = match self.router.located_shard(hint)? {
            Some(shard) => shard,
            None => self.router.find_transfer(id, deadline).await?,
        };
        let query = Query::Transfer { transfer_id: id };
        let answer = self
            .query(shard, query, Freshness::Linearizable, deadline)
            .await?;
        match answer.reply {
            QueryReply::Transfer(Some(view)) => Ok(view),
            QueryReply::Transfer(None) => {
                let whole = self
                    .orders
                    .whole_transfer(id, Freshness::Linearizable, deadline)
                    .await;
                let whole = whole.map_err(outbound::order_error)?;
                whole.map(|(_, view)| view).ok_or_else(|| {
                    reasons::refusal(
                        Reason::UnknownTransfer,
                        format!("shard {shard} has no such transfer"),
                    )
                })
            }
            other => Err(wrong_reply(&other)),
        }
    }
}
