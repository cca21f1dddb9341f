//! The properties of the Kafka client that an operator may choose, by the names of Kafka's own producer.

use std::collections::BTreeMap;
use std::time::Duration;

use toml::Value;

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codec {
    None,
    Gzip,
    Snappy,
    Lz4,
}

/// The properties, with their units.
///
/// A runner brings a commit to an acknowledgement in the time of one transaction, and collects the next one
/// meanwhile. So `linger` may be short: the end of a transaction sends what is left in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "kafka"),
    allow(dead_code, reason = "the client that reads it is not built")
)]
pub(super) struct Settings {
    pub(super) client_id: String,
    pub(super) linger: Duration,
    pub(super) batch_bytes: usize,
    pub(super) codec: Codec,
    /// The most bytes of records that wait for the brokers, for each shard.
    pub(super) buffer_bytes: usize,
    pub(super) request_bytes: usize,
    pub(super) request_timeout: Duration,
    /// The longest time in which a record is tried, after which its transaction is given up.
    pub(super) delivery_timeout: Duration,
    /// The longest time for one step of a transaction.
    pub(super) max_block: Duration,
    /// The time after which the brokers give up a transaction of a runner that is gone.
    pub(super) transaction_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            client_id: "holdfast".to_owned(),
            linger: Duration::from_millis(5),
            batch_bytes: 128 << 10,
            codec: Codec::Lz4,
            buffer_bytes: 16 << 20,
            request_bytes: 8 << 20,
            request_timeout: Duration::from_secs(10),
            delivery_timeout: Duration::from_secs(30),
            max_block: Duration::from_secs(20),
            transaction_timeout: Duration::from_secs(60),
        }
    }
}

/// Properties that belong to the sink, and the reason.
const REFUSED: [(&str, &str); 12] = [
    ("bootstrap.servers", "it is the setting bootstrap_servers"),
    (
        "transactional.id",
        "it names the sink, the cluster and the shard, which is how a second runner shuts out the first",
    ),
    (
        "max.in.flight.requests.per.connection",
        "the client keeps order within Kafka's limit of 5",
    ),
    (
        "max.in.flight",
        "the client keeps order within Kafka's limit of 5",
    ),
    (
        "retries",
        "a record is tried until delivery.timeout.ms: fewer tries would give up transactions for nothing",
    ),
    (
        "partitioner.class",
        "a SKU keeps its partition, which Java's murmur2 of the key says",
    ),
    (
        "partitioner",
        "a SKU keeps its partition, which Java's murmur2 of the key says",
    ),
    ("isolation.level", "positions are always read as committed"),
    ("key.serializer", "keys are text"),
    ("value.serializer", "values are JSON"),
    (
        "allow.auto.create.topics",
        "topics that a broker makes by itself have the wrong clean-up policy",
    ),
    ("interceptor.classes", "there is no Java here"),
];

const KNOWN: &str = "client.id, linger.ms, batch.size, compression.type, buffer.memory, max.request.size, \
                     request.timeout.ms, delivery.timeout.ms, max.block.ms, transaction.timeout.ms";

