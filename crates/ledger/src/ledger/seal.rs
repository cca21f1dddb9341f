//! Seal: closes an operation id that took no effect.
//!
//! A refusal leaves nothing behind, so a request that was refused may be decided anew. That is wrong after an attempt without an
//! answer: a copy of it may still be on its way, and would act after the caller was told that nothing happened. A sealed
//! id is remembered like one that took effect, so the log refuses every such copy.

use crate::{OperationId, Refusal};

use super::{Ledger, orders::OrderState};

impl Ledger {
    pub(crate) fn decide_seal(&self, id: &OperationId) -> Result<(), Refusal> {
        // Units that another shard's home decides on never become its own: that home is asked too.
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
