//! The resolver: one task for each shard that this node may lead.
//!
//! When this node leads a home, the task tells participants what was decided, until each of them has
//! followed. When it leads a participant, the task asks the homes about units that have been prepared for a
//! while. Both are safe to repeat, so the task only reads the local ledger. It handles each other shard
//! separately, so a shard that does not answer delays no other one.

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

/// The pause between two checks for work, while there is some.
const PACE: Duration = Duration::from_millis(10);
/// The pause while all work is for shards that have not answered yet.
const PATIENCE: Duration = Duration::from_millis(30);
/// The pause between two checks whether this node leads.
const FOLLOWING: Duration = Duration::from_millis(100);
/// How long units may be prepared before the home is asked. A coordinator that has not decided for so long
/// may be dead.
const INQUIRE_AFTER: Duration = Duration::from_secs(1);
/// How long another shard has for one round of settlements and inquiries.
const ROUND: Duration = Duration::from_secs(2);
/// The most settlements, and the most inquiries, that go to one shard in one round.
const LIMIT: u32 = 512;

/// The time at which prepared units were first seen here.
type Seen = BTreeMap<(ReservationId, u64), Instant>;

/// The settlements and inquiries for one other shard.
#[derive(Default)]
struct Errand {
    settle: Vec<DueSettlement>,
    inquire: Vec<DueInquiry>,
}

impl Orders {
    /// Resolves the orders of one shard, for ever.
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
                    Err(error) => tracing::debug!(shard, %error, "the orders under way could not be read"),
                }
            }
            let mut until = Instant::now() + pause;
            loop {
                tokio::select! {
                    biased;
                    Some((other, result)) = under_way.next() => {
                        if let Err(error) = &result {
                            tracing::debug!(shard, other, %error, "some orders under way could not be settled");
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

    /// Returns the work that is due, by the other shard that it concerns.
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

    /// Sends one other shard its settlements and inquiries. Returns that shard.
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

    /// Asks a home about a shard's part, of this attempt and incarnation, and makes the shard follow the
    /// answer.
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

/// Returns the units that have been prepared for too long. Remembers units that are seen for the first time,
/// and forgets units that are gone.
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
