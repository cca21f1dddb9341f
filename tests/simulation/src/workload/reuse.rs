//! Operation ids that come again with another request.

use holdfast_ledger::{Action, TransferLine};
use rand::RngExt;

use super::{busy_sku, is_simple, warehouse};
use crate::check::key_of;
use crate::client::Client;
use crate::time::EPOCH_MS;

impl Client {
    /// Sends another request with the id of an earlier one, in the same shard. It must not have an effect
    /// beside the first.
    pub(super) async fn use_an_id_again(&mut self) {
        if self.sent.is_empty() {
            return;
        }
        let (shard, mut command) = self.sent[self.random.random_range(0..self.sent.len())].clone();
        let first = key_of(&command);
        let quantity = self.random.random_range(1..=3);
        command.action = match (self.random.random_range(0..3), command.action) {
            (
                0,
                Action::Reserve {
                    storefront,
                    mut lines,
                    ttl_ms,
                    mode,
                    sourcing,
                },
            ) if !is_simple(&lines[0].sku) => {
                lines.reverse();
                lines[0].quantity += quantity % 2;
                Action::Reserve {
                    storefront,
                    lines,
                    ttl_ms,
                    mode,
                    sourcing,
                }
            }
            (1, _) => Action::TransferOut {
                lines: vec![TransferLine {
                    sku: busy_sku(shard, 0),
                    quantity,
                }],
                from: warehouse(0),
                to: warehouse(1),
                expected_at_ms: EPOCH_MS,
            },
            _ => Action::Receive {
                sku: busy_sku(shard, 1),
                warehouse: warehouse(0),
                quantity,
                supply_id: None,
            },
        };
        // The same request once more would be another attempt of the first.
        let key = key_of(&command);
        if key != first && self.reused.insert(key) {
            let patience_ms = self.patience_ms();
            self.perform_all(shard, vec![command], patience_ms).await;
        }
    }
}
