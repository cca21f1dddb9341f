//! Admission: the one place where a request is checked against its caller's rate, certificate and policy.

use holdfast_api::reasons;
use holdfast_api::v1::{Reason, Refusal};
use holdfast_guard::audit::{self, Denial};
use holdfast_guard::policy::{Denied, Grants, Touched};
use holdfast_guard::verb::Verb;
use holdfast_ledger::{About, Action};
use holdfast_shard::Freshness;
use tokio::time::Instant;

use super::Api;
use crate::clock::wall_clock_ms;
use crate::mapping::inbound::Taken;
use crate::security::Caller;
use crate::security::touched::{touched, verb_of, warehouses_of};

/// The outcome of a check that looks only at the command itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The command is allowed.
    Granted,
    /// The command names a reservation or a transfer. Its storefront and warehouses have to be looked up
    /// first.
    NeedsLookup,
}

impl Api {
    /// Counts a request against the caller's rate, and refuses it beyond the limit. Nodes have no limit,
    /// because they send for all of their callers.
    pub(crate) fn check_rate(&self, caller: &Caller) -> Result<(), Refusal> {
        let rates = self.access.rates.as_ref().filter(|_| caller.node_id.is_none());
        let taken = rates.map_or(Ok(()), |rates| rates.take(&caller.principal));
        taken.map_err(|wait| {
            self.access.audit.metrics().rate_limited();
            let limit = self.limits.principal_requests_per_second;
            let message = format!(
                "`{}` sends more than its limit of {limit} requests a second to this node: wait, and send fewer",
                caller.principal
            );
            Refusal {
                retry_after_ms: u64::try_from(wait.as_millis())
                    .unwrap_or(u64::MAX)
                    .saturating_add(1),
                ..reasons::refusal(Reason::Overloaded, message)
            }
        })
    }

    /// Checks that the caller's certificate has not expired and was not revoked. A connection can outlive its
    /// certificate.
    pub(super) fn check_caller(&self, caller: &Caller, verb: Verb) -> Result<(), Refusal> {
        let Some(expires_s) = caller.expires_s else {
            return Ok(());
        };
        let now_s = i64::try_from(wall_clock_ms() / 1_000).unwrap_or(i64::MAX);
        let (reason, became) = if now_s > expires_s {
            ("expired", "has expired")
        } else if self.access.is_revoked(caller) {
            ("revoked", "was revoked")
        } else {
            return Ok(());
        };
        audit::denied(
            &self.access.audit,
            caller.asker(),
            &Denial {
                verb: verb.as_str(),
                storefront: "",
                warehouse: "",
                reason,
            },
        );
        Err(reasons::refusal(
            Reason::Unauthenticated,
            format!(
                "the certificate of `{}` {became} since it connected",
                caller.principal
            ),
        ))
    }

    pub(super) fn check(
        &self,
        caller: &Caller,
        grants: &Grants,
        verb: Verb,
        storefronts: &Touched<'_>,
        warehouses: &Touched<'_>,
    ) -> Result<(), Refusal> {
        let checked = grants.check(verb, storefronts, warehouses);
        checked.map_err(|why| self.access.denied(caller, verb, (storefronts, warehouses), why))
    }

    /// Checks that the caller may do this and is within its rate. Used for requests that change nothing.
    /// Nodes may always send such requests, for their own callers.
    pub(crate) fn allow(
        &self,
        caller: &Caller,
        verb: Verb,
        storefronts: &Touched<'_>,
        warehouses: &Touched<'_>,
    ) -> Result<(), Refusal> {
        self.check_rate(caller)?;
        self.still_allow(caller, verb, storefronts, warehouses)
    }

    /// Does the same as [`Api::allow`] without the rate, for a request that was allowed before and goes on.
    pub(crate) fn still_allow(
        &self,
        caller: &Caller,
        verb: Verb,
        storefronts: &Touched<'_>,
        warehouses: &Touched<'_>,
    ) -> Result<(), Refusal> {
        self.check_caller(caller, verb)?;
        if caller.node_id.is_some() {
            return Ok(());
        }
        match self.access.policy() {
            None => Ok(()),
            Some(policy) => {
                let grants = policy.of_principal(&caller.principal);
                self.check(caller, grants, verb, storefronts, warehouses)
            }
        }
    }

    /// Checks that the caller may learn the addresses of the cluster. Every principal that a rule names may.
    pub(crate) fn allow_known(&self, caller: &Caller) -> Result<(), Refusal> {
        self.check_rate(caller)?;
        self.check_caller(caller, Verb::Read)?;
        match self.access.policy() {
            Some(policy) if caller.node_id.is_none() && policy.of_principal(&caller.principal).is_empty() => {
                let nothing = (&Touched::Nothing, &Touched::Nothing);
                Err(self.access.denied(caller, Verb::Read, nothing, Denied::Principal))
            }
            _ => Ok(()),
        }
    }

