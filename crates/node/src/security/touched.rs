//! Finds what a command touches: its verb, its storefronts, its warehouses.

use holdfast_guard::policy::Touched;
use holdfast_guard::verb::Verb;
use holdfast_ledger::{Action, LineQuantity, ReservationView, ReturnOf, Source};

/// Returns the verb of an action. Only nodes send steps of orders, never callers, so those count as admin.
pub(crate) fn verb_of(action: &Action) -> Verb {
    match action {
        Action::Reserve { .. } => Verb::Reserve,
        Action::Extend { .. } => Verb::Extend,
        Action::Commit { .. } => Verb::Commit,
        Action::Release { .. } => Verb::Release,
        Action::Ship { .. } => Verb::Ship,
        Action::Cancel { .. } => Verb::Cancel,
        Action::Return { .. } => Verb::Return,
        Action::Receive { .. } | Action::ExpectSupply { .. } => Verb::Receive,
        Action::Adjust { .. } => Verb::Adjust,
        Action::Count { .. } => Verb::Count,
        Action::MoveBucket { .. } => Verb::Move,
        Action::SetPolicy { .. } | Action::AllocatePool { .. } => Verb::Policy,
        Action::TransferOut { .. } | Action::TransferIn { .. } | Action::CloseTransfer { .. } => {
            Verb::Transfer
        }
        Action::Order(_)
        | Action::OfPart(_)
        | Action::Dispatch { .. }
        | Action::AdoptRules { .. }
        | Action::Seal
        // Beside the verb, `services/consumers.rs` asks whether the consumer is required.
        | Action::RegisterConsumer { .. }
        | Action::RemoveConsumer { .. } => Verb::Admin,
        Action::AdvanceConsumer { .. } => Verb::Changes,
    }
}

/// Returns the storefronts and warehouses that an action names, or None when it names a reservation or a
/// transfer instead.
pub(crate) fn touched(action: &Action) -> Option<(Touched<'_>, Touched<'_>)> {
    let nowhere = Touched::Nothing;
    match action {
        Action::Reserve {
            storefront, lines, ..
        } => {
            let mut warehouses = Vec::new();
            for line in lines {
                match &line.source {
                    Source::Any => return Some((Touched::one(storefront.as_str()), Touched::Everything)),
                    Source::Warehouse(warehouse) => warehouses.push(warehouse.as_str()),
                    Source::Preference(list) => warehouses.extend(list.iter().map(|w| w.as_str())),
                }
            }
            Some((Touched::one(storefront.as_str()), Touched::These(warehouses)))
        }
        Action::Return {
            of: ReturnOf::Unreferenced { warehouse, .. },
            ..
        }
        | Action::Receive { warehouse, .. }
        | Action::Adjust { warehouse, .. }
        | Action::Count { warehouse, .. }
        | Action::MoveBucket { warehouse, .. }
        | Action::ExpectSupply { warehouse, .. } => Some((nowhere, Touched::one(warehouse.as_str()))),
        Action::SetPolicy { storefront, .. } => Some((Touched::one(storefront.as_str()), nowhere)),
        Action::AllocatePool {
            storefront,
            warehouse,
            ..
        } => Some((
            Touched::one(storefront.as_str()),
            Touched::one(warehouse.as_str()),
        )),
        Action::TransferOut { from, to, .. } => {
            Some((nowhere, Touched::These(vec![from.as_str(), to.as_str()])))
        }
        Action::Order(_)
        | Action::OfPart(_)
        | Action::Dispatch { .. }
        | Action::AdoptRules { .. }
        | Action::Seal
        | Action::RegisterConsumer { .. }
        | Action::AdvanceConsumer { .. }
        | Action::RemoveConsumer { .. } => Some((Touched::Everything, Touched::Everything)),
        Action::Extend { .. }
        | Action::Commit { .. }
        | Action::Release { .. }
        | Action::Ship { .. }
        | Action::Cancel { .. }
        | Action::Return { .. }
        | Action::TransferIn { .. }
        | Action::CloseTransfer { .. } => None,
    }
}

/// Returns the warehouses of the named units of a reservation, or of the whole reservation when no units are
/// named.
pub(crate) fn warehouses_of<'a>(reservation: &'a ReservationView, lines: &'a [LineQuantity]) -> Vec<&'a str> {
    let of_line = |number: Option<u32>| {
        let lines = reservation.lines.iter();
        let lines = lines.filter(move |line| number.is_none_or(|number| line.line == number));
        lines.flat_map(|line| {
            line.allocations
                .iter()
                .map(|allocation| allocation.warehouse.as_str())
        })
    };
    let mut warehouses: Vec<&str> = if lines.is_empty() {
        of_line(None).collect()
    } else {
        let named = lines
            .iter()
            .filter_map(|line| line.warehouse.as_ref())
            .map(|w| w.as_str());
        let unnamed = lines.iter().filter(|line| line.warehouse.is_none());
        named
            .chain(unnamed.flat_map(|line| of_line(Some(line.line))))
            .collect()
    };
    warehouses.sort_unstable();
    warehouses.dedup();
    warehouses
}
