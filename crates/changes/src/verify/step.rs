//! A change that is understood: each field is checked, ids are arrays, and moves are by bucket.

use holdfast_api::v1::{Bucket, Change, ChangeKind, ReservationState, TransferEffect};

use crate::parquet::schema::BUCKETS;

/// The 16 bytes of a UUID.
pub(super) type Id = [u8; 16];

/// Returns the place of a bucket in [`Step::moves`].
pub(super) fn place(bucket: Bucket) -> usize {
    // BUCKETS is in the order of the enum, whose first value is `unspecified`.
    (bucket as usize).saturating_sub(1)
}

/// The content of one change.
#[derive(Debug, Clone)]
pub(super) struct Step<'a> {
    pub(super) change: &'a Change,
    pub(super) kind: ChangeKind,
    /// The moves, by [`place`].
    pub(super) moves: [Option<Moved>; BUCKETS.len()],
    pub(super) reservation: Option<Effect>,
    pub(super) operation: Option<Id>,
    pub(super) transfer: Option<(Id, &'a TransferEffect)>,
}

/// The move of one bucket.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moved {
    pub(super) delta: i64,
    pub(super) after: i64,
}

/// The reservation's side of a change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effect {
    pub(super) id: Id,
    pub(super) line: u32,
    pub(super) state: ReservationState,
    pub(super) expires_at_ms: u64,
    pub(super) requested: i64,
    pub(super) quantity: i64,
    /// The shard that decides on an order over several shards; None for other orders.
    pub(super) home: Option<u32>,
}

impl<'a> Step<'a> {
    /// Parses a change, or returns the reason why it cannot be understood.
    pub(super) fn of(change: &'a Change) -> Result<Self, String> {
        let kind = ChangeKind::try_from(change.kind).map_err(|_| format!("unknown kind {}", change.kind))?;
        let cell = !change.sku.is_empty() && !change.warehouse.is_empty();
        let nowhere = change.sku.is_empty() && change.warehouse.is_empty();
        let storefront = &change.storefront;
        let named = match kind {
            ChangeKind::Unspecified => return Err("a change without a kind".into()),
            ChangeKind::Extended | ChangeKind::Confirmed => nowhere,
            ChangeKind::PolicySet => {
                !change.sku.is_empty() && change.warehouse.is_empty() && !storefront.is_empty()
            }
            ChangeKind::PoolAllocated => cell && !storefront.is_empty(),
            // A part that only keeps units of a hold takes no units before it is held. So its abort gives
            // none back.
            ChangeKind::Aborted if is_part(change) => cell || nowhere,
            // A decision on an order whose home has no units of it is written as a note.
            ChangeKind::Committed | ChangeKind::Released | ChangeKind::Expired if is_home(change) => {
                cell || nowhere
            }
            _ => cell,
        };
        if !named {
            return Err("its sku, warehouse and storefront do not fit its kind".into());
        }
        let moves = moves(change)?;
        if moves[place(Bucket::Pool)].is_some() && storefront.is_empty() {
            return Err("a pool moves and no storefront is named".into());
        }
        if (kind == ChangeKind::PolicySet) != change.policy.is_some() {
            return Err("its stock policy does not fit its kind".into());
        }
        let transfer = transfer(change, kind)?;
        let expects = match kind {
            ChangeKind::SupplyExpected => change.supply.is_some(),
            ChangeKind::Received => true,
            _ => change.supply.is_none(),
        };
        if !expects || change.supply.as_ref().is_some_and(|supply| supply.quantity < 0) {
            return Err("its supply does not fit its kind".into());
        }
        let reservation = effect(change, kind)?;
        let operation_id = change.cause.as_ref().map_or(&[][..], |cause| &cause.operation_id);
        let operation = match (kind, operation_id.len()) {
            (ChangeKind::Expired | ChangeKind::Aborted, 0) => None,
            (ChangeKind::Expired, _) => return Err("an expiry names an operation".into()),
            _ => Some(
                operation_id
                    .try_into()
                    .map_err(|_| "its operation id is not 16 bytes".to_owned())?,
            ),
        };
        Ok(Self {
            change,
            kind,
            moves,
            reservation,
            operation,
            transfer,
        })
    }

