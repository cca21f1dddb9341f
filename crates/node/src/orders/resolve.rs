//! The resolver: one task for each shard that this node may lead.
//!
//! As a home's leader it tells participants what was decided until each has followed; as a participant's leader it asks the homes
//! about units that have been prepared for a while. Both are safe to do twice, so it only looks at the ledger as it is here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use holdfast_ledger::{
    Acknowledgement, DueInquiry, DueSettlement, OrderReply, OrderStep, OrderWork, Query, QueryReply,
    ReservationId, Success,
};
use holdfast_shard::Freshness;
use tokio::time::Instant;

use super::{OrderError, Orders, own_step};

/// Between two rounds while there is something to do.
const PACE: Duration = Duration::from_millis(10);
/// After a round in which somebody did not answer, and on a node that does not lead.
const PATIENCE: Duration = Duration::from_millis(100);
/// A coordinator that has not decided for so long is perhaps dead: ask.
const INQUIRE_AFTER: Duration = Duration::from_secs(1);
/// How long one round may take.
const ROUND: Duration = Duration::from_secs(2);
/// The most settlements and the most inquiries of a round.
const LIMIT: u32 = 512;

/// Since when prepared units have been seen here.
type Seen = BTreeMap<(ReservationId, u64), Instant>;

impl Orders {
    /// Works for one shard, for ever.
    pub async fn resolve(&self, shard: u32) {
        let Ok(handle) = self.handle(shard) else {
            return;
        };
        let mut seen = Seen::new();
        loop {
            handle.orders_under_way().await;
            let pause = if handle.leads() {
                match self.round(shard, &mut seen).await {
                    Ok(()) => PACE,
                    Err(error) => {
                        tracing::debug!(shard, %error, "orders under way were not all settled");
                        PATIENCE
                    }
                }
            } else {
                PATIENCE
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn round(&self, shard: u32, seen: &mut Seen) -> Result<(), OrderError> {
        let deadline = Instant::now() + ROUND;
        let query = Query::OrderWork { limit: LIMIT };
        let answer = self.handle(shard)?.query(query, Freshness::Stale, deadline).await;
        let OrderWork { settle, inquire } = match answer.map(|answer| answer.reply) {
            Ok(QueryReply::OrderWork(work)) => work,
            Ok(_) => return Err(OrderError::WrongAnswer { shard }),
            Err(error) => return Err(OrderError::Query { shard, error }),
        };
        let overdue = overdue(inquire, seen);
        let (settled, answered) = tokio::join!(
            self.settle_all(shard, settle, deadline),
            self.inquire_all(shard, overdue, deadline)
        );
        settled.and(answered)
    }

    /// Tells participants, those of one shard together.
    async fn settle_all(
        &self,
        home: u32,
        settle: Vec<DueSettlement>,
        deadline: Instant,
    ) -> Result<(), OrderError> {
        let mut by_shard: BTreeMap<u32, Vec<DueSettlement>> = BTreeMap::new();
        for due in settle {
            by_shard.entry(due.shard).or_default().push(due);
        }
        let groups = by_shard
            .into_iter()
            .map(|(shard, group)| self.settle_group(home, shard, group, deadline));
        join_all(groups).await.into_iter().collect()
    }

    async fn settle_group(
        &self,
        home: u32,
        shard: u32,
        group: Vec<DueSettlement>,
        deadline: Instant,
    ) -> Result<(), OrderError> {
        let commands = group
            .iter()
            .map(|due| own_step(due.reservation_id, OrderStep::Settle(due.settlement.clone())))
            .collect::<Result<Vec<_>, _>>()?;
        let results = self.handle(shard)?.submit(commands, deadline).await;
        let mut acknowledged = Vec::with_capacity(group.len());
        let mut failed = None;
        for (due, result) in group.iter().zip(results) {
            match result {
                Ok(Ok(_)) => acknowledged.push(Acknowledgement {
                    reservation_id: due.reservation_id,
                    shard,
                    attempt: due.settlement.attempt,
                    version: due.settlement.version,
                }),
                Ok(Err(refusal)) => failed = Some(OrderError::Refused(refusal)),
                Err(error) => failed = Some(OrderError::Submit { shard, error }),
            }
        }
        if let Some(first) = acknowledged.first() {
            let about = first.reservation_id;
            let step = own_step(about, OrderStep::Acknowledge(acknowledged))?;
            self.submit(home, step, deadline).await?;
        }
        failed.map_or(Ok(()), Err)
    }

    async fn inquire_all(
        &self,
        shard: u32,
        overdue: Vec<DueInquiry>,
        deadline: Instant,
    ) -> Result<(), OrderError> {
        let inquiries = overdue.into_iter().map(|due| {
            let step = OrderStep::Inquire {
                shard,
                attempt: due.attempt,
                incarnation: due.incarnation,
            };
            self.inquire(due.home, shard, due.reservation_id, step, deadline)
        });
        join_all(inquiries).await.into_iter().collect()
    }

    /// Asks a home about a shard's part, and has the shard follow the answer.
    pub(super) async fn inquire(
        &self,
        home: u32,
        shard: u32,
        about: ReservationId,
        inquiry: OrderStep,
        deadline: Instant,
    ) -> Result<(), OrderError> {
        let answer = self.submit(home, own_step(about, inquiry)?, deadline).await?;
        match answer {
            Success::Order {
                reply: OrderReply::Answered(Some(settlement)),
                ..
            } => {
                let step = own_step(about, OrderStep::Settle(settlement))?;
                self.submit(shard, step, deadline).await.map(drop)
            }
            Success::Order {
                reply: OrderReply::Answered(None),
                ..
            } => Ok(()),
            _ => Err(OrderError::WrongAnswer { shard: home }),
        }
    }
}

/// What has been prepared for too long. What is seen for the first time is remembered, what is gone is forgotten.
fn overdue(inquire: Vec<DueInquiry>, seen: &mut Seen) -> Vec<DueInquiry> {
    let now = Instant::now();
    let here: BTreeSet<(ReservationId, u64)> = inquire
        .iter()
        .map(|due| (due.reservation_id, due.incarnation))
        .collect();
    seen.retain(|key, _| here.contains(key));
    inquire
        .into_iter()
        .filter(|due| {
            let since = *seen.entry((due.reservation_id, due.incarnation)).or_insert(now);
            now.duration_since(since) >= INQUIRE_AFTER
        })
        .collect()
}
