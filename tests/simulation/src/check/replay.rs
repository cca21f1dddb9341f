//! One ledger that applies the log in order gives all the answers that clients got, and this order agrees
//! with real time.

use std::collections::{BTreeMap, HashMap};

use holdfast_check::Floors;
use holdfast_ledger::{
    Change, Command, Ledger, LedgerOptions, OperationId, Outcome, Position, Refusal, Success,
};

use super::Checked;
use crate::history::{Operation, Read};
use crate::record::{AppliedEntry, CLOCK_ERROR_MS};
use crate::time::EPOCH_MS;

/// The result of applying the log once more.
pub struct Replayed {
    /// The ledger in the end.
    pub ledger: Ledger,
    /// All changes, in order.
    pub changes: Vec<Change>,
    /// The outcome of each operation that took effect.
    pub effects: HashMap<Key, (u64, Success)>,
}

/// The identity of one request: an operation id may come with several requests.
pub type Key = (OperationId, u64);

/// Returns the key of a command.
pub(crate) fn key_of(command: &Command) -> Key {
    (command.operation_id, command.fingerprint())
}

/// A refusal that no entry of the log gave. Some state between the request and the answer must give it.
struct Refused<'a> {
    operation: &'a Operation,
    refusal: &'a Refusal,
    from_index: u64,
    to_index: u64,
}

pub(super) fn check(
    options: &LedgerOptions,
    entries: &BTreeMap<u64, AppliedEntry>,
    operations: &[Operation],
    reads: &[Read],
    checked: &mut Checked,
    wrong: &mut Vec<String>,
) -> Replayed {
    let floors = floors(operations, reads);
    let logged_refusals = logged_refusals(options, entries);
    let refused = operations.iter().filter_map(|operation| match &operation.answer {
        Some((_, Err(refusal))) => Some((operation, refusal)),
        _ => None,
    });
    let mut refused: Vec<Refused<'_>> = refused
        .filter(|(operation, refusal)| {
            let known = logged_refusals.get(&key_of(&operation.command));
            !known.is_some_and(|known| known.contains(refusal))
        })
        .map(|(operation, refusal)| Refused {
            operation,
            refusal,
            from_index: floors.before(operation.last_attempt_ms),
            to_index: applied_by(entries, operation.answer.as_ref().map_or(0, |(at_ms, _)| *at_ms)),
        })
        .collect();
    let mut reads_left: Vec<&Read> = reads.iter().collect();
    reads_left.sort_by_key(|read| read.answer.position.log_index);
    let mut reads_left = reads_left.into_iter().peekable();

    let mut replayed = Replayed {
        ledger: Ledger::new(options.clone()),
        changes: Vec::new(),
        effects: HashMap::new(),
    };
    let mut indexes = entries.keys().copied().chain([u64::MAX]).peekable();
    let mut index = 0;
    loop {
        let next_index = indexes.peek().copied().unwrap_or(u64::MAX);
        // The state after `index` is the state up to `next_index`.
        while let Some(read) = reads_left.next_if(|read| read.answer.position.log_index < next_index) {
            checked.reads += 1;
            check_read(&replayed.ledger, read, &floors, wrong);
        }
        refused.retain(|refused| {
            let in_its_time = index <= refused.to_index && next_index > refused.from_index;
            let given = in_its_time && gives(options, &replayed.ledger, refused);
            checked.outcomes += u64::from(given);
            !given
        });
        indexes.next();
        let Some(applied) = entries.get(&next_index) else {
            break;
        };
        index = next_index;
        match replayed.ledger.apply(index, &applied.entry) {
            Ok(done) => {
                replayed.changes.extend(done.changes);
                let commands = applied.entry.commands.iter();
                for (command, outcome) in commands.zip(done.outcomes) {
                    note_effect(&mut replayed.effects, command, index, outcome, wrong);
                }
            }
            Err(violation) => {
                wrong.push(format!("entry {index}: {violation}"));
                return replayed;
            }
        }
    }
    for refused in refused {
        wrong.push(format!(
            "nothing between {} and {} explains the refusal {:?} of {:?}",
            refused.from_index, refused.to_index, refused.refusal, refused.operation
        ));
    }
    if let Err(violation) = replayed.ledger.check() {
        wrong.push(violation.to_string());
    }
    let mut ids: BTreeMap<OperationId, u64> = BTreeMap::new();
    for (id, _) in replayed.effects.keys() {
        *ids.entry(*id).or_default() += 1;
    }
    let reused = ids.iter().filter(|(_, effects)| **effects > 1);
    wrong.extend(reused.map(|(id, _)| format!("two different requests with the id {id} took effect")));
    for operation in operations {
        check_operation(&replayed, operation, &floors, checked, wrong);
    }
    replayed
}

fn note_effect(
    effects: &mut HashMap<Key, (u64, Success)>,
    command: &Command,
    index: u64,
    outcome: Outcome,
    wrong: &mut Vec<String>,
) {
    // The steps of an order come again and again, with the order's id.
    if matches!(outcome, Ok(Success::Order { .. })) {
        return;
    }
    let Ok(success) = outcome else { return };
    let (_, replayed) = position_of(&success);
    if !replayed && let Some((first, _)) = effects.insert(key_of(command), (index, success)) {
        wrong.push(format!(
            "operation {} took effect at {first} and again at {index}",
            command.operation_id
        ));
    }
}

fn position_of(success: &Success) -> (Position, bool) {
    match success {
        Success::Reserved {
            position, replayed, ..
        }
        | Success::Transitioned {
            position, replayed, ..
        }
        | Success::Stocked {
            position, replayed, ..
        } => (*position, *replayed),
        Success::Order { position, .. } => (*position, false),
    }
}

