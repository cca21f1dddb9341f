//! The home's reports about its orders.

use crate::{DueInquiry, DueSettlement, OrderView, OrderWork, ReservationId};

use super::super::{Ledger, order_link::OrderLink, orders::OrderState, reservation::Reservation};

impl Ledger {
    pub(crate) fn order_view(&self, id: &ReservationId) -> Option<OrderView> {
        let link = self
            .reservations
            .get(id)
            .and_then(|reservation| reservation.order);
        // The part that has the id here may not belong to the order that is decided here under the id.
        let decided_here = |link: &OrderLink| self.orders.get(id).filter(|order| order.has_part(link));
        match (link.as_ref().and_then(decided_here), link) {
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

    /// Returns the settlements and questions that are due: up to `limit` settlements for each participant,
    /// and up to `limit` inquiries for each home.
    pub(crate) fn order_work(&self, limit: usize) -> OrderWork {
        let settle = self.orders.unsettled(limit).filter_map(|(shard, id, order)| {
            Some(DueSettlement {
                reservation_id: *id,
                shard,
                settlement: order.settlement(shard)?,
            })
        });
        let inquiry = |(id, reservation): (&ReservationId, Reservation)| {
            let link = reservation.order.as_ref()?;
            // The home's own units are settled with the decision.
            (!self.decides_its_part(id)).then_some(DueInquiry {
                reservation_id: *id,
                home: link.home,
                attempt: link.attempt,
                incarnation: link.incarnation,
                prepared_at_ms: reservation.created_at_ms,
            })
        };
        let by_home = self.reservations.prepared();
        let inquire = by_home.flat_map(|of_home| of_home.filter_map(inquiry).take(limit));
        OrderWork {
            settle: settle.collect(),
            inquire: inquire.collect(),
        }
    }
}
