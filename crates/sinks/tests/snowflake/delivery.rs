//! Each row arrives once, whatever stops the writer.

use holdfast_sinks::sink::{Sink as _, SinkError};
use holdfast_test_snowflake::{Endpoint, Fault};

use crate::account::{Account, SHARD, after, changes, deliver, deliver_once, open};

#[tokio::test]
async fn rows_land_in_order_and_the_position_is_what_is_committed() {
    let account = Account::new();
    let sink = account.sink();
    let changes = changes(50);
    let mut writer = open(&sink).await;
    assert_eq!(writer.opened_at().through_seq, 0);
    account.server.with(|snowflake| snowflake.commit_after_looks = 3);
    writer.write(&changes).await.unwrap();
    let accepted = writer.settle().await.unwrap();
    assert_eq!(
        accepted.through_seq, 0,
        "rows that are only accepted do not count"
    );
    let done = writer.finish().await.unwrap();
    assert_eq!(done.through_seq, 50);
    assert_eq!(done.log_time_ms, changes[49].log_time_ms);
    account.assert_each_once(50);
    assert_eq!(sink.position(SHARD).await.unwrap().through_seq, 50);
}

#[tokio::test]
async fn every_column_of_the_table_is_sent() {
    let account = Account::new();
    let columns = account.server.with(|snowflake| snowflake.columns());
    let schema = holdfast_changes::parquet::schema::schema();
    let archived = schema.fields().iter().map(|field| field.name().to_uppercase());
    let expected: Vec<_> = archived.chain(["INGESTED_AT".to_owned()]).collect();
    assert_eq!(columns, expected);
    deliver(&account.sink(), &changes(1)).await.unwrap();
    let row = account
        .server
        .with(|snowflake| snowflake.rows()[0].values.clone());
    assert_eq!(row["SKU"], "SKU-1");
    assert_eq!(row["FREE_DELTA"], -1);
    assert_eq!(row["HELD_DELTA"], 0);
    assert_eq!(row["RESERVATION_ID"], "00000000-0000-0000-0000-000000000001");
    assert_eq!(row["LOG_TIME"], "2023-11-14T22:13:20.001");
    assert!(
        !row.contains_key("HELD_AFTER") && !row.contains_key("OCCURRED_AT"),
        "null is left out"
    );
    assert!(row.contains_key("INGESTED_AT"));
}

#[tokio::test]
async fn a_process_that_dies_after_a_success_is_followed_without_a_gap_or_a_double() {
    let account = Account::new();
    account.server.with(|snowflake| snowflake.commit_after_looks = 4);
    let changes = changes(90);
    let sink = account.sink();
    let mut writer = open(&sink).await;
    writer.write(&changes[..40]).await.unwrap();
    drop(writer);
    deliver(&account.sink(), &changes).await.unwrap();
    account.assert_each_once(90);
    account.server.with(|snowflake| {
        assert!(
            snowflake.answers(409) > 0,
            "opening waited for the rows on their way"
        );
        assert_eq!(snowflake.discarded(), 0);
    });
}

#[tokio::test]
async fn a_channel_that_stays_uncommitted_is_opened_only_when_the_settings_say_so() {
    let mut account = Account::new();
    account
        .server
        .with(|snowflake| snowflake.commit_after_looks = u32::MAX);
    let changes = changes(30);
    open(&account.sink()).await.write(&changes).await.unwrap();
    account.config.limits.uncommitted_patience = std::time::Duration::from_millis(20);
    let error = deliver_once(&account.sink(), &changes, 10)
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("ERR_CHANNEL_HAS_UNCOMMITTED_DATA"), "{error}");

    account.config.discard_uncommitted = true;
    let sink = account.sink();
    let mut writer = open(&sink).await;
    assert_eq!(writer.opened_at().through_seq, 0);
    account.server.with(|snowflake| {
        assert_eq!(snowflake.discarded(), 30, "Snowflake has thrown them away");
        snowflake.commit_after_looks = 0;
    });
    writer.write(&changes).await.unwrap();
    writer.finish().await.unwrap();
    account.assert_each_once(30);
}

#[tokio::test]
async fn of_two_writers_the_older_one_stops_and_nothing_is_interleaved() {
    let account = Account::new();
    let changes = changes(60);
    let (older, newer) = (account.sink(), account.sink());
    let mut first = open(&older).await;
    first.write(&changes[..20]).await.unwrap();
    first.finish().await.unwrap();
    let mut second = open(&newer).await;
    assert_eq!(second.opened_at().through_seq, 20);
    second.write(&changes[20..40]).await.unwrap();
    let error = first.write(&changes[20..40]).await.unwrap_err();
    assert!(matches!(error, SinkError::TakenOver { .. }), "{error}");
    second.write(&changes[40..]).await.unwrap();
    second.finish().await.unwrap();
    account.assert_each_once(60);
}

#[tokio::test]
async fn a_writer_that_is_idle_learns_from_the_position_that_another_one_writes() {
    let account = Account::new();
    let changes = changes(60);
    let (older, newer) = (account.sink(), account.sink());
    let mut first = open(&older).await;
    // It still asks for the status, because its rows are not known to be committed.
    first.write(&changes[..20]).await.unwrap();
    deliver(&newer, &changes).await.unwrap();
    let error = first.finish().await.unwrap_err();
    assert!(matches!(error, SinkError::TakenOver { .. }), "{error}");
    account.assert_each_once(60);
}

