//! Faults that a person must mend are refused with advice, and nothing is skipped.

use holdfast_sinks::sink::SinkError;
use holdfast_test_kafka::Shop;
use krafka::error::ErrorCode;
use krafka::testing::{ApiKey, Control};
use krafka::{Kafka, Record};
use uuid::Uuid;

use super::place::{
    CELLS, CLUSTER, IMPATIENT, PARTITIONS, POSITIONS, RESERVATIONS, assert_equal, brokers, open, runner,
    runner_of,
};

fn refused(error: &SinkError, parts: &[&str]) {
    assert!(matches!(error, SinkError::Refused { .. }), "{error:?}");
    for part in parts {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_a_topic_refuses_stops_the_shard_and_goes_through_once_it_is_mended() {
    let broker = brokers().await;
    let servers = broker.bootstrap_servers();
    let mut shop = Shop::new(0);
    let sink = runner_of(&servers, CLUSTER, IMPATIENT);
    let mut writer = open(&sink, 0).await;
    for (code, part) in [
        (ErrorCode::MessageTooLarge, "max.message.bytes"),
        (ErrorCode::TopicAuthorizationFailed, "WRITE and DESCRIBE"),
        (ErrorCode::InvalidRecord, "refuses such records"),
        (ErrorCode::UnsupportedCompressionType, "compression.type"),
    ] {
        broker.on(ApiKey::Produce, move |_| Control::Error(code));
        let changes = shop.changes(30);
        refused(&writer.write(&changes).await.unwrap_err(), &[part, "of shard 0"]);
        broker.clear_hooks();
        writer = open(&sink, 0).await;
        writer.write(&changes).await.unwrap();
    }
    assert_equal(&servers, &[&shop]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_does_not_exist_is_named() {
    let broker = brokers().await;
    let sink = runner_of(&broker.bootstrap_servers(), CLUSTER, IMPATIENT);
    for topic in [CELLS, RESERVATIONS, POSITIONS] {
        broker.delete_topic(topic);
        let error = sink.open(0).await.err().unwrap();
        refused(&error, &[topic, "does not exist", "docs/kafka.md"]);
        broker.create_topic(topic, PARTITIONS);
        open(&sink, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shard_needs_its_partition_for_positions() {
    let broker = brokers().await;
    let servers = broker.bootstrap_servers();
    let mut shop = Shop::new(1);
    let sink = runner(&servers);
    open(&sink, 1).await.write(&shop.changes(9)).await.unwrap();
    let error = sink.open(2).await.err().unwrap();
    refused(
        &error,
        &[
            "has 2 partitions, and shard 2 needs partition 2",
            "--partitions 3",
        ],
    );
    // More partitions for positions move nothing.
    broker.add_partitions(POSITIONS, 3);
    open(&runner(&servers), 2).await;
    let mut writer = open(&runner(&servers), 1).await;
    assert_eq!(writer.opened_at().through_seq, shop.last_seq());
    writer.write(&shop.changes(9)).await.unwrap();
    assert_equal(&servers, &[&shop]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_grows_is_refused_and_disturbs_no_runner_that_writes() {
    let broker = brokers().await;
    let servers = broker.bootstrap_servers();
    let mut shop = Shop::new(0);
    let mut writer = open(&runner(&servers), 0).await;
    writer.write(&shop.changes(30)).await.unwrap();
    broker.add_partitions(CELLS, PARTITIONS + 4);
    let error = runner(&servers).open(0).await.err().unwrap();
    refused(&error, &[CELLS, "has 8 partitions, and had 4", "new topics"]);
    // The runner that was there keeps each key where it is.
    writer.write(&shop.changes(200)).await.unwrap();
    assert_equal(&servers, &[&shop]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topics_of_another_cluster_are_refused() {
    let broker = brokers().await;
    let servers = broker.bootstrap_servers();
    let mut shop = Shop::new(0);
    let mut writer = open(&runner(&servers), 0).await;
    writer.write(&shop.changes(5)).await.unwrap();
    let other = runner_of(&servers, Uuid::from_u128(8), "");
    for error in [
        other.open(0).await.err().unwrap(),
        other.position(0).await.unwrap_err(),
    ] {
        assert!(
            matches!(error, SinkError::OtherCluster { target, cluster } if target == CLUSTER && cluster != CLUSTER),
            "{error:?}"
        );
    }
    writer.write(&shop.changes(5)).await.unwrap();
    assert_equal(&servers, &[&shop]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strange_record_among_the_positions_is_not_read_as_one() {
    for value in [
        "{}",
        "no json",
        r#"{"cluster_id":"00000000-0000-0000-0000-000000000007","shard":1,"through_seq":9,"log_time_ms":1,"cells_partitions":4,"reservations_partitions":4}"#,
    ] {
        let broker = brokers().await;
        let servers = broker.bootstrap_servers();
        let stranger = Kafka::builder(&*servers).connect().await.unwrap();
        let producer = stranger.producer().build().await.unwrap();
        let record = Record::new(POSITIONS, value).key("0").partition(0);
        let _ = producer.send(record).await.unwrap();
        producer.close().await.unwrap();
        let error = runner(&servers).open(0).await.err().unwrap();
        refused(
            &error,
            &["record 0 of topic holdfast.positions", "nobody else may write"],
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_was_deleted_is_not_taken_for_a_beginning() {
    let broker = brokers().await;
    let servers = broker.bootstrap_servers();
    let mut shop = Shop::new(0);
    open(&runner(&servers), 0)
        .await
        .write(&shop.changes(5))
        .await
        .unwrap();
    broker.with_state(|state| {
        let partition = state.partition_mut(POSITIONS, 0).unwrap();
        partition.log_start_offset = partition.next_offset;
    });
    let error = runner(&servers).open(0).await.err().unwrap();
    refused(&error, &["lost the position of shard 0", "compact"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_that_are_missing_are_named() {
    let broker = brokers().await;
    let sink = runner_of(&broker.bootstrap_servers(), CLUSTER, IMPATIENT);
    for (code, part) in [
        (
            ErrorCode::TransactionalIdAuthorizationFailed,
            "begin with \"holdfast-\"",
        ),
        (ErrorCode::ClusterAuthorizationFailed, "IDEMPOTENT_WRITE"),
        (ErrorCode::InvalidTransactionTimeout, "transaction.max.timeout.ms"),
    ] {
        broker.on(ApiKey::InitProducerId, move |_| Control::Error(code));
        let error = sink.open(0).await.err().unwrap();
        refused(&error, &[part, &format!("holdfast-events-{CLUSTER}-0")]);
        broker.clear_hooks();
    }
    open(&sink, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_refused_and_a_corrected_one_is_used() {
    let broker = brokers().await;
    broker.require_sasl_plain("holdfast", "right");
    let folder = std::env::temp_dir().join(format!("holdfast-kafka-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("password");
    std::fs::write(&file, "wrong").unwrap();
    let settings = format!(
        "{IMPATIENT}\nsasl = {{ mechanism = 'plain', user = 'holdfast', password = {{ file = '{}' }} }}",
        file.display()
    );
    let sink = runner_of(&broker.bootstrap_servers(), CLUSTER, &settings);
    let error = sink.open(0).await.err().unwrap();
    refused(&error, &["check the user, the password"]);
    assert!(!error.to_string().contains("wrong"), "{error}");
    std::fs::remove_file(&file).unwrap();
    refused(
        &sink.position(0).await.unwrap_err(),
        &["sinks.events.sasl.password", "cannot be read"],
    );
    std::fs::write(&file, "right\n").unwrap();
    open(&sink, 0).await;
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_are_not_there_are_tried_again() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = runner_of(&nobody, CLUSTER, IMPATIENT)
        .open(0)
        .await
        .err()
        .unwrap();
    assert!(matches!(error, SinkError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains(&nobody), "{error}");
}
