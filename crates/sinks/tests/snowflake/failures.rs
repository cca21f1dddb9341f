//! One test for each kind of answer that Snowflake may give.

use holdfast_sinks::sink::SinkError;
use holdfast_test_snowflake::{Endpoint, Fault};

use crate::account::{Account, SHARD, changes, deliver, deliver_once, open, refused};

#[tokio::test]
async fn a_throttled_request_is_sent_again_on_the_same_channel() {
    let account = Account::new();
    account.server.with(|snowflake| {
        snowflake.plan(Endpoint::Append, Fault::answer(429, ""));
        snowflake.plan(
            Endpoint::Append,
            Fault::Answer {
                status: 429,
                code: String::new(),
                retry_after: Some("0".to_owned()),
            },
        );
    });
    deliver_once(&account.sink(), &changes(20), 10).await.unwrap();
    account.assert_each_once(20);
    account
        .server
        .with(|snowflake| assert_eq!(snowflake.requests(Endpoint::Open), 1));
}

#[tokio::test]
#[expect(
    clippy::disallowed_methods,
    reason = "a server names a time of the wall clock"
)]
async fn a_busy_server_is_tried_again_after_the_time_that_it_names() {
    let in_a_minute =
        httpdate::fmt_http_date(std::time::SystemTime::now() + std::time::Duration::from_secs(60));
    for (status, retry_after, least_ms) in [
        (408, None, 0),
        (500, None, 0),
        (503, Some("7".to_owned()), 7_000),
        (503, Some(in_a_minute), 50_000),
        (429, Some("30".to_owned()), 30_000),
        (503, Some("1000000000000".to_owned()), 300_000),
    ] {
        let account = Account::new();
        account.server.with(|snowflake| {
            snowflake.plan(
                Endpoint::Append,
                Fault::Answer {
                    status,
                    code: String::new(),
                    retry_after,
                },
            );
        });
        let sink = account.sink();
        let error = deliver_once(&sink, &changes(20), 10).await.unwrap_err();
        let SinkError::Unavailable { retry_after_ms, .. } = error else {
            panic!("{error}");
        };
        assert!(
            (least_ms..=least_ms + 10_000).contains(&retry_after_ms),
            "{status}: {retry_after_ms}"
        );
        deliver(&sink, &changes(20)).await.unwrap();
        account.assert_each_once(20);
    }
}

#[tokio::test]
async fn a_channel_that_became_invalid_is_opened_again() {
    for code in [
        "ERR_CHANNEL_MUST_BE_REOPENED",
        "ERR_CHANNEL_MUST_BE_REOPENED_DUE_TO_ROW_SEQ_GAP",
        "ERR_CHANNEL_HAS_INVALID_ROW_SEQUENCER",
        "ERR_SOMETHING_NEW",
    ] {
        let account = Account::new();
        let sink = account.sink();
        let mut writer = open(&sink).await;
        account.server.with(|snowflake| {
            snowflake.plan(Endpoint::Append, Fault::Invalidate(code.to_owned()));
        });
        let error = writer.write(&changes(20)).await.unwrap_err();
        assert!(
            error.to_string().contains(code) && !error.needs_a_person(),
            "{error}"
        );
        deliver(&sink, &changes(20)).await.unwrap();
        account.assert_each_once(20);
    }
}

#[tokio::test]
async fn a_code_in_an_answer_asks_for_what_its_page_says() {
    for (status, code, needs_a_person) in [
        (400, "STALE_CONTINUATION_TOKEN_SEQUENCER", false),
        (409, "ERR_CHANNEL_HAS_INVALID_CLIENT_SEQUENCER", false),
        (500, "ERR_GENERAL_EXCEPTION_RETRY_REQUEST", false),
        (404, "ERR_PIPE_DOES_NOT_EXIST_OR_NOT_AUTHORIZED", true),
        (400, "ERR_TABLE_DOES_NOT_EXIST_NOT_AUTHORIZED", true),
        (403, "", true),
        (400, "ERR_SOMETHING_NEW", true),
    ] {
        for endpoint in [Endpoint::Open, Endpoint::Append] {
            let account = Account::new();
            account
                .server
                .with(|snowflake| snowflake.plan(endpoint, Fault::answer(status, code)));
            let sink = account.sink();
            let error = deliver_once(&sink, &changes(20), 10).await.unwrap_err();
            assert_eq!(
                error.needs_a_person(),
                needs_a_person,
                "{endpoint:?} {code}: {error}"
            );
            // A person has acted, or time has passed.
            deliver(&sink, &changes(20)).await.unwrap();
            account.assert_each_once(20);
        }
    }
}

#[tokio::test]
async fn a_question_for_the_status_without_an_answer_changes_nothing() {
    let account = Account::new();
    let sink = account.sink();
    let mut writer = open(&sink).await;
    account.server.with(|snowflake| {
        snowflake.plan(Endpoint::Status, Fault::answer(503, ""));
        snowflake.plan(Endpoint::Status, Fault::LoseAnswer);
    });
    writer.write(&changes(20)).await.unwrap();
    writer.finish().await.unwrap();
    account.assert_each_once(20);
    account
        .server
        .with(|snowflake| assert_eq!(snowflake.requests(Endpoint::Open), 1));
}

#[tokio::test]
async fn a_wrong_table_says_what_to_check() {
    let mut account = Account::new();
    account.config.table = "OTHER".to_owned();
    let error = refused(&account.sink()).await;
    assert!(
        error.contains("HOLDFAST.RAW.OTHER-STREAMING")
            && error.contains("check database, schema, table and pipe"),
        "{error}"
    );
}

#[tokio::test]
async fn a_channel_of_something_else_is_not_written_to() {
    for token in ["17", "0004:00000000000000000042", "0003:42"] {
        let account = Account::new();
        let sink = account.sink();
        let name = sink.channel_name(SHARD);
        account
            .server
            .with(|snowflake| snowflake.set_offset(&name, token));
        let error = refused(&sink).await;
        assert!(
            error.contains(token) && error.contains("something else writes"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_table_without_a_column_invalidates_the_channel_and_loses_nothing() {
    let mut options = crate::account::options();
    options.ddl = options.ddl.replace("    occurred_at timestamp_ntz,\n", "");
    options.ddl = options.ddl.replace("    sku varchar,\n", "");
    let account = Account::with(options);
    let error = deliver_once(&account.sink(), &changes(3), 10).await.unwrap_err();
    assert!(
        error.to_string().contains("ERR_CHANNEL_MUST_BE_REOPENED"),
        "{error}"
    );
    assert_eq!(account.landed(), []);
}
