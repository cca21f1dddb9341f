//! The server that plays Snowflake refuses what a wrong client does.

use reqwest::{Method, Response};
use serde_json::Value;
use uuid::Uuid;

use crate::account::{Account, changes, deliver, options};

const PIPE: &str = "databases/HOLDFAST/schemas/RAW/pipes/CHANGES_STREAMED-STREAMING";

struct Raw {
    account: Account,
    token: String,
    host: String,
}

impl Raw {
    fn new() -> Self {
        let account = Account::with(holdfast_test_snowflake::Options {
            request_bytes_max: 1_000,
            requests_per_second_max: 3,
            ..options()
        });
        let token = account.server.with(|snowflake| snowflake.issue_token());
        let host = format!("myorg-my-account.ingest.test:{}", account.server.address().port());
        Self { account, token, host }
    }

    async fn send(&self, method: Method, path: &str, body: impl Into<reqwest::Body>) -> (u16, Value) {
        let response: Response = reqwest::Client::new()
            .request(
                method,
                format!("{}/v2/streaming/{path}", self.account.server.url()),
            )
            .header("host", &self.host)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", "application/x-ndjson")
            .body(body)
            .send()
            .await
            .unwrap();
        let status = response.status().as_u16();
        (
            status,
            serde_json::from_slice(&response.bytes().await.unwrap()).unwrap(),
        )
    }

    async fn open(&self, body: &'static str) -> (u16, Value) {
        self.send(Method::PUT, &format!("{PIPE}/channels/C"), body).await
    }

    async fn append(&self, continuation: &Value, body: &'static str) -> (u16, Value) {
        let continuation = continuation.as_str().unwrap();
        let continuation: String = url::form_urlencoded::byte_serialize(continuation.as_bytes()).collect();
        let query = format!("continuationToken={continuation}&requestId={}", Uuid::now_v7());
        let path = format!("data/{PIPE}/channels/C/rows?{query}");
        self.send(Method::POST, &path, body).await
    }

    fn violations(&self) -> usize {
        self.account.server.with(|snowflake| snowflake.violations().len())
    }
}

const ROW: &str = "{}\n";

#[tokio::test]
async fn a_continuation_token_is_good_once_and_in_its_order() {
    let raw = Raw::new();
    let (_, opened) = raw.open("{}").await;
    let first = &opened["next_continuation_token"];
    let (status, appended) = raw.append(first, ROW).await;
    assert_eq!(status, 200);
    let (status, answer) = raw.append(first, ROW).await;
    assert_eq!(
        (status, answer["code"].as_str()),
        (400, Some("ERR_CHANNEL_HAS_INVALID_ROW_SEQUENCER"))
    );
    assert_eq!(raw.violations(), 1);
    let (status, _) = raw.append(&appended["next_continuation_token"], ROW).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_channel_that_was_opened_again_refuses_the_older_writer() {
    let raw = Raw::new();
    let (_, older) = raw.open("{}").await;
    let (_, _newer) = raw.open("{}").await;
    let (status, answer) = raw.append(&older["next_continuation_token"], ROW).await;
    assert_eq!(
        (status, answer["code"].as_str()),
        (400, Some("STALE_CONTINUATION_TOKEN_SEQUENCER"))
    );
}

#[tokio::test]
async fn opening_discards_rows_on_their_way_unless_it_was_told_to_fail() {
    let raw = Raw::new();
    raw.account
        .server
        .with(|snowflake| snowflake.commit_after_looks = 5);
    let (_, opened) = raw.open("{}").await;
    raw.append(&opened["next_continuation_token"], ROW).await;
    let (status, answer) = raw.open(r#"{"fail_on_uncommitted_rows":true}"#).await;
    assert_eq!(
        (status, answer["code"].as_str()),
        (409, Some("ERR_CHANNEL_HAS_UNCOMMITTED_DATA"))
    );
    let (status, _) = raw.open("{}").await;
    assert_eq!(status, 200);
    raw.account
        .server
        .with(|snowflake| assert_eq!(snowflake.discarded(), 1));
}

#[tokio::test]
async fn limits_and_forms_are_checked() {
    let raw = Raw::new();
    let (_, opened) = raw.open("{}").await;
    let first = &opened["next_continuation_token"];
    let large: &'static str = Box::leak("x".repeat(1_001).into_boxed_str());
    assert_eq!(raw.append(first, large).await.0, 413);
    assert_eq!(raw.append(first, "{}").await.0, 400, "no line feed at the end");
    let mut last = opened.clone();
    for _ in 0..3 {
        let (status, answer) = raw.append(&last["next_continuation_token"], ROW).await;
        assert_eq!(status, 200);
        last = answer;
    }
    assert_eq!(raw.append(&last["next_continuation_token"], ROW).await.0, 429);
    assert_eq!(raw.violations(), 3);
}

#[tokio::test]
async fn a_host_with_underscores_fails_as_it_does_at_snowflake() {
    let mut raw = Raw::new();
    raw.host = raw.host.replace("my-account", "my_account");
    assert_eq!(raw.open("{}").await.0, 500);
}

#[tokio::test]
async fn rows_that_do_not_fit_go_into_the_error_table() {
    let raw = Raw::new();
    let (_, opened) = raw.open("{}").await;
    raw.append(&opened["next_continuation_token"], "{\"SHARD\":1}\nnot json\n")
        .await;
    let (_, opened) = raw.open("{}").await;
    assert_eq!(opened["channel_status"]["rows_error_count"], 2);
    assert_eq!(opened["channel_status"]["rows_inserted"], 0);
    let account = Account::new();
    deliver(&account.sink(), &changes(3)).await.unwrap();
    account
        .server
        .with(|snowflake| assert_eq!(snowflake.error_rows().len(), 0));
}
