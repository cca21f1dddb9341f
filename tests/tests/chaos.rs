//! A short round of faults on real processes. `cargo xtask chaos` runs all of them, for any number of
//! minutes.

use anyhow::Result;
use holdfast_tests::chaos::{Fault, Report, Round, round};

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_bears_a_short_round_of_faults_and_loses_nothing() -> Result<()> {
    let mut report = Report::default();
    let short = Round {
        seed: 1,
        nodes: 4,
        faults: vec![
            Fault::LeaderPaused,
            Fault::LeaderDeaf,
            Fault::ConnectionsFlaky,
            Fault::ClockAhead,
            Fault::RollingRestart,
        ],
    };
    round(&short, &mut report).await?;
    eprintln!("{report}");
    Ok(())
}
