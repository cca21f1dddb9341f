//! The examination of this node's certificate.

use std::sync::Arc;

use holdfast_guard::tls::Tls;

use super::{Area, Finding};
use crate::NodeConfig;
use crate::clock::wall_clock_ms;

/// Days left below which a certificate is worth a look.
const SOON_DAYS: i64 = 14;

/// Reads the certificates, if the configuration names any.
pub(super) fn examine(config: &NodeConfig) -> (Option<Arc<Tls>>, Option<Finding>) {
    match Tls::load(&config.tls, config.node.node_id) {
        Ok(None) => (None, None),
        Ok(Some(tls)) => {
            let now_s = i64::try_from(wall_clock_ms() / 1_000).unwrap_or(i64::MAX);
            let days = (tls.expires_s() - now_s) / 86_400;
            let message = format!("the certificate is good for {days} more days");
            let finding = if days < SOON_DAYS {
                Finding::warning(
                    Area::Certificate,
                    message,
                    "replace its files: the node takes the new ones without a restart",
                )
            } else {
                Finding::good(Area::Certificate, message)
            };
            (Some(tls), Some(finding))
        }
        Err(error) => {
            let finding = Finding::problem(
                Area::Certificate,
                error.to_string(),
                "correct the files that section [tls] names; docs/security.md shows how they are made",
            );
            (None, Some(finding))
        }
    }
}
