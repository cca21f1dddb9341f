//! The writer of one shard: whole entries in transactions, one after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join_all;
use holdfast_api::v1::Change;
use krafka::error::KrafkaError;
use krafka::producer::TransactionalProducer;
use krafka::{CloseOptions, Record};
use tokio::runtime::Handle;

use super::config::KafkaTopics;
use super::envelope::{Envelope, Origin, Topic};
use super::fault::sink_error;
use super::partition::partition_of;
use super::position::PositionRecord;
use crate::entries::whole_entries;
use crate::sink::{Position, SinkError, Writer};

/// The changes after which a transaction ends with the next entry.
const TRANSACTION_CHANGES: usize = 4_096;
/// The changes of a transaction that become records at a time. It bounds memory for entries of any size.
const STEP_CHANGES: usize = 512;
/// The longest time for giving up a transaction and closing, in the background.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// Writes the changes of one shard.
#[derive(Debug)]
pub(super) struct KafkaWriter {
    /// None only while the writer is dropped.
    producer: Option<TransactionalProducer>,
    origin: Origin,
    topics: KafkaTopics,
    opened_at: Position,
    /// The position of the topics.
    at: PositionRecord,
}

impl KafkaWriter {
    pub(super) fn new(
        producer: TransactionalProducer,
        origin: Origin,
        topics: KafkaTopics,
        at: PositionRecord,
    ) -> Self {
        Self {
            producer: Some(producer),
            origin,
            topics,
            opened_at: at.position(),
            at,
        }
    }

    /// Returns what the topics have.
    pub(super) fn at(&self) -> &PositionRecord {
        &self.at
    }

    /// Writes whole entries in one transaction, with the position after them.
    async fn transact(&mut self, changes: &[Change]) -> Result<(), SinkError> {
        let Some(last) = changes.last() else { return Ok(()) };
        let after = PositionRecord {
            through_seq: last.seq,
            log_time_ms: last.log_time_ms,
            ..self.at.clone()
        };
        let producer = self.producer.as_ref().ok_or_else(closed)?;
        let what = format!(
            "changes {} to {} of shard {} were not written",
            self.at.through_seq + 1,
            after.through_seq,
            after.shard
        );
        let fault = |error: KrafkaError| sink_error(&what, &error);
        producer.begin().map_err(fault)?;
        for step in changes.chunks(STEP_CHANGES) {
            let partitions = self.records(step)?;
            // Records of one partition in their order; the partitions beside each other, because the brokers
            // may have to be told of each of them first. A record that fails later fails the commit.
            let enqueued = partitions.into_values().map(async |records| {
                for record in records {
                    let _acknowledgement = producer.enqueue(record).await?;
                }
                Ok::<_, KrafkaError>(())
            });
            try_join_all(enqueued).await.map_err(fault)?;
        }
        let position = position_record(&self.topics.positions, &after);
        let position = position.map_err(|reason| SinkError::Unwritable {
            shard: after.shard,
            seq: after.through_seq,
            what: reason,
        })?;
        let _acknowledgement = producer.enqueue(position).await.map_err(fault)?;
        producer.commit().await.map_err(fault)?;
        self.at = after;
        Ok(())
    }

    /// Returns the records of some changes by topic and partition, in order.
    fn records(&self, changes: &[Change]) -> Result<BTreeMap<(Topic, i32), Vec<Record>>, SinkError> {
        let mut records = BTreeMap::<_, Vec<Record>>::new();
        for change in changes {
            for envelope in self.origin.envelopes(change)? {
                let partitions = match envelope.topic {
                    Topic::Cells => self.at.cells_partitions,
                    Topic::Reservations => self.at.reservations_partitions,
                };
                let partition = partition_of(&envelope.key, partitions);
                let of_partition = records.entry((envelope.topic, partition)).or_default();
                of_partition.push(self.record(envelope, partition));
            }
        }
        Ok(records)
    }

    fn record(&self, envelope: Envelope, partition: i32) -> Record {
        let topic = match envelope.topic {
            Topic::Cells => &self.topics.cells,
            Topic::Reservations => &self.topics.reservations,
        };
        let record = Record::new(topic.as_str(), envelope.value)
            .key(envelope.key)
            .partition(partition);
        let headers = envelope.headers.into_iter();
        headers.fold(record, |record, (name, value)| record.header(name, value))
    }
}

#[async_trait]
impl Writer for KafkaWriter {
    fn opened_at(&self) -> Position {
        self.opened_at
    }

    async fn write(&mut self, changes: &[Change]) -> Result<(), SinkError> {
        if let Some(first) = changes.first()
            && first.seq != self.at.through_seq + 1
        {
            return Err(SinkError::Moved {
                through_seq: self.at.through_seq,
                expected_seq: first.seq.saturating_sub(1),
            });
        }
        let mut rest = changes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(whole_entries(rest, TRANSACTION_CHANGES));
            Box::pin(self.transact(now)).await?;
            rest = later;
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<Position, SinkError> {
        Ok(self.at.position())
    }
}

impl Drop for KafkaWriter {
    /// Gives up the open transaction, if there is one: until then, consumers of committed records wait for
    /// it.
    fn drop(&mut self) {
        if let Some(producer) = self.producer.take() {
            close_soon(producer);
        }
    }
}

/// Closes a producer in the background.
pub(super) fn close_soon(producer: TransactionalProducer) {
    let Ok(runtime) = Handle::try_current() else {
        return;
    };
    runtime.spawn(async move {
        let options = CloseOptions::new().timeout(CLOSE_PATIENCE);
        if let Err(error) = producer.close_with(options).await {
            let id = producer.transactional_id();
            tracing::debug!(id, %error, "a transaction is left to its timeout");
        }
    });
}

fn closed() -> SinkError {
    SinkError::Unavailable {
        what: "the writer is closed".to_owned(),
        retry_after_ms: 0,
    }
}

fn position_record(topic: &str, after: &PositionRecord) -> Result<Record, String> {
    let partition = i32::try_from(after.shard).map_err(|error| error.to_string())?;
    let value = serde_json::to_vec(after).map_err(|error| error.to_string())?;
    Ok(Record::new(topic, value)
        .key(after.shard.to_string())
        .partition(partition)
        .header("content-type", "application/json"))
}
