//! Any sequence of failures ends with each row once, in the order of its number.

use std::time::Duration;

use holdfast_sinks::sink::{Sink as _, SinkError};
use holdfast_test_snowflake::{Endpoint, Fault};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use uuid::Uuid;

use crate::account::{Account, SHARD, after, changes};

/// The work of a process before it ends or gets an error.
#[derive(Debug, Clone)]
struct Life {
    /// The sizes of the batches that it writes.
    batches: Vec<usize>,
    /// Whether it waits for its rows in the end.
    finishes: bool,
}

fn fault() -> impl Strategy<Value = (Endpoint, Fault)> {
    let codes = prop::sample::select(vec![
        (429, ""),
        (408, ""),
        (500, "ERR_GENERAL_EXCEPTION_RETRY_REQUEST"),
        (503, ""),
        (409, ""),
        (400, "STALE_CONTINUATION_TOKEN_SEQUENCER"),
        (400, "ERR_CHANNEL_HAS_INVALID_ROW_SEQUENCER"),
    ]);
    let answered = codes.prop_map(|(status, code)| Fault::answer(status, code));
    let endpoints = |all: &[Endpoint]| prop::sample::select(all.to_vec());
    prop_oneof![
        (
            endpoints(&[Endpoint::Open, Endpoint::Append, Endpoint::Status]),
            answered
        ),
        (
            endpoints(&[
                Endpoint::Hostname,
                Endpoint::Token,
                Endpoint::Open,
                Endpoint::Append,
                Endpoint::Status
            ]),
            prop_oneof![Just(Fault::LoseRequest), Just(Fault::LoseAnswer)]
        ),
        Just((Endpoint::Append, Fault::Discard)),
        Just((Endpoint::Append, Fault::Discard)),
        Just((Endpoint::Append, Fault::TakeOver)),
        Just((
            Endpoint::Append,
            Fault::Invalidate("ERR_CHANNEL_MUST_BE_REOPENED".to_owned())
        )),
    ]
}

fn lives() -> impl Strategy<Value = Vec<Life>> {
    let life = (prop::collection::vec(1_usize..12, 0..5), any::<bool>());
    let life = life.prop_map(|(batches, finishes)| Life { batches, finishes });
    prop::collection::vec(life, 1..6)
}

async fn live(account: &Account, life: &Life, through: u64) -> Result<(), SinkError> {
    let sink = account.sink();
    let changes = changes(through);
    let mut writer = sink.open(SHARD).await?;
    let mut rest = after(&changes, writer.opened_at());
    for batch in &life.batches {
        // A batch is whole entries.
        let entries = rest.chunk_by(|a, b| a.log_index == b.log_index).take(*batch);
        let (some, others) = rest.split_at(entries.map(<[_]>::len).sum());
        writer.write(some).await?;
        writer.settle().await?;
        rest = others;
    }
    if life.finishes {
        writer.finish().await?;
    }
    Ok(())
}

#[test]
fn any_sequence_of_failures_ends_with_each_row_once_and_in_order() {
    const THROUGH: u64 = 60;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let mut account = Account::new();
    account.config.limits.commit_patience = Duration::from_millis(15);
    let account = std::cell::RefCell::new(account);
    let case = (prop::collection::vec(fault(), 0..12), 0_u32..4, lives());
    let mut runner = TestRunner::new(Config {
        cases: 48,
        failure_persistence: None,
        ..Config::default()
    });
    let outcome = runner.run(&case, |(faults, looks, lives)| {
        let mut account = account.borrow_mut();
        // Another cluster has other channels.
        account.cluster_id = Uuid::now_v7();
        account.server.with(|snowflake| {
            snowflake.commit_after_looks = looks;
            for (endpoint, fault) in faults {
                snowflake.plan(endpoint, fault);
            }
        });
        runtime.block_on(async {
            for life in lives {
                if let Err(error) = live(&account, &life, THROUGH).await {
                    prop_assert!(!error.needs_a_person(), "{error}");
                }
            }
            // The last process lives until everything has arrived.
            let all = Life {
                batches: vec![7; 60],
                finishes: true,
            };
            let mut tries = 0;
            while let Err(error) = live(&account, &all, THROUGH).await {
                prop_assert!(!error.needs_a_person() && tries < 60, "{error}");
                tries += 1;
            }
            Ok(())
        })?;
        let channel = account.sink().channel_name(SHARD);
        account.server.with(|snowflake| {
            let rows = snowflake.rows().iter().filter(|row| row.channel == channel);
            let landed: Vec<_> = rows.map(|row| row.values["SEQ"].as_u64().unwrap()).collect();
            prop_assert_eq!(landed, (1..=THROUGH).collect::<Vec<_>>());
            prop_assert_eq!(snowflake.violations(), [""; 0]);
            Ok(())
        })
    });
    outcome.unwrap();
}
