//! The sink against librdkafka's mock cluster, and librdkafka's own choice of partitions.

use std::sync::{Arc, Mutex};

use holdfast_sinks::sink::SinkError;
use holdfast_test_kafka::Shop;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, ClientContext, Message as _};

use super::place::{
    CELLS, CLUSTER, IMPATIENT, PARTITIONS, POSITIONS, RESERVATIONS, SOON, assert_equal, open, read_committed,
    runner, runner_of,
};
use super::shim;

fn mock() -> MockCluster<'static, DefaultProducerContext> {
    let mock = MockCluster::new(3).unwrap();
    mock.create_topic(CELLS, PARTITIONS, 3).unwrap();
    mock.create_topic(RESERVATIONS, PARTITIONS, 3).unwrap();
    mock.create_topic(POSITIONS, 2, 3).unwrap();
    mock
}

#[tokio::test(flavor = "multi_thread")]
async fn runners_take_turns_on_librdkafkas_cluster() {
    let mock = mock();
    let brokers = mock.bootstrap_servers();
    let servers = shim::start(&brokers).await;
    let mut shop = Shop::new(1);
    let mut older = open(&runner(&servers), 1).await;
    for round in 0..4 {
        older.write(&shop.changes(100)).await.unwrap();
        let sink = runner(&servers);
        assert_eq!(
            sink.position(1).await.unwrap().through_seq,
            shop.last_seq(),
            "{round}"
        );
        let newer = open(&sink, 1).await;
        assert_eq!(newer.opened_at().through_seq, shop.last_seq(), "{round}");
        older = newer;
    }
    older.write(&shop.changes(10)).await.unwrap();
    assert_equal(&brokers, &[&shop]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_of_librdkafkas_cluster_is_another_runner() {
    let mock = mock();
    let servers = shim::start(&mock.bootstrap_servers()).await;
    let sink = runner_of(&servers, CLUSTER, IMPATIENT);
    let mut shop = Shop::new(0);
    for (api, code) in [
        (
            RDKafkaApiKey::EndTxn,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
        ),
        (
            RDKafkaApiKey::AddPartitionsToTxn,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
        ),
    ] {
        let mut writer = open(&sink, 0).await;
        // The mock shuts nobody out by itself.
        mock.request_errors(api, &[code; 200]);
        let late = writer.write(&shop.changes(5)).await;
        mock.clear_request_errors(api);
        assert!(matches!(late, Err(SinkError::TakenOver { .. })), "{late:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_librdkafkas_cluster_are_told_apart() {
    let mock = mock();
    let servers = shim::start(&mock.bootstrap_servers()).await;
    let sink = runner_of(&servers, CLUSTER, IMPATIENT);
    let passing = [
        (
            RDKafkaApiKey::InitProducerId,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
            false,
        ),
        (
            RDKafkaApiKey::InitProducerId,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            true,
        ),
        (
            RDKafkaApiKey::AddPartitionsToTxn,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            true,
        ),
        (
            RDKafkaApiKey::EndTxn,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
            false,
        ),
    ];
    for (api, code, needs_a_person) in passing {
        mock.request_errors(api, &[code; 200]);
        let tried = match sink.open(0).await {
            Ok(mut writer) => writer.write(&Shop::new(0).changes(5)).await,
            Err(error) => Err(error),
        };
        mock.clear_request_errors(api);
        let error = tried.unwrap_err();
        assert_eq!(
            error.needs_a_person(),
            needs_a_person,
            "{api:?} {code:?}: {error}"
        );
    }
}

/// Notes the partition of each key that was written.
#[derive(Clone, Default)]
struct Noted(Arc<Mutex<Vec<(String, i32)>>>);

impl ClientContext for Noted {}

impl rdkafka::producer::ProducerContext for Noted {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &rdkafka::message::DeliveryResult<'_>, (): ()) {
        let message = result.as_ref().unwrap();
        let key = String::from_utf8(message.key().unwrap().to_vec()).unwrap();
        self.0.lock().unwrap().push((key, message.partition()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_have_the_partitions_that_librdkafka_gives_them() {
    let mock = mock();
    mock.create_topic("by-librdkafka", PARTITIONS, 1).unwrap();
    let brokers = mock.bootstrap_servers();
    let mut shop = Shop::new(0);
    let mut writer = open(&runner(&shim::start(&brokers).await), 0).await;
    writer.write(&shop.changes(300)).await.unwrap();
    let noted = Noted::default();
    let context = noted.clone();
    let mut written = read_committed(&brokers, CELLS, PARTITIONS).await;
    written.extend(read_committed(&brokers, RESERVATIONS, PARTITIONS).await);
    let expected = written.iter().map(|read| (read.key.clone(), read.partition));
    let expected = expected.collect::<std::collections::BTreeSet<_>>();
    let keys = expected.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>();
    assert!(keys.len() > 100, "{}", keys.len());
    tokio::task::spawn_blocking(move || {
        let producer: ThreadedProducer<Noted> = ClientConfig::new()
            .set("bootstrap.servers", &brokers)
            .set("partitioner", "murmur2_random")
            .create_with_context(context)
            .unwrap();
        for key in &keys {
            let record = BaseRecord::to("by-librdkafka").key(key).payload("");
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(SOON).unwrap();
    })
    .await
    .unwrap();
    let by_librdkafka = noted
        .0
        .lock()
        .unwrap()
        .iter()
        .cloned()
        .collect::<std::collections::BTreeSet<_>>();
    assert_eq!(by_librdkafka, expected);
}
