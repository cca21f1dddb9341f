//! The model notices every fault that the ledger can be given. It has a process of its own, because a fault
//! is seeded for the whole process.

use holdfast_model::mutants;

#[test]
fn every_seeded_fault_breaks_a_claim_of_the_model() {
    let mutants = mutants::run_all("", None, 2, |mutant| {
        println!("{:?}: {}", mutant.fault, mutant.report.states)
    });
    let missed: Vec<_> = mutants
        .iter()
        .filter(|mutant| !mutant.is_caught())
        .map(|mutant| mutant.fault)
        .collect();
    assert!(mutants.len() >= 12);
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}