    /// Writes the caller into a command, and checks the command as far as possible without asking a shard.
    pub(crate) fn admit_now(&self, caller: &Caller, taken: &mut Taken) -> Result<Admission, Refusal> {
        let (command, is_late) = (&mut taken.command, !taken.as_of.0.is_empty());
        command.principal = caller.principal.clone();
        let verb = verb_of(&command.action);
        self.check_caller(caller, verb)?;
        if caller.node_id.is_some() {
            // When a node sends for its callers, the request arrives at the peer port and not here.
            let nothing = (&Touched::Nothing, &Touched::Nothing);
            return Err(self.access.denied(caller, verb, nothing, Denied::Verb));
        }
        let Some(policy) = self.access.policy() else {
            return Ok(Admission::Granted);
        };
        let grants = policy.of_principal(&caller.principal);
        if let (Some(_), Action::Reserve { storefront, .. }) = (command.details.replaces, &command.action)
            && !grants.allow_anywhere(Verb::Release)
        {
            let storefront = Touched::one(storefront.as_str());
            self.check(caller, grants, Verb::Release, &storefront, &Touched::Everything)?;
        }
        // Goods that a count has already seen are booked together with a recount, which needs the verb of a
        // count.
        if is_late && !grants.allow_anywhere(Verb::Count) {
            let warehouses =
                touched(&command.action).map_or(Touched::Everything, |(_, warehouses)| warehouses);
            self.check(caller, grants, Verb::Count, &Touched::Nothing, &warehouses)?;
        }
        if grants.allow_anywhere(verb) {
            return Ok(Admission::Granted);
        }
        match touched(&command.action) {
            Some((storefronts, warehouses)) => {
                self.check(caller, grants, verb, &storefronts, &warehouses)?;
                Ok(Admission::Granted)
            }
            // A lookup is useless if no rule of the caller has the verb.
            None => match grants.check(verb, &Touched::Nothing, &Touched::Nothing) {
                Ok(()) => Ok(Admission::NeedsLookup),
                Err(why) => {
                    let nothing = (&Touched::Nothing, &Touched::Nothing);
                    Err(self.access.denied(caller, verb, nothing, why))
                }
            },
        }
    }

    /// Writes the caller into a command, and checks that the caller may send it.
    pub(crate) async fn admit(
        &self,
        caller: &Caller,
        mut taken: Taken,
        deadline: Instant,
    ) -> Result<Taken, Refusal> {
        if self.admit_now(caller, &mut taken)? == Admission::NeedsLookup {
            // Boxed because it is rare and large, and the future of every call has room for all of its
            // branches.
            Box::pin(self.admit_by_lookup(caller, &taken, deadline)).await?;
        }
        Ok(taken)
    }

    async fn admit_by_lookup(
        &self,
        caller: &Caller,
        taken: &Taken,
        deadline: Instant,
    ) -> Result<(), Refusal> {
        let Some(policy) = self.access.policy() else {
            return Ok(());
        };
        let (grants, action) = (policy.of_principal(&caller.principal), &taken.command.action);
        let verb = verb_of(action);
        let (id, lines) = match action.concerns().about {
            About::Reservation(id, lines) => (id, lines),
            About::Transfer(transfer_id) => {
                let key = (transfer_id, taken.shard_hint);
                let found = self.transfer(key, Freshness::Linearizable, deadline).await?;
                let transfer = found.view;
                let warehouses = match action {
                    Action::TransferIn { .. } => vec![transfer.to.as_str()],
                    _ => vec![transfer.from.as_str(), transfer.to.as_str()],
                };
                let warehouses = Touched::These(warehouses);
                return self.check(caller, grants, verb, &Touched::Nothing, &warehouses);
            }
            About::Skus | About::Shard => {
                return Err(reasons::refusal(
                    Reason::Internal,
                    "only reservations and transfers are looked up",
                ));
            }
        };
        let known = self.access.storefronts.lock().get(&id).cloned();
        if let Some(storefront) = &known {
            let storefront = Touched::one(storefront.as_str());
            if grants.check(verb, &storefront, &Touched::Everything).is_ok() {
                return Ok(());
            }
        }
        let key = (id, taken.shard_hint);
        let found = self.reservation(key, Freshness::Linearizable, deadline).await?;
        let reservation = found.view;
        self.access
            .storefronts
            .lock()
            .put(id, reservation.storefront.clone());
        let warehouses = Touched::These(warehouses_of(&reservation, lines));
        let storefront = Touched::one(reservation.storefront.as_str());
        self.check(caller, grants, verb, &storefront, &warehouses)
    }
}
