//! The optional parts of a command.

use serde::{Deserialize, Serialize};

use crate::{
    Action, Refusal, ReservationId,
    limits::{MAX_48_BITS, MAX_OCCURRED_AGO_MS},
};

/// The optional parts of a command. They apply to more than one kind of action. If any is set, the command
/// needs [`Rules::Second`](crate::Rules::Second).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Details {
    /// Business time: when the event happened outside, in milliseconds since the Unix epoch. At most 40 years
    /// before log time, and at most the operation lead after it. None: at log time.
    pub occurred_at_ms: Option<u64>,
    /// The change of this shard after which the goods moved. It is for a movement of `on_hand` that is booked
    /// late. A count as of this change or a later one has already seen the movement, and stays right. None:
    /// the goods move at log time.
    pub as_of_seq: Option<u64>,
    /// Refuses a Reserve while another hold or commit of the storefront has the same reference and this flag.
    pub unique_reference: bool,
    /// The hold that a Reserve replaces in one step. Units that both want go to the new hold, and the rest is
    /// released.
    pub replaces: Option<ReservationId>,
}

impl Details {
    /// The largest encoded size in bytes: two numbers and an id (each with a byte in front), a flag, and the
    /// tag of a command that has details.
    pub const MAX_BYTES: usize = 2 * (1 + 10) + (1 + 16) + 1 + 1;

    /// Returns whether no part is set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

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
                "as_of is for what moves goods: Receive, Adjust, Ship, Return, TransferOut and TransferIn",
            );
        }
        if self.unique_reference && !is_of_reserve {
            return invalid("unique_reference is for Reserve");
        }
        if self.replaces.is_some() && !is_of_reserve {
            return invalid("replaces is for Reserve");
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
        | Action::Seal => false,
    }
}
