//! What a home says of its orders.

use crate::{DueInquiry, DueSettlement, OrderView, OrderWork, ReservationId};

use super::super::{Ledger, orders::OrderState};

impl Ledger {
    pub(crate) fn order_view(&self, id: &ReservationId) -> Option<OrderView> {
        let link = self
            .reservations
            .get(id)
            .and_then(|reservation| reservation.order);
        match (self.orders.get(id), link) {
            (Some(order), link) => Some(OrderView {
                incarnation: link.map_or(0, |link| link.incarnation),
                home: order.home,
                attempt: order.attempt,
                participants: match &order.state {
                    OrderState::Decided(decided) => decided.incarnations.keys().copied().collect(),
                    OrderState::Undecided | OrderState::Aborted => Vec::new(),
                },
            }),
            (None, Some(link)) => Some(OrderView {
                incarnation: link.incarnation,
                home: link.home,
                attempt: link.attempt,
                participants: Vec::new(),
            }),
            (None, None) => None,
        }
    }

    /// What has to be told and asked, up to `limit` of each.
    pub(crate) fn order_work(&self, limit: usize) -> OrderWork {
        let settle = self.orders.unsettled().flat_map(|(id, order)| {
            order.unacknowledged.iter().filter_map(|shard| {
                Some(DueSettlement {
                    reservation_id: *id,
                    shard: *shard,
                    settlement: order.settlement(*shard)?,
                })
            })
        });
        let inquire = self.reservations.prepared().filter_map(|(id, reservation)| {
            let link = reservation.order.as_ref()?;
            // The home's own units are settled with the decision.
            self.orders.get(id).is_none().then_some(DueInquiry {
                reservation_id: *id,
                home: link.home,
                attempt: link.attempt,
                incarnation: link.incarnation,
                prepared_at_ms: reservation.created_at_ms,
            })
        });
        OrderWork {
            settle: settle.take(limit).collect(),
            inquire: inquire.take(limit).collect(),
        }
    }
}
