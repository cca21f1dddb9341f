//! Tests of registered consumers.

use super::*;
use crate::limits::MAX_CONSUMERS;

fn name(text: &str) -> ConsumerName {
    ConsumerName::new(text).unwrap()
}

fn place(text: &str) -> ConsumerLocation {
    ConsumerLocation::new(text).unwrap()
}

fn register(text: &str, required: bool, location: &str) -> Action {
    Action::RegisterConsumer {
        name: name(text),
        required,
        location: place(location),
    }
}

fn advance(text: &str, location: &str, through_seq: u64) -> Action {
    Action::AdvanceConsumer {
        name: name(text),
        location: place(location),
        through_seq,
    }
}

fn remove(text: &str) -> Action {
    Action::RemoveConsumer { name: name(text) }
}

/// Begins a story with three changes and an archive that is required.
fn archived() -> Story {
    let mut story = Story::by(Rules::Third);
    for quantity in 1..4 {
        story.receive("tea", "east", quantity).unwrap();
    }
    story.act(register("archive", true, "/archive")).unwrap();
    story
}

fn through(story: &Story, text: &str) -> Option<u64> {
    let found = story
        .ledger
        .consumers()
        .find(|consumer| consumer.name == name(text));
    found.map(|consumer| consumer.through_seq)
}

#[test]
fn a_consumer_advances_and_never_goes_back_and_makes_no_change() {
    let mut story = archived();
    assert_eq!(story.ledger.passed_seq(), Some(0));
    story.later(500).act(advance("archive", "/archive", 2)).unwrap();
    let at_ms = story.now_ms();
    let behind = story.later(500).act(advance("archive", "/archive", 1));
    assert!(
        matches!(behind, Ok(Success::Stocked { replayed: true, .. })),
        "{behind:?}"
    );
    let expected = ConsumerView {
        name: name("archive"),
        required: true,
        location: place("/archive"),
        through_seq: 2,
        advanced_at_ms: at_ms,
    };
    let found: Vec<ConsumerView> = story.ledger.consumers().collect();
    assert_eq!(found, std::slice::from_ref(&expected));
    let asked = story.ledger.query(&Query::Consumers).unwrap();
    assert_eq!(asked, QueryReply::Consumers(vec![expected]));
    assert_eq!((story.ledger.passed_seq(), story.ledger.last_seq()), (Some(2), 3));
    assert_eq!(story.changes.len(), 3);
}

#[test]
fn an_advance_past_the_last_change_or_for_another_location_is_refused() {
    let mut story = archived();
    let beyond = story.act(advance("archive", "/archive", 4));
    assert_eq!(
        beyond,
        Err(Refusal::PositionInFuture {
            as_of_seq: 4,
            last_seq: 3
        })
    );
    let elsewhere = story.act(advance("archive", "/elsewhere", 3));
    assert!(
        matches!(&elsewhere, Err(Refusal::InvalidRequest(why)) if why.contains("`/archive`")),
        "{elsewhere:?}"
    );
    let unknown = story.act(advance("kafka", "", 1));
    assert_eq!(unknown, Err(Refusal::UnknownConsumer { name: name("kafka") }));
    assert_eq!(through(&story, "archive"), Some(0));
}

#[test]
fn only_required_consumers_hold_history_back_and_without_one_nothing_is_forgotten() {
    let mut story = archived();
    story.act(advance("archive", "/archive", 3)).unwrap();
    story.act(register("redis", false, "")).unwrap();
    assert_eq!(story.ledger.passed_seq(), Some(3));
    story.act(register("redis", true, "")).unwrap();
    assert_eq!(story.ledger.passed_seq(), Some(0));
    story.act(advance("redis", "", 1)).unwrap();
    assert_eq!(story.ledger.passed_seq(), Some(1));
    story.act(register("archive", false, "/archive")).unwrap();
    story.act(remove("redis")).unwrap();
    assert_eq!(story.ledger.passed_seq(), None);
    assert_eq!(
        story.act(remove("redis")),
        Err(Refusal::UnknownConsumer { name: name("redis") })
    );
}

#[test]
fn a_consumer_that_is_registered_again_goes_on_and_at_another_location_begins_anew() {
    let mut story = archived();
    story.act(advance("archive", "/archive", 3)).unwrap();
    story.act(register("archive", false, "/archive")).unwrap();
    assert_eq!(through(&story, "archive"), Some(3));
    story
        .act(register("archive", true, "s3://bucket/archive"))
        .unwrap();
    assert_eq!(through(&story, "archive"), Some(0));
    // The archiver of the old location still runs.
    assert!(story.act(advance("archive", "/archive", 3)).is_err());
    assert_eq!(story.ledger.passed_seq(), Some(0));
}

