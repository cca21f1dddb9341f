//! The buckets that each kind of change may move, and how. It is a pure table.

use holdfast_api::v1::{Bucket, ChangeKind};

use super::step::Step;
use crate::parquet::schema::BUCKETS;

/// Returns the fault in how a change moves units; None when there is none.
pub(super) fn fault(step: &Step<'_>) -> Option<String> {
    let kind = crate::names::kind(step.kind);
    let foreign = BUCKETS
        .into_iter()
        .find(|bucket| step.delta(*bucket) != 0 && !may_move(step.kind, *bucket));
    if let Some(bucket) = foreign {
        return Some(format!("{kind} moves {}", crate::names::bucket(bucket)));
    }
    let d = |bucket| i128::from(step.delta(bucket));
    let quantity = step.reservation.map(|effect| i128::from(effect.quantity));
    let sellable = d(Bucket::Free) + d(Bucket::Pool);
    // Units that are owed are served before units become sellable.
    let filled = -d(Bucket::Deficit) - d(Bucket::Backordered);
    let gives_back = |quantity| sellable + filled == quantity && d(Bucket::Free) >= 0 && d(Bucket::Pool) >= 0;
    let transferred = step.transfer.map(|(_, effect)| i128::from(effect.quantity));
    let q = quantity.or(transferred).unwrap_or(d(Bucket::OnHand));
    let into = d(Bucket::Free) + d(Bucket::Damaged) + d(Bucket::QualityHold);
    let takes = matches!(step.kind, ChangeKind::Reserved | ChangeKind::Prepared);
    // A recount beside goods that a count has seen takes them back. It thereby also takes back what they
    // filled of the backordered units. `operations` checks that it is beside such goods.
    if d(Bucket::Backordered) > 0 && !takes && step.kind != ChangeKind::Counted {
        return Some(format!("{kind} raises what is backordered"));
    }
    let right = match step.kind {
        ChangeKind::Unspecified => false,
        _ if step.is_note() => q == 0 && step.moves.iter().all(Option::is_none),
        ChangeKind::Extended | ChangeKind::Confirmed | ChangeKind::PolicySet => quantity.unwrap_or(0) == 0,
        ChangeKind::Reserved | ChangeKind::Prepared => {
            let taken = d(Bucket::Backordered) - sellable;
            let down = d(Bucket::Free) <= 0 && d(Bucket::Pool) <= 0 && d(Bucket::Backordered) >= 0;
            q >= 1 && d(Bucket::Held) == q && taken == q && down
        }
        ChangeKind::Committed => q >= 1 && d(Bucket::Held) == -q && d(Bucket::Committed) == q,
        ChangeKind::Released | ChangeKind::Expired | ChangeKind::Aborted => {
            q >= 1 && d(Bucket::Held) == -q && gives_back(q)
        }
        ChangeKind::Cancelled => q >= 1 && d(Bucket::Committed) == -q && gives_back(q),
        ChangeKind::Shipped => q >= 1 && d(Bucket::Committed) == -q && d(Bucket::OnHand) == -q,
        ChangeKind::Returned => q >= 1 && d(Bucket::OnHand) == q && into + filled == q,
        ChangeKind::Received => q >= 1 && d(Bucket::Free) + filled == q && d(Bucket::Free) >= 0,
        ChangeKind::PoolAllocated => sellable + filled == 0,
        ChangeKind::TransferredOut => {
            // In a transfer over several shards the units were reserved and committed first.
            let from = match quantity {
                Some(_) => [0, -q],
                None => [-q, 0],
            };
            let taken = [d(Bucket::Free), d(Bucket::Committed)];
            let leaves = d(Bucket::OnHand) == -q && taken == from && d(Bucket::InTransit) == 0;
            let is_sent = d(Bucket::InTransit) == q && d(Bucket::OnHand) == 0 && taken == [0, 0];
            q >= 1 && transferred == Some(q) && (leaves || (is_sent && quantity.is_none()))
        }
        ChangeKind::TransferredIn => {
            let arrives = d(Bucket::InTransit) == -q && d(Bucket::OnHand) == q;
            q >= 1 && arrives && into + filled == q
        }
        ChangeKind::TransferClosed => q >= 1 && d(Bucket::InTransit) == -q,
        ChangeKind::SupplyExpected => step.moves.iter().all(Option::is_none),
        ChangeKind::Adjusted | ChangeKind::Counted | ChangeKind::BucketMoved => true,
    };
    let moves = || {
        let moved = BUCKETS.into_iter().filter(|bucket| step.delta(*bucket) != 0);
        let moved = moved.map(|b| format!("{} {:+}", crate::names::bucket(b), step.delta(b)));
        moved.collect::<Vec<_>>().join(", ")
    };
    (!right).then(|| match quantity {
        Some(quantity) => format!("{kind} of {quantity} units moves {}", moves()),
        None => format!("{kind} moves {}", moves()),
    })
}

fn may_move(kind: ChangeKind, bucket: Bucket) -> bool {
    use Bucket::{
        Backordered, Committed, Damaged, Deficit, Free, Held, InTransit, OnHand, Pool, QualityHold, Safety,
    };
    match kind {
        ChangeKind::Unspecified | ChangeKind::Extended | ChangeKind::Confirmed | ChangeKind::PolicySet => {
            false
        }
        ChangeKind::SupplyExpected => false,
        ChangeKind::Reserved | ChangeKind::Prepared => matches!(bucket, Free | Pool | Held | Backordered),
        ChangeKind::Committed => matches!(bucket, Held | Committed),
        ChangeKind::Released | ChangeKind::Expired | ChangeKind::Aborted => {
            matches!(bucket, Held | Free | Pool | Deficit | Backordered)
        }
        ChangeKind::Shipped => matches!(bucket, Committed | OnHand),
        ChangeKind::Cancelled => matches!(bucket, Committed | Free | Pool | Deficit | Backordered),
        ChangeKind::Returned => {
            matches!(
                bucket,
                OnHand | Free | Damaged | QualityHold | Deficit | Backordered
            )
        }
        ChangeKind::Received => matches!(bucket, OnHand | Free | Deficit | Backordered),
        ChangeKind::Adjusted | ChangeKind::Counted => !matches!(bucket, Held | Committed | InTransit),
        ChangeKind::BucketMoved => {
            matches!(
                bucket,
                Free | Safety | Damaged | QualityHold | Deficit | Backordered
            )
        }
        ChangeKind::PoolAllocated => matches!(bucket, Free | Pool | Backordered),
        ChangeKind::TransferredOut => matches!(bucket, OnHand | Free | Committed | InTransit),
        ChangeKind::TransferredIn => {
            matches!(
                bucket,
                InTransit | OnHand | Free | Damaged | QualityHold | Deficit | Backordered
            )
        }
        ChangeKind::TransferClosed => bucket == InTransit,
    }
}
