//! The topics, checked before anything is written.

use std::collections::BTreeMap;
use std::time::Duration;

use krafka::Kafka;
use krafka::admin::{ConfigResource, DescribeConfigsOptions, DescribeTopicsOptions};
use krafka::error::{ErrorCode, KrafkaError};

use super::config::KafkaTopics;
use super::fault::{NO_TOPIC, sink_error};
use super::position::PositionRecord;
use crate::sink::SinkError;

/// The longest time for asking about the topics.
const PATIENCE: Duration = Duration::from_secs(20);

/// How many partitions the topics have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Partitions {
    pub(super) cells: i32,
    pub(super) reservations: i32,
}

/// Checks that the topics exist, that a shard has its partition for positions, and that no clean-up policy
/// takes away what consumers need.
///
/// # Errors
/// [`SinkError::Refused`] says which topic is wrong and what to do.
pub(super) async fn check(
    kafka: &Kafka,
    topics: &KafkaTopics,
    shard: u32,
    batch_bytes: usize,
) -> Result<Partitions, SinkError> {
    let cells = partitions(kafka, &topics.cells).await?;
    let reservations = partitions(kafka, &topics.reservations).await?;
    let positions = partitions(kafka, &topics.positions).await?;
    if i64::from(shard) >= i64::from(positions) {
        let topic = &topics.positions;
        return Err(SinkError::Refused {
            what: format!(
                "topic {topic} has {positions} partitions, and shard {shard} needs partition {shard}"
            ),
            advice: format!(
                "add partitions, which moves nothing in this topic: kafka-topics.sh --alter --topic {topic} \
                 --partitions {}",
                u64::from(shard) + 1
            ),
        });
    }
    for (topic, use_of) in [
        (&topics.cells, Use::Changes),
        (&topics.reservations, Use::Changes),
        (&topics.positions, Use::Positions),
    ] {
        let Some(policy) = policy(kafka, topic).await? else {
            continue;
        };
        let fault = use_of.fault(topic, &policy);
        if let Some(fault) = fault.or_else(|| too_small(topic, &policy, batch_bytes)) {
            return Err(fault);
        }
    }
    Ok(Partitions { cells, reservations })
}

impl Partitions {
    /// Refuses topics that had another number of partitions when the shard was written last. The records of a
    /// SKU would be in two partitions, out of order.
    pub(super) fn check_unchanged(self, topics: &KafkaTopics, at: &PositionRecord) -> Result<(), SinkError> {
        for (topic, now, before) in [
            (&topics.cells, self.cells, at.cells_partitions),
            (
                &topics.reservations,
                self.reservations,
                at.reservations_partitions,
            ),
        ] {
            if now != before {
                return Err(SinkError::Refused {
                    what: format!("topic {topic} has {now} partitions, and had {before} when it was written last"),
                    advice: "a key would be in two partitions, out of order: create new topics with the wished number, \
                             and name all three in the section; they are filled from the first change"
                        .to_owned(),
                });
            }
        }
        Ok(())
    }
}

async fn partitions(kafka: &Kafka, topic: &str) -> Result<i32, SinkError> {
    let what = format!("topic {topic} cannot be used");
    let options = DescribeTopicsOptions::default().timeout(PATIENCE);
    let described = kafka.admin().describe_topics([topic], options).await;
    let mut described = described.map_err(|error| sink_error(&what, &error))?;
    let none = || SinkError::Refused {
        what: format!("topic {topic} does not exist"),
        advice: NO_TOPIC.to_owned(),
    };
    match described.remove(topic) {
        Some(Ok(described)) if described.partitions.is_empty() => Err(none()),
        Some(Ok(described)) => i32::try_from(described.partitions.len()).map_err(|_| none()),
        Some(Err(KrafkaError::Broker {
            code: ErrorCode::UnknownTopicOrPartition,
            ..
        })) => Err(none()),
        Some(Err(error)) => Err(sink_error(&what, &error)),
        None => Err(none()),
    }
}

/// The use of a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Changes,
    Positions,
}

/// Settings of a topic by name.
type Policy = BTreeMap<String, String>;

impl Use {
    /// Returns the reason for which a topic with this policy cannot be used.
    fn fault(self, topic: &str, policy: &Policy) -> Option<SinkError> {
        let cleanup = policy.get("cleanup.policy")?;
        let has = |word: &str| cleanup.split(',').any(|one| one.trim() == word);
        let unlimited = |setting: &str| policy.get(setting).is_some_and(|value| value.trim() == "-1");
        let (fault, advice) = match self {
            Self::Changes if has("compact") => (
                "a change holds only the buckets that moved, so a compacted topic loses units",
                format!(
                    "kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config cleanup.policy=delete"
                ),
            ),
            Self::Positions
                if has("delete") && !(unlimited("retention.ms") && unlimited("retention.bytes")) =>
            {
                (
                    "a position that is deleted would make the sink write every change again",
                    format!(
                        "kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config cleanup.policy=compact"
                    ),
                )
            }
            _ => return None,
        };
        Some(SinkError::Refused {
            what: format!("topic {topic} has cleanup.policy={cleanup}, and {fault}"),
            advice,
        })
    }
}