#[test]
fn a_late_copy_of_a_removal_does_not_remove_a_consumer_that_was_registered_since() {
    let mut story = archived();
    let removal = story.command(remove("archive"));
    story.entry(vec![removal.clone()]);
    story.act(register("archive", true, "/archive")).unwrap();
    let copy = story.entry(vec![removal]);
    assert!(
        matches!(copy[..], [Ok(Success::Stocked { replayed: true, .. })]),
        "{copy:?}"
    );
    assert_eq!(through(&story, "archive"), Some(0));
}

#[test]
fn advances_do_not_fill_the_operation_window() {
    let mut story = archived();
    let before = story.ledger.operations.len();
    for through_seq in 1..4 {
        story.act(advance("archive", "/archive", through_seq)).unwrap();
    }
    assert_eq!(story.ledger.operations.len(), before);
}

#[test]
fn an_advance_that_moves_nothing_is_answered_without_the_log() {
    let mut story = archived();
    story.act(advance("archive", "/archive", 2)).unwrap();
    let now_ms = story.now_ms();
    for (through_seq, needs_log) in [(1, false), (2, false), (3, true), (4, false)] {
        let command = story.command(advance("archive", "/archive", through_seq));
        let preview = story.ledger.preview(now_ms, &command);
        assert_eq!(preview.is_none(), needs_log, "{through_seq}: {preview:?}");
    }
}

#[test]
fn a_shard_has_a_limited_number_of_consumers() {
    let mut story = Story::by(Rules::Third);
    for number in 0..MAX_CONSUMERS {
        story.act(register(&format!("sink-{number}"), false, "")).unwrap();
    }
    let full = story.act(register("one-more", false, ""));
    assert!(
        matches!(full, Err(Refusal::LimitReached { limit: 32, .. })),
        "{full:?}"
    );
    story.act(register("sink-0", true, "")).unwrap();
    story.act(remove("sink-1")).unwrap();
    story.act(register("one-more", false, "")).unwrap();
}

#[test]
fn consumers_wait_for_the_third_rules() {
    for rules in [Rules::First, Rules::Second] {
        let mut story = Story::by(rules);
        for action in [
            register("archive", true, "/archive"),
            advance("archive", "/archive", 0),
            remove("archive"),
        ] {
            let command = story.command(action.clone());
            assert!(rules.check(&command).is_err());
            assert!(story.ledger.preview(story.now_ms(), &command).is_some());
            let refused = story.act(action);
            assert!(
                matches!(&refused, Err(Refusal::InvalidRequest(why)) if why.contains("third rules")),
                "{refused:?}"
            );
        }
    }
}

#[test]
fn a_snapshot_keeps_the_consumers() {
    let mut story = archived();
    story.act(advance("archive", "/archive", 2)).unwrap();
    let bytes = story.ledger.encode();
    assert_eq!(bytes[0], 4);
    let decoded = Ledger::decode(&bytes).unwrap();
    assert_eq!(decoded.passed_seq(), Some(2));
    assert_eq!(decoded.digest(), story.ledger.digest());
    let mut other = archived();
    other.act(advance("archive", "/archive", 3)).unwrap();
    assert_ne!(other.ledger.digest(), story.ledger.digest());
}

#[test]
fn a_snapshot_with_a_consumer_ahead_of_the_shard_is_refused() {
    let mut story = archived();
    story.act(advance("archive", "/archive", 3)).unwrap();
    let mut bytes = story.ledger.encode();
    let at = bytes
        .windows(8)
        .rposition(|window| window == b"/archive")
        .unwrap()
        + 8;
    assert_eq!(bytes[at], 3);
    bytes[at] = 4;
    let refused = Ledger::decode(&bytes).unwrap_err();
    assert!(
        refused.contains("consumer archive is ahead of the shard"),
        "{refused}"
    );
}

#[test]
fn a_location_has_no_password_and_no_blanks() {
    for fine in [
        "",
        "/var/archive",
        "s3://bucket/prefix",
        "s3://bucket/a@b",
        "file:///a@b",
    ] {
        assert!(ConsumerLocation::new(fine).is_ok(), "{fine}");
    }
    for wrong in [
        "s3://key:secret@bucket",
        "redis://me@host:1",
        "a b",
        "a\n",
        "\u{e9}",
    ] {
        assert!(ConsumerLocation::new(wrong).is_err(), "{wrong}");
    }
    assert!(ConsumerLocation::new("x".repeat(1024)).is_ok());
    assert!(ConsumerLocation::new("x".repeat(1025)).is_err());
}
