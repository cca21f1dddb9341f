//! A cluster that grows from three nodes to five, replaces one, shrinks to three and is restarted, while
//! buyers go on. `cargo xtask scale` does the same for longer and reports what buyers notice.

use anyhow::{Result, ensure};
use holdfast_tests::scale::{Scaling, Step, run};

#[tokio::test(flavor = "multi_thread")]
async fn nodes_come_and_go_under_load_and_nothing_acknowledged_is_lost() -> Result<()> {
    let scaling = Scaling {
        buyers: 8,
        grants: 60,
        seed: 1,
    };
    let shown = run(scaling).await?;
    eprintln!("{shown}");
    let steps: Vec<Step> = shown.steps().iter().map(|(step, _)| *step).collect();
    ensure!(steps == Step::ALL, "steps were left out: {steps:?}");
    let judged = shown.judgement();
    ensure!(
        judged.operations >= 60 * Step::ALL.len() as u64 && judged.linearized > 0,
        "too little was judged: {judged:?}"
    );
    Ok(())
}
