//! Every fault once, on real processes. `cargo xtask chaos` does the same for as long as one likes.

use anyhow::Result;
use holdfast_tests::chaos::{Fault, Report, Round, round};

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_bears_every_fault_and_loses_nothing() -> Result<()> {
    let mut report = Report::default();
    let every = Round {
        seed: 1,
        nodes: 4,
        faults: Fault::ALL.to_vec(),
    };
    round(&every, &mut report).await?;
    eprintln!("{report}");
    Ok(())
}
