//! Sizes and rates.

use std::time::Duration;

use holdfast_api::v1::{Cause, Change};
use holdfast_sinks::sink::{Sink as _, SinkError};
use holdfast_test_snowflake::{Endpoint, Fault, Options};
use rand::distr::{Alphanumeric, SampleString as _};
use uuid::Uuid;

use crate::account::{Account, SHARD, change, changes, deliver, deliver_once, open, options};

/// Returns one entry whose rows do not compress well.
fn large_entry(rows: u32, reference: usize) -> Vec<Change> {
    (0..rows)
        .map(|offset| Change {
            cause: Some(Cause {
                operation_id: Uuid::now_v7().as_bytes().to_vec().into(),
                reference: Alphanumeric.sample_string(&mut rand::rng(), reference),
                ..Cause::default()
            }),
            ..change(u64::from(offset) + 1, offset, rows)
        })
        .collect()
}

fn small_requests(bytes: usize) -> Account {
    let mut account = Account::with(Options {
        request_bytes_max: bytes,
        ..options()
    });
    account.config.limits.request_bytes = bytes;
    account
}

#[tokio::test]
async fn an_entry_that_is_too_large_for_one_request_is_sent_in_several() {
    let account = small_requests(20_000);
    deliver_once(&account.sink(), &large_entry(1_000, 200), 10_000)
        .await
        .unwrap();
    account.assert_each_once(1_000);
    account
        .server
        .with(|snowflake| assert!(snowflake.requests(Endpoint::Append) > 8));
}

#[tokio::test]
async fn a_position_inside_an_entry_is_the_end_of_the_entry_before() {
    let account = small_requests(20_000);
    let mut changes = large_entry(1_000, 200);
    for (change, seq) in changes.iter_mut().zip(3..) {
        change.seq = seq;
    }
    changes.splice(0..0, [change(1, 0, 1), change(2, 0, 1)]);
    // The connection breaks in the midst of the entry.
    account.server.with(|snowflake| {
        snowflake.let_pass(Endpoint::Append, 4);
        snowflake.plan(Endpoint::Append, Fault::LoseRequest);
    });
    let sink = account.sink();
    open(&sink).await.write(&changes).await.unwrap_err();
    let writer = open(&sink).await;
    assert_eq!(writer.opened_at().through_seq, 2);
    let landed = account.landed().len();
    assert!(
        (100..1_000).contains(&landed),
        "{landed} rows of the entry are there"
    );
    assert_eq!(sink.position(SHARD).await.unwrap().through_seq, 2);
    deliver(&sink, &changes).await.unwrap();
    account.assert_each_once(1_002);
}

#[tokio::test]
async fn a_row_that_is_too_large_for_a_request_is_named_and_not_skipped() {
    let account = small_requests(2_000);
    let mut changes = changes(10);
    changes[6].cause = large_entry(1, 5_000).remove(0).cause;
    let sink = account.sink();
    let mut writer = open(&sink).await;
    let error = writer.write(&changes).await.unwrap_err();
    assert!(
        matches!(
            error,
            SinkError::Unwritable {
                shard: SHARD,
                seq: 7,
                ..
            }
        ),
        "{error}"
    );
    drop(writer);
    assert!(sink.position(SHARD).await.unwrap().through_seq < 7);
    account.assert_no_rule_broken();
}

#[tokio::test]
async fn twenty_million_bytes_of_rows_are_split_by_their_compressed_size() {
    let account = Account::new();
    let changes = large_entry(20_000, 600);
    deliver_once(&account.sink(), &changes, 100_000).await.unwrap();
    account.assert_each_once(20_000);
}

#[tokio::test]
async fn a_channel_never_has_more_than_ten_requests_in_a_second() {
    let mut account = Account::with(Options {
        requests_per_second_max: 10,
        ..options()
    });
    account.config.limits.requests_per_second = 10;
    let sink = account.sink();
    let changes = changes(14);
    let mut writer = open(&sink).await;
    for one in changes.chunk_by(|a, b| a.log_index == b.log_index) {
        writer.write(one).await.unwrap();
    }
    writer.finish().await.unwrap();
    account.assert_each_once(14);
}

#[tokio::test]
async fn the_writer_waits_while_too_much_is_uncommitted() {
    let mut account = Account::new();
    account.config.limits.uncommitted_changes = 10;
    account.config.limits.commit_patience = Duration::from_secs(60);
    account.server.with(|snowflake| snowflake.commit_after_looks = 2);
    deliver(&account.sink(), &changes(60)).await.unwrap();
    account.assert_each_once(60);
    account
        .server
        .with(|snowflake| assert_eq!(snowflake.requests(Endpoint::Open), 1));
}
