//! The state that is needed to check a request: the access policy, the limits, the revoked certificates, and
//! the storefronts of reservations.

use std::num::NonZeroUsize;
use std::sync::Arc;

use holdfast_api::reasons;
use holdfast_api::v1::{Reason, Refusal};
use holdfast_guard::audit::{self, Audit, Denial};
use holdfast_guard::policy::{AccessPolicy, Denied, Touched};
use holdfast_guard::policy_file::PolicyFile;
use holdfast_guard::rate::Rates;
use holdfast_guard::tls::Tls;
use holdfast_guard::verb::Verb;
use holdfast_ledger::{ReservationId, StorefrontId};
use lru::LruCache;
use parking_lot::Mutex;

use super::Caller;
use super::admins::Admins;

/// The number of reservations whose storefront a node remembers. About 100 bytes each.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(100_000).unwrap();

/// The state that is needed to check a request.
pub(crate) struct Access {
    policy: Option<Arc<PolicyFile>>,
    /// The principals that may administer when there is no access policy.
    pub(crate) admins: Admins,
    pub(crate) rates: Option<Rates>,
    pub(crate) audit: Audit,
    /// The certificates in use, with the revocation lists.
    tls: Option<Arc<Tls>>,
    /// The storefronts of reservations. A reservation's storefront never changes, so an entry is never wrong.
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

    /// Returns the access policy in use, or None when every caller may do everything.
    pub(crate) fn policy(&self) -> Option<Arc<AccessPolicy>> {
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
        let verb = verb.as_str();
        let allows = match why {
            Denied::Principal => "anything".to_owned(),
            Denied::Verb => format!("the verb `{verb}`"),
            Denied::Storefront => format!("the verb `{verb}` for the storefront `{storefront}`"),
            Denied::Warehouse => format!("the verb `{verb}` in the warehouse `{warehouse}`"),
        };
        reasons::refusal(
            Reason::PermissionDenied,
            format!(
                "no rule of the access policy allows `{}` {allows}",
                caller.principal
            ),
        )
    }
}
