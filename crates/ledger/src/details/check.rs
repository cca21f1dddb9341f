//! Whether the details of a command fit its action and its log time.

use super::Details;
use crate::limits::{MAX_48_BITS, MAX_OCCURRED_AGO_MS};
use crate::{Action, Refusal};

impl Details {
    /// Refuses details that do not fit the action.
    pub(crate) fn check_action(&self, action: &Action) -> Result<(), Refusal> {
        if self.is_empty() {
            return Ok(());
        }
        let action = match action {
            Action::OfPart(part) => part.as_ref(),
            action => action,
        };
        let invalid = |what: &str| Err(Refusal::InvalidRequest(what.to_owned()));
        // Every step of an order repeats the details of its Reserve.
        let is_of_reserve = matches!(action, Action::Reserve { .. } | Action::Order(_));
        if self.as_of_seq.is_some() && !moves_goods(action) {
            return invalid(
                "as_of is only for requests that move goods: Receive, Adjust, Ship, Return, TransferOut and TransferIn",
            );
        }
        if self.unique_reference && !is_of_reserve {
            return invalid("unique_reference is only for Reserve");
        }
        if self.replaces.is_some() && !is_of_reserve {
            return invalid("replaces is only for Reserve");
        }
        Ok(())
    }

    /// Refuses a business time that is impossible at this log time.
    pub(crate) fn check_occurred_at(&self, now_ms: u64, lead_ms: u64) -> Result<(), Refusal> {
        let Some(occurred_at_ms) = self.occurred_at_ms else {
            return Ok(());
        };
        let earliest_ms = now_ms.saturating_sub(MAX_OCCURRED_AGO_MS);
        let latest_ms = now_ms.saturating_add(lead_ms).min(MAX_48_BITS);
        if (earliest_ms..=latest_ms).contains(&occurred_at_ms) {
            return Ok(());
        }
        Err(Refusal::InvalidRequest(format!(
            "occurred_at_ms is {occurred_at_ms}, it must be {earliest_ms} to {latest_ms}: at most 40 years before log time \
             and not later than operation ids may be, in milliseconds since 1970"
        )))
    }
}

/// Returns whether an action changes the units on hand.
fn moves_goods(action: &Action) -> bool {
    match action {
        Action::Receive { .. }
        | Action::Adjust { .. }
        | Action::Ship { .. }
        | Action::Return { .. }
        | Action::TransferOut { .. }
        | Action::TransferIn { .. }
        | Action::Dispatch { .. } => true,
        Action::Reserve { .. }
        | Action::Extend { .. }
        | Action::Commit { .. }
        | Action::Release { .. }
        | Action::Cancel { .. }
        | Action::Count { .. }
        | Action::MoveBucket { .. }
        | Action::SetPolicy { .. }
        | Action::AllocatePool { .. }
        | Action::Order(_)
        | Action::OfPart(_)
        | Action::CloseTransfer { .. }
        | Action::ExpectSupply { .. }
        | Action::AdoptRules { .. }
        | Action::Seal
        | Action::RegisterConsumer { .. }
        | Action::AdvanceConsumer { .. }
        | Action::RemoveConsumer { .. } => false,
    }
}
