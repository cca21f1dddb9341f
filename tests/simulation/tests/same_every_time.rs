//! One seed gives one run, the same every time.

use holdfast_simulation::plan::Plan;
use holdfast_simulation::run::run;

fn short(seed: u64) -> Plan {
    Plan {
        faults_ms: 8_000,
        ..Plan::new(seed)
    }
}

#[test]
fn one_seed_gives_the_same_trace_twice_and_another_seed_another() {
    let digests: Vec<(u64, u64)> = [5, 5, 6, 6]
        .into_iter()
        .map(|seed| {
            let report = run(short(seed), false).unwrap().report;
            (report.digest, report.events)
        })
        .collect();
    assert_eq!(digests[0], digests[1]);
    assert_eq!(digests[2], digests[3]);
    assert_ne!(digests[0], digests[2]);
}
