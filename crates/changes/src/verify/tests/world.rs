//! A small model of a shop's shard that writes a valid history. It has plain maps, and one function for each
//! kind of change. It shares no code with the code under test or with the ledger.

use std::collections::BTreeMap;

use bytes::Bytes;
use holdfast_api::v1::{
    self, Bucket, BucketMove, Cause, Change, ChangeKind, PolicyEffect, ReservationEffect, ReservationState,
};

pub(super) const SHARD: u32 = 2;
pub(super) const START_MS: u64 = 1_700_000_000_000;

#[derive(Clone, Default)]
pub(super) struct Part {
    pub(super) line: u32,
    pub(super) sku: String,
    pub(super) warehouse: String,
    pub(super) requested: i64,
    pub(super) held: i64,
    pub(super) committed: i64,
    pub(super) shipped: i64,
    pub(super) returned: i64,
}

#[derive(Clone)]
pub(super) struct Hold {
    pub(super) id: [u8; 16],
    pub(super) storefront: String,
    pub(super) state: ReservationState,
    pub(super) expires_at_ms: u64,
    pub(super) parts: Vec<Part>,
}

#[derive(Default)]
pub(super) struct World {
    pub(super) shard: u32,
    pub(super) history: Vec<Change>,
    pub(super) holds: Vec<Hold>,
    /// Units by SKU, warehouse and bucket name. Pools are named `pool storefront`.
    pub(super) units: BTreeMap<(String, String), BTreeMap<String, i64>>,
    seq: u64,
    log_index: u64,
    pub(super) log_time_ms: u64,
    entry: Vec<Change>,
    operations: u64,
}