/// Returns whether the ledger refuses this at some time that a leader's clock may have shown then.
fn gives(options: &LedgerOptions, ledger: &Ledger, refused: &Refused<'_>) -> bool {
    let sent_ms = EPOCH_MS + refused.operation.last_attempt_ms;
    let answered_ms = EPOCH_MS + refused.operation.answer.as_ref().map_or(0, |(at_ms, _)| *at_ms);
    let mut times = vec![0, sent_ms - CLOCK_ERROR_MS, sent_ms + CLOCK_ERROR_MS];
    // Such a refusal names the time at which it was given.
    times.extend(match refused.refusal {
        Refusal::OperationIdTooOld { window_start_ms, .. } => {
            Some(window_start_ms + options.operation_window_ms)
        }
        Refusal::OperationIdFromFuture { latest_ms, .. } => Some(latest_ms - options.operation_lead_ms),
        _ => None,
    });
    times.retain(|now_ms| *now_ms <= answered_ms + CLOCK_ERROR_MS);
    times.into_iter().any(|now_ms| {
        ledger.preview(now_ms, &refused.operation.command) == Some(Err(refused.refusal.clone()))
    })
}

/// Returns the refusals that the log itself gave.
fn logged_refusals(
    options: &LedgerOptions,
    entries: &BTreeMap<u64, AppliedEntry>,
) -> HashMap<Key, Vec<Refusal>> {
    let mut ledger = Ledger::new(options.clone());
    let mut refusals: HashMap<Key, Vec<Refusal>> = HashMap::new();
    for (index, applied) in entries {
        let Ok(done) = ledger.apply(*index, &applied.entry) else {
            break;
        };
        for (command, outcome) in applied.entry.commands.iter().zip(done.outcomes) {
            if let Err(refusal) = outcome {
                refusals.entry(key_of(command)).or_default().push(refusal);
            }
        }
    }
    refusals
}

fn check_read(ledger: &Ledger, read: &Read, floors: &Floors, wrong: &mut Vec<String>) {
    let expected = ledger.query(&read.query);
    if expected.as_ref() != Ok(&read.answer.reply) || ledger.last_seq() != read.answer.last_seq {
        wrong.push(format!("the log says {expected:?}, not {read:?}"));
    }
    let floor = floors.before(read.invoked_ms);
    if read.linearizable && read.answer.position.log_index < floor {
        wrong.push(format!(
            "a read misses entry {floor}, acknowledged before it: {read:?}"
        ));
    }
}

fn check_operation(
    replayed: &Replayed,
    operation: &Operation,
    floors: &Floors,
    checked: &mut Checked,
    wrong: &mut Vec<String>,
) {
    let effect = replayed.effects.get(&key_of(&operation.command));
    match (&operation.answer, effect) {
        (Some((_, Ok(success))), Some((index, expected))) => {
            checked.outcomes += 1;
            let floor = floors.before(operation.invoked_ms);
            if *index <= floor {
                wrong.push(format!(
                    "entry {floor} was acknowledged before {operation:?} began"
                ));
            }
            if !is_same(success, expected) {
                wrong.push(format!("the log says {expected:?}, not {operation:?}"));
            }
        }
        (Some((_, Ok(_))), None) => wrong.push(format!("acknowledged and lost: {operation:?}")),
        // A refusal is about one attempt. An earlier attempt without an answer may still take effect.
        (Some((_, Err(_))), Some((index, _))) if operation.without_effect => {
            wrong.push(format!("refused, with an effect at {index}: {operation:?}"));
        }
        (None, Some((index, _))) if operation.without_effect => {
            wrong.push(format!(
                "promised to have no effect, with one at {index}: {operation:?}"
            ));
        }
        (None, None) if operation.without_effect => checked.without_effect += 1,
        _ => {}
    }
}

/// Returns whether an answer equals that of the log, in the parts that a repeated answer must have in common.
fn is_same(given: &Success, expected: &Success) -> bool {
    let (position, again) = position_of(given);
    if position != position_of(expected).0 {
        return false;
    }
    match (given, expected) {
        (
            Success::Reserved {
                expires_at_ms, lines, ..
            },
            Success::Reserved {
                expires_at_ms: expected_end,
                lines: expected_lines,
                ..
            },
        ) => expires_at_ms == expected_end && lines == expected_lines,
        (
            Success::Transitioned {
                state, expires_at_ms, ..
            },
            Success::Transitioned {
                state: expected_state,
                expires_at_ms: expected_end,
                ..
            },
        ) => state == expected_state && expires_at_ms == expected_end,
        (Success::Stocked { cell, .. }, Success::Stocked { cell: expected, .. }) => again || cell == expected,
        _ => given == expected,
    }
}

/// Returns the last entry that any replica had applied at a time.
fn applied_by(entries: &BTreeMap<u64, AppliedEntry>, at_ms: u64) -> u64 {
    let applied = entries
        .iter()
        .filter(|(_, applied)| applied.first_applied_ms <= at_ms);
    applied.map(|(index, _)| *index).max().unwrap_or(0)
}

/// Returns which entries were acknowledged, and when.
fn floors(operations: &[Operation], reads: &[Read]) -> Floors {
    let acknowledged = operations.iter().filter_map(|operation| match &operation.answer {
        Some((at_ms, Ok(success))) => Some((*at_ms, position_of(success).0.log_index)),
        _ => None,
    });
    let read = reads
        .iter()
        .filter(|read| read.linearizable)
        .map(|read| (read.answered_ms, read.answer.position.log_index));
    Floors::new(acknowledged.chain(read))
}
