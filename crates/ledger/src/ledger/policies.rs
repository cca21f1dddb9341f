//! The policies: the permissions of each storefront for each SKU.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use crate::{Action, Cause, ChangeKind, PolicyEffect, Refusal, Sku, StorefrontId};

use super::{
    stock::{Recording, Stock},
    stocking::{at_least, check_time},
};
use crate::limits::MAX_48_BITS;

/// Policies that differ from the default, by SKU and storefront.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Policies(BTreeMap<(u32, u16), StockPolicy>);

/// The stock policy of one storefront for one SKU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StockPolicy {
    pub(crate) may_borrow: bool,
    /// The most units in one reservation. 0: no limit.
    pub(crate) max_per_reservation: i64,
    pub(crate) backorder_limit: i64,
    pub(crate) preorder_limit: i64,
    pub(crate) preorder_until_ms: u64,
}

impl Default for StockPolicy {
    fn default() -> Self {
        Self {
            may_borrow: true,
            max_per_reservation: 0,
            backorder_limit: 0,
            preorder_limit: 0,
            preorder_until_ms: 0,
        }
    }
}

impl StockPolicy {
    /// Returns the most units of the SKU that one reservation may have.
    pub(crate) fn most(self) -> i64 {
        if self.max_per_reservation == 0 {
            i64::MAX
        } else {
            self.max_per_reservation
        }
    }

    /// Returns the number of units of the SKU that may be backordered at a log time.
    pub(crate) fn backorder_limit_at(self, now_ms: u64) -> i64 {
        if now_ms < self.preorder_until_ms {
            self.preorder_limit
        } else {
            self.backorder_limit
        }
    }

    pub(crate) fn may_backorder(self, now_ms: u64) -> bool {
        self.may_borrow && self.backorder_limit_at(now_ms) > 0
    }

    fn effect(self) -> PolicyEffect {
        PolicyEffect {
            may_borrow: self.may_borrow,
            max_per_reservation: self.max_per_reservation,
            backorder_limit: self.backorder_limit,
            preorder_limit: self.preorder_limit,
            preorder_until_ms: self.preorder_until_ms,
        }
    }

    fn is_possible(self) -> bool {
        let limits = [
            self.max_per_reservation,
            self.backorder_limit,
            self.preorder_limit,
        ];
        limits.into_iter().all(|limit| limit >= 0) && self.preorder_until_ms <= MAX_48_BITS
    }
}

impl Policies {
    pub(crate) fn get(&self, sku: u32, storefront: Option<u16>) -> StockPolicy {
        let Some(storefront) = storefront else {
            return StockPolicy::default();
        };
        if self.0.is_empty() {
            return StockPolicy::default();
        }
        self.0.get(&(sku, storefront)).copied().unwrap_or_default()
    }

    /// Returns the policies after a key, in order of their keys.
    pub(crate) fn list(&self, after: Option<(u32, u16)>) -> impl Iterator<Item = ((u32, u16), PolicyEffect)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let later = self.0.range((from, Bound::Unbounded));
        later.map(|(key, policy)| (*key, policy.effect()))
    }

    pub(crate) fn check(&self, skus: usize, storefronts: usize) -> Result<(), String> {
        for ((sku, storefront), policy) in &self.0 {
            let known = (*sku as usize) < skus && usize::from(*storefront) < storefronts;
            if !known || !policy.is_possible() || *policy == StockPolicy::default() {
                return Err(format!(
                    "an impossible stock policy: {policy:?} for SKU {sku}, storefront {storefront}"
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
        if policy == StockPolicy::default() {
            self.0.remove(&key);
        } else {
            self.0.insert(key, policy);
        }
        stock.note(
            recording,
            ChangeKind::PolicySet,
            Some(sku.clone()),
            storefront.clone(),
            (None, Some(policy.effect())),
            cause,
        );
    }
}

/// A decided SetPolicy.
pub(crate) struct PolicyPlan<'a> {
    sku: &'a Sku,
    storefront: &'a StorefrontId,
    policy: StockPolicy,
}

/// Decides SetPolicy.
pub(crate) fn decide<'a>(stock: &Stock, action: &'a Action) -> Result<PolicyPlan<'a>, Refusal> {
    let Action::SetPolicy {
        sku,
        storefront,
        may_borrow,
        max_per_reservation,
        backorder_limit,
        preorder_limit,
        preorder_until_ms,
    } = action
    else {
        return Err(Refusal::InvalidRequest(
            "the action sets no stock policy".to_owned(),
        ));
    };
    at_least("max_per_reservation", *max_per_reservation, 0)?;
    at_least("backorder_limit", *backorder_limit, 0)?;
    at_least("preorder_limit", *preorder_limit, 0)?;
    check_time("preorder_until_ms", *preorder_until_ms)?;
    stock.check_room(Some(sku), None, Some(storefront))?;
    let policy = StockPolicy {
        may_borrow: *may_borrow,
        max_per_reservation: *max_per_reservation,
        backorder_limit: *backorder_limit,
        preorder_limit: *preorder_limit,
        preorder_until_ms: *preorder_until_ms,
    };
    Ok(PolicyPlan {
        sku,
        storefront,
        policy,
    })
}