/// Makes an operation id like a UUIDv7.
pub(super) fn operation_id(number: u64) -> [u8; 16] {
    let mut id = [0; 16];
    id[..6].copy_from_slice(&START_MS.to_be_bytes()[2..]);
    id[6] = 0x70;
    id[8..].copy_from_slice(&number.to_be_bytes());
    id[8] |= 0x80;
    id
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            operations: 0,
            ..Self::of_shard(SHARD)
        }
    }

    pub(super) fn of_shard(shard: u32) -> Self {
        Self {
            shard,
            // No two shards have an operation id in common.
            operations: u64::from(shard) << 32,
            log_index: 3,
            log_time_ms: START_MS,
            ..Self::default()
        }
    }

    pub(super) fn next_operation(&mut self) -> [u8; 16] {
        self.operations += 1;
        operation_id(self.operations)
    }

    pub(super) fn units(&self, sku: &str, warehouse: &str, bucket: &str) -> i64 {
        let cell = self.units.get(&(sku.to_owned(), warehouse.to_owned()));
        cell.and_then(|cell| cell.get(bucket)).copied().unwrap_or(0)
    }

    /// Writes one change of the current entry, with the right after-images.
    pub(super) fn write(
        &mut self,
        kind: ChangeKind,
        (sku, warehouse, storefront): (&str, &str, &str),
        moves: &[(Bucket, i64)],
        operation: Option<[u8; 16]>,
    ) -> &mut Change {
        let mut written = Vec::new();
        for (bucket, delta) in moves.iter().filter(|(_, delta)| *delta != 0) {
            let cell = self
                .units
                .entry((sku.to_owned(), warehouse.to_owned()))
                .or_default();
            let name = match bucket {
                Bucket::Pool => format!("pool {storefront}"),
                other => crate::names::bucket(*other).to_owned(),
            };
            let after = cell.entry(name).or_default();
            *after += delta;
            written.push(BucketMove {
                bucket: (*bucket).into(),
                delta: *delta,
                after: *after,
            });
        }
        self.seq += 1;
        self.entry.push(Change {
            shard: self.shard,
            seq: self.seq,
            kind: kind.into(),
            sku: sku.into(),
            warehouse: warehouse.into(),
            storefront: storefront.into(),
            moves: written,
            cause: Some(Cause {
                operation_id: operation.map_or_else(Bytes::new, |id| Bytes::copy_from_slice(&id)),
                principal: "anonymous".into(),
                ..Cause::default()
            }),
            ..Change::default()
        });
        self.entry.last_mut().unwrap()
    }

    /// Closes the current entry.
    pub(super) fn end_entry(&mut self) {
        self.log_index += 1;
        let entry_changes = self.entry.len() as u32;
        for (at, mut change) in std::mem::take(&mut self.entry).into_iter().enumerate() {
            change.entry_changes = entry_changes;
            change.entry_offset = at as u32;
            change.log_index = self.log_index;
            change.log_time_ms = self.log_time_ms;
            self.history.push(change);
        }
    }

    pub(super) fn stock(
        &mut self,
        kind: ChangeKind,
        place: (&str, &str, &str),
        moves: &[(Bucket, i64)],
    ) -> &mut Change {
        let operation = self.next_operation();
        self.write(kind, place, moves, Some(operation))
    }

    pub(super) fn receive(&mut self, sku: &str, warehouse: &str, quantity: i64) {
        let fills = quantity.min(self.units(sku, warehouse, "deficit"));
        let moves = [
            (Bucket::OnHand, quantity),
            (Bucket::Free, quantity - fills),
            (Bucket::Deficit, -fills),
        ];
        self.stock(ChangeKind::Received, (sku, warehouse, ""), &moves);
    }

    pub(super) fn set_policy(&mut self, sku: &str, storefront: &str) {
        let change = self.stock(ChangeKind::PolicySet, (sku, "", storefront), &[]);
        change.policy = Some(PolicyEffect {
            may_borrow: true,
            ..PolicyEffect::default()
        });
    }

    /// Takes up to `quantity` for each `(sku, warehouse)` from pool and free; None when there is nothing.
    pub(super) fn reserve(
        &mut self,
        storefront: &str,
        wanted: &[(&str, &str, i64)],
        ttl_ms: u64,
    ) -> Option<usize> {
        let id = self.next_operation();
        let expires_at_ms = self.log_time_ms + ttl_ms;
        let granted = (ReservationState::Held, expires_at_ms);
        self.take(ChangeKind::Reserved, id, storefront, wanted, granted)
    }

    /// Takes units for a reserve, or for the part of an order in this shard.
    pub(super) fn take(
        &mut self,
        kind: ChangeKind,
        id: [u8; 16],
        storefront: &str,
        wanted: &[(&str, &str, i64)],
        (state, expires_at_ms): (ReservationState, u64),
    ) -> Option<usize> {
        let mut parts = Vec::new();
        for (line, (sku, warehouse, quantity)) in wanted.iter().enumerate() {
            let pooled = quantity
                .min(&self.units(sku, warehouse, &format!("pool {storefront}")))
                .to_owned();
            let free = (quantity - pooled).min(self.units(sku, warehouse, "free"));
            let granted = pooled + free;
            if granted == 0 {
                continue;
            }
            let part = Part {
                line: line as u32,
                sku: (*sku).into(),
                warehouse: (*warehouse).into(),
                requested: *quantity,
                held: granted,
                ..Part::default()
            };
            let moves = [
                (Bucket::Free, -free),
                (Bucket::Pool, -pooled),
                (Bucket::Held, granted),
            ];
            let effect = effect(id, &part, state, expires_at_ms, granted);
            let change = self.write(kind, (sku, warehouse, storefront), &moves, Some(id));
            change.reservation = Some(effect);
            parts.push(part);
        }
        if parts.is_empty() {
            return None;
        }
        self.holds.push(Hold {
            id,
            storefront: storefront.into(),
            state,
            expires_at_ms,
            parts,
        });
        Some(self.holds.len() - 1)
    }

    pub(super) fn extend(&mut self, at: usize, ttl_ms: u64) {
        let until = self.holds[at].expires_at_ms.max(self.log_time_ms + ttl_ms);
        self.holds[at].expires_at_ms = until;
        let (id, storefront) = (self.holds[at].id, self.holds[at].storefront.clone());
        let change = self.stock(ChangeKind::Extended, ("", "", &storefront), &[]);
        let none = Part::default();
        change.reservation = Some(effect(id, &none, ReservationState::Held, until, 0));
    }

    /// Commits, releases or expires the whole hold.
    pub(super) fn end_hold(&mut self, at: usize, kind: ChangeKind) {
        let operation = (kind != ChangeKind::Expired).then(|| self.next_operation());
        self.end_hold_by(at, kind, operation);
    }

    pub(super) fn end_hold_by(&mut self, at: usize, kind: ChangeKind, operation: Option<[u8; 16]>) {
        let state = match kind {
            ChangeKind::Committed => ReservationState::Committed,
            ChangeKind::Expired => ReservationState::Expired,
            _ => ReservationState::Released,
        };
        let mut hold = self.holds[at].clone();
        hold.state = state;
        for part in &mut hold.parts {
            let units = std::mem::take(&mut part.held);
            let mut moves = vec![(Bucket::Held, -units)];
            if kind == ChangeKind::Committed {
                part.committed = units;
                moves.push((Bucket::Committed, units));
            } else {
                moves.extend(self.gives_back(part, units));
            }
            let place = (
                part.sku.as_str(),
                part.warehouse.as_str(),
                hold.storefront.as_str(),
            );
            let effect = effect(hold.id, part, state, hold.expires_at_ms, units);
            self.write(kind, place, &moves, operation).reservation = Some(effect);
        }
        self.holds[at] = hold;
    }

    fn gives_back(&self, part: &Part, units: i64) -> [(Bucket, i64); 2] {
        let fills = units.min(self.units(&part.sku, &part.warehouse, "deficit"));
        [(Bucket::Free, units - fills), (Bucket::Deficit, -fills)]
    }

    /// Ships, cancels or returns up to `most` units of each part. Returns false when there is nothing to do.
    pub(super) fn move_units(&mut self, at: usize, kind: ChangeKind, most: i64) -> bool {
        let operation = self.next_operation();
        let mut hold = self.holds[at].clone();
        let mut moved = Vec::new();
        for part in &mut hold.parts {
            let on_hand = self.units(&part.sku, &part.warehouse, "on_hand");
            let units = match kind {
                ChangeKind::Shipped => part.committed.min(on_hand),
                ChangeKind::Cancelled => part.committed,
                _ => part.shipped - part.returned,
            };
            let units = units.min(most);
            if units == 0 {
                continue;
            }
            let mut moves = match kind {
                ChangeKind::Shipped => vec![(Bucket::OnHand, -units), (Bucket::Committed, -units)],
                ChangeKind::Cancelled => vec![(Bucket::Committed, -units)],
                _ => vec![(Bucket::OnHand, units)],
            };
            match kind {
                ChangeKind::Shipped => {
                    (part.committed, part.shipped) = (part.committed - units, part.shipped + units)
                }
                ChangeKind::Cancelled => part.committed -= units,
                _ => part.returned += units,
            }
            if kind != ChangeKind::Shipped {
                moves.extend(self.gives_back(part, units));
            }
            let place = (
                part.sku.as_str(),
                part.warehouse.as_str(),
                hold.storefront.as_str(),
            );
            self.write(kind, place, &moves, Some(operation));
            moved.push((self.entry.len() - 1, part.clone(), units));
        }
        let sum = |of: fn(&Part) -> i64| hold.parts.iter().map(of).sum::<i64>();
        let (committed, shipped, returned) = (sum(|p| p.committed), sum(|p| p.shipped), sum(|p| p.returned));
        hold.state = match (committed, shipped) {
            (1.., _) => ReservationState::Committed,
            (_, 0) => ReservationState::Cancelled,
            _ if shipped == returned => ReservationState::Returned,
            _ => ReservationState::Shipped,
        };
        for (place, part, units) in &moved {
            let effect = effect(hold.id, part, hold.state, hold.expires_at_ms, *units);
            self.entry[*place].reservation = Some(effect);
        }
        self.holds[at] = hold;
        !moved.is_empty()
    }

    /// Counts a cell. The count may find less than was promised.
    pub(super) fn count(&mut self, sku: &str, warehouse: &str, counted: i64) {
        let of = |bucket: &str| self.units(sku, warehouse, bucket);
        let delta = counted - of("on_hand");
        if delta == 0 {
            return;
        }
        let change = if delta > 0 {
            let fills = delta.min(of("deficit"));
            [
                (Bucket::Free, delta - fills),
                (Bucket::Safety, 0),
                (Bucket::Deficit, -fills),
            ]
        } else {
            let free = of("free").min(-delta);
            let safety = of("safety").min(-delta - free);
            [
                (Bucket::Free, -free),
                (Bucket::Safety, -safety),
                (Bucket::Deficit, -delta - free - safety),
            ]
        };
        let moves = [&[(Bucket::OnHand, delta)], &change[..]].concat();
        self.stock(ChangeKind::Counted, (sku, warehouse, ""), &moves);
    }

    /// Returns the cells that a live listing would have.
    pub(super) fn live(&self) -> Vec<v1::Cell> {
        let cell = |((sku, warehouse), units): (&(String, String), &BTreeMap<String, i64>)| {
            let of = |bucket: &str| units.get(bucket).copied().unwrap_or(0);
            let pools = units.iter().filter_map(|(name, units)| {
                let storefront = name.strip_prefix("pool ")?.to_owned();
                (*units != 0).then_some(v1::Pool {
                    storefront,
                    quantity: *units,
                })
            });
            v1::Cell {
                sku: sku.clone(),
                warehouse: warehouse.clone(),
                on_hand: of("on_hand"),
                free: of("free"),
                pools: pools.collect(),
                safety: of("safety"),
                held: of("held"),
                committed: of("committed"),
                damaged: of("damaged"),
                quality_hold: of("quality_hold"),
                deficit: of("deficit"),
                backordered: of("backordered"),
                in_transit: of("in_transit"),
            }
        };
        self.units.iter().map(cell).collect()
    }
}

fn effect(
    id: [u8; 16],
    part: &Part,
    state: ReservationState,
    expires_at_ms: u64,
    quantity: i64,
) -> ReservationEffect {
    ReservationEffect {
        reservation_id: Bytes::copy_from_slice(&id),
        line: part.line,
        state: state.into(),
        expires_at_ms,
        requested: part.requested,
        quantity,
        home: None,
        sourcing: 0,
    }
}
