//! A place for the tests: topics, sinks, and what consumers read.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use holdfast_sinks::kafka::{KafkaConfig, sink};
use holdfast_sinks::sink::{Sink, SinkError, Writer};
use holdfast_test_kafka::{Read, Shop, fold};
use krafka::testing::FakeBroker;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Headers as _;
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};
use uuid::Uuid;

pub(crate) const CELLS: &str = "holdfast.cells";
pub(crate) const RESERVATIONS: &str = "holdfast.reservations";
pub(crate) const POSITIONS: &str = "holdfast.positions";
/// The partitions of both topics with changes.
pub(crate) const PARTITIONS: i32 = 4;
pub(crate) const CLUSTER: Uuid = Uuid::from_u128(7);

/// The longest wait for something that must happen.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Starts three brokers with the topics.
pub(crate) async fn brokers() -> FakeBroker {
    let broker = FakeBroker::start_cluster(3).await.unwrap();
    broker.create_topic(CELLS, PARTITIONS);
    broker.create_topic(RESERVATIONS, PARTITIONS);
    broker.create_topic(POSITIONS, 2);
    broker
}

/// Returns the sink of a runner. Each call is another runner, with connections of its own.
pub(crate) fn runner(servers: &str) -> Arc<dyn Sink> {
    runner_of(servers, CLUSTER, "")
}

/// Returns the sink of a runner with more settings, for the changes of a cluster.
pub(crate) fn runner_of(servers: &str, cluster_id: Uuid, settings: &str) -> Arc<dyn Sink> {
    let servers = servers.replace(',', "', '");
    let config = format!("bootstrap_servers = ['{servers}']\n{settings}");
    let config: KafkaConfig = toml::from_str(&config).unwrap();
    sink("events", &config, cluster_id).unwrap()
}

/// Settings with which a runner gives up soon.
pub(crate) const IMPATIENT: &str = "properties = { 'request.timeout.ms' = 500, 'delivery.timeout.ms' = 600, \
                                    'max.block.ms' = 500 }";

/// Opens a writer, trying again for as long as the error passes by itself.
pub(crate) async fn open(sink: &Arc<dyn Sink>, shard: u32) -> Box<dyn Writer> {
    tokio::time::timeout(SOON, async {
        loop {
            match sink.open(shard).await {
                Ok(writer) => return writer,
                Err(SinkError::Unavailable { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await
    .unwrap()
}

/// Reads a topic to its end as a consumer of committed records, with librdkafka.
pub(crate) async fn read_committed(servers: &str, topic: &str, partitions: i32) -> Vec<Read> {
    let (servers, topic) = (servers.to_owned(), topic.to_owned());
    let read = move || read_blocking(&servers, &topic, partitions);
    tokio::task::spawn_blocking(read).await.unwrap().unwrap()
}

fn read_blocking(servers: &str, topic: &str, partitions: i32) -> anyhow::Result<Vec<Read>> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "fold")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("enable.partition.eof", "true")
        .create()?;
    let mut list = TopicPartitionList::new();
    for partition in 0..partitions {
        list.add_partition_offset(topic, partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut read = Vec::new();
    let mut ended = 0;
    while ended < partitions {
        let message = match consumer.poll(SOON).context("no end of the partition")? {
            Ok(message) => message,
            Err(KafkaError::PartitionEOF(_)) => {
                ended += 1;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        let mut headers = BTreeMap::new();
        for header in message.headers().context("headers")?.iter() {
            let value = header.value.context("the value of a header")?;
            headers.insert(header.key.to_owned(), String::from_utf8(value.to_vec())?);
        }
        read.push(Read {
            partition: message.partition(),
            key: String::from_utf8(message.key().context("key")?.to_vec())?,
            value: message.payload().context("value")?.to_vec(),
            headers,
        });
    }
    Ok(read)
}

/// Checks that the topics have every change of the shops once, and add up to the same.
pub(crate) async fn assert_equal(servers: &str, shops: &[&Shop]) {
    let cells = read_committed(servers, CELLS, PARTITIONS).await;
    let reservations = read_committed(servers, RESERVATIONS, PARTITIONS).await;
    fold(&cells, &reservations).unwrap().equals(shops).unwrap();
}
