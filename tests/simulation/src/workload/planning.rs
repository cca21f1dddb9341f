//! Supplies, transfers between warehouses, and stock policies of storefronts.

use holdfast_ledger::{Action, Disposition, SupplyId, TransferLine};
use rand::RngExt;

use super::{BUSY_SKUS, busy_sku, name, warehouse, web};
use crate::client::Client;
use crate::time::EPOCH_MS;

impl Client {
    /// Sets and receives expected supplies, and lets storefronts sell more than there is.
    pub(super) async fn plan_stock(&mut self) {
        let shard = self.shard();
        let sku = busy_sku(shard, self.random.random_range(0..BUSY_SKUS));
        let warehouse = warehouse(self.random.random_range(0..2));
        let supply_id = name(SupplyId::new(format!(
            "supply-{}",
            self.random.random_range(0..3)
        )));
        let quantity = self.random.random_range(1..=8);
        let action = match self.random.random_range(0..3) {
            0 => Action::ExpectSupply {
                sku,
                warehouse,
                supply_id,
                quantity,
                expected_at_ms: EPOCH_MS + self.time.now_ms() + self.random.random_range(0..60_000),
            },
            1 => Action::Receive {
                sku,
                warehouse,
                quantity,
                supply_id: Some(supply_id),
            },
            _ => Action::SetPolicy {
                sku,
                storefront: web(),
                may_borrow: true,
                max_per_reservation: [0, 0, 2][self.random.random_range(0..3)],
                backorder_limit: [0, 4][self.random.random_range(0..2)],
                preorder_limit: 0,
                preorder_until_ms: 0,
            },
        };
        let patience_ms = self.patience_ms();
        self.perform(shard, action, patience_ms).await;
    }

    /// Sends goods between the warehouses of one shard's SKUs.
    pub(super) async fn transfer(&mut self) {
        let on_the_way = self.transfers.len();
        let patience_ms = self.patience_ms();
        if on_the_way > 0 && self.random.random_bool(0.6) {
            let number = self.random.random_range(0..on_the_way);
            let (shard, transfer_id) = self.transfers[number];
            let action = match self.random.random_bool(0.7) {
                true => Action::TransferIn {
                    transfer_id,
                    lines: Vec::new(),
                    disposition: Disposition::Restock,
                },
                false => Action::CloseTransfer { transfer_id },
            };
            if let (_, Some(Ok(_))) = self.perform(shard, action, patience_ms).await {
                self.transfers.swap_remove(number);
            }
            return;
        }
        let shard = self.shard();
        let lines = (0..self.random.random_range(1..=2))
            .map(|number| TransferLine {
                sku: busy_sku(shard, number),
                quantity: self.random.random_range(1..=3),
            })
            .collect();
        let from = self.random.random_range(0..2);
        let action = Action::TransferOut {
            lines,
            from: warehouse(from),
            to: warehouse(from + 1),
            expected_at_ms: EPOCH_MS + self.time.now_ms() + 1_000,
        };
        if let (id, Some(Ok(_)) | None) = self.perform(shard, action, patience_ms).await {
            self.transfers.push((shard, id));
        }
    }
}