impl Settings {
    /// Reads the properties of the configuration.
    ///
    /// # Errors
    /// The fault in words, with the name of the property.
    pub(super) fn of(properties: &BTreeMap<String, Value>) -> Result<Self, String> {
        let mut settings = Self::default();
        for (name, value) in properties {
            settings
                .set(name, &text(value)?)
                .map_err(|reason| format!("properties.\"{name}\": {reason}"))?;
        }
        if settings.delivery_timeout < settings.linger + settings.request_timeout {
            return Err(
                "properties: delivery.timeout.ms must be at least linger.ms and request.timeout.ms together"
                    .to_owned(),
            );
        }
        if settings.transaction_timeout < settings.delivery_timeout + settings.max_block {
            return Err(
                "properties: transaction.timeout.ms must be at least delivery.timeout.ms and max.block.ms together: \
                 the brokers would give up a transaction that is still being written"
                    .to_owned(),
            );
        }
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "client.id" => {
                if value.is_empty() || value.len() > 128 {
                    return Err("it has 1 to 128 bytes".to_owned());
                }
                self.client_id = value.to_owned();
            }
            "linger.ms" => self.linger = millis(value, 0, 1_000)?,
            "batch.size" => self.batch_bytes = bytes(value, 1 << 10, 8 << 20)?,
            "compression.type" => {
                self.codec = match value {
                    "none" => Codec::None,
                    "gzip" => Codec::Gzip,
                    "snappy" => Codec::Snappy,
                    "lz4" => Codec::Lz4,
                    "zstd" => {
                        return Err(
                            "this program cannot write zstd: use lz4, snappy, gzip or none".to_owned()
                        );
                    }
                    _ => return Err(format!("{value:?} is not one of none, lz4, snappy and gzip")),
                }
            }
            "buffer.memory" => self.buffer_bytes = bytes(value, 8 << 20, 1 << 30)?,
            "max.request.size" => self.request_bytes = bytes(value, 1 << 20, 100 << 20)?,
            "request.timeout.ms" => self.request_timeout = millis(value, 500, 600_000)?,
            "delivery.timeout.ms" => self.delivery_timeout = millis(value, 500, 600_000)?,
            "max.block.ms" => self.max_block = millis(value, 500, 600_000)?,
            // Brokers allow 15 minutes at most, unless they are told otherwise.
            "transaction.timeout.ms" => self.transaction_timeout = millis(value, 1_000, 900_000)?,
            "acks" if matches!(value, "all" | "-1") => {}
            "acks" => {
                return Err(format!(
                    "{value} would lose records when a broker fails: it is always \"all\" here, so leave it out"
                ));
            }
            "enable.idempotence" if value == "true" => {}
            "enable.idempotence" => {
                return Err(
                    "records would come twice or out of order: it is always true here, so leave it out"
                        .to_owned(),
                );
            }
            _ if name.starts_with("sasl.") || name.starts_with("ssl.") || name.starts_with("security.") => {
                return Err("security is in the sections tls and sasl".to_owned());
            }
            _ => {
                let refused = REFUSED.iter().find(|(refused, _)| *refused == name);
                return Err(match refused {
                    Some((_, reason)) => format!("it cannot be set: {reason}"),
                    None => format!("it is not known; these are: {KNOWN}"),
                });
            }
        }
        Ok(())
    }
}

fn text(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(number) => Ok(number.to_string()),
        Value::Boolean(flag) => Ok(flag.to_string()),
        _ => Err("properties: a value is text, a whole number, true or false".to_owned()),
    }
}

fn number(value: &str, least: u64, most: u64, unit: &str) -> Result<u64, String> {
    let number = value.parse::<u64>().ok();
    number
        .filter(|number| (least..=most).contains(number))
        .ok_or_else(|| format!("{value:?} is not a whole number of {unit} from {least} to {most}"))
}

fn millis(value: &str, least: u64, most: u64) -> Result<Duration, String> {
    number(value, least, most, "milliseconds").map(Duration::from_millis)
}

fn bytes(value: &str, least: usize, most: usize) -> Result<usize, String> {
    let bytes = number(value, least as u64, most as u64, "bytes")?;
    usize::try_from(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(properties: &str) -> Result<Settings, String> {
        Settings::of(&toml::from_str(properties).unwrap())
    }

    #[test]
    fn properties_are_those_of_kafkas_own_producer() {
        let settings =
            read("'linger.ms' = 20\n'batch.size' = '65536'\n'compression.type' = 'none'\nacks = -1").unwrap();
        assert_eq!(
            settings,
            Settings {
                linger: Duration::from_millis(20),
                batch_bytes: 65_536,
                codec: Codec::None,
                ..Settings::default()
            }
        );
    }

    #[test]
    fn what_would_break_the_guarantees_is_refused_with_the_reason() {
        for (property, part) in [
            ("acks = 1", "would lose records"),
            ("acks = '0'", "would lose records"),
            ("'enable.idempotence' = false", "twice or out of order"),
            ("'transactional.id' = 'mine'", "second runner"),
            ("'max.in.flight.requests.per.connection' = 1", "order"),
            ("retries = 0", "delivery.timeout.ms"),
            ("'partitioner.class' = 'x'", "murmur2"),
            ("'isolation.level' = 'read_uncommitted'", "committed"),
            ("'sasl.password' = 'hush'", "sections tls and sasl"),
            ("'security.protocol' = 'SSL'", "sections tls and sasl"),
            ("'linger' = 1", "not known; these are: client.id, linger.ms"),
            ("'linger.ms' = 1.5", "whole number"),
            ("'linger.ms' = -1", "from 0 to 1000"),
            ("'compression.type' = 'zstd'", "cannot write zstd"),
            ("'compression.type' = 'brotli'", "not one of"),
            ("'buffer.memory' = 1", "from 8388608"),
            ("'delivery.timeout.ms' = 5000", "at least linger.ms"),
            ("'transaction.timeout.ms' = 40000", "still being written"),
        ] {
            let fault = read(property).unwrap_err();
            assert!(fault.contains(part), "{property}: {fault}");
            assert!(!fault.contains("hush"), "{fault}");
        }
    }
}
