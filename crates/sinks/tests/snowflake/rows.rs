//! Rows that Snowflake refuses, and rows that it loses.

use holdfast_api::v1::Change;
use holdfast_test_snowflake::{Endpoint, Fault, Options};

use crate::account::{Account, SHARD, changes, deliver, deliver_once, options, refused};

/// Returns an account whose table takes references of 8 characters, and changes of which one has more.
fn with_a_bad_row() -> (Account, Vec<Change>) {
    let ddl = options()
        .ddl
        .replace("    reference varchar,", "    reference varchar(8),");
    let account = Account::with(Options { ddl, ..options() });
    let mut changes = changes(40);
    changes[4].cause.as_mut().unwrap().reference = "far too long".to_owned();
    (account, changes)
}

#[tokio::test]
async fn a_refused_row_stops_the_shard_until_a_person_has_repaired_it() {
    let (mut account, changes) = with_a_bad_row();
    let sink = account.sink();
    let error = deliver(&sink, &changes[..21]).await.unwrap_err();
    assert!(error.needs_a_person(), "{error}");
    let error = error.to_string();
    for part in [
        "refused 1 rows of shard 3",
        "at or before change 10",
        "REFERENCE",
        "ERROR_TABLE",
        "errors_repaired_through.3 = 10",
    ] {
        assert!(error.contains(part), "{part}: {error}");
    }
    account.server.with(|snowflake| {
        assert_eq!(snowflake.error_rows().len(), 1);
        assert!(snowflake.error_rows()[0].payload.contains("far too long"));
    });

    // Neither time nor a new process lets it go on, and no other runner is shut out by asking.
    let opened = account
        .server
        .with(|snowflake| snowflake.requests(Endpoint::Open));
    assert!(refused(&sink).await.contains("errors_repaired_through"));
    assert!(refused(&account.sink()).await.contains("errors_repaired_through"));
    account
        .server
        .with(|snowflake| assert_eq!(snowflake.requests(Endpoint::Open), opened));

    // Repaired: the old count of Snowflake, which is for ever, is no reason to stop again.
    account
        .config
        .errors_repaired_through
        .insert(SHARD.to_string(), 10);
    deliver(&account.sink(), &changes).await.unwrap();
    deliver(&account.sink(), &changes).await.unwrap();
    let expected: Vec<_> = (1..=40)
        .filter(|seq| *seq != 5)
        .map(|seq| (u64::from(SHARD), seq))
        .collect();
    assert_eq!(account.landed(), expected);
    account.assert_no_rule_broken();
}

#[tokio::test]
async fn a_row_refused_after_the_repair_stops_the_shard_again() {
    let (mut account, mut changes) = with_a_bad_row();
    changes[34].cause.as_mut().unwrap().reference = "far too long".to_owned();
    account
        .config
        .errors_repaired_through
        .insert(SHARD.to_string(), 30);
    let error = deliver(&account.sink(), &changes).await.unwrap_err().to_string();
    assert!(
        error.contains("refused 2 rows") && error.contains("at or before change 40"),
        "{error}"
    );
}

#[tokio::test]
async fn a_row_refused_while_nobody_looked_is_noticed_by_the_next_process() {
    let (account, changes) = with_a_bad_row();
    let sink = account.sink();
    account.server.with(|snowflake| snowflake.commit_after_looks = 2);
    let mut writer = crate::account::open(&sink).await;
    writer.write(&changes[..9]).await.unwrap();
    drop(writer);
    // The next process waits for the rows on their way; only then it sees that one of them was refused.
    assert!(refused(&account.sink()).await.contains("refused 1 rows"));
}

#[tokio::test]
async fn a_row_that_is_in_no_table_stops_the_shard() {
    let mut account = Account::new();
    account
        .server
        .with(|snowflake| snowflake.plan(Endpoint::Append, Fault::LoseRow));
    let sink = account.sink();
    let changes = changes(30);
    let mut writer = crate::account::open(&sink).await;
    writer.write(&changes[..9]).await.unwrap();
    let error = loop {
        match writer.settle().await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    let error = {
        assert!(error.needs_a_person(), "{error}");
        error.to_string()
    };
    assert!(
        error.contains("counts 8 rows") && error.contains("of 9 that were sent"),
        "{error}"
    );
    assert!(
        refused(&sink).await.contains("counts 8 rows"),
        "time alone does not heal it"
    );
    // A person has looked, and starts the runner again.
    deliver(&account.sink(), &changes).await.unwrap();
    assert_eq!(account.landed().len(), 29);

    account.config.limits.check_counts = false;
    account
        .server
        .with(|snowflake| snowflake.plan(Endpoint::Append, Fault::LoseRow));
    deliver_once(&account.sink(), &crate::account::changes(40), 10)
        .await
        .unwrap();
}
