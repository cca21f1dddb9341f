//! The sink: it checks what is there, shuts out the runner before, and then reads where that one ended.

use async_trait::async_trait;
use krafka::Kafka;
use krafka::producer::{Acks, TransactionalProducer};
use tokio::sync::Mutex;
use uuid::Uuid;

use super::config::KafkaConfig;
use super::connection::{compression, connect};
use super::envelope::Origin;
use super::fault::sink_error;
use super::position::{self, PositionRecord, Until};
use super::settings::Settings;
use super::topics;
use super::writer::KafkaWriter;
use crate::sink::{Position, Sink, SinkError, Writer};

/// Topics in Kafka.
#[derive(Debug)]
pub(super) struct KafkaSink {
    origin: Origin,
    config: KafkaConfig,
    settings: Settings,
    /// The connection, once there is one.
    kafka: Mutex<Option<Kafka>>,
}

impl KafkaSink {
    pub(super) fn new(name: &str, config: &KafkaConfig, settings: Settings, cluster_id: Uuid) -> Self {
        Self {
            origin: Origin {
                sink: name.to_owned(),
                cluster_id,
            },
            config: config.clone(),
            settings,
            kafka: Mutex::new(None),
        }
    }

    /// Returns the connection, and makes it when there is none.
    async fn kafka(&self) -> Result<Kafka, SinkError> {
        let mut kafka = self.kafka.lock().await;
        if let Some(kafka) = &*kafka {
            return Ok(kafka.clone());
        }
        let connected = connect(&self.origin.sink, &self.config, &self.settings).await?;
        Ok(kafka.insert(connected).clone())
    }

    /// Drops the connection after an error that needs a person: the next one uses what was corrected.
    async fn note<T>(&self, result: Result<T, SinkError>) -> Result<T, SinkError> {
        if result.as_ref().is_err_and(SinkError::needs_a_person) {
            *self.kafka.lock().await = None;
        }
        result
    }

    /// Reads the last position of a shard in this cluster.
    async fn last(
        &self,
        kafka: &Kafka,
        shard: u32,
        until: Until,
    ) -> Result<Option<PositionRecord>, SinkError> {
        let last = position::read(kafka, &self.config.topics.positions, shard, until).await?;
        match last {
            Some(last) if last.cluster_id != self.origin.cluster_id => Err(SinkError::OtherCluster {
                target: last.cluster_id,
                cluster: self.origin.cluster_id,
            }),
            last => Ok(last),
        }
    }

    async fn producer(&self, kafka: &Kafka, shard: u32) -> Result<TransactionalProducer, SinkError> {
        let Origin { sink, cluster_id } = &self.origin;
        let transactional_id = format!("holdfast-{sink}-{cluster_id}-{shard}");
        let settings = &self.settings;
        let producer = kafka
            .producer()
            .acks(Acks::All)
            .idempotent(true)
            .linger(settings.linger)
            .batch_size(settings.batch_bytes)
            .compression(compression(settings.codec))
            .buffer_memory(settings.buffer_bytes)
            .max_request_size(settings.request_bytes)
            .delivery_timeout(settings.delivery_timeout)
            .max_block(settings.max_block)
            .transaction_timeout(settings.transaction_timeout)
            .metrics_push(false)
            .build_transactional(transactional_id.as_str())
            .await;
        producer.map_err(|error| {
            sink_error(
                &format!("transactions of {transactional_id} cannot begin"),
                &error,
            )
        })
    }

    async fn open_shard(&self, shard: u32) -> Result<KafkaWriter, SinkError> {
        let kafka = self.kafka().await?;
        let topics = &self.config.topics;
        let partitions = topics::check(&kafka, topics, shard, self.settings.batch_bytes).await?;
        // Whoever cannot write anyway must not shut out a runner that can.
        if let Some(last) = self.last(&kafka, shard, Until::Now).await? {
            partitions.check_unchanged(topics, &last)?;
        }
        let producer = self.producer(&kafka, shard).await?;
        // From here on only this writer moves the position, and whatever others left is decided.
        let last = match self.last(&kafka, shard, Until::AllDecided).await {
            Ok(last) => last,
            Err(error) => {
                super::writer::close_soon(producer);
                return Err(error);
            }
        };
        let at = last.unwrap_or(PositionRecord {
            cluster_id: self.origin.cluster_id,
            shard,
            through_seq: 0,
            log_time_ms: 0,
            cells_partitions: partitions.cells,
            reservations_partitions: partitions.reservations,
        });
        let writer = KafkaWriter::new(producer, self.origin.clone(), topics.clone(), at);
        // Another runner may have begun, with other numbers, just before it was shut out.
        partitions.check_unchanged(topics, writer.at())?;
        Ok(writer)
    }
}

#[async_trait]
impl Sink for KafkaSink {
    async fn position(&self, shard: u32) -> Result<Position, SinkError> {
        let position = async {
            let kafka = self.kafka().await?;
            let last = self.last(&kafka, shard, Until::Now).await?;
            Ok(last.map(|last| last.position()).unwrap_or_default())
        };
        let position = Box::pin(position).await;
        self.note(position).await
    }

    async fn open(&self, shard: u32) -> Result<Box<dyn Writer>, SinkError> {
        let opened = Box::pin(self.open_shard(shard)).await;
        let writer = self.note(opened).await?;
        Ok(Box::new(writer))
    }
}
