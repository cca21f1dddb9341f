//! The real order files, which are not part of the project.

use std::path::PathBuf;

/// Returns the folder with `orders-*.csv`: `HOLDFAST_ACCEPTANCE_DATA`, or `shared/data/online-retail` beside
/// the checkout. Returns none when neither is there; the caller then reports that it skips the test.
pub fn real_orders() -> Option<PathBuf> {
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/online-retail");
    let folder = std::env::var_os("HOLDFAST_ACCEPTANCE_DATA").map_or_else(beside, PathBuf::from);
    folder.join("orders-2010-12.csv").is_file().then_some(folder)
}
