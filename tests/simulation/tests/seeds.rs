//! Seeds that found a bug once, each as it is listed in `docs/bugs-found.md`.

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

#[test]
fn a_disk_that_is_lost_while_a_shard_moves_away_does_not_vote_for_what_it_forgot() {
    run(Plan::new(102), false).unwrap();
}

#[test]
fn a_replica_that_cannot_write_what_it_fetches_does_not_stay_behind_for_ever() {
    run(Plan::new(98), false).unwrap();
}
