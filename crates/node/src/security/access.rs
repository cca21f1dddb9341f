//! What is needed to judge a request: the policy, the limits, the certificates taken back, and whose reservations are.

use std::num::NonZeroUsize;
use std::sync::Arc;

use holdfast_api::reasons;
use holdfast_api::v1::{Reason, Refusal};
use holdfast_guard::audit::{self, Audit, Denial};
use holdfast_guard::policy::{Denied, Policy, Touched};
use holdfast_guard::policy_file::PolicyFile;
use holdfast_guard::rate::Rates;
use holdfast_guard::tls::Tls;
use holdfast_guard::verb::Verb;
use holdfast_ledger::{ReservationId, StorefrontId};
use lru::LruCache;
use parking_lot::Mutex;

use super::Caller;
use super::admins::Admins;

/// Of how many reservations a node remembers the storefront. About 100 bytes each.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

/// What is needed to judge a request.
pub(crate) struct Access {
    policy: Option<Arc<PolicyFile>>,
    /// Who may administer where there is no policy.
    pub(crate) admins: Admins,
    pub(crate) rates: Option<Rates>,
    pub(crate) audit: Audit,
    /// Knows who is revoked.
    tls: Option<Arc<Tls>>,
    /// Whose reservations are. That never changes, so this is never wrong.
    pub(crate) storefronts: Mutex<LruCache<ReservationId, StorefrontId>>,
}

impl Access {
    pub(crate) fn new(
        policy: Option<Arc<PolicyFile>>,
        admins: Admins,
        principal_requests_per_second: u32,
        audit: Audit,
        tls: Option<Arc<Tls>>,
    ) -> Self {
        Self {
            policy,
            admins,
            rates: Rates::new(principal_requests_per_second),
            audit,
            tls,
            storefronts: Mutex::new(LruCache::new(REMEMBERED)),
        }
    }

    /// The rules for this caller; None: it may do everything.
    pub(crate) fn rules(&self) -> Option<Arc<Policy>> {
        self.policy.as_ref().map(|file| file.current())
    }

    pub(crate) fn is_revoked(&self, caller: &Caller) -> bool {
        match (&self.tls, &caller.certificate) {
            (Some(tls), Some(certificate)) => tls.has_revoked(certificate),
            _ => false,
        }
    }

    pub(crate) fn denied(
        &self,
        caller: &Caller,
        verb: Verb,
        (storefronts, warehouses): (&Touched<'_>, &Touched<'_>),
        why: Denied,
    ) -> Refusal {
        let (storefront, warehouse) = (storefronts.to_text(), warehouses.to_text());
        audit::denied(
            &self.audit,
            caller.asker(),
            &Denial {
                verb: verb.as_str(),
                storefront: &storefront,
                warehouse: &warehouse,
                reason: why.as_str(),
            },
        );
        let lacking = match why {
            Denied::Principal => "in any rule".to_owned(),
            Denied::Verb => format!("with the verb `{}`", verb.as_str()),
            Denied::Storefront => format!("with `{}` for the storefront `{storefront}`", verb.as_str()),
            Denied::Warehouse => format!("with `{}` in the warehouse `{warehouse}`", verb.as_str()),
        };
        reasons::refusal(
            Reason::PermissionDenied,
            format!("the policy does not have `{}` {lacking}", caller.principal),
        )
    }
}