/// Refuses a topic that takes no batch of the configured size. In a transaction, the client does not send a
/// batch again in parts.
fn too_small(topic: &str, policy: &Policy, batch_bytes: usize) -> Option<SinkError> {
    let allowed: usize = policy.get("max.message.bytes")?.trim().parse().ok()?;
    (allowed < batch_bytes).then(|| SinkError::Refused {
        what: format!("topic {topic} takes batches of {allowed} bytes, and batches have up to {batch_bytes}"),
        advice: format!(
            "lower batch.size in the properties of the sink, or raise it there: kafka-configs.sh --alter \
             --entity-type topics --entity-name {topic} --add-config max.message.bytes=1048588"
        ),
    })
}

/// Returns the settings of a topic that matter here. None means that this user may not read them, or that the
/// brokers do not know how to say them.
async fn policy(kafka: &Kafka, topic: &str) -> Result<Option<Policy>, SinkError> {
    let names = [
        "cleanup.policy",
        "retention.ms",
        "retention.bytes",
        "max.message.bytes",
    ]
    .map(str::to_owned);
    let options = DescribeConfigsOptions::default()
        .timeout(PATIENCE)
        .config_names(names.to_vec());
    let resource = ConfigResource::topic(topic);
    let described = kafka.admin().describe_configs([resource.clone()], options).await;
    let described = described.and_then(|mut all| {
        all.remove(&resource)
            .unwrap_or_else(|| Err(KrafkaError::timeout("asking for the settings of a topic")))
    });
    match described {
        Ok(entries) => {
            let settings = entries.into_iter();
            Ok(Some(
                settings
                    .filter_map(|entry| Some((entry.name, entry.value?)))
                    .collect(),
            ))
        }
        Err(error) if error.is_retriable() => Err(sink_error(
            &format!("the settings of topic {topic} cannot be read"),
            &error,
        )),
        Err(error) => {
            tracing::warn!(topic, %error, "the settings of a topic cannot be checked: docs/kafka.md says what they must be");
            Ok(None)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(settings: &[(&str, &str)]) -> Policy {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        settings.iter().map(owned).collect()
    }

    #[test]
    fn changes_are_never_compacted_and_positions_never_deleted() {
        let kept_for_ever = [
            ("cleanup.policy", "delete"),
            ("retention.ms", "-1"),
            ("retention.bytes", "-1"),
        ];
        let a_week = [
            ("cleanup.policy", "delete"),
            ("retention.ms", "604800000"),
            ("retention.bytes", "-1"),
        ];
        for (settings, changes, positions) in [
            (&a_week[..], true, false),
            (&kept_for_ever[..], true, true),
            (&[("cleanup.policy", "compact")][..], false, true),
            (&[("cleanup.policy", "compact,delete")][..], false, false),
            (&[("cleanup.policy", "delete")][..], true, false),
            (&[][..], true, true),
        ] {
            let settings = policy(settings);
            for (use_of, fits) in [(Use::Changes, changes), (Use::Positions, positions)] {
                let fault = use_of.fault("t", &settings);
                assert_eq!(fault.is_none(), fits, "{settings:?} {use_of:?}");
                if let Some(fault) = fault {
                    assert!(
                        fault.needs_a_person() && fault.to_string().contains("--entity-name t"),
                        "{fault}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_topic_takes_the_largest_batch() {
        for (allowed, fits) in [
            ("131071", false),
            ("131072", true),
            ("1048588", true),
            ("?", true),
        ] {
            let settings = policy(&[("max.message.bytes", allowed)]);
            assert_eq!(too_small("t", &settings, 131_072).is_none(), fits, "{allowed}");
        }
    }

    #[test]
    fn another_number_of_partitions_is_refused() {
        let at = PositionRecord {
            cluster_id: uuid::Uuid::nil(),
            shard: 0,
            through_seq: 9,
            log_time_ms: 0,
            cells_partitions: 12,
            reservations_partitions: 6,
        };
        let topics = KafkaTopics::default();
        let check = |cells, reservations| Partitions { cells, reservations }.check_unchanged(&topics, &at);
        check(12, 6).unwrap();
        let error = check(24, 6).unwrap_err().to_string();
        assert!(
            error.contains("holdfast.cells has 24 partitions, and had 12"),
            "{error}"
        );
        let error = check(12, 1).unwrap_err().to_string();
        assert!(error.contains("holdfast.reservations has 1"), "{error}");
    }
}
