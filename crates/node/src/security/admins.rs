//! Who may do what only operators do. Nobody is let by default: a certificate that is good for reserving must not be enough to
//! take a cluster apart.

use std::collections::BTreeSet;

use holdfast_api::names::Principal;

use crate::NodeConfig;

/// Who may administer where there is no policy.
#[derive(Debug, Clone)]
pub(crate) enum Admins {
    /// Whoever reaches the port: without TLS nobody has a name.
    Anybody,
    /// These principals.
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

    pub(crate) fn hold(&self, principal: &Principal) -> bool {
        match self {
            Self::Anybody => true,
            Self::These(names) => names.contains(principal.as_str()),
        }
    }
}
