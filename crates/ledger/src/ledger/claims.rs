//! The rules about the owner of an id in this shard.
//!
//! Callers choose ids, and may send several requests under one id: the same lines in another order, another
//! order over some of the same shards, or another kind of command. By the second rules, the id belongs to the
//! first request with it that a shard receives. Every other request is refused with
//! [`Refusal::OperationIdReused`] and changes nothing. An order is named by its id, its home and its
//! fingerprint together. A step that has only the id never counts for another order's units.
//!
//! By the first rules, an order's step could take the place of another order's units. Ledgers still decide so
//! until their log adopts the second rules.

use crate::{OperationId, PreparedPart, Refusal, ReservationId, Rules, ShardNumber};

use super::{Ledger, order_link::OrderLink, orders::Order, reservation::Reservation};

impl Order {
    /// Returns whether nothing is known of the order except that an attempt was aborted.
    pub(crate) fn is_tombstone(&self) -> bool {
        self.fingerprint == 0
    }

    /// Returns whether units belong to this order.
    pub(crate) fn has_part(&self, link: &OrderLink) -> bool {
        (self.home, self.fingerprint) == (link.home, link.fingerprint)
    }
}

impl Ledger {
    /// Returns whether the ledger decides by the second rules.
    pub(crate) fn has_second_rules(&self) -> bool {
        self.rules >= Rules::Second
    }

    /// Refuses a Begin or Prepare if its id belongs to another request here.
    pub(crate) fn check_claim(
        &self,
        id: &ReservationId,
        home: ShardNumber,
        fingerprint: u64,
    ) -> Result<(), Refusal> {
        if self.operations.is_sealed(id) {
            return Err(Refusal::OperationSealed);
        }
        let reservation = self.reservations.get(id);
        let by_another_order = self.orders.get(id).is_some_and(|order| {
            !order.is_tombstone() && (order.home, order.fingerprint) != (home, fingerprint)
        });
        let by_other_units = reservation.as_ref().is_some_and(|reservation| {
            let same = |link: &OrderLink| (link.home, link.fingerprint) == (home, fingerprint);
            !reservation.order.as_ref().is_some_and(same)
        });
        let by_a_transfer = reservation.is_none() && self.transfers.get(id).is_some();
        if by_another_order || by_other_units || by_a_transfer || self.operations.knows(id) {
            return Err(Refusal::OperationIdReused);
        }
        Ok(())
    }

    /// Returns whether an id belongs to an order, or to something that an order made. Needed only for a
    /// command whose operation id is not remembered.
    pub(crate) fn is_claimed(&self, id: &OperationId) -> bool {
        self.has_second_rules()
            && (self.orders.get(id).is_some()
                || self.reservations.contains(id)
                || self.transfers.get(id).is_some())
    }

    /// Returns whether this shard decides about the units that it has under an id.
    pub(crate) fn decides_its_part(&self, id: &ReservationId) -> bool {
        let Some(order) = self.orders.get(id) else {
            return false;
        };
        if !self.has_second_rules() {
            return true;
        }
        let reservation = self.reservations.get(id);
        let link = reservation.and_then(|reservation| reservation.order);
        link.is_some_and(|link| order.has_part(&link))
    }

    /// Returns the order that is decided here under an id. `own` is the reservation with that id. Returns
    /// None when that reservation is not part of the order.
    pub(crate) fn order_of(&self, id: &ReservationId, own: Option<&Reservation>) -> Option<&Order> {
        let has_it = |order: &&Order| match own {
            Some(reservation) if self.has_second_rules() => {
                let link = reservation.order.as_ref();
                link.is_some_and(|link| order.has_part(link))
            }
            _ => true,
        };
        self.orders.get(id).filter(has_it)
    }

    /// Returns the home's own units of the order that is decided here under an id.
    pub(crate) fn own_part(&self, id: &ReservationId) -> Option<PreparedPart> {
        let is_own = !self.has_second_rules() || self.decides_its_part(id);
        is_own.then(|| self.prepared_part(id)).flatten()
    }
}
