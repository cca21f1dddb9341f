//! Which buckets each kind of change may move, and how: a pure table.

use holdfast_proto::v1::{Bucket, ChangeKind};

use super::step::Step;
use crate::parquet::schema::BUCKETS;

/// What is wrong with how a change moves units; None when nothing is.
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
    let gives_back =
        |quantity| sellable - d(Bucket::Deficit) == quantity && d(Bucket::Free) >= 0 && d(Bucket::Pool) >= 0;
    let q = quantity.unwrap_or(d(Bucket::OnHand));
    let right = match step.kind {
        ChangeKind::Unspecified => false,
        _ if step.is_note() => q == 0 && step.moves.iter().all(Option::is_none),
        ChangeKind::Extended | ChangeKind::Confirmed | ChangeKind::PolicySet => quantity.unwrap_or(0) == 0,
        ChangeKind::Reserved | ChangeKind::Prepared => {
            q >= 1 && d(Bucket::Held) == q && sellable == -q && d(Bucket::Free) <= 0 && d(Bucket::Pool) <= 0
        }
        ChangeKind::Committed => q >= 1 && d(Bucket::Held) == -q && d(Bucket::Committed) == q,
        ChangeKind::Released | ChangeKind::Expired | ChangeKind::Aborted => {
            q >= 1 && d(Bucket::Held) == -q && gives_back(q)
        }
        ChangeKind::Cancelled => q >= 1 && d(Bucket::Committed) == -q && gives_back(q),
        ChangeKind::Shipped => q >= 1 && d(Bucket::Committed) == -q && d(Bucket::OnHand) == -q,
        ChangeKind::Returned => {
            let into = d(Bucket::Free) + d(Bucket::Damaged) + d(Bucket::QualityHold);
            q >= 1 && d(Bucket::OnHand) == q && into - d(Bucket::Deficit) == q
        }
        ChangeKind::Received => q >= 1 && d(Bucket::Free) - d(Bucket::Deficit) == q && d(Bucket::Free) >= 0,
        ChangeKind::PoolAllocated => sellable == 0,
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
    use Bucket::{Committed, Damaged, Deficit, Free, Held, OnHand, Pool, QualityHold, Safety};
    match kind {
        ChangeKind::Unspecified | ChangeKind::Extended | ChangeKind::Confirmed | ChangeKind::PolicySet => {
            false
        }
        ChangeKind::Reserved | ChangeKind::Prepared => matches!(bucket, Free | Pool | Held),
        ChangeKind::Committed => matches!(bucket, Held | Committed),
        ChangeKind::Released | ChangeKind::Expired | ChangeKind::Aborted => {
            matches!(bucket, Held | Free | Pool | Deficit)
        }
        ChangeKind::Shipped => matches!(bucket, Committed | OnHand),
        ChangeKind::Cancelled => matches!(bucket, Committed | Free | Pool | Deficit),
        ChangeKind::Returned => matches!(bucket, OnHand | Free | Damaged | QualityHold | Deficit),
        ChangeKind::Received => matches!(bucket, OnHand | Free | Deficit),
        ChangeKind::Adjusted | ChangeKind::Counted => !matches!(bucket, Held | Committed),
        ChangeKind::BucketMoved => matches!(bucket, Free | Safety | Damaged | QualityHold | Deficit),
        ChangeKind::PoolAllocated => matches!(bucket, Free | Pool),
    }
}
