//! The resolver: one task for each shard that this node may lead.
//!
//! As a home's leader it tells participants what was decided until each has followed; as a participant's leader it asks the homes
//! about units that have been prepared for a while. Both are safe to do twice, so it only looks at the ledger as it is here.
//! Each other shard is told and asked by itself, so that one that does not answer keeps no other one waiting.

mod schedule;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use holdfast_ledger::{
    Acknowledgement, DueInquiry, DueSettlement, OrderReply, OrderStep, OrderWork, Query, QueryReply,
    ReservationId, Success,
};
use holdfast_shard::Freshness;
use tokio::time::Instant;

use self::schedule::Schedule;
use super::{OrderError, Orders, own_step};

/// Between two looks at what is to be done, while something is.
const PACE: Duration = Duration::from_millis(10);
/// The same while all that is to be done is for shards that have not answered yet.
const PATIENCE: Duration = Duration::from_millis(30);
/// Between two looks whether this node leads.
const FOLLOWING: Duration = Duration::from_millis(100);
/// A coordinator that has not decided for so long is perhaps dead: ask.
const INQUIRE_AFTER: Duration = Duration::from_secs(1);
/// How long another shard has for what it is told and asked at once.
const ROUND: Duration = Duration::from_secs(2);
/// The most settlements and the most inquiries that go to one shard at once.
const LIMIT: u32 = 512;

/// Since when prepared units have been seen here.
type Seen = BTreeMap<(ReservationId, u64), Instant>;

/// What one other shard is told and asked.
#[derive(Default)]
struct Errand {
    settle: Vec<DueSettlement>,
    inquire: Vec<DueInquiry>,
}

impl Orders {
    /// Works for one shard, for ever.
    pub async fn resolve(&self, shard: u32) {
        let Ok(handle) = self.handle(shard) else {
            return;
        };
        let mut seen = Seen::new();
        let mut schedule = Schedule::default();
        let mut under_way = FuturesUnordered::new();
        loop {
            if under_way.is_empty() {
                handle.orders_under_way().await;
            }
            let leads = handle.leads();
            let mut pause = if leads { PATIENCE } else { FOLLOWING };
            if leads {
                match self.errands(shard, &mut seen).await {
                    Ok(errands) => {
                        let now = Instant::now();
                        for (other, errand) in errands {
                            if schedule.begin(other, now) {
                                pause = PACE;
                                under_way.push(self.run(shard, other, errand));
                            }
                        }
                    }
                    Err(error) => tracing::debug!(shard, %error, "orders under way are not known"),
                }
            }
            let mut until = Instant::now() + pause;
            loop {
                tokio::select! {
                    biased;
                    Some((other, result)) = under_way.next() => {
                        if let Err(error) = &result {
                            tracing::debug!(shard, other, %error, "orders under way were not all settled");
                        }
                        let now = Instant::now();
                        schedule.end(other, result.is_ok(), now);
                        until = until.min(now + PACE);
                    }
                    () = tokio::time::sleep_until(until) => break,
                }
            }
        }
    }

    /// What is to be done, by the shard that is told or asked.
    async fn errands(&self, shard: u32, seen: &mut Seen) -> Result<BTreeMap<u32, Errand>, OrderError> {
        let query = Query::OrderWork { limit: LIMIT };
        let deadline = Instant::now() + ROUND;
        let answer = self.handle(shard)?.query(query, Freshness::Stale, deadline).await;
        let OrderWork { settle, inquire } = match answer.map(|answer| answer.reply) {
            Ok(QueryReply::OrderWork(work)) => work,
            Ok(_) => return Err(OrderError::WrongAnswer { shard }),
            Err(error) => return Err(OrderError::Query { shard, error }),
        };
        let mut errands: BTreeMap<u32, Errand> = BTreeMap::new();
        for due in settle {
            errands.entry(due.shard).or_default().settle.push(due);
        }
        for due in overdue(inquire, seen) {
            errands.entry(due.home).or_default().inquire.push(due);
        }
        Ok(errands)
    }

    /// Tells and asks one other shard. Returns that shard.
    async fn run(&self, shard: u32, other: u32, errand: Errand) -> (u32, Result<(), OrderError>) {
        let deadline = Instant::now() + ROUND;
        let (settled, answered) = tokio::join!(
            self.settle_group(shard, other, errand.settle, deadline),
            self.inquire_all(shard, errand.inquire, deadline)
        );
        (other, settled.and(answered))
    }

    async fn settle_group(
        &self,
        home: u32,
        shard: u32,
        group: Vec<DueSettlement>,
        deadline: Instant,
    ) -> Result<(), OrderError> {
        if group.is_empty() {
            return Ok(());
        }
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
            let asked = (due.attempt, due.incarnation);
            self.inquire(due.home, shard, due.reservation_id, asked, deadline)
        });
        join_all(inquiries).await.into_iter().collect()
    }

    /// Asks a home about a shard's part, of this attempt and incarnation, and has the shard follow the answer.
    pub(super) async fn inquire(
        &self,
        home: u32,
        shard: u32,
        about: ReservationId,
        (attempt, incarnation): (u32, u64),
        deadline: Instant,
    ) -> Result<(), OrderError> {
        let inquiry = OrderStep::Inquire {
            shard,
            attempt,
            incarnation,
        };
        let answer = self.submit(home, own_step(about, inquiry)?, deadline).await?;
        match answer {
            Success::Order {
                reply: OrderReply::Answered(Some(settlement)),
                ..
            } => {
                let step = own_step(about, OrderStep::Settle(settlement.about(incarnation)))?;
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
