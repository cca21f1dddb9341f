//! Seeds that found something once, each as it is listed in `docs/bugs-found.md`.

use holdfast_simulation::plan::Plan;
use holdfast_simulation::run::run;

#[test]
fn a_replica_that_dies_between_two_entries_answers_nothing_from_there() {
    run(Plan::new(1321), false).unwrap();
}

#[test]
fn a_doubled_message_does_not_answer_for_one_that_a_dead_node_never_got() {
    run(Plan::new(1030), false).unwrap();
}
