//! Says what an action is about, who sends it, and which shards carry it out. This is the only place that
//! says it: routing, permissions, rules and shedding ask here. So a new action has to be placed once.

use crate::{
    Action, LineQuantity, OrderLine, OrderStep, ReservationId, ReserveLine, ReturnOf, Sku, TransferId,
    TransferLine,
};

/// The subject of an action, the SKUs that it names, who sends it, and where it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concerns<'a> {
    /// The subject.
    pub about: About<'a>,
    /// The SKUs that the action names.
    pub skus: Skus<'a>,
    /// The sender.
    pub sender: Sender,
    /// The shards that carry it out.
    pub done_by: DoneBy,
}

/// The SKUs that an action names. Nothing is collected before somebody iterates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Skus<'a> {
    /// The action names no SKU.
    None,
    /// It names this one.
    One(&'a Sku),
    /// It names those of the lines of a Reserve.
    Reserve(&'a [ReserveLine]),
    /// It names those of the lines of a transfer.
    Transfer(&'a [TransferLine]),
    /// It names those of a part of an order over several shards.
    Part(&'a [OrderLine]),
}

impl<'a> Skus<'a> {
    /// Iterates over the SKUs in the order of the lines.
    pub fn iter(self) -> impl Iterator<Item = &'a Sku> {
        let (one, reserve, transfer, part) = match self {
            Self::None => (None, &[][..], &[][..], &[][..]),
            Self::One(sku) => (Some(sku), &[][..], &[][..], &[][..]),
            Self::Reserve(lines) => (None, lines, &[][..], &[][..]),
            Self::Transfer(lines) => (None, &[][..], lines, &[][..]),
            Self::Part(lines) => (None, &[][..], &[][..], lines),
        };
        let reserve = reserve.iter().map(|line| &line.sku);
        let transfer = transfer.iter().map(|line| &line.sku);
        let part = part.iter().map(|line| &line.line.sku);
        one.into_iter().chain(reserve).chain(transfer).chain(part)
    }
}

/// The subject of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About<'a> {
    /// The cells of the SKUs that it names.
    Skus,
    /// A reservation, and the units of it that the action names. No units named means all.
    Reservation(ReservationId, &'a [LineQuantity]),
    /// A transfer.
    Transfer(TransferId),
    /// The shard, or an order over several shards whose id is the command's own.
    Shard,
}

/// The sender of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// A caller.
    Caller,
    /// A node: a coordinator, a resolver, or whoever seals an id or adopts rules. Never a caller.
    Node,
}

/// The shards that carry out an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DoneBy {
    /// One shard carries it out alone.
    OneShard,
    /// Each shard that has units of the order or transfer carries out its own part.
    EachShard,
}

