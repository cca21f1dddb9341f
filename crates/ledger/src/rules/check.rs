//! Commands that the rules of a log do not take yet.

use super::Rules;
use crate::{Action, Command, Refusal};

impl Rules {
    /// Refuses a command that a member of the previous version cannot read, as long as the cluster may have
    /// such members. Runs before the command goes into the log.
    ///
    /// # Errors
    /// [`Refusal::InvalidRequest`] names the version to adopt first.
    pub fn check(self, command: &Command) -> Result<(), Refusal> {
        if self >= Self::Third {
            return Ok(());
        }
        if command.action.is_about_consumer() {
            return Err(Refusal::InvalidRequest(
                "consumers are not registered before the third rules are adopted (`holdfast cluster adopt-rules`)"
                    .to_owned(),
            ));
        }
        if self >= Self::Second {
            return Ok(());
        }
        if let Some(refusal) = self.refuse_names(&command.action) {
            return Err(refusal);
        }
        let what = if !command.details.is_empty() {
            "occurred_at, as_of, unique_reference and replaces are not accepted"
        } else if matches!(command.action, Action::Seal) {
            "operation ids are not sealed"
        } else {
            return Ok(());
        };
        Err(Refusal::InvalidRequest(format!(
            "{what} before the second rules are adopted (`holdfast cluster adopt-rules`)"
        )))
    }
}
