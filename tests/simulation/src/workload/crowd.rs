//! Hundreds of commands at once, as in a flash sale: entries of many commands, and many holds that are due
//! together.

use holdfast_ledger::{Action, Command, ReservationId, ReserveLine, ReserveMode, Sku, Source, Sourcing};
use rand::RngExt;

use super::{name, warehouse, web};
use crate::client::Client;

/// Commands that a crowd sends at once.
const CROWD: std::ops::Range<u32> = 100..500;

impl Client {
    /// Lets hundreds of buyers reserve at once, and then releases, commits or leaves their holds.
    pub(super) async fn crowd(&mut self) {
        let shard = self.shard();
        let sku = name(Sku::new(format!("crowd-{shard}")));
        let patience_ms = Some(4_000);
        let receive = Action::Receive {
            sku: sku.clone(),
            warehouse: warehouse(0),
            quantity: i64::from(CROWD.end),
            supply_id: None,
        };
        self.perform(shard, receive, patience_ms).await;
        let ttl_ms = [2_000, 60_000, 600_000][self.random.random_range(0..3)];
        let reserve = Action::Reserve {
            storefront: web(),
            lines: vec![ReserveLine {
                sku,
                quantity: 1,
                source: Source::Any,
            }],
            ttl_ms,
            mode: ReserveMode::AllOrNothing,
            sourcing: Sourcing::AsGiven,
        };
        let buyers = self.random.random_range(CROWD);
        let reserves: Vec<Command> = (0..buyers).map(|_| self.command(reserve.clone())).collect();
        let ids: Vec<ReservationId> = reserves.iter().map(|command| command.operation_id).collect();
        let outcomes = self.perform_all(shard, reserves, patience_ms).await;
        // All of them end in the same way, so that many are due at the same moment.
        let fate = self.random.random_range(0..3);
        let ends: Vec<Command> = ids
            .into_iter()
            .zip(outcomes)
            .filter(|(_, outcome)| fate > 0 && matches!(outcome, Some(Ok(_))))
            .map(|(reservation_id, _)| match fate {
                1 => self.command(Action::Release { reservation_id }),
                _ => self.command(Action::Commit { reservation_id }),
            })
            .collect();
        if !ends.is_empty() {
            self.perform_all(shard, ends, patience_ms).await;
        }
    }
}
