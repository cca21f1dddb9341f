//! The Seal command: seals an operation id that took no effect.
//!
//! A refusal leaves nothing behind, so a request that was refused may be decided anew. That is wrong if an
//! earlier attempt of it had no answer. A copy of that attempt may still be on its way, and it would take
//! effect after the caller was told that nothing happened. A sealed id is remembered like one that took
//! effect, so the log refuses every such copy.

use crate::{OperationId, Refusal};

use super::{Ledger, orders::OrderState};

impl Ledger {
    pub(crate) fn decide_seal(&self, id: &OperationId) -> Result<(), Refusal> {
        // Prepared units do not count here. The home of another shard decides on them, and that home is asked
        // too.
        let is_order = self
            .orders
            .get(id)
            .is_some_and(|order| order.state != OrderState::Aborted);
        let is_reservation = self
            .reservations
            .get(id)
            .is_some_and(|reservation| reservation.state != crate::ReservationState::Prepared);
        if is_order || is_reservation || self.transfers.get(id).is_some() {
            return Err(Refusal::OperationIdReused);
        }
        Ok(())
    }
}
