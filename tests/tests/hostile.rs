//! Every flood once, in full, on real processes. `cargo xtask hostile` repeats them, and judges times too.

use std::future::ready;
use std::time::Duration;

use anyhow::Result;
use holdfast_tests::Timeouts;
use holdfast_tests::hostile::{Flood, Stage};

/// Number of nodes that are flooded. Floods on three nodes at once, with their callers, need more processors
/// than a small machine has.
const FLOODED: usize = 1;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_callers_send_takes_memory_without_bound_moves_a_term_or_keeps_others_from_being_served()
-> Result<()> {
    let mut stage = Stage::set(Timeouts::Patient, None).await?;
    let quiet = stage.quiet(Duration::ZERO).await?;
    for flood in Flood::ALL {
        let shown = stage.play(flood, FLOODED, ready(())).await?;
        eprintln!("{shown}");
        shown.judge(&quiet)?;
    }
    stage.end().await
}
