//! The one answer to what an action is about. Routing, permissions, rules and shedding all ask it here, so a
//! new action has to be placed once.

use smallvec::{SmallVec, smallvec};

use crate::{Action, LineQuantity, OrderStep, ReservationId, ReturnOf, Sku, TransferId};

/// The subject of an action, the SKUs that it names, and who sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concerns<'a> {
    /// The subject.
    pub about: About<'a>,
    /// The SKUs that the action names, in the order of its lines. Empty when it names none.
    pub skus: SmallVec<[&'a Sku; 1]>,
    /// The sender.
    pub sender: Sender,
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

impl Action {
    /// Returns what the action is about.
    pub fn concerns(&self) -> Concerns<'_> {
        let caller = |about, skus| Concerns {
            about,
            skus,
            sender: Sender::Caller,
        };
        let node = |about, skus| Concerns {
            about,
            skus,
            sender: Sender::Node,
        };
        match self {
            Self::Reserve { lines, .. } => caller(About::Skus, lines.iter().map(|line| &line.sku).collect()),
            Self::TransferOut { lines, .. } => {
                caller(About::Skus, lines.iter().map(|line| &line.sku).collect())
            }
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
            | Self::ExpectSupply { sku, .. } => caller(About::Skus, smallvec![sku]),
            Self::Extend { reservation_id, .. }
            | Self::Commit { reservation_id }
            | Self::Release { reservation_id } => {
                caller(About::Reservation(*reservation_id, &[]), SmallVec::new())
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
            } => caller(About::Reservation(*reservation_id, lines), SmallVec::new()),
            Self::TransferIn {
                transfer_id, lines, ..
            } => caller(
                About::Transfer(*transfer_id),
                lines.iter().map(|line| &line.sku).collect(),
            ),
            Self::CloseTransfer { transfer_id } => caller(About::Transfer(*transfer_id), SmallVec::new()),
            Self::Dispatch { reservation_id, .. } => {
                node(About::Reservation(*reservation_id, &[]), SmallVec::new())
            }
            Self::OfPart(action) => Concerns {
                sender: Sender::Node,
                ..action.concerns()
            },
            Self::Order(OrderStep::Begin { part: Some(part), .. } | OrderStep::Prepare { part, .. }) => node(
                About::Shard,
                part.lines.iter().map(|line| &line.line.sku).collect(),
            ),
            Self::Order(
                OrderStep::Begin { part: None, .. }
                | OrderStep::Decide { .. }
                | OrderStep::Settle(_)
                | OrderStep::Acknowledge(_)
                | OrderStep::Inquire { .. },
            )
            | Self::AdoptRules { .. }
            | Self::Seal => node(About::Shard, SmallVec::new()),
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
        assert_eq!((of_caller.skus.len(), of_caller.sender), (0, Sender::Caller));
        let of_part = Action::OfPart(Box::new(ship.clone()));
        let of_node = of_part.concerns();
        assert_eq!((of_node.about, of_node.sender), (of_caller.about, Sender::Node));
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
        assert_eq!(of_receive.skus[0].as_str(), "tea");
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
        assert_eq!(of_arrival.skus[0].as_str(), "tea");
    }
}
