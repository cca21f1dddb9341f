//! The SKUs that each version of the rules accepts.
//!
//! A release that does not know the second rules accepts plain SKUs only (see [`Sku::is_plain`]). Its
//! replicas cannot read an entry that names any other SKU, and would stop there. So such an entry is not
//! written before the log has adopted the second rules.

use crate::{Action, Refusal, Rules, Sku};

impl Rules {
    /// Refuses an action with a SKU that replicas without the second rules cannot read.
    pub fn refuse_names(self, action: &Action) -> Option<Refusal> {
        if self >= Self::Second {
            return None;
        }
        let sku = action.concerns().skus.iter().find(|sku| !sku.is_plain())?;
        Some(Refusal::InvalidRequest(format!(
            "the SKU `{sku}` is not accepted before the second rules are adopted, which an operator does with `holdfast cluster \
             adopt-rules`: until then a SKU has at most {} bytes of letters, digits and {}",
            Sku::MAX_PLAIN_BYTES,
            Sku::PLAIN_PUNCTUATION
        )))
    }
}
