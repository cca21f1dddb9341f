//! The workload of clients: shops that sell, warehouses that receive and ship, and readers.

mod crowd;
mod planning;
mod reuse;

use holdfast_ledger::{
    Action, Bucket, Disposition, Query, ReservationId, ReserveLine, ReserveMode, ReturnOf, Source, Sourcing,
    Success,
};
use rand::RngExt;

use crate::client::Client;
use crate::history::Read;
use crate::names::{busy_sku, is_simple, name, order_sku, simple_sku, warehouse, web};
use crate::requests::{Got, Wanted};

/// Number of each shard's SKUs on which everything is done.
const BUSY_SKUS: u32 = 4;

/// Number of each shard's SKUs on which little is done, so that a check can search their histories for an
/// order.
pub const SIMPLE_SKUS: u32 = 3;

/// Number of each shard's SKUs that are ordered together with SKUs of other shards.
const ORDER_SKUS: u32 = 2;

/// Time to live of a hold that does not end by itself, in milliseconds: longer than any run.
const LONG_TTL_MS: u64 = 20 * 24 * 3_600_000;

/// Whether some orders over several shards take as much as there is.
const BEST_EFFORT_ORDERS: bool = true;

/// Number of a client's actions of which one is a crowd, if the plan has crowds.
const CROWD_EVERY: u32 = 400;

/// Most reservations that a client remembers.
const REMEMBERED: usize = 12;

impl Client {
    pub(crate) async fn do_something(&mut self) {
        if self.plan.crowds && self.random.random_range(0..CROWD_EVERY) == 0 {
            self.crowd().await;
            return;
        }
        match self.random.random_range(0..100) {
            0..18 => self.read().await,
            18..40 => self.simple().await,
            40..53 => self.stock().await,
            53..57 => self.plan_stock().await,
            57..61 => self.transfer().await,
            61..72 => self.reserve().await,
            72..79 => self.order().await,
            79..82 => self.use_an_id_again().await,
            _ => self.move_on().await,
        }
    }

    async fn read(&mut self) {
        let shard = self.shard();
        let sku = match self.random.random_bool(0.5) {
            true => simple_sku(shard, self.random.random_range(0..SIMPLE_SKUS)),
            false => busy_sku(shard, self.random.random_range(0..BUSY_SKUS)),
        };
        let mine = self.orders.iter().find(|(at, _)| *at == shard).copied();
        let query = match mine {
            Some((_, reservation_id)) if self.random.random_bool(0.3) => {
                Query::Reservation { reservation_id }
            }
            _ => Query::Cells { sku, warehouse: None },
        };
        let linearizable = self.random.random_bool(0.7);
        let invoked_ms = self.time.now_ms();
        let wanted = Wanted::Query {
            query: query.clone(),
            linearizable,
        };
        if let Some(Got::Answered(Ok(answer))) = self.ask(shard, wanted).await {
            self.history.read(Read {
                shard,
                query,
                linearizable,
                invoked_ms,
                answered_ms: self.time.now_ms(),
                answer,
            });
        }
    }

    /// Works on simple SKUs, in one warehouse, with holds that do not end. The history of these SKUs is easy
    /// to order.
    async fn simple(&mut self) {
        let held = self.simple.len();
        if held > 0 && self.random.random_bool(0.35) {
            let (shard, reservation_id) = self.simple.swap_remove(self.random.random_range(0..held));
            self.perform(shard, Action::Release { reservation_id }, None)
                .await;
            return;
        }
        let shard = self.shard();
        let sku = simple_sku(shard, self.random.random_range(0..SIMPLE_SKUS));
        let quantity = self.random.random_range(1..=4);
        if self.random.random_bool(0.25) {
            let warehouse = warehouse(0);
            let receive = Action::Receive {
                sku,
                warehouse,
                quantity,
                supply_id: None,
            };
            self.perform(shard, receive, None).await;
            return;
        }
        let line = ReserveLine {
            sku,
            quantity,
            source: Source::Any,
        };
        let action = Action::Reserve {
            storefront: web(),
            lines: vec![line],
            ttl_ms: LONG_TTL_MS,
            mode: ReserveMode::AllOrNothing,
            sourcing: Sourcing::AsGiven,
        };
        if let (id, Some(Ok(Success::Reserved { .. }))) = self.perform(shard, action, None).await {
            self.simple.push((shard, id));
        }
    }

