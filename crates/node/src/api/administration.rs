//! Checks whether a caller may administer the cluster.

use holdfast_api::reasons;
use holdfast_api::v1::{Reason, Refusal};
use holdfast_guard::audit::{self, Denial};
use holdfast_guard::policy::{Denied, Touched};
use holdfast_guard::verb::Verb;

use super::Api;
use crate::security::Caller;

impl Api {
    /// Checks that the caller may administer. With an access policy, its rules decide; without one,
    /// `security.admins` does. A node may not administer: an operator's request that another node forwards
    /// arrives at the peer port.
    pub(crate) fn allow_admin(&self, caller: &Caller) -> Result<(), Refusal> {
        self.check_rate(caller)?;
        self.check_caller(caller, Verb::Admin)?;
        let policy = self.access.policy().filter(|_| caller.node_id.is_none());
        if let Some(policy) = policy {
            let grants = policy.of_principal(&caller.principal);
            return self.check(caller, grants, Verb::Admin, &Touched::Nothing, &Touched::Nothing);
        }
        if caller.node_id.is_none() && self.access.admins.contain(&caller.principal) {
            return Ok(());
        }
        audit::denied(
            &self.access.audit,
            caller.asker(),
            &Denial {
                verb: Verb::Admin.as_str(),
                storefront: "",
                warehouse: "",
                reason: Denied::Principal.as_str(),
            },
        );
        let message = match caller.node_id {
            Some(node_id) => {
                format!("node {node_id} is not an operator: use a certificate that is not a node's")
            }
            None => format!(
                "`{}` may not administer: list it in security.admins, or write an access policy with a rule for the verb `admin`",
                caller.principal
            ),
        };
        Err(reasons::refusal(Reason::PermissionDenied, message))
    }
}