    /// Returns whether the change is a decision without units.
    pub(super) fn is_note(&self) -> bool {
        self.reservation.is_some() && self.change.sku.is_empty()
    }

    /// Returns how much a bucket moved.
    pub(super) fn delta(&self, bucket: Bucket) -> i64 {
        self.moves[place(bucket)].map_or(0, |moved| moved.delta)
    }
}

/// Returns whether the change belongs to a part of an order over several shards.
fn is_part(change: &Change) -> bool {
    let effect = change.reservation.as_ref();
    effect.is_some_and(|effect| effect.home.is_some())
}

fn is_home(change: &Change) -> bool {
    let effect = change.reservation.as_ref();
    effect.and_then(|effect| effect.home) == Some(change.shard)
}

fn moves(change: &Change) -> Result<[Option<Moved>; BUCKETS.len()], String> {
    let mut moves = [None; BUCKETS.len()];
    for one in &change.moves {
        let bucket = Bucket::try_from(one.bucket)
            .ok()
            .filter(|bucket| *bucket != Bucket::Unspecified);
        let bucket = bucket.ok_or_else(|| format!("unknown bucket {}", one.bucket))?;
        let name = crate::names::bucket(bucket);
        if one.delta == 0 {
            return Err(format!("{name} moves by nothing"));
        }
        let moved = Moved {
            delta: one.delta,
            after: one.after,
        };
        if moves[place(bucket)].replace(moved).is_some() {
            return Err(format!("{name} moves twice"));
        }
    }
    Ok(moves)
}

fn transfer(change: &Change, kind: ChangeKind) -> Result<Option<(Id, &TransferEffect)>, String> {
    let needed = matches!(
        kind,
        ChangeKind::TransferredOut | ChangeKind::TransferredIn | ChangeKind::TransferClosed
    );
    if needed != change.transfer.is_some() {
        return Err("its transfer does not fit its kind".into());
    }
    let Some(effect) = &change.transfer else {
        return Ok(None);
    };
    let id = effect.transfer_id.as_ref().try_into();
    let id = id.map_err(|_| "its transfer id is not 16 bytes".to_owned())?;
    Ok(Some((id, effect)))
}

fn effect(change: &Change, kind: ChangeKind) -> Result<Option<Effect>, String> {
    use ChangeKind::{
        Aborted, Cancelled, Committed, Confirmed, Expired, Extended, Prepared, Released, Reserved, Returned,
        Shipped, TransferredOut,
    };
    let of_an_order = matches!(kind, Prepared | Confirmed | Aborted);
    let needed = of_an_order
        || matches!(
            kind,
            Reserved | Extended | Committed | Released | Expired | Shipped | Cancelled
        );
    let Some(effect) = &change.reservation else {
        return if needed {
            Err("it names no reservation".into())
        } else {
            Ok(None)
        };
    };
    if !needed && !matches!(kind, Returned | TransferredOut) {
        return Err("it names a reservation, which does not fit its kind".into());
    }
    if effect.sourcing != 0 && !matches!(kind, Reserved | Prepared) {
        return Err("it says why a warehouse was chosen, and takes nothing".into());
    }
    match effect.home {
        None if of_an_order => return Err("it does not say which shard decides".into()),
        Some(_) if kind == Reserved => return Err("a grant of one shard names a home".into()),
        _ => {}
    }
    let id = effect.reservation_id.as_ref().try_into();
    Ok(Some(Effect {
        id: id.map_err(|_| "its reservation id is not 16 bytes".to_owned())?,
        line: effect.line,
        state: ReservationState::try_from(effect.state)
            .map_err(|_| format!("unknown reservation state {}", effect.state))?,
        expires_at_ms: effect.expires_at_ms,
        requested: effect.requested,
        quantity: effect.quantity,
        home: effect.home,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bucket_has_the_place_of_its_column() {
        for (at, bucket) in BUCKETS.into_iter().enumerate() {
            assert_eq!(place(bucket), at);
        }
    }
}
