//! Every reachable state of the scopes that have an end.

use std::io::Write as _;

use holdfast_model::{Scope, run, scopes};

fn assert_every_state_is_right(scope: &Scope) {
    let report = run(scope, None, 2);
    // The test's own output is hidden when it passes, so the report is written past it.
    let _ = writeln!(std::io::stderr(), "{report}");
    assert!(report.violation.is_none(), "{report}");
    assert!(report.is_complete, "{report}");
}

#[test]
fn one_order_with_two_coordinators_over_two_shards_is_right_in_every_state() {
    for scope in scopes::two_coordinators() {
        assert_every_state_is_right(&scope);
    }
}

#[test]
fn one_best_effort_order_with_two_coordinators_is_whole_in_every_state_where_there_is_enough() {
    assert_every_state_is_right(&scopes::best_effort());
}

#[test]
fn one_order_with_everything_that_may_happen_to_it_is_right_in_every_state() {
    assert_every_state_is_right(&scopes::one_coordinator());
}

#[test]
fn one_id_for_several_requests_has_one_effect_in_every_state() {
    for scope in scopes::one_id() {
        assert_every_state_is_right(&scope);
    }
}

#[test]
fn two_orders_that_meet_crosswise_are_right_in_every_state() {
    assert_every_state_is_right(&scopes::competing());
}

#[test]
fn a_hold_that_is_replaced_is_right_in_every_state() {
    for scope in scopes::replacing() {
        assert_every_state_is_right(&scope);
    }
}

#[test]
fn one_reference_has_one_live_order_in_every_state() {
    assert_every_state_is_right(&scopes::one_reference());
}
