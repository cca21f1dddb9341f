//! The SKUs that each version of the rules accepts.
//!
//! A release that does not know the second rules accepts plain SKUs only (see [`Sku::is_plain`]). Its
//! replicas cannot read an entry that names any other SKU, and would stop there. So such an entry is not
//! written before the log has adopted the second rules.

use crate::{Action, OrderStep, Refusal, ReturnOf, Rules, Sku};

impl Rules {
    /// Refuses an action with a SKU that replicas without the second rules cannot read.
    pub fn refuse_names(self, action: &Action) -> Option<Refusal> {
        if self >= Self::Second {
            return None;
        }
        let sku = first_not_plain(action)?;
        Some(Refusal::InvalidRequest(format!(
            "the SKU `{sku}` is not taken before the second rules are adopted, which an operator does with `holdfast cluster \
             adopt-rules`: until then a SKU has at most {} bytes of letters, digits and {}",
            Sku::MAX_PLAIN_BYTES,
            Sku::PLAIN_PUNCTUATION
        )))
    }
}

/// Returns the first SKU of an action that is not plain.
fn first_not_plain(action: &Action) -> Option<&Sku> {
    let mut action = action;
    while let Action::OfPart(part) = action {
        action = part;
    }
    match action {
        Action::Reserve { lines, .. } => not_plain(lines.iter().map(|line| &line.sku)),
        Action::TransferOut { lines, .. } | Action::TransferIn { lines, .. } => {
            not_plain(lines.iter().map(|line| &line.sku))
        }
        Action::Order(OrderStep::Begin { part: Some(part), .. } | OrderStep::Prepare { part, .. }) => {
            not_plain(part.lines.iter().map(|line| &line.line.sku))
        }
        Action::Return {
            of: ReturnOf::Unreferenced { sku, .. },
            ..
        }
        | Action::Receive { sku, .. }
        | Action::Adjust { sku, .. }
        | Action::Count { sku, .. }
        | Action::MoveBucket { sku, .. }
        | Action::SetPolicy { sku, .. }
        | Action::AllocatePool { sku, .. }
        | Action::ExpectSupply { sku, .. } => not_plain([sku]),
        Action::Extend { .. }
        | Action::Commit { .. }
        | Action::Release { .. }
        | Action::Ship { .. }
        | Action::Cancel { .. }
        | Action::Return {
            of: ReturnOf::Reservation { .. },
            ..
        }
        | Action::Order(
            OrderStep::Begin { part: None, .. }
            | OrderStep::Decide { .. }
            | OrderStep::Settle(_)
            | OrderStep::Acknowledge(_)
            | OrderStep::Inquire { .. },
        )
        // The loop above has unwrapped it.
        | Action::OfPart(_)
        | Action::CloseTransfer { .. }
        | Action::Dispatch { .. }
        | Action::AdoptRules { .. }
        | Action::Seal => None,
    }
}

fn not_plain<'a>(skus: impl IntoIterator<Item = &'a Sku>) -> Option<&'a Sku> {
    skus.into_iter().find(|sku| !sku.is_plain())
}
