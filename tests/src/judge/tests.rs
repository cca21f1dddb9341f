//! A judge that cannot refute proves nothing, so each rule gets a history in which one thing was changed.

use super::*;
use crate::history::Read;

const SKU: &str = "PROBE-0-0";

fn at(log_index: u64) -> At {
    At { shard: 0, log_index }
}

fn id(number: u8) -> Bytes {
    Bytes::from(vec![number; 16])
}

fn operation(number: u8, what: What, (invoked_us, answered_us): (u64, u64), told: Told) -> Operation {
    Operation {
        id: id(number),
        what,
        invoked_us,
        answered_us,
        told,
    }
}

fn reserve(quantity: i64) -> What {
    let sku = SKU.to_owned();
    What::Reserve { sku, quantity }
}

fn read((invoked_us, answered_us): (u64, u64), log_index: u64, free: i64) -> Read {
    Read {
        sku: SKU.to_owned(),
        invoked_us,
        answered_us,
        at: at(log_index),
        free,
    }
}

/// Returns a history that is true. Five units arrive, and two are taken while somebody reads. A request for
/// three more is refused, and then one without an answer is granted. An order over several shards is there
/// too.
fn true_history() -> (Recorded, Effects) {
    let sku = SKU.to_owned();
    let receive = What::Receive { sku, quantity: 5 };
    let recorded = Recorded {
        operations: vec![
            operation(1, receive, (0, 10), Told::Granted(at(3))),
            operation(2, reserve(2), (20, 40), Told::Granted(at(5))),
            operation(3, reserve(4), (50, 60), Told::Short(3)),
            operation(4, reserve(1), (70, 90), Told::Unknown),
            operation(5, What::Order, (70, 95), Told::Granted(at(9))),
            operation(6, reserve(1), (100, 110), Told::Unavailable),
        ],
        reads: vec![read((25, 35), 3, 5), read((96, 99), 9, 2)],
    };
    let effects = [(1, 3), (2, 5), (4, 8), (5, 9)]
        .into_iter()
        .map(|(number, log_index)| (id(number), BTreeSet::from([at(log_index)])));
    (recorded, effects.collect())
}

fn wrong(change: impl FnOnce(&mut Recorded, &mut Effects)) -> String {
    let (mut recorded, mut effects) = true_history();
    change(&mut recorded, &mut effects);
    judge(&recorded, &effects).err().unwrap_or_default().join("\n")
}

#[test]
fn a_true_history_passes() {
    let (recorded, effects) = true_history();
    let judged = judge(&recorded, &effects).unwrap();
    let expected = Judged {
        operations: 6,
        granted_after_refusal: 0,
        reads: 2,
        // All events of the SKU but the one that had no effect.
        linearized: 6,
    };
    assert_eq!(judged, expected);
}

#[test]
fn an_acknowledgement_that_the_stream_does_not_have_is_refuted() {
    let lost = wrong(|_, effects| {
        effects.remove(&id(2));
    });
    assert!(lost.contains("acknowledged and not there"), "{lost}");
    let order = wrong(|_, effects| {
        effects.remove(&id(5));
    });
    assert!(order.contains("acknowledged and not there"), "{order}");
}

#[test]
fn a_second_effect_is_refuted() {
    let twice = wrong(|_, effects| {
        effects.get_mut(&id(2)).unwrap().insert(at(11));
    });
    assert!(twice.contains("took effect twice"), "{twice}");
}

#[test]
fn an_effect_that_was_promised_not_to_be_is_refuted() {
    let effect = wrong(|_, effects| {
        effects.insert(id(6), BTreeSet::from([at(12)]));
    });
    assert!(effect.contains("promised to have no effect"), "{effect}");
}

#[test]
fn an_effect_before_what_was_known_when_it_was_asked_for_is_refuted() {
    let early = wrong(|recorded, effects| {
        recorded.operations[4].told = Told::Granted(at(4));
        effects.insert(id(5), BTreeSet::from([at(4)]));
    });
    assert!(early.contains("was known before this began"), "{early}");
}

#[test]
fn a_read_that_misses_what_was_known_is_refuted() {
    let by_position = wrong(|recorded, _| recorded.reads[1].at = at(8));
    assert!(by_position.contains("is missed by"), "{by_position}");
    // The position is right, but the content is not: it is from before the reservation that was acknowledged.
    let by_content = wrong(|recorded, _| recorded.reads[1].free = 5);
    assert!(by_content.contains("no order explains"), "{by_content}");
}

#[test]
fn a_unit_sold_twice_is_refuted_without_any_log() {
    let oversold = wrong(|recorded, effects| {
        let more = operation(7, reserve(3), (200, 210), Told::Granted(at(20)));
        recorded.operations.push(more);
        effects.insert(id(7), BTreeSet::from([at(20)]));
    });
    assert!(oversold.contains("no order explains"), "{oversold}");
}

#[test]
fn a_refusal_for_want_of_units_that_were_there_is_refuted() {
    let refused = wrong(|recorded, _| recorded.operations[2].told = Told::Short(1));
    assert!(refused.contains("no order explains"), "{refused}");
}

#[test]
fn what_was_under_way_when_it_was_refused_may_be_granted_afterwards() {
    let (mut recorded, mut effects) = true_history();
    // Refused when three were free, granted when five more had come.
    let sku = SKU.to_owned();
    let receive = What::Receive { sku, quantity: 5 };
    recorded
        .operations
        .push(operation(8, receive, (120, 130), Told::Granted(at(13))));
    effects.insert(id(8), BTreeSet::from([at(13)]));
    effects.insert(id(3), BTreeSet::from([at(14)]));
    recorded.reads.push(read((150, 160), 15, 3));
    let judged = judge(&recorded, &effects).unwrap();
    assert_eq!(judged.granted_after_refusal, 1);
}
