//! Changes of one operation on a reservation: the movement of a cell's buckets together with the effect on a
//! line, or the effect alone.

use crate::{
    Cause, ChangeKind, ReservationEffect, ReservationId, ReservationState, ShardNumber, SourcingReason,
};

use super::{
    cell::Deltas,
    cell_key::CellKey,
    stock::{Recording, Step, Stock},
};

/// The part that all changes of one operation on a reservation have in common.
#[derive(Clone, Copy)]
pub(crate) struct ReservationSteps<'a> {
    pub(crate) kind: ChangeKind,
    pub(crate) id: ReservationId,
    pub(crate) storefront: u16,
    /// The state after the operation.
    pub(crate) state: ReservationState,
    pub(crate) expires_at_ms: u64,
    pub(crate) home: Option<ShardNumber>,
    pub(crate) cause: &'a Cause,
}

/// The units of a line that move in one cell.
pub(crate) struct LineMove {
    pub(crate) cell: CellKey,
    pub(crate) quantity: i64,
    pub(crate) deltas: Deltas,
    /// The reason for choosing the warehouse. Set only when units are taken.
    pub(crate) sourcing: Option<SourcingReason>,
}

impl<'a> ReservationSteps<'a> {
    /// Returns the step that moves units of a line, given its number and the units that it asked for.
    pub(crate) fn on_line(&self, (line, requested): (u32, i64), moved: LineMove) -> Step<'a> {
        Step {
            kind: self.kind,
            cell: moved.cell,
            storefront: Some(self.storefront),
            deltas: moved.deltas,
            reservation: Some(ReservationEffect {
                line,
                requested,
                quantity: moved.quantity,
                sourcing: moved.sourcing,
                ..self.on_the_whole()
            }),
            cause: self.cause,
        }
    }

    /// Records that the reservation changed while no unit moved.
    pub(crate) fn note(&self, stock: &mut Stock, recording: &mut Recording) {
        let storefront = stock.storefronts.name(self.storefront).clone();
        let effect = (Some(self.on_the_whole()), None);
        stock.note(recording, self.kind, None, storefront, effect, self.cause);
    }

    fn on_the_whole(&self) -> ReservationEffect {
        ReservationEffect {
            reservation_id: self.id,
            line: 0,
            state: self.state,
            expires_at_ms: self.expires_at_ms,
            requested: 0,
            quantity: 0,
            home: self.home,
            sourcing: None,
        }
    }
}
