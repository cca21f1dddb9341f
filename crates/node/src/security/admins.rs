//! The principals that may administer. By default there is none: a certificate that is good for reserving
//! must not be enough to take a cluster apart.

use std::collections::BTreeSet;

use holdfast_api::names::Principal;

use crate::NodeConfig;

/// The principals that may administer when there is no access policy.
#[derive(Debug, Clone)]
pub(crate) enum Admins {
    /// Every caller that reaches the port, because without TLS no caller has a name.
    Anybody,
    /// The principals with these names.
    These(BTreeSet<String>),
}

impl Admins {
    pub(super) fn of(config: &NodeConfig) -> Self {
        if config.tls.is_set() {
            Self::These(config.security.admins.iter().cloned().collect())
        } else {
            Self::Anybody
        }
    }

    pub(crate) fn contain(&self, principal: &Principal) -> bool {
        match self {
            Self::Anybody => true,
            Self::These(names) => names.contains(principal.as_str()),
        }
    }
}
