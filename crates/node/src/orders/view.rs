//! An order as a whole: what each shard has of it, put together.

use futures::future::join_all;
use holdfast_ledger::{ReservationId, ReservationState, ReservationView};
use holdfast_shard::Freshness;
use tokio::time::Instant;

use super::{OrderError, Orders};

/// The shards of an order and what they have, in order.
pub(super) struct Parts {
    pub(super) home: u32,
    pub(super) parts: Vec<(u32, ReservationView)>,
}

impl Orders {
    /// Reads the parts of an order at its home and then at its participants, each as of a moment of its own. None: the home does not
    /// know it.
    pub(super) async fn parts(
        &self,
        id: ReservationId,
        home: u32,
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<Option<Parts>, OrderError> {
        let Some(own) = self.part(home, id, freshness, deadline).await? else {
            return Ok(None);
        };
        let others: Vec<u32> = own
            .order
            .iter()
            .flat_map(|order| order.participants.iter().copied())
            .filter(|shard| *shard != home)
            .collect();
        let reads = others
            .iter()
            .map(|shard| self.part(*shard, id, freshness, deadline));
        let mut parts = vec![(home, own)];
        for (shard, part) in others.iter().zip(join_all(reads).await) {
            if let Some(part) = part? {
                parts.push((*shard, part));
            }
        }
        parts.sort_by_key(|(shard, _)| *shard);
        Ok(Some(Parts { home, parts }))
    }

    /// The whole order that a shard has a part of.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub async fn whole(
        &self,
        part: ReservationView,
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<(Option<u32>, ReservationView), OrderError> {
        let Some(home) = part.order.as_ref().map(|order| order.home) else {
            return Ok((None, part));
        };
        match self.parts(part.reservation_id, home, freshness, deadline).await? {
            Some(parts) => Ok((Some(home), parts.joined().unwrap_or(part))),
            None => Ok((None, part)),
        }
    }
}

impl Parts {
    fn own(&self) -> Option<&ReservationView> {
        self.parts
            .iter()
            .find(|(shard, _)| *shard == self.home)
            .map(|(_, part)| part)
    }

    /// How the order stands: while it is not committed as its home says, then by where its units are.
    pub(super) fn state(&self) -> Option<ReservationState> {
        let own = self.own()?;
        let undone = matches!(
            own.state,
            ReservationState::Prepared
                | ReservationState::Held
                | ReservationState::Released
                | ReservationState::Expired
        );
        if undone {
            return Some(own.state);
        }
        Some(combined(self.parts.iter().map(|(_, part)| part.state)))
    }

    /// All lines, in order.
    fn joined(self) -> Option<ReservationView> {
        let state = self.state()?;
        let mut whole = self.own()?.clone();
        whole.state = state;
        whole.lines = self.parts.into_iter().flat_map(|(_, part)| part.lines).collect();
        whole.lines.sort_by_key(|line| line.line);
        Some(whole)
    }
}

/// The state of an order that was committed, from those of its parts. A part that has not heard of it yet counts as committed.
pub(super) fn combined(parts: impl Iterator<Item = ReservationState>) -> ReservationState {
    let rank = |state: &ReservationState| match state {
        ReservationState::Prepared | ReservationState::Held | ReservationState::Committed => 3,
        ReservationState::Shipped => 2,
        ReservationState::Returned => 1,
        ReservationState::Cancelled | ReservationState::Released | ReservationState::Expired => 0,
    };
    match parts.max_by_key(rank) {
        Some(ReservationState::Shipped) => ReservationState::Shipped,
        Some(ReservationState::Returned) => ReservationState::Returned,
        Some(ReservationState::Cancelled | ReservationState::Released | ReservationState::Expired) => {
            ReservationState::Cancelled
        }
        _ => ReservationState::Committed,
    }
}

#[cfg(test)]
mod tests {
    use super::combined;
    use holdfast_ledger::ReservationState::{Cancelled, Committed, Held, Returned, Shipped};

    #[test]
    fn an_order_is_as_far_as_the_part_that_is_least_far() {
        for (parts, whole) in [
            (vec![Shipped, Committed], Committed),
            (vec![Shipped, Held], Committed),
            (vec![Shipped, Returned, Cancelled], Shipped),
            (vec![Returned, Cancelled], Returned),
            (vec![Cancelled, Cancelled], Cancelled),
        ] {
            assert_eq!(combined(parts.iter().copied()), whole, "{parts:?}");
        }
    }
}