#[tokio::test]
async fn asking_for_the_position_disturbs_nobody() {
    let account = Account::new();
    let sink = account.sink();
    assert_eq!(
        sink.position(SHARD).await.unwrap().through_seq,
        0,
        "a channel that does not exist"
    );
    let changes = changes(20);
    let mut writer = open(&sink).await;
    writer.write(&changes[..9]).await.unwrap();
    let other = account.sink();
    assert_eq!(other.position(SHARD).await.unwrap().through_seq, 9);
    writer.write(&changes[9..]).await.unwrap();
    writer.finish().await.unwrap();
    account.assert_each_once(20);
    account
        .server
        .with(|snowflake| assert_eq!(snowflake.requests(Endpoint::Open), 1));
}

#[tokio::test]
async fn shards_have_channels_of_their_own() {
    let account = Account::new();
    let sink = account.sink();
    deliver(&sink, &changes(10)).await.unwrap();
    let mut writer = sink.open(SHARD + 1).await.unwrap();
    assert_eq!(writer.opened_at().through_seq, 0);
    let other: Vec<_> = changes(5)
        .into_iter()
        .map(|change| holdfast_api::v1::Change {
            shard: SHARD + 1,
            ..change
        })
        .collect();
    writer.write(&other).await.unwrap();
    assert_eq!(writer.finish().await.unwrap().through_seq, 5);
    assert_eq!(account.landed().len(), 15);
    assert_eq!(sink.position(SHARD).await.unwrap().through_seq, 10);
}

#[tokio::test]
async fn lost_requests_and_lost_answers_leave_no_gap_and_no_double() {
    for fault in [Fault::LoseRequest, Fault::LoseAnswer] {
        let account = Account::new();
        account.server.with(|snowflake| {
            snowflake.commit_after_looks = 2;
            for endpoint in [
                Endpoint::Token,
                Endpoint::Open,
                Endpoint::Append,
                Endpoint::Status,
            ] {
                snowflake.plan(endpoint, fault.clone());
            }
        });
        deliver(&account.sink(), &changes(40)).await.unwrap();
        account.assert_each_once(40);
        account
            .server
            .with(|snowflake| assert_eq!(snowflake.planned(), 0));
    }
}

#[tokio::test]
async fn accepted_rows_that_are_discarded_are_sent_again() {
    let account = Account::new();
    account
        .server
        .with(|snowflake| snowflake.plan(Endpoint::Append, Fault::Discard));
    // The last rows, so that no later ones show the gap: only the position shows it.
    let changes = changes(5);
    let sink = account.sink();
    let error = deliver_once(&sink, &changes, 10).await.unwrap_err().to_string();
    assert!(error.contains("has not committed them within 60ms"), "{error}");
    deliver(&sink, &changes).await.unwrap();
    account.assert_each_once(5);
}

#[tokio::test]
async fn a_gap_that_snowflake_notices_is_filled() {
    let account = Account::new();
    account
        .server
        .with(|snowflake| snowflake.plan(Endpoint::Append, Fault::Discard));
    let changes = changes(50);
    let sink = account.sink();
    let mut writer = open(&sink).await;
    writer.write(&changes[..10]).await.unwrap();
    writer.write(&changes[10..]).await.unwrap();
    let error = writer.finish().await.unwrap_err().to_string();
    assert!(error.contains("ROW_SEQ_GAP"), "{error}");
    deliver(&sink, &changes).await.unwrap();
    account.assert_each_once(50);
}

#[tokio::test]
async fn a_server_that_goes_away_and_comes_back_is_waited_for() {
    let mut account = Account::new();
    let changes = changes(40);
    let sink = account.sink();
    let mut writer = open(&sink).await;
    writer.write(&changes[..20]).await.unwrap();
    account.server.stop();
    let error = writer
        .write(after(
            &changes[..40],
            holdfast_sinks::sink::Position {
                through_seq: 20,
                log_time_ms: 0,
            },
        ))
        .await;
    let error = error.unwrap_err();
    assert!(
        matches!(&error, SinkError::Unavailable { what, .. } if what.contains("cannot be reached")),
        "{error}"
    );
    account.server.start_again();
    deliver(&sink, &changes).await.unwrap();
    account.assert_each_once(40);
}

#[tokio::test]
async fn a_forgotten_channel_begins_where_the_settings_say() {
    let mut account = Account::new();
    let changes = changes(40);
    deliver(&account.sink(), &changes[..21]).await.unwrap();
    let name = account.sink().channel_name(SHARD);
    account.server.with(|snowflake| snowflake.forget(&name));
    account.config.resume_after.insert(SHARD.to_string(), 21);
    assert_eq!(account.sink().position(SHARD).await.unwrap().through_seq, 21);
    deliver(&account.sink(), &changes).await.unwrap();
    account.assert_each_once(40);
    // From then on the channel knows it, and the setting says nothing.
    account.config.resume_after.insert(SHARD.to_string(), 3);
    assert_eq!(account.sink().position(SHARD).await.unwrap().through_seq, 40);
}
