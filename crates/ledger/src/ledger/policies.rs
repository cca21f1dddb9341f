//! What each storefront may do with each SKU.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Action, Cause, ChangeKind, PolicyEffect, Refusal, Sku, StorefrontId};

use super::{
    decide::Plan,
    stock::{Recording, Stock},
};

/// By SKU and storefront, those that differ from the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Policies(BTreeMap<(u32, u16), Policy>);

/// Of one SKU and storefront.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Policy {
    pub(crate) may_borrow: bool,
    /// 0: no limit.
    pub(crate) max_per_reservation: i64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            may_borrow: true,
            max_per_reservation: 0,
        }
    }
}

impl Policy {
    /// The most units of the SKU that one reservation may have.
    pub(crate) fn most(self) -> i64 {
        if self.max_per_reservation == 0 {
            i64::MAX
        } else {
            self.max_per_reservation
        }
    }
}

impl Policies {
    pub(crate) fn get(&self, sku: u32, storefront: Option<u16>) -> Policy {
        let Some(storefront) = storefront else {
            return Policy::default();
        };
        if self.0.is_empty() {
            return Policy::default();
        }
        self.0.get(&(sku, storefront)).copied().unwrap_or_default()
    }

    pub(crate) fn check(&self, skus: usize, storefronts: usize) -> Result<(), String> {
        for ((sku, storefront), policy) in &self.0 {
            let known = (*sku as usize) < skus && usize::from(*storefront) < storefronts;
            if !known || policy.max_per_reservation < 0 || *policy == Policy::default() {
                return Err(format!(
                    "a policy that cannot be: {policy:?} for SKU {sku}, storefront {storefront}"
                ));
            }
        }
        Ok(())
    }

    pub(crate) fn execute(
        &mut self,
        stock: &mut Stock,
        recording: &mut Recording,
        plan: PolicyPlan<'_>,
        cause: &Cause,
    ) {
        let PolicyPlan {
            sku,
            storefront,
            policy,
        } = plan;
        let key = (stock.intern_sku(sku), stock.storefronts.intern(storefront));
        if policy == Policy::default() {
            self.0.remove(&key);
        } else {
            self.0.insert(key, policy);
        }
        let effect = PolicyEffect {
            may_borrow: policy.may_borrow,
            max_per_reservation: policy.max_per_reservation,
        };
        stock.note(
            recording,
            ChangeKind::PolicySet,
            Some(sku.clone()),
            storefront.clone(),
            (None, Some(effect)),
            cause,
        );
    }
}

/// A decided SetPolicy.
pub(crate) struct PolicyPlan<'a> {
    sku: &'a Sku,
    storefront: &'a StorefrontId,
    policy: Policy,
}

/// Decides SetPolicy.
pub(crate) fn decide<'a>(stock: &Stock, action: &'a Action) -> Result<Plan<'a>, Refusal> {
    let Action::SetPolicy {
        sku,
        storefront,
        may_borrow,
        max_per_reservation,
    } = action
    else {
        return Err(Refusal::InvalidRequest("not a policy".to_owned()));
    };
    if *max_per_reservation < 0 {
        return Err(Refusal::InvalidRequest(format!(
            "max_per_reservation is {max_per_reservation}, it must be at least 0 (0: no limit)"
        )));
    }
    stock.check_room(Some(sku), None, Some(storefront))?;
    let policy = Policy {
        may_borrow: *may_borrow,
        max_per_reservation: *max_per_reservation,
    };
    Ok(Plan::Policy(PolicyPlan {
        sku,
        storefront,
        policy,
    }))
}
