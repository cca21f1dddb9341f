//! The switch of the seeded faults. `cargo xtask mutants` adds this file to its copy of the ledger.

use std::sync::LazyLock;

static SEEDED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("HOLDFAST_FAULT").ok());

/// Returns whether this process was started with the fault of this name.
pub(crate) fn is_seeded(fault: &str) -> bool {
    SEEDED.as_deref() == Some(fault)
}