impl Action {
    /// Returns what the action is about.
    pub fn concerns(&self) -> Concerns<'_> {
        let caller = |about, skus| Concerns {
            about,
            skus,
            sender: Sender::Caller,
            done_by: DoneBy::OneShard,
        };
        let node = |about, skus| Concerns {
            about,
            skus,
            sender: Sender::Node,
            done_by: DoneBy::OneShard,
        };
        let of_each_shard = |concerns| Concerns {
            done_by: DoneBy::EachShard,
            ..concerns
        };
        match self {
            Self::Reserve { lines, .. } => caller(About::Skus, Skus::Reserve(lines)),
            Self::TransferOut { lines, .. } => caller(About::Skus, Skus::Transfer(lines)),
            Self::Return {
                of: ReturnOf::Unreferenced { sku, .. },
                ..
            }
            | Self::Receive { sku, .. }
            | Self::Adjust { sku, .. }
            | Self::Count { sku, .. }
            | Self::MoveBucket { sku, .. }
            | Self::SetPolicy { sku, .. }
            | Self::AllocatePool { sku, .. }
            | Self::ExpectSupply { sku, .. } => caller(About::Skus, Skus::One(sku)),
            Self::Extend { reservation_id, .. }
            | Self::Commit { reservation_id }
            | Self::Release { reservation_id } => {
                caller(About::Reservation(*reservation_id, &[]), Skus::None)
            }
            Self::Ship {
                reservation_id,
                lines,
            }
            | Self::Cancel {
                reservation_id,
                lines,
            }
            | Self::Return {
                of:
                    ReturnOf::Reservation {
                        reservation_id,
                        lines,
                    },
                ..
            } => of_each_shard(caller(About::Reservation(*reservation_id, lines), Skus::None)),
            Self::TransferIn {
                transfer_id, lines, ..
            } => of_each_shard(caller(About::Transfer(*transfer_id), Skus::Transfer(lines))),
            Self::CloseTransfer { transfer_id } => {
                of_each_shard(caller(About::Transfer(*transfer_id), Skus::None))
            }
            Self::Dispatch { reservation_id, .. } => {
                of_each_shard(node(About::Reservation(*reservation_id, &[]), Skus::None))
            }
            Self::OfPart(action) => Concerns {
                sender: Sender::Node,
                done_by: DoneBy::OneShard,
                ..action.concerns()
            },
            Self::Order(OrderStep::Begin { part: Some(part), .. } | OrderStep::Prepare { part, .. }) => {
                node(About::Shard, Skus::Part(&part.lines))
            }
            Self::Order(
                OrderStep::Begin { part: None, .. }
                | OrderStep::Decide { .. }
                | OrderStep::Settle(_)
                | OrderStep::Acknowledge(_)
                | OrderStep::Inquire { .. },
            )
            | Self::AdoptRules { .. }
            | Self::Seal => node(About::Shard, Skus::None),
            Self::RegisterConsumer { .. } | Self::AdvanceConsumer { .. } | Self::RemoveConsumer { .. } => {
                caller(About::Shard, Skus::None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Disposition, OperationId, TransferLine, WarehouseId};

    fn id() -> OperationId {
        let mut bytes = [7; 16];
        (bytes[6], bytes[8]) = (0x70, 0x80);
        OperationId::from_slice(&bytes).unwrap()
    }

    #[test]
    fn a_part_of_an_order_concerns_what_its_action_concerns_and_comes_from_a_node() {
        let line = LineQuantity {
            line: 2,
            warehouse: None,
            quantity: 3,
        };
        let ship = Action::Ship {
            reservation_id: id(),
            lines: vec![line.clone()],
        };
        let lines = [line];
        let of_caller = ship.concerns();
        assert_eq!(of_caller.about, About::Reservation(id(), &lines));
        assert_eq!((of_caller.skus, of_caller.sender), (Skus::None, Sender::Caller));
        assert_eq!(of_caller.done_by, DoneBy::EachShard);
        let of_part = Action::OfPart(Box::new(ship.clone()));
        let of_node = of_part.concerns();
        assert_eq!((of_node.about, of_node.sender), (of_caller.about, Sender::Node));
        assert_eq!(of_node.done_by, DoneBy::OneShard);
    }

    #[test]
    fn goods_that_arrive_concern_their_transfer_and_name_its_skus() {
        let receive = Action::Receive {
            sku: Sku::new("tea").unwrap(),
            warehouse: WarehouseId::new("east").unwrap(),
            quantity: 1,
            supply_id: None,
        };
        let of_receive = receive.concerns();
        assert_eq!(of_receive.about, About::Skus);
        assert_eq!(
            of_receive.skus.iter().map(Sku::as_str).collect::<Vec<_>>(),
            ["tea"]
        );
        let arrive = Action::TransferIn {
            transfer_id: id(),
            lines: vec![TransferLine {
                sku: Sku::new("tea").unwrap(),
                quantity: 1,
            }],
            disposition: Disposition::Restock,
        };
        let of_arrival = arrive.concerns();
        assert_eq!(of_arrival.about, About::Transfer(id()));
        assert_eq!(
            of_arrival.skus.iter().map(Sku::as_str).collect::<Vec<_>>(),
            ["tea"]
        );
    }
}
