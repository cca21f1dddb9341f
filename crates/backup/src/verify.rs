//! Checks that a backup can be restored.

use std::collections::BTreeMap;

use holdfast_ledger::{Ledger, Query, QueryReply, ReservationId, ShardNumber, Verdict};

use crate::{Backup, BackupError, ShardManifest};

/// The result for the copy of one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedShard {
    /// The shard's part of the manifest. All of it was found to be true.
    pub manifest: ShardManifest,
    /// The number of cells.
    pub cells: u64,
    /// The number of reservations that are held or committed.
    pub live_reservations: u64,
    /// The number of reservations that wait for the decision of an order over several shards.
    pub prepared_reservations: u64,
    /// The number of orders with a participant that has not followed the last decision.
    pub unsettled_orders: u64,
}

/// Units that exist according to the home of an order.
struct Promised {
    home: ShardNumber,
    reservation_id: ReservationId,
    incarnation: u64,
}

/// Reads everything. Checks each file against its digest, and each ledger with all its invariants. Also
/// checks between the ledgers: if the home of an order has decided to hold units, each shard that it has not
/// told yet must have them. One ledger is in memory at a time. The ledgers of shards that still have to be
/// told are read twice.
///
/// # Errors
/// [`BackupError::Damaged`] or [`BackupError::Torn`] describe the fault; [`BackupError::Read`] when the
/// store fails.
pub async fn verify(backup: &Backup) -> Result<Vec<VerifiedShard>, BackupError> {
    let mut verified = Vec::new();
    let mut promised: BTreeMap<ShardNumber, Vec<Promised>> = BTreeMap::new();
    for shard in &backup.manifest().shards {
        let (_, ledger) = backup.ledger(shard).await?;
        collect(shard.shard, &ledger, &mut promised)?;
        verified.push(VerifiedShard {
            manifest: shard.clone(),
            cells: ledger.cell_count(),
            live_reservations: ledger.live_reservation_count(),
            prepared_reservations: ledger.prepared().0,
            unsettled_orders: ledger.unsettled_order_count(),
        });
    }
    for (shard, promised) in &promised {
        let known = backup
            .manifest()
            .shards
            .iter()
            .find(|known| known.shard == *shard);
        let torn = |what: String| BackupError::Torn {
            name: backup.manifest().name.clone(),
            what,
        };
        let known = known.ok_or_else(|| {
            torn(format!(
                "the backup has no shard {shard}, but orders that have units in it"
            ))
        })?;
        let (_, ledger) = backup.ledger(known).await?;
        for units in promised {
            check(*shard, &ledger, units).map_err(torn)?;
        }
    }
    Ok(verified)
}

fn defect(what: impl ToString) -> BackupError {
    BackupError::Defect(what.to_string())
}

/// Collects what this shard, as the home of orders, still has to tell other shards about their units.
fn collect(
    home: ShardNumber,
    ledger: &Ledger,
    promised: &mut BTreeMap<ShardNumber, Vec<Promised>>,
) -> Result<(), BackupError> {
    let reply = ledger
        .query(&Query::OrderWork { limit: u32::MAX })
        .map_err(defect)?;
    let QueryReply::OrderWork(work) = reply else {
        return Err(defect("a ledger sent an answer to another question"));
    };
    for due in work.settle {
        let holds = due.settlement.verdict != Verdict::Aborted;
        if let Some(incarnation) = due.settlement.incarnation.filter(|_| holds) {
            promised.entry(due.shard).or_default().push(Promised {
                home,
                reservation_id: due.reservation_id,
                incarnation,
            });
        }
    }
    Ok(())
}

fn check(shard: ShardNumber, ledger: &Ledger, units: &Promised) -> Result<(), String> {
    let reservation_id = units.reservation_id;
    let reply = ledger.query(&Query::Reservation { reservation_id });
    let found = match &reply {
        Ok(QueryReply::Reservation(Some(view))) => view.order.as_ref().map(|order| order.incarnation),
        _ => None,
    };
    if found == Some(units.incarnation) {
        return Ok(());
    }
    Err(format!(
        "shard {} has decided on units of order {reservation_id} that shard {shard} does not have",
        units.home
    ))
}
