//! Order of refusal when more is waiting than can be done: first new demand, then goods that move, and last
//! whatever was promised to somebody.

use std::collections::HashSet;

use holdfast_ledger::{About, Action, Concerns, OperationId, OrderStep, Sender};

use super::batch::Item;

/// Rank of a command under load, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Class {
    /// The command asks for units: Reserve, and the first steps of an order over several shards.
    Demand,
    /// All other commands.
    Ordinary,
    /// The command finishes what is held for somebody: Commit, Release, the later steps of orders.
    Promised,
}

impl Class {
    fn of(action: &Action) -> Self {
        match action {
            Action::Reserve { .. } | Action::Order(OrderStep::Begin { .. } | OrderStep::Prepare { .. }) => {
                Self::Demand
            }
            Action::Commit { .. }
            | Action::Release { .. }
            | Action::Seal
            | Action::Order(_)
            | Action::OfPart(_) => Self::Promised,
            _ => Self::Ordinary,
        }
    }

    /// Returns how many places of the queue the class may fill.
    fn limit(self, queue_limit: usize) -> usize {
        match self {
            Self::Demand => queue_limit.div_ceil(2),
            Self::Ordinary => queue_limit - queue_limit / 4,
            Self::Promised => queue_limit,
        }
    }
}

/// Splits the items of one submission into those that have room in the queue and those that do not. The queue
/// already has `waiting` commands. A class is taken as a whole or not at all. If a Reserve is refused here,
/// so are the commands about its reservation: otherwise they would be answered that it does not exist.
pub(super) fn shed(items: Vec<Item>, waiting: usize, queue_limit: usize) -> (Vec<Item>, Vec<Item>) {
    if waiting + items.len() <= Class::Demand.limit(queue_limit) {
        return (items, Vec::new());
    }
    let class = |item: &Item| Class::of(&item.command().action);
    let mut filled = waiting;
    let mut refused_classes = Vec::new();
    for each in [Class::Promised, Class::Ordinary, Class::Demand] {
        let count = items.iter().filter(|item| class(item) == each).count();
        if count > 0 && filled + count > each.limit(queue_limit) {
            refused_classes.push(each);
        } else {
            filled += count;
        }
    }
    let mut refused_ids: HashSet<OperationId> = HashSet::new();
    items.into_iter().partition(|item| {
        let command = item.command();
        let follows_refused = concerned(&command.action).is_some_and(|id| refused_ids.contains(&id));
        let refused = refused_classes.contains(&class(item)) || follows_refused;
        if refused && matches!(command.action, Action::Reserve { .. }) {
            refused_ids.insert(command.operation_id);
        }
        !refused
    })
}

/// Returns the reservation that an action moves on.
pub(super) fn concerned(action: &Action) -> Option<OperationId> {
    match action.concerns() {
        Concerns {
            about: About::Reservation(reservation_id, _),
            sender: Sender::Caller,
            ..
        } => Some(reservation_id),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use holdfast_ledger::{
        CallerReason, Command, Details, Principal, Reference, ReserveLine, ReserveMode, Sku, Source,
        Sourcing, StorefrontId, WarehouseId,
    };
    use tokio::sync::oneshot;
    use tokio::time::Instant;
    use tracing::Span;

    use super::super::batch::Batch;
    use super::*;
    use crate::raft_types::EncodedCommand;

    fn command(action: Action) -> Command {
        Command {
            operation_id: OperationId::from_slice(uuid::Uuid::now_v7().as_bytes()).unwrap(),
            principal: Principal::new("test").unwrap(),
            reference: Reference::default(),
            reason: CallerReason::new("").unwrap(),
            details: Details::default(),
            action,
        }
    }

    fn reserve() -> Command {
        let line = ReserveLine {
            sku: Sku::new("tea").unwrap(),
            quantity: 1,
            source: Source::Any,
        };
        command(Action::Reserve {
            storefront: StorefrontId::new("web").unwrap(),
            lines: vec![line],
            ttl_ms: 1_000,
            mode: ReserveMode::AllOrNothing,
            sourcing: Sourcing::AsGiven,
        })
    }

    fn receive() -> Command {
        command(Action::Receive {
            sku: Sku::new("tea").unwrap(),
            warehouse: WarehouseId::new("W1").unwrap(),
            quantity: 1,
            supply_id: None,
        })
    }

    fn commit(reservation_id: OperationId) -> Command {
        command(Action::Commit { reservation_id })
    }

    /// Returns how many reserves, arrivals and commits are taken, of a submission with `counts` of each.
    fn taken(counts: [usize; 3], waiting: usize, queue_limit: usize) -> [usize; 3] {
        let demand = (0..counts[0]).map(|_| reserve());
        let ordinary = (0..counts[1]).map(|_| receive());
        let promised = (0..counts[2]).map(|_| commit(reserve().operation_id));
        let (taken, refused) = shed(
            items(demand.chain(ordinary).chain(promised).collect()),
            waiting,
            queue_limit,
        );
        assert_eq!(taken.len() + refused.len(), counts.iter().sum::<usize>());
        [Class::Demand, Class::Ordinary, Class::Promised].map(|class| {
            let of_class = |item: &&Item| Class::of(&item.command().action) == class;
            taken.iter().filter(of_class).count()
        })
    }

    fn items(commands: Vec<Command>) -> Vec<Item> {
        let open: Vec<usize> = (0..commands.len()).collect();
        let commands = Arc::new(commands.into_iter().map(EncodedCommand::new).collect());
        let (reply, _replies) = oneshot::channel();
        Batch::items(
            commands,
            &open,
            Instant::now() + Duration::from_secs(60),
            reply,
            Span::none(),
        )
    }

    #[test]
    fn demand_goes_first_and_what_was_promised_last() {
        assert_eq!(taken([10, 10, 10], 0, 100), [10, 10, 10]);
        assert_eq!(taken([10, 10, 10], 45, 100), [0, 10, 10]);
        assert_eq!(taken([10, 10, 10], 70, 100), [0, 0, 10]);
        assert_eq!(taken([10, 10, 10], 95, 100), [0, 0, 0]);
        assert_eq!(taken([1, 0, 0], 0, 1), [1, 0, 0]);
        assert_eq!(taken([0, 0, 1], 99, 100), [0, 0, 1]);
    }

    #[test]
    fn what_follows_a_reserve_that_is_refused_is_refused_with_it() {
        let order = reserve();
        let (own, other) = (commit(order.operation_id), commit(reserve().operation_id));
        let (taken, refused) = shed(items(vec![order, own, other.clone()]), 60, 100);
        assert_eq!(refused.len(), 2);
        assert_eq!(taken[0].command().operation_id, other.operation_id);
    }
}
