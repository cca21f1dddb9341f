use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::*;

fn channel() -> Channel {
    Channel::new("d", "s", "P", "facts", Uuid::nil(), 3)
}

fn at(seq: u64) -> Offset {
    Offset {
        shard: 3,
        seq,
        unfinished: 0,
    }
}

fn status(through: u64, inserted: u64) -> ChannelStatus {
    serde_json::from_value(json!({
        "channel_status_code": "SUCCESS",
        "last_committed_offset_token": at(through).to_string(),
        "rows_inserted": inserted,
    }))
    .unwrap()
}

fn watch(opened: &ChannelStatus) -> Watch {
    Watch::new(&channel(), opened, at(0), 0).unwrap()
}

fn refusal(outcome: Result<(), Objection>) -> String {
    match outcome.unwrap_err() {
        Objection::Error(error) => error.to_string(),
        Objection::Miscount(Miscount(text)) => text,
    }
}

#[tokio::test(start_paused = true)]
async fn rows_that_are_not_committed_in_time_are_noticed() {
    let limits = Limits::default();
    let mut watch = watch(&status(10, 10));
    // Idle for long, which is no reason to be impatient with what is sent then.
    tokio::time::advance(Duration::from_secs(3_600)).await;
    watch.sent(at(20));
    watch.observe(&channel(), &status(10, 10), &limits).unwrap();
    assert!(!watch.is_settled());
    tokio::time::advance(limits.commit_patience).await;
    watch.observe(&channel(), &status(15, 15), &limits).unwrap();
    tokio::time::advance(limits.commit_patience).await;
    watch.observe(&channel(), &status(15, 15), &limits).unwrap();
    tokio::time::advance(Duration::from_millis(1)).await;
    let text = refusal(watch.observe(&channel(), &status(15, 15), &limits));
    assert!(text.contains("after change 15"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn counts_that_come_late_are_waited_for() {
    let limits = Limits::default();
    let mut watch = watch(&status(10, 10));
    watch.sent(at(20));
    watch.observe(&channel(), &status(20, 14), &limits).unwrap();
    assert!(!watch.is_settled(), "four rows are not accounted for");
    tokio::time::advance(limits.count_patience / 2).await;
    watch.observe(&channel(), &status(20, 20), &limits).unwrap();
    assert!(watch.is_settled());
}

#[tokio::test(start_paused = true)]
async fn counts_that_are_always_a_little_late_under_load_are_no_fault() {
    let limits = Limits::default();
    let mut watch = watch(&status(0, 0));
    for round in 1..200_u64 {
        watch.sent(at(round * 10));
        tokio::time::advance(Duration::from_secs(1)).await;
        let behind = status(round * 10, round * 10 - 5);
        watch.observe(&channel(), &behind, &limits).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_that_never_comes_is_noticed_under_load() {
    let limits = Limits::default();
    let mut watch = watch(&status(0, 0));
    let mut noticed = None;
    for round in 1..200_u64 {
        watch.sent(at(round));
        tokio::time::advance(Duration::from_secs(1)).await;
        let short = status(round, if round < 10 { round } else { 9 });
        if watch.observe(&channel(), &short, &limits).is_err() {
            noticed = Some(round);
            break;
        }
    }
    assert_eq!(noticed, Some(71), "a minute after the tenth row");
}

#[tokio::test(start_paused = true)]
async fn counts_that_were_behind_at_opening_are_no_fault() {
    let limits = Limits::default();
    let mut watch = watch(&status(10, 7));
    watch.sent(at(20));
    watch.observe(&channel(), &status(20, 20), &limits).unwrap();
    assert!(watch.is_settled());
}

#[tokio::test]
async fn a_position_that_is_not_ours_ends_the_writer() {
    let limits = Limits::default();
    let mut watch = watch(&status(10, 10));
    watch.sent(at(20));
    let ahead = watch.observe(&channel(), &status(21, 21), &limits);
    assert!(
        matches!(ahead, Err(Objection::Error(SinkError::TakenOver { .. }))),
        "{ahead:?}"
    );
    let behind = watch.observe(&channel(), &status(9, 10), &limits);
    let moved = SinkError::Moved {
        through_seq: 9,
        expected_seq: 10,
    };
    assert_eq!(refusal(behind), moved.to_string());
}

#[tokio::test]
async fn a_status_code_ends_the_writer_as_its_page_says() {
    let limits = Limits::default();
    for (code, expected) in [
        ("ERR_CHANNEL_MUST_BE_REOPENED", "status of the channel"),
        ("ERR_CHANNEL_HAS_INVALID_CLIENT_SEQUENCER", "another runner"),
        ("ERR_PIPE_DOES_NOT_EXIST_OR_NOT_AUTHORIZED", "check database"),
        ("ERR_SCHEMA_EVOLUTION_FAILED", "add what is missing"),
        ("ERR_NEW", "status of the channel"),
    ] {
        let mut one = status(10, 10);
        one.channel_status_code = Some(code.to_owned());
        let text = refusal(watch(&status(10, 10)).observe(&channel(), &one, &limits));
        assert!(text.contains(expected) && text.contains(code), "{text}");
    }
    let mut one = status(10, 10);
    one.channel_status_code = Some("ACTIVE".to_owned());
    watch(&status(10, 10)).observe(&channel(), &one, &limits).unwrap();
}

#[tokio::test]
async fn an_error_without_a_bound_counts_as_one_at_the_position() {
    let one: ChannelStatus = serde_json::from_value(json!({ "rows_error_count": 2 })).unwrap();
    check_errors(&channel(), &one, at(10), 10).unwrap();
    let text = check_errors(&channel(), &one, at(10), 9).unwrap_err().to_string();
    assert!(text.contains("errors_repaired_through.3 = 10"), "{text}");
}
