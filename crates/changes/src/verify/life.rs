//! The life of one reservation in one shard: the places of its units, and the changes that may come next.

use holdfast_api::v1::{ChangeKind, ReservationState};

use super::cells::CellKey;

#[derive(Debug)]
pub(super) struct Reservation {
    pub(super) state: ReservationState,
    pub(super) expires_at_ms: u64,
    /// The shard that decides on an order over several shards; None for other orders.
    pub(super) home: Option<u32>,
    /// Empty in the home of an order that got its units elsewhere.
    pub(super) allocations: Vec<Allocation>,
}

/// The units of one line from one cell.
#[derive(Debug, Default)]
pub(super) struct Allocation {
    pub(super) line: u32,
    pub(super) cell: CellKey,
    pub(super) requested: i64,
    pub(super) held: i64,
    pub(super) committed: i64,
    pub(super) shipped: i64,
    pub(super) returned: i64,
}

impl Reservation {
    pub(super) fn find(&mut self, line: u32, cell: CellKey) -> Option<&mut Allocation> {
        self.allocations
            .iter_mut()
            .find(|part| part.line == line && part.cell == cell)
    }

    /// Returns whether a line got less than it asked for. Only best effort does that.
    pub(super) fn is_short(&self) -> bool {
        self.allocations.iter().any(|one| {
            let of_line = self.allocations.iter().filter(|part| part.line == one.line);
            of_line.map(|part| i128::from(part.held)).sum::<i128>() < i128::from(one.requested)
        })
    }

    fn sums(&self) -> [i128; 4] {
        let mut sums = [0; 4];
        for part in &self.allocations {
            for (sum, units) in sums
                .iter_mut()
                .zip([part.held, part.committed, part.shipped, part.returned])
            {
                *sum += i128::from(units);
            }
        }
        sums
    }

    /// Returns whether the units are where this state has them.
    pub(super) fn is_in(&self, state: ReservationState) -> bool {
        let [held, committed, shipped, returned] = self.sums();
        match state {
            ReservationState::Unspecified => false,
            _ if self.allocations.is_empty() => true,
            ReservationState::Prepared | ReservationState::Held => held > 0 && committed == 0 && shipped == 0,
            ReservationState::Committed => held == 0 && committed > 0,
            ReservationState::Shipped => held == 0 && committed == 0 && shipped > returned,
            ReservationState::Returned => held == 0 && committed == 0 && shipped > 0 && shipped == returned,
            ReservationState::Released | ReservationState::Expired | ReservationState::Cancelled => {
                held == 0 && committed == 0 && shipped == 0
            }
        }
    }

    pub(super) fn units(&self) -> String {
        let [held, committed, shipped, returned] = self.sums();
        format!("it has {held} units held, {committed} committed, {shipped} shipped, {returned} returned")
    }
}

impl Allocation {
    /// Moves units as a change says. Returns false and moves nothing when there are too few.
    pub(super) fn take(&mut self, kind: ChangeKind, quantity: i64) -> bool {
        let from = match kind {
            ChangeKind::Committed | ChangeKind::Released | ChangeKind::Expired | ChangeKind::Aborted => {
                self.held
            }
            ChangeKind::Shipped | ChangeKind::TransferredOut | ChangeKind::Cancelled => self.committed,
            ChangeKind::Returned => self.shipped - self.returned,
            _ => 0,
        };
        if quantity < 1 || quantity > from {
            return false;
        }
        match kind {
            ChangeKind::Committed => {
                self.held -= quantity;
                self.committed += quantity;
            }
            ChangeKind::Released | ChangeKind::Expired | ChangeKind::Aborted => self.held -= quantity,
            ChangeKind::Shipped | ChangeKind::TransferredOut => {
                self.committed -= quantity;
                self.shipped += quantity;
            }
            ChangeKind::Cancelled => self.committed -= quantity,
            _ => self.returned += quantity,
        }
        true
    }
}

/// Returns whether a reservation in this state may have this change. A participant that missed the
/// confirmation of its order goes from prepared directly to the state after it. The home misses nothing.
pub(super) fn allows(reservation: &Reservation, kind: ChangeKind, shard: u32) -> bool {
    use ChangeKind::{
        Aborted, Cancelled, Committed, Confirmed, Expired, Extended, Released, Returned, Shipped,
        TransferredOut,
    };
    match reservation.state {
        ReservationState::Prepared => match kind {
            Confirmed | Aborted => true,
            Committed | Released | Expired => reservation.home != Some(shard),
            _ => false,
        },
        ReservationState::Held => matches!(kind, Extended | Committed | Released | Expired),
        ReservationState::Committed => matches!(kind, Shipped | TransferredOut | Cancelled | Returned),
        _ => false,
    }
}

/// Returns whether a change of this kind may leave an open reservation in this state.
pub(super) fn leads_to(kind: ChangeKind, state: ReservationState) -> bool {
    use ReservationState::{Cancelled, Committed, Expired, Held, Prepared, Released, Returned, Shipped};
    match kind {
        ChangeKind::Reserved | ChangeKind::Extended | ChangeKind::Confirmed => state == Held,
        ChangeKind::Prepared => state == Prepared,
        ChangeKind::Committed => state == Committed,
        ChangeKind::Released | ChangeKind::Aborted => state == Released,
        ChangeKind::Expired => state == Expired,
        ChangeKind::Shipped => matches!(state, Committed | Shipped),
        ChangeKind::TransferredOut => state == Shipped,
        ChangeKind::Cancelled => matches!(state, Committed | Cancelled | Shipped | Returned),
        ChangeKind::Returned => state == Committed,
        _ => false,
    }
}
