//! One buyer, who reserves and then pays, gets the goods, changes their mind or forgets about it.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Instant;

use holdfast_client::{Client, ClientError, id_bytes, shard_of, v1};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use uuid::Uuid;

use super::Market;
use super::tally::{Answer, Step, Tally};
use crate::catalogue;

pub(super) struct Buyer {
    client: Client,
    market: Arc<Market>,
    topology: v1::GetTopologyResponse,
    random: StdRng,
}

/// A reservation that was granted.
struct Granted {
    id: Uuid,
    shard: u32,
}

impl Buyer {
    pub(super) fn new(
        client: Client,
        market: Arc<Market>,
        topology: v1::GetTopologyResponse,
        number: u32,
    ) -> Self {
        let random = StdRng::seed_from_u64(market.args.seed.wrapping_add(u64::from(number) << 32));
        Self {
            client,
            market,
            topology,
            random,
        }
    }

    pub(super) async fn run(mut self) -> anyhow::Result<()> {
        while self.market.admits() {
            if let Some(granted) = self.reserve().await? {
                self.decide(&granted).await?;
            }
        }
        Ok(())
    }

    async fn reserve(&mut self) -> anyhow::Result<Option<Granted>> {
        let args = &self.market.args;
        let hot = args.hot > 0 && self.random.random_bool(args.hot_share);
        let sku = catalogue::sku(
            self.random
                .random_range(0..if hot { args.hot } else { args.skus }),
        );
        let quantity = self.random.random_range(1..=args.max_quantity);
        let source = self.random.random_bool(args.one_warehouse_share).then(|| {
            let warehouse = catalogue::warehouse(self.random.random_range(0..args.warehouses));
            v1::Source {
                kind: Some(v1::source::Kind::Warehouse(warehouse)),
            }
        });
        let shard = shard_of(&self.topology, &sku).unwrap_or_default();
        let id = Uuid::now_v7();
        let request = v1::ReserveRequest {
            operation: operation(id, "bench"),
            storefront: args.storefront.clone(),
            lines: vec![v1::ReserveLine {
                sku,
                quantity,
                source,
            }],
            ttl_ms: args.ttl,
            mode: v1::ReserveMode::AllOrNothing.into(),
            sourcing: v1::Sourcing::AsGiven.into(),
            ..v1::ReserveRequest::default()
        };
        let started = Instant::now();
        let answer = self.client.reserve(request).await;
        let judged = judge(
            answer.as_ref().err(),
            answer.as_ref().ok().and_then(|granted| granted.receipt),
        );
        if let (Ok(granted), Some(file)) = (&answer, &self.market.acknowledged) {
            file.reserved(id, shard, granted)?;
        }
        self.note(Step::Reserve, shard, started, judged)?;
        let Ok(granted) = answer else { return Ok(None) };
        self.tally()
            .add_units(granted.lines.iter().map(|line| line.granted).sum());
        Ok(Some(Granted { id, shard }))
    }

    async fn decide(&mut self, granted: &Granted) -> anyhow::Result<()> {
        let args = &self.market.args;
        if self.random.random_bool(args.commit_share) {
            let ships = self.random.random_bool(args.ship_share);
            if self.transition(Step::Commit, granted).await? && ships {
                self.transition(Step::Ship, granted).await?;
            }
        } else if self.random.random_bool(args.release_share) {
            self.transition(Step::Release, granted).await?;
        }
        Ok(())
    }

    /// Runs a step of the reservation's life. Returns whether it took effect.
    async fn transition(&mut self, step: Step, granted: &Granted) -> anyhow::Result<bool> {
        let operation = operation(Uuid::now_v7(), "bench");
        let reservation = Some(v1::ReservationKey {
            reservation_id: id_bytes(granted.id),
            shard: Some(granted.shard),
        });
        let started = Instant::now();
        let answer = match step {
            Step::Commit => {
                self.client
                    .commit(v1::CommitRequest {
                        operation,
                        reservation,
                    })
                    .await
            }
            Step::Release => {
                self.client
                    .release(v1::ReleaseRequest {
                        operation,
                        reservation,
                    })
                    .await
            }
            Step::Ship | Step::Reserve => {
                let lines = Vec::new();
                self.client
                    .ship(v1::ShipRequest {
                        operation,
                        reservation,
                        lines,
                    })
                    .await
            }
        };
        let judged = judge(
            answer.as_ref().err(),
            answer.as_ref().ok().and_then(|done| done.receipt),
        );
        if let (Ok(_), Some(file)) = (&answer, &self.market.acknowledged) {
            file.transitioned(step, granted.id, granted.shard)?;
        }
        self.note(step, granted.shard, started, judged)?;
        Ok(answer.is_ok())
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        // The counts are usable whatever a panicking buyer left behind.
        self.market.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, step: Step, shard: u32, started: Instant, answer: Answer) -> anyhow::Result<()> {
        self.market.clocks.answered(shard, &answer);
        self.tally().count(step, started.elapsed(), answer)
    }
}

fn operation(id: Uuid, reason: &str) -> Option<v1::Operation> {
    Some(v1::Operation {
        operation_id: id_bytes(id),
        reference: String::new(),
        reason: reason.to_owned(),
        repeats: false,
        ..v1::Operation::default()
    })
}

fn judge(error: Option<&ClientError>, receipt: Option<v1::Receipt>) -> Answer {
    match error {
        None if receipt.is_some_and(|receipt| receipt.replayed) => Answer::Replayed,
        None => Answer::Done,
        Some(ClientError::Refused(refusal)) => Answer::Refused(refusal.reason()),
        Some(ClientError::Unknown { .. }) => Answer::Unknown,
        Some(ClientError::Unavailable { .. }) => Answer::Unavailable,
        Some(other) => Answer::Failed(other.to_string()),
    }
}
