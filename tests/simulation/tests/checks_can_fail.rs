//! A check that cannot fail proves nothing, so each check gets a run in which one thing was changed. (The
//! checks that know nothing of the simulation have their own tests, in `tests/check`.)

use std::collections::BTreeMap;

use holdfast_ledger::{ChangeKind, Entry, OperationId, QueryReply};
use holdfast_simulation::check::{self, Kept};
use holdfast_simulation::plan::Plan;
use holdfast_simulation::run::{Run, run};

fn a_run() -> Run {
    let plan = Plan {
        faults_ms: 8_000,
        ..Plan::new(5)
    };
    run(plan, false).expect("everything holds")
}

/// Returns what the checks find in shard 0.
fn wrong(run: &Run, kept: &BTreeMap<u64, Kept>) -> String {
    match check::shard(0, &run.ledger, &run.record, &run.history, kept) {
        Ok(_) => String::new(),
        Err(wrong) => wrong.join("\n"),
    }
}

#[test]
fn a_run_as_it_was_passes() {
    let run = a_run();
    assert_eq!(wrong(&run, &run.kept[&0]), "");
}

#[test]
fn an_acknowledgement_that_the_log_does_not_know_is_found() {
    let run = a_run();
    let operations = run.history.operations();
    let acknowledged = operations
        .iter()
        .find(|it| it.shard == 0 && matches!(it.answer, Some((_, Ok(_)))))
        .unwrap();
    let mut command = acknowledged.command.clone();
    let mut id = *command.operation_id.as_bytes();
    id[15] ^= 1;
    command.operation_id = OperationId::from_slice(&id).unwrap();
    let number = run.history.begin(0, command, acknowledged.invoked_ms);
    run.history
        .update(number, |it| it.answer = acknowledged.answer.clone());
    assert!(wrong(&run, &run.kept[&0]).contains("acknowledged and lost"));
}

#[test]
fn an_effect_that_was_promised_not_to_be_is_found() {
    let run = a_run();
    let operations = run.history.operations();
    let acknowledged = |it: &holdfast_simulation::history::Operation| {
        it.shard == 0 && it.without_effect && matches!(it.answer, Some((_, Ok(_))))
    };
    let number = operations.iter().position(acknowledged).unwrap();
    run.history.update(number, |it| it.answer = None);
    assert!(wrong(&run, &run.kept[&0]).contains("promised to have no effect"));
}

#[test]
fn an_effect_older_than_what_was_known_when_it_was_asked_for_is_found() {
    let run = a_run();
    let operations = run.history.operations();
    let acknowledged =
        |it: &holdfast_simulation::history::Operation| it.shard == 0 && matches!(it.answer, Some((_, Ok(_))));
    let number = operations.iter().position(acknowledged).unwrap();
    run.history.update(number, |it| it.invoked_ms = u64::MAX / 2);
    assert!(wrong(&run, &run.kept[&0]).contains("was acknowledged before"));
}

#[test]
fn a_read_of_what_never_was_is_found() {
    let run = a_run();
    let reads = run.history.reads();
    let mut read = reads
        .into_iter()
        .find(|read| {
            read.shard == 0 && matches!(&read.answer.reply, QueryReply::Cells(cells) if !cells.is_empty())
        })
        .unwrap();
    if let QueryReply::Cells(cells) = &mut read.answer.reply {
        cells[0].free += 1;
    }
    run.history.read(read);
    assert!(wrong(&run, &run.kept[&0]).contains("the log says"));
}

#[test]
fn a_stale_answer_to_a_linearizable_read_is_found() {
    let run = a_run();
    let reads = run.history.reads();
    let mut read = reads.into_iter().find(|read| read.shard == 0).unwrap();
    read.linearizable = true;
    read.invoked_ms = u64::MAX / 2;
    run.history.read(read);
    assert!(wrong(&run, &run.kept[&0]).contains("a read misses entry"));
}

#[test]
fn a_hold_that_ends_early_is_found() {
    let run = a_run();
    let changes = run.record.changes(0);
    let ended: Vec<OperationId> = changes
        .values()
        .filter(|change| change.kind == ChangeKind::Expired)
        .filter_map(|change| Some(change.reservation.as_ref()?.reservation_id))
        .collect();
    let operations = run.history.operations();
    for (number, operation) in operations.iter().enumerate() {
        if ended.contains(&operation.command.operation_id) {
            run.history.update(number, |it| it.invoked_ms += 60_000);
        }
    }
    assert!(wrong(&run, &run.kept[&0]).contains("a hold promised until"));
}

#[test]
fn a_lost_change_and_another_ledger_are_found() {
    let run = a_run();
    let mut kept = run.kept[&0].clone();
    kept.get_mut(&1).unwrap().changes.remove(3);
    assert!(wrong(&run, &kept).contains("a gap or a duplicate"));
    let mut kept = run.kept[&0].clone();
    kept.get_mut(&1).unwrap().changes.pop();
    assert!(wrong(&run, &kept).contains("that it names as its last"));
    let mut kept = run.kept[&0].clone();
    kept.get_mut(&2).unwrap().digest[0] ^= 1;
    assert!(wrong(&run, &kept).contains("is not that of the log"));
    let mut kept = run.kept[&0].clone();
    kept.get_mut(&1).unwrap().changes[3].log_time_ms += 1;
    assert!(wrong(&run, &kept).contains("that the log does not make"));
}

/// Other nodes have these changes, and readers got them before. That does not bring them back to the replica
/// that lost them.
#[test]
fn a_replica_whose_changes_begin_after_the_first_is_found() {
    let run = a_run();
    let mut kept = run.kept[&0].clone();
    let loser = kept.get_mut(&1).unwrap();
    loser.changes.drain(..10);
    loser.first_seq = 11;
    let wrong = wrong(&run, &kept);
    assert!(wrong.contains("begin at 11: those before are lost"), "{wrong}");
}

#[test]
fn another_entry_at_the_same_index_and_a_stamp_from_the_future_are_found() {
    let run = a_run();
    let (index, first) = run.record.entries(0).pop_first().unwrap();
    let other = Entry {
        log_time_ms: first.entry.log_time_ms + 1,
        ..first.entry.clone()
    };
    run.record.observer(9, 0)(index, &other);
    let early = Entry {
        log_time_ms: u64::MAX / 2,
        commands: Vec::new(),
    };
    run.record.observer(9, 0)(u64::MAX / 2, &early);
    let violations = run.record.violations().join("\n");
    assert!(violations.contains("applied another entry"), "{violations}");
    assert!(violations.contains("ahead of the time"), "{violations}");
}
