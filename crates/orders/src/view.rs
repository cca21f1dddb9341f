//! An order as a whole: the parts of all its shards, joined.

use futures::future::join_all;
use holdfast_ledger::{ReservationId, ReservationState, ReservationView};
use holdfast_shard::Freshness;
use tokio::time::Instant;

use super::{OrderError, Orders};

/// The shards of an order and their parts, in order of the shard.
pub(super) struct Parts {
    pub(super) home: u32,
    pub(super) parts: Vec<(u32, ReservationView)>,
}

impl Orders {
    /// Reads the parts of an order at its home and then at its participants, each at a moment of its own. A
    /// home may have forgotten its own part: `closed_retention_ms` after it was cancelled, or
    /// `shipped_retention_ms` after it was shipped or the order was committed. Then every shard is asked,
    /// because units may still be on their way. Returns None when the order is not known, or not known to be
    /// committed.
    pub(super) async fn parts(
        &self,
        id: ReservationId,
        home: u32,
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<Option<Parts>, OrderError> {
        let Some(own) = self.part(home, id, freshness, deadline).await? else {
            // Rare and large: the future of each call has room for all its branches.
            return Box::pin(self.parts_without_home(id, home, freshness, deadline)).await;
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

    async fn parts_without_home(
        &self,
        id: ReservationId,
        home: u32,
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<Option<Parts>, OrderError> {
        let others = (0..).take(self.shards.len()).filter(|shard| *shard != home);
        let reads = others.map(|shard| async move {
            let part = self.part(shard, id, freshness, deadline).await?;
            Ok(part.map(|part| (shard, part)))
        });
        let found: Result<Vec<_>, OrderError> = join_all(reads).await.into_iter().collect();
        Ok(Parts::of_forgotten(home, found?.into_iter().flatten()))
    }

    /// Reads the remaining parts of an order that `home` may have forgotten. Returns them as one, and a shard
    /// that has one of them.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub async fn forgotten(
        &self,
        id: ReservationId,
        home: u32,
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<Option<(u32, ReservationView)>, OrderError> {
        let parts = Box::pin(self.parts_without_home(id, home, freshness, deadline)).await?;
        Ok(parts.and_then(|parts| Some((parts.shard()?, parts.joined()?))))
    }

    /// Reads the whole order of which a shard has a part. Returns the home too, if it has a part.
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
            Some(parts) => Ok((parts.shard(), parts.joined().unwrap_or(part))),
            None => Ok((None, part)),
        }
    }
}

impl Parts {
    /// Returns the remaining parts of an order that its home has forgotten. Only parts that follow a commit
    /// count. Nothing else outlives a home's memory, and a prepared part waits for its home. Something else
    /// under the same id has another home, or none.
    fn of_forgotten(home: u32, found: impl Iterator<Item = (u32, ReservationView)>) -> Option<Self> {
        let parts: Vec<(u32, ReservationView)> = found
            .filter(|(_, part)| part.order.as_ref().is_some_and(|order| order.home == home))
            .filter(|(_, part)| !is_before_commit(part.state))
            .collect();
        (!parts.is_empty()).then_some(Self { home, parts })
    }

    /// Returns the shard to ask about the order: its home, or the first one with a part when the home has
    /// none.
    fn shard(&self) -> Option<u32> {
        let mut shards = self.parts.iter().map(|(shard, _)| *shard);
        let first = shards.next()?;
        Some(
            match first == self.home || shards.any(|shard| shard == self.home) {
                true => self.home,
                false => first,
            },
        )
    }

    /// Returns the home's part, or the first part of an order that its home has forgotten.
    fn first(&self) -> Option<&ReservationView> {
        let own = self.parts.iter().find(|(shard, _)| *shard == self.home);
        own.or(self.parts.first()).map(|(_, part)| part)
    }

    /// Returns the state of the order. Before a commit it is the home's state; afterwards it follows from the
    /// places of the units.
    pub(super) fn state(&self) -> Option<ReservationState> {
        let first = self.first()?;
        if is_before_commit(first.state) {
            return Some(first.state);
        }
        Some(combined(self.parts.iter().map(|(_, part)| part.state)))
    }

    /// Joins all lines, in order.
    fn joined(self) -> Option<ReservationView> {
        let state = self.state()?;
        let mut whole = self.first()?.clone();
        whole.state = state;
        whole.lines = self.parts.into_iter().flat_map(|(_, part)| part.lines).collect();
        whole.lines.sort_by_key(|line| line.line);
        Some(whole)
    }
}

/// Returns whether the order was never committed.
pub(super) fn is_before_commit(state: ReservationState) -> bool {
    matches!(
        state,
        ReservationState::Prepared
            | ReservationState::Held
            | ReservationState::Released
            | ReservationState::Expired
    )
}

/// Combines the states of the parts of a committed order. A part that has not heard of the commit yet counts
/// as committed.
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
pub(crate) mod tests {
    use holdfast_ledger::ReservationState::{
        Cancelled, Committed, Held, Prepared, Released, Returned, Shipped,
    };
    use holdfast_ledger::{
        OrderView, Reference, ReservationId, ReservationState, ReservationView, StorefrontId,
    };

    use super::{Parts, combined};

    /// Makes a part of an order with this home, or a reservation of one shard when there is no home.
    pub(crate) fn part(state: ReservationState, home: Option<u32>) -> ReservationView {
        let mut id = [0x70; 16];
        id[8] = 0x80;
        ReservationView {
            reservation_id: ReservationId::from_slice(&id).unwrap(),
            storefront: StorefrontId::new("web").unwrap(),
            state,
            created_at_ms: 0,
            expires_at_ms: 0,
            reference: Reference::default(),
            order: home.map(|home| OrderView {
                home,
                attempt: 1,
                incarnation: 1,
                participants: Vec::new(),
            }),
            lines: Vec::new(),
        }
    }

    #[test]
    fn an_order_that_its_home_has_forgotten_is_what_follows_its_commit_elsewhere() {
        let of = |found: &[(u32, ReservationState, Option<u32>)]| {
            let found = found
                .iter()
                .map(|(shard, state, home)| (*shard, part(*state, *home)));
            let parts = Parts::of_forgotten(2, found)?;
            let shards: Vec<u32> = parts.parts.iter().map(|(shard, _)| *shard).collect();
            assert_eq!(
                parts.shard(),
                shards.first().copied(),
                "the home knows nothing of it"
            );
            Some((shards, parts.state().unwrap()))
        };
        assert_eq!(of(&[]), None);
        let open = [(0, Shipped, Some(2)), (1, Committed, Some(2))];
        assert_eq!(of(&open), Some((vec![0, 1], Committed)));
        let stale = [(0, Released, Some(2)), (1, Shipped, Some(2))];
        assert_eq!(of(&stale), Some((vec![1], Shipped)));
        assert_eq!(of(&[(0, Prepared, Some(2)), (1, Held, Some(2))]), None);
        let others = [
            (0, Committed, None),
            (1, Committed, Some(3)),
            (3, Cancelled, Some(2)),
        ];
        assert_eq!(of(&others), Some((vec![3], Cancelled)));
    }

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
