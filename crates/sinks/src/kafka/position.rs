//! The position of a shard, in the topic for positions.
//!
//! Partition n of the topic belongs to shard n alone. So its last committed record is the position, and no
//! open transaction of another shard hides it. It is found from the end:
//!
//! ```text
//!  offset   0 ........................ 87  88  89  90  91  92
//!                                      P   C   P   A   P   C     P position   C commit mark   A abort mark
//!                                              └─ given up ┘ └─ the last committed one
//!                        <──── 1,024 ────><──── 64 from the end ────>
//! ```
//!
//! Nearly always the position is among the last 64. After many transactions that were given up, the window
//! grows.

use std::time::Duration;

use krafka::Kafka;
use krafka::admin::{ListOffsetsOptions, OffsetSpec, TopicPartition};
use krafka::consumer::{AutoOffsetReset, Consumer, IsolationLevel};
use krafka::error::KrafkaError;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use uuid::Uuid;

use super::fault::sink_error;
use crate::sink::{Position, SinkError};

/// The offsets that are looked at first.
const FIRST_WINDOW: i64 = 64;
/// How much larger each further window is.
const WINDOW_GROWTH: i64 = 16;
/// The longest time for reading a position.
const PATIENCE: Duration = Duration::from_secs(20);
/// The longest wait of one fetch.
const FETCH_WAIT: Duration = Duration::from_millis(200);

/// The value of a record in the topic for positions. Fields that are not known are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PositionRecord {
    /// The cluster of the changes.
    pub(super) cluster_id: Uuid,
    /// The shard.
    pub(super) shard: u32,
    /// The last change whose records are in the topics.
    pub(super) through_seq: u64,
    /// The log time of that change, in milliseconds since the Unix epoch.
    pub(super) log_time_ms: u64,
    /// The partitions of the cells topic, over which keys are spread.
    pub(super) cells_partitions: i32,
    /// The partitions of the reservations topic.
    pub(super) reservations_partitions: i32,
}

impl PositionRecord {
    /// Returns the position in the words of every sink.
    pub(super) fn position(&self) -> Position {
        Position {
            through_seq: self.through_seq,
            log_time_ms: self.log_time_ms,
        }
    }
}

/// The moment up to which a position is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// Everything that is committed now, while another runner may be writing.
    Now,
    /// Everything in the log. After earlier writers were shut out, whatever they left gets an outcome.
    AllDecided,
}

/// Reads the position of a shard. None means that the partition never had one.
///
/// # Errors
/// [`SinkError::Refused`]: the partition had positions and lost them. [`SinkError`]: it cannot be read.
pub(super) async fn read(
    kafka: &Kafka,
    topic: &str,
    shard: u32,
    until: Until,
) -> Result<Option<PositionRecord>, SinkError> {
    let what = format!("the position of shard {shard} in topic {topic} cannot be read");
    let read = tokio::time::timeout(PATIENCE, read_partition(kafka, topic, shard, until));
    let (begin, found) = match read.await {
        Ok(Ok(read)) => read,
        Ok(Err(Failure::Kafka(error))) => return Err(sink_error(&what, &error)),
        Ok(Err(Failure::Sink(error))) => return Err(error),
        Err(_) => {
            return Err(SinkError::Unavailable {
                what: format!(
                    "{what} within {} s: a transaction in it has no outcome",
                    PATIENCE.as_secs()
                ),
                retry_after_ms: 0,
            });
        }
    };
    if found.is_none() && begin > 0 {
        return Err(SinkError::Refused {
            what: format!("topic {topic} has lost the position of shard {shard}: its records up to offset {begin} are deleted"),
            advice: "set its cleanup.policy to compact; then take new topics, which are filled from the first change"
                .to_owned(),
        });
    }
    Ok(found)
}

enum Failure {
    Kafka(KrafkaError),
    Sink(SinkError),
}

impl From<KrafkaError> for Failure {
    fn from(error: KrafkaError) -> Self {
        Self::Kafka(error)
    }
}

/// Returns the first offset of the partition, and its last committed position.
async fn read_partition(
    kafka: &Kafka,
    topic: &str,
    shard: u32,
    until: Until,
) -> Result<(i64, Option<PositionRecord>), Failure> {
    let partition =
        i32::try_from(shard).map_err(|_| KrafkaError::config(format!("there is no partition {shard}")))?;
    let begin = offset(kafka, topic, partition, OffsetSpec::Earliest, false).await?;
    let end = offset(kafka, topic, partition, OffsetSpec::Latest, until == Until::Now).await?;
    let consumer = kafka
        .consumer_without_group()
        .isolation_level(IsolationLevel::ReadCommitted)
        .auto_offset_reset(AutoOffsetReset::Earliest)
        .fetch_max_wait(FETCH_WAIT)
        .metrics_push(false)
        .build()
        .await?;
    consumer.assign(topic, vec![partition]).await?;
    let mut window = FIRST_WINDOW;
    let found = loop {
        let from = begin.max(end.saturating_sub(window));
        if let Some(record) = last_between(&consumer, topic, partition, from, end).await? {
            break Some(record);
        }
        if from <= begin {
            break None;
        }
        window = window.saturating_mul(WINDOW_GROWTH);
    };
    // It belongs to no group, so there is nothing to wait for.
    let _ = consumer.close().await;
    let Some((offset, value)) = found else {
        return Ok((begin, None));
    };
    let unreadable = |fault: String| {
        Failure::Sink(SinkError::Refused {
            what: format!(
                "record {offset} of topic {topic}, partition {partition} is not the position of shard {shard}: {fault}"
            ),
            advice: "nobody else may write to this topic: name another one in the section".to_owned(),
        })
    };
    let record: PositionRecord =
        serde_json::from_slice(&value).map_err(|error| unreadable(error.to_string()))?;
    if record.shard != shard {
        return Err(unreadable(format!("it is that of shard {}", record.shard)));
    }
    Ok((begin, Some(record)))
}

/// Returns the last committed record from one offset to another, as its offset and its value.
async fn last_between(
    consumer: &Consumer,
    topic: &str,
    partition: i32,
    from: i64,
    to: i64,
) -> Result<Option<(i64, Vec<u8>)>, KrafkaError> {
    if from >= to {
        return Ok(None);
    }
    consumer.seek(topic, partition, from).await?;
    let mut last = None;
    let deadline = Instant::now() + PATIENCE;
    loop {
        for record in consumer.poll(FETCH_WAIT).await? {
            if record.offset < to {
                last = Some((record.offset, record.value.unwrap_or_default().to_vec()));
            }
        }
        // Marks of transactions are offsets too: the position passes over them.
        let position = consumer.position(topic, partition).await;
        if position.is_some_and(|position| position >= to) {
            return Ok(last);
        }
        if Instant::now() > deadline {
            return Err(KrafkaError::timeout("reading the end of the partition"));
        }
    }
}

async fn offset(
    kafka: &Kafka,
    topic: &str,
    partition: i32,
    spec: OffsetSpec,
    committed: bool,
) -> Result<i64, KrafkaError> {
    let partition = TopicPartition::new(topic, partition);
    let options = ListOffsetsOptions::default()
        .timeout(PATIENCE)
        .read_committed(committed);
    let mut offsets = kafka
        .admin()
        .list_offsets([(partition.clone(), spec)], options)
        .await?;
    let offset = offsets
        .remove(&partition)
        .ok_or_else(|| KrafkaError::timeout("asking for an offset"))?;
    Ok(offset?.offset)
}
