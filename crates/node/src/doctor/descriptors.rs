//! The examination of the file descriptors: are there enough for the node's own files beside all connections?

use super::{Area, Finding};
use crate::NodeConfig;
use crate::descriptors;

pub(super) fn examine(config: &NodeConfig) -> Finding {
    match descriptors::limits() {
        // A node that starts raises its soft limit to the hard one.
        Some((_, hard)) => judge(config, hard),
        None => Finding::warning(
            Area::Descriptors,
            "the system does not say how many files a process may open",
            "make sure that a node may open about ten thousand",
        ),
    }
}

pub(super) fn judge(config: &NodeConfig, limit: u64) -> Finding {
    let missing = descriptors::missing(config, limit);
    if missing > 0 {
        return Finding::problem(
            Area::Descriptors,
            format!(
                "a process may open {limit} files here: if all connections are open, the node cannot open {missing} of its own files"
            ),
            "raise the hard limit (ulimit -Hn, LimitNOFILE of systemd), or lower limits.connections",
        );
    }
    Finding::good(
        Area::Descriptors,
        format!("a process may open {limit} files here, enough for all connections and the node's own files"),
    )
}
