//! Each change once, whatever happens to runners and answers.

use std::sync::Arc;

use holdfast_sinks::sink::SinkError;
use holdfast_test_kafka::Shop;
use krafka::error::ErrorCode;
use krafka::testing::{ApiKey, Control, FakeBroker};
use tokio::runtime::Runtime;

use super::place::{
    CELLS, CLUSTER, IMPATIENT, POSITIONS, RESERVATIONS, SOON, assert_equal, brokers, open, read_committed,
    runner, runner_of,
};

#[tokio::test(flavor = "multi_thread")]
async fn the_topics_fold_to_the_quantities_of_all_shards() {
    let broker = brokers().await;
    broker.set_transaction_version(2);
    let servers = broker.bootstrap_servers();
    let sink = runner(&servers);
    let mut shops = [Shop::new(0), Shop::new(1)];
    for shop in &mut shops {
        let shard = shop.shard();
        let mut writer = open(&sink, shard).await;
        assert_eq!(writer.opened_at().through_seq, 0);
        for size in [1, 30, 700, 3] {
            writer.write(&shop.changes(size)).await.unwrap();
            assert_eq!(writer.settle().await.unwrap().through_seq, shop.last_seq());
        }
    }
    assert_equal(&servers, &shops.each_ref()).await;
    let positions = read_committed(&servers, POSITIONS, 2).await;
    assert_eq!(positions.len(), 8, "one for each transaction");
    assert!(
        positions
            .iter()
            .all(|read| read.key == read.partition.to_string())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_runner_finds_its_position_in_the_topic() {
    let broker = brokers().await;
    let servers = broker.bootstrap_servers();
    let mut shop = Shop::new(1);
    for round in 0..3 {
        let sink = runner(&servers);
        assert_eq!(
            sink.position(1).await.unwrap().through_seq,
            shop.last_seq(),
            "{round}"
        );
        let mut writer = open(&sink, 1).await;
        assert_eq!(writer.opened_at().through_seq, shop.last_seq(), "{round}");
        let changes = shop.changes(40);
        writer.write(&changes).await.unwrap();
        // To ask where a shard is disturbs nobody.
        let position = runner(&servers).position(1).await.unwrap();
        assert_eq!(position, writer.settle().await.unwrap());
        assert_eq!(position.log_time_ms, changes.last().unwrap().log_time_ms);
        writer.write(&shop.changes(1)).await.unwrap();
    }
    assert_equal(&servers, &[&shop]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runners_shut_each_other_out_and_no_change_comes_twice() {
    for transaction_version in [1, 2] {
        shut_out(transaction_version).await;
    }
}

async fn shut_out(transaction_version: i16) {
    let broker = brokers().await;
    broker.set_transaction_version(transaction_version);
    let servers = broker.bootstrap_servers();
    let sinks = [runner(&servers), runner(&servers)];
    let mut shop = Shop::new(0);
    let mut older = open(&sinks[0], 0).await;
    older.write(&shop.changes(20)).await.unwrap();
    for round in 1..8 {
        let mut newer = open(&sinks[round % 2], 0).await;
        assert_eq!(newer.opened_at().through_seq, shop.last_seq());
        let changes = shop.changes(20);
        // The older one is late with the same changes: before the newer one, or after it.
        let (late, written) = if round % 3 == 0 {
            let written = newer.write(&changes).await;
            (older.write(&changes).await, written)
        } else {
            let late = older.write(&changes).await;
            (late, newer.write(&changes).await)
        };
        assert!(matches!(late, Err(SinkError::TakenOver { .. })), "{late:?}");
        written.unwrap();
        older = newer;
    }
    assert_equal(&servers, &[&shop]).await;
}

/// Writes changes with a runner of its own, and kills it as soon as the brokers have its request to end the
/// transaction, which they treat as told.
fn killed_while_it_commits(broker: &Arc<FakeBroker>, test: &Runtime, shop: &mut Shop, end: Control) {
    let process = Runtime::new().unwrap();
    let servers = broker.bootstrap_servers();
    let mut writer = process.block_on(async { open(&runner(&servers), 0).await });
    let changes = shop.changes(50);
    broker.clear_requests();
    broker.on(ApiKey::EndTxn, move |_| end.clone());
    process.spawn(async move { writer.write(&changes).await });
    assert!(test.block_on(broker.wait_for_requests(ApiKey::EndTxn, 1, SOON)));
    // As SIGKILL does: nothing is given up in good order.
    process.shutdown_background();
    broker.clear_hooks();
}

#[test]
fn a_runner_killed_inside_a_transaction_leaves_nothing_for_consumers() {
    let test = Runtime::new().unwrap();
    let broker = Arc::new(test.block_on(brokers()));
    let servers = broker.bootstrap_servers();
    let mut shop = Shop::new(0);
    for round in 1..4 {
        let mut lost = shop.clone();
        let before = (
            broker.committed_records(CELLS).unwrap().len(),
            broker.all_records(CELLS).unwrap().len(),
        );
        killed_while_it_commits(&broker, &test, &mut lost, Control::Silence);
        assert!(
            broker.all_records(CELLS).unwrap().len() > before.1,
            "{round}: nothing was in the transaction"
        );
        assert_eq!(
            broker.committed_records(CELLS).unwrap().len(),
            before.0,
            "{round}"
        );
        test.block_on(async {
            let mut writer = open(&runner(&servers), 0).await;
            assert_eq!(writer.opened_at().through_seq, shop.last_seq());
            writer.write(&shop.changes(50)).await.unwrap();
            assert_equal(&servers, &[&shop]).await;
        });
    }
}

#[test]
fn a_runner_killed_after_its_commit_is_not_repeated() {
    let test = Runtime::new().unwrap();
    let broker = Arc::new(test.block_on(brokers()));
    let servers = broker.bootstrap_servers();
    let mut shop = Shop::new(0);
    let applied = Control::ApplyThen(Box::new(Control::Silence));
    killed_while_it_commits(&broker, &test, &mut shop, applied);
    test.block_on(async {
        let mut writer = open(&runner(&servers), 0).await;
        assert_eq!(writer.opened_at().through_seq, shop.last_seq());
        writer.write(&shop.changes(10)).await.unwrap();
        assert_equal(&servers, &[&shop]).await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_does_not_double_a_record() {
    let broker = brokers().await;
    let servers = broker.bootstrap_servers();
    let mut shop = Shop::new(0);
    let mut writer = open(&runner(&servers), 0).await;
    for api in [ApiKey::Produce, ApiKey::EndTxn, ApiKey::AddPartitionsToTxn] {
        let applied = Control::ApplyThen(Box::new(Control::Disconnect));
        broker.on_once(api, move |_| applied.clone());
        writer.write(&shop.changes(30)).await.unwrap();
    }
    assert_equal(&servers, &[&shop]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_is_found_behind_many_transactions_that_were_given_up() {
    let broker = brokers().await;
    let servers = broker.bootstrap_servers();
    let mut shop = Shop::new(0);
    let sink = runner_of(&servers, CLUSTER, IMPATIENT);
    let mut writer = open(&sink, 0).await;
    writer.write(&shop.changes(5)).await.unwrap();
    let ahead = shop.clone().changes(1);
    for _ in 0..40 {
        // The position is written, and the transaction is given up all the same.
        broker.on(ApiKey::EndTxn, |_| {
            Control::Error(ErrorCode::TransactionAbortable)
        });
        assert!(writer.write(&ahead).await.is_err());
        broker.clear_hooks();
        writer = open(&sink, 0).await;
        assert_eq!(writer.opened_at().through_seq, shop.last_seq());
    }
    let positions = broker.all_records(POSITIONS).unwrap();
    assert_eq!(positions.len(), 41, "the window had to grow");
    writer.write(&shop.changes(5)).await.unwrap();
    assert_equal(&servers, &[&shop]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_fail_for_a_while_cost_nothing_but_time() {
    let broker = brokers().await;
    let servers = broker.bootstrap_servers();
    let mut shop = Shop::new(0);
    let sink = runner_of(&servers, CLUSTER, IMPATIENT);
    let mut writer = open(&sink, 0).await;
    for code in [
        ErrorCode::NotEnoughReplicas,
        ErrorCode::NotEnoughReplicasAfterAppend,
        ErrorCode::RequestTimedOut,
        ErrorCode::NotLeaderForPartition,
        ErrorCode::KafkaStorageException,
    ] {
        broker.on(ApiKey::Produce, move |_| Control::Error(code));
        let changes = shop.changes(30);
        let error = writer.write(&changes).await.unwrap_err();
        assert!(
            matches!(error, SinkError::Unavailable { .. }),
            "{code:?}: {error}"
        );
        assert!(error.to_string().contains(&format!("{code:?}")), "{error}");
        broker.clear_hooks();
        writer = open(&sink, 0).await;
        writer.write(&changes).await.unwrap();
    }
    assert_equal(&servers, &[&shop]).await;
    assert!(!broker.committed_records(RESERVATIONS).unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn crashed_brokers_are_awaited() {
    let broker = brokers().await;
    let servers = broker.bootstrap_servers();
    let mut shop = Shop::new(0);
    let sink = runner_of(&servers, CLUSTER, IMPATIENT);
    let mut writer = open(&sink, 0).await;
    writer.write(&shop.changes(30)).await.unwrap();
    for node in 0..3 {
        broker.crash(node);
    }
    let changes = shop.changes(30);
    let error = writer.write(&changes).await.unwrap_err();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{error}");
    assert!(!sink.position(0).await.unwrap_err().needs_a_person());
    for node in 0..3 {
        broker.restart(node);
    }
    let mut writer = open(&sink, 0).await;
    writer.write(&changes).await.unwrap();
    assert_equal(&servers, &[&shop]).await;
}
