use holdfast_api::v1::{ChangeKind, ReservationEffect, ReservationState};
use proptest::prelude::*;

use super::*;

const NOW: Duration = Duration::from_millis(1_700_000_000_123);

fn change(seq: u64, reference: &str) -> Change {
    Change {
        shard: 3,
        seq,
        entry_changes: 1,
        log_time_ms: 1_700_000_000_000,
        kind: ChangeKind::Received.into(),
        cause: Some(holdfast_api::v1::Cause {
            reference: reference.to_owned(),
            ..Default::default()
        }),
        ..Change::default()
    }
}

fn json(rows: &Rows) -> Vec<serde_json::Value> {
    let text = std::str::from_utf8(&rows.text).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn names_are_large_and_the_time_of_sending_is_ours() {
    let rows = json(&Rows::encode(&[change(7, "r")], NOW).unwrap());
    assert_eq!(rows[0]["SEQ"], 7);
    assert_eq!(rows[0]["KIND"], "received");
    assert_eq!(rows[0]["INGESTED_AT"], "2023-11-14T22:13:20.123");
    assert_eq!(rows[0]["LOG_TIME"], "2023-11-14T22:13:20.000");
}

#[test]
fn integers_beyond_those_of_floats_stay_exact() {
    let mut large = change(1, "");
    large.log_index = (1 << 53) + 1;
    let rows = Rows::encode(&[large], NOW).unwrap();
    let text = std::str::from_utf8(&rows.text).unwrap();
    assert!(text.contains("\"LOG_INDEX\":9007199254740993"), "{text}");
}

#[test]
fn a_time_that_snowflake_cannot_read_names_its_change() {
    for (log_time_ms, expires_at_ms) in [(u64::MAX, 0), (253_402_300_800_000, 0), (0, i64::MAX as u64)] {
        let mut wrong = change(9, "");
        wrong.log_time_ms = log_time_ms;
        wrong.reservation = Some(ReservationEffect {
            reservation_id: vec![1; 16].into(),
            state: ReservationState::Held.into(),
            expires_at_ms,
            ..Default::default()
        });
        let error = Rows::encode(&[change(8, ""), wrong], NOW).unwrap_err();
        assert!(
            matches!(error, SinkError::Unwritable { shard: 3, seq: 9, .. }),
            "{error}"
        );
    }
}

#[test]
fn a_change_that_this_version_does_not_know_is_named() {
    let mut unknown = change(9, "");
    unknown.kind = 10_000;
    let error = Rows::encode(&[change(8, ""), unknown], NOW).unwrap_err();
    assert!(matches!(error, SinkError::Unwritable { seq: 9, .. }), "{error}");
}

proptest! {
    #[test]
    fn whatever_a_text_has_in_it_a_row_is_one_line(references in prop::collection::vec(".*", 1..20)) {
        let changes: Vec<_> = (1..).zip(&references).map(|(seq, text)| change(seq, text)).collect();
        let rows = Rows::encode(&changes, NOW).unwrap();
        let read = json(&rows);
        prop_assert_eq!(read.len(), changes.len());
        for (row, reference) in read.iter().zip(&references) {
            let expected = (!reference.is_empty()).then_some(reference.as_str());
            prop_assert_eq!(row.get("REFERENCE").and_then(serde_json::Value::as_str), expected);
        }
    }

    #[test]
    fn requests_have_every_row_once_and_keep_both_limits(
        sizes in prop::collection::vec(0_usize..400, 1..60),
        request_bytes in 700_usize..3_000,
        bytes_per_second in 20_000_u32..60_000,
    ) {
        let limits = Limits { request_bytes, bytes_per_second, ..Limits::default() };
        let changes: Vec<_> = (1..).zip(&sizes).map(|(seq, size)| change(seq, &"x".repeat(*size))).collect();
        let rows = Rows::encode(&changes, NOW).unwrap();
        let (mut from, mut text) = (0, Vec::new());
        while let Some(packed) = rows.pack(from, &limits).unwrap() {
            prop_assert!(packed.body.len() <= request_bytes);
            prop_assert!(packed.plain_bytes <= bytes_per_second as usize / 10 || packed.rows == 1);
            prop_assert_eq!(packed.first.seq, from as u64 + 1);
            from += packed.rows;
            prop_assert_eq!(packed.last.seq, from as u64);
            text.extend(zstd::decode_all(&packed.body[..]).unwrap());
        }
        prop_assert_eq!(from, changes.len());
        prop_assert_eq!(text, rows.text);
    }
}
