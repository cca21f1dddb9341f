//! Keys, tokens, hosts and clocks.

use std::time::Duration;

use holdfast_test_snowflake::{AnswerForm, Endpoint, Fault};
use rcgen::{PKCS_RSA_SHA256, PublicKeyData};

use crate::account::{Account, KEY, changes, deliver, deliver_once, open, options, refused};

#[tokio::test]
async fn both_forms_of_answers_are_read() {
    for answers in [AnswerForm::Json, AnswerForm::Text] {
        let account = Account::with(holdfast_test_snowflake::Options { answers, ..options() });
        deliver(&account.sink(), &changes(5)).await.unwrap();
        account.assert_each_once(5);
    }
}

#[tokio::test]
async fn a_token_that_has_expired_is_replaced_without_opening_the_channel_again() {
    let account = Account::new();
    let sink = account.sink();
    let changes = changes(30);
    let mut writer = open(&sink).await;
    for part in changes.chunks(10) {
        account.server.with(|snowflake| snowflake.expire_tokens());
        writer.write(part).await.unwrap();
    }
    writer.finish().await.unwrap();
    account.assert_each_once(30);
    account.server.with(|snowflake| {
        assert_eq!(snowflake.requests(Endpoint::Open), 1);
        assert_eq!(snowflake.answers(401), 3);
    });
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    let mut account = Account::new();
    account.config.limits.token_age = Duration::ZERO;
    deliver(&account.sink(), &changes(30)).await.unwrap();
    account.assert_each_once(30);
    account.server.with(|snowflake| {
        assert!(snowflake.requests(Endpoint::Token) > 3);
        assert_eq!(snowflake.answers(401), 0);
    });
}

#[tokio::test]
async fn all_shards_share_one_token() {
    let account = Account::new();
    let sink = account.sink();
    let open = |shard| {
        let sink = &sink;
        async move { holdfast_sinks::sink::Sink::open(sink, shard).await.map(|_| ()) }
    };
    tokio::try_join!(open(0), open(1), open(2), open(3)).unwrap();
    account
        .server
        .with(|snowflake| assert_eq!(snowflake.requests(Endpoint::Token), 1));
}

#[tokio::test]
async fn a_key_that_the_user_does_not_have_is_named() {
    let account = Account::new();
    let other = rcgen::KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
    account
        .server
        .with(|snowflake| snowflake.set_public_keys(vec![other.subject_public_key_info()]));
    let sink = account.sink();
    let error = refused(&sink).await;
    assert!(
        error.contains("390144") && error.contains("DESCRIBE USER shows the fingerprint SHA256:"),
        "{error}"
    );
    assert!(!error.contains("clock"), "{error}");
    // Rotation: the user has both keys for a while.
    let keys = vec![other.subject_public_key_info(), KEY.subject_public_key_info()];
    account.server.with(|snowflake| snowflake.set_public_keys(keys));
    deliver(&sink, &changes(5)).await.unwrap();
    account.assert_each_once(5);
}

#[tokio::test]
async fn a_clock_that_is_ten_minutes_ahead_is_told_beside_snowflakes() {
    let account = Account::new();
    account.server.with(|snowflake| snowflake.clock_ahead_s = -600);
    let error = refused(&account.sink()).await;
    assert!(
        error.contains("the clock of this machine is wrong: it shows 20") && error.contains("NTP"),
        "{error}"
    );
    assert!(error.contains("from the future"), "{error}");
}

#[tokio::test]
async fn a_clock_that_is_ten_minutes_behind_does_no_harm() {
    let account = Account::new();
    account.server.with(|snowflake| snowflake.clock_ahead_s = 600);
    deliver(&account.sink(), &changes(5)).await.unwrap();
    account.assert_each_once(5);
}

#[tokio::test]
async fn a_token_that_is_refused_twice_is_not_asked_for_for_ever() {
    let account = Account::new();
    account.server.with(|snowflake| {
        for _ in 0..2 {
            snowflake.plan(Endpoint::Append, Fault::answer(401, ""));
        }
    });
    let error = deliver_once(&account.sink(), &changes(5), 10).await.unwrap_err();
    assert!(error.needs_a_person(), "{error}");
    account
        .server
        .with(|snowflake| assert_eq!(snowflake.requests(Endpoint::Token), 2));
}

#[tokio::test]
async fn errors_never_show_tokens_or_keys() {
    let mut account = Account::new();
    let sink = account.sink();
    let mut writer = open(&sink).await;
    account.server.stop();
    let error = writer.write(&changes(5)).await.unwrap_err().to_string();
    assert!(error.contains("cannot be reached"), "{error}");
    for secret in ["continuationToken", "scoped-", "Bearer", "BEGIN"] {
        assert!(!error.contains(secret), "{error}");
    }
}