    /// Places an order over two or more shards.
    async fn order(&mut self) {
        if self.plan.shards < 2 {
            return;
        }
        let first = self.shard();
        let shards = self.random.random_range(2..=self.plan.shards);
        let lines: Vec<ReserveLine> = (0..shards)
            .map(|step| ReserveLine {
                sku: order_sku(
                    (first + step) % self.plan.shards,
                    self.random.random_range(0..ORDER_SKUS),
                ),
                quantity: self.random.random_range(1..=3),
                source: Source::Any,
            })
            .collect();
        let ttl_ms = match self.random.random_bool(0.5) {
            true => self.random.random_range(500..4_000),
            false => LONG_TTL_MS,
        };
        let action = Action::Reserve {
            storefront: web(),
            lines,
            ttl_ms,
            mode: match self.random.random_bool(0.75) || !BEST_EFFORT_ORDERS {
                true => ReserveMode::AllOrNothing,
                false => ReserveMode::BestEffort,
            },
            sourcing: Sourcing::AsGiven,
        };
        let patience_ms = self.patience_ms();
        if let (id, Some(Ok(_))) = self.perform_order(first, action, patience_ms).await {
            self.remember(first, id);
        }
    }

    fn remember(&mut self, shard: u32, id: ReservationId) {
        self.orders.push((shard, id));
        if self.orders.len() > REMEMBERED {
            self.orders.remove(0);
        }
    }

    fn patience_ms(&mut self) -> Option<u64> {
        Some(self.random.random_range(0..6_000))
    }

    async fn stock(&mut self) {
        let shard = self.shard();
        let sku = match self.random.random_bool(0.3) {
            true => order_sku(shard, self.random.random_range(0..ORDER_SKUS)),
            false => busy_sku(shard, self.random.random_range(0..BUSY_SKUS)),
        };
        let warehouse = warehouse(self.random.random_range(0..2));
        let quantity = self.random.random_range(1..=8);
        let action = match self.random.random_range(0..10) {
            0..6 => Action::Receive {
                sku,
                warehouse,
                quantity,
                supply_id: None,
            },
            6 => Action::Adjust {
                sku,
                warehouse,
                delta: -1,
            },
            7 => Action::Count {
                sku,
                warehouse,
                counted: quantity + 4,
                as_of_seq: None,
            },
            8 => Action::AllocatePool {
                sku,
                warehouse,
                storefront: web(),
                target: quantity / 2,
            },
            _ => Action::MoveBucket {
                sku,
                warehouse,
                from: Bucket::Free,
                to: Bucket::Safety,
                quantity: 1,
            },
        };
        let patience_ms = self.patience_ms();
        self.perform(shard, action, patience_ms).await;
    }

    async fn reserve(&mut self) {
        let shard = self.shard();
        let lines = (0..self.random.random_range(1..=3))
            .map(|_| ReserveLine {
                sku: busy_sku(shard, self.random.random_range(0..BUSY_SKUS)),
                quantity: self.random.random_range(1..=3),
                source: match self.random.random_range(0..4) {
                    0 => Source::Warehouse(warehouse(self.random.random_range(0..2))),
                    1 => Source::Preference(vec![warehouse(1), warehouse(0)]),
                    _ => Source::Any,
                },
            })
            .collect();
        let ttl_ms = match self.random.random_bool(0.6) {
            true => self.random.random_range(100..4_000),
            false => LONG_TTL_MS,
        };
        let mode = match self.random.random_bool(0.8) {
            true => ReserveMode::AllOrNothing,
            false => ReserveMode::BestEffort,
        };
        let sourcing = match self.random.random_range(0..4) {
            0 => Sourcing::FewestShipments,
            1 => Sourcing::Balance,
            _ => Sourcing::AsGiven,
        };
        let action = Action::Reserve {
            storefront: web(),
            lines,
            ttl_ms,
            mode,
            sourcing,
        };
        let patience_ms = self.patience_ms();
        let (id, outcome) = self.perform(shard, action, patience_ms).await;
        if matches!(outcome, Some(Ok(_)) | None) {
            self.remember(shard, id);
        }
    }

    /// Does something to one of its orders, whether the order's state allows it or not.
    async fn move_on(&mut self) {
        if self.orders.is_empty() {
            return;
        }
        // It is often the newest order: a node that has not heard of it must not answer for it.
        let number = match self.random.random_bool(0.4) {
            true => self.orders.len() - 1,
            false => self.random.random_range(0..self.orders.len()),
        };
        let (shard, reservation_id) = self.orders[number];
        let lines = Vec::new();
        let action = match self.random.random_range(0..12) {
            0..5 => Action::Commit { reservation_id },
            5 | 6 => Action::Release { reservation_id },
            7 => Action::Extend {
                reservation_id,
                ttl_ms: self.random.random_range(500..5_000),
            },
            8 | 9 => Action::Ship {
                reservation_id,
                lines,
            },
            10 => Action::Cancel {
                reservation_id,
                lines,
            },
            _ => Action::Return {
                of: ReturnOf::Reservation {
                    reservation_id,
                    lines,
                },
                disposition: Disposition::Restock,
            },
        };
        let patience_ms = self.patience_ms();
        self.perform(shard, action, patience_ms).await;
    }
}
