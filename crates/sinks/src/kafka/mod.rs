//! Changes as records in Kafka topics.
//!
//! ```text
//!              ┌─────── one transaction: whole log entries of one shard ───────┐
//!  changes ──> │ cells: by SKU    reservations: by id    positions: by shard   │ ──> consumers of
//!              └───────────────────────────────────────────────────────────────┘     committed records
//! ```
//!
//! The position of a shard is the last record of its partition in the third topic. It is written in the same
//! transaction as the records that it stands for. So a restarted runner reads one record, and knows exactly
//! which changes a consumer of committed records can see. The transactional id names the sink, the cluster
//! and the shard, so a second runner shuts the first one out.
//!
//! - [`KafkaConfig`] is what the configuration says; `settings.rs` has the client's properties, and refuses
//!   those that would break the guarantees.
//! - `envelope.rs` makes records from a change. `partition.rs` chooses their partitions.
//! - `topics.rs` checks the topics before anything is written, and `position.rs` reads a position.
//! - `writer.rs` writes transactions, `connection.rs` reaches the brokers, `fault.rs` turns their errors into
//!   [`crate::sink::SinkError`].
//!
//! The client library is behind the feature `kafka`, which the configuration does not need.

mod config;
mod settings;

#[cfg(feature = "kafka")]
mod connection;
#[cfg(feature = "kafka")]
mod envelope;
#[cfg(feature = "kafka")]
mod fault;
#[cfg(feature = "kafka")]
mod partition;
#[cfg(feature = "kafka")]
mod position;
#[cfg(feature = "kafka")]
mod topics;
#[cfg(feature = "kafka")]
mod writer;

#[cfg(feature = "kafka")]
mod kafka_sink;

use std::sync::Arc;

use uuid::Uuid;

pub use config::{KafkaConfig, KafkaTopics, Sasl, SaslMechanism, Tls};

use crate::settings::SettingError;
use crate::sink::Sink;

/// Makes the sink of this name for the changes of a cluster. It connects when it is first asked something.
///
/// # Errors
/// [`SettingError::Sink`]: the configuration cannot work, or this program is built without the sink.
pub fn sink(name: &str, config: &KafkaConfig, cluster_id: Uuid) -> Result<Arc<dyn Sink>, SettingError> {
    config.check(name)?;
    #[cfg(feature = "kafka")]
    {
        let settings = settings::Settings::of(&config.properties).map_err(|reason| SettingError::Sink {
            sink: name.to_owned(),
            reason,
        })?;
        Ok(Arc::new(kafka_sink::KafkaSink::new(
            name, config, settings, cluster_id,
        )))
    }
    #[cfg(not(feature = "kafka"))]
    {
        let _ = cluster_id;
        Err(SettingError::Sink {
            sink: name.to_owned(),
            reason: "this program is built without Kafka: use the image of Holdfast, which has every sink, or build \
                     the program with `--features kafka`"
                .to_owned(),
        })
    }
}

#[cfg(all(test, not(feature = "kafka")))]
mod tests {
    use super::*;

    #[test]
    fn without_the_feature_the_error_says_how_to_get_it() {
        let config = toml::from_str("bootstrap_servers = ['k1:9092']").unwrap();
        let error = sink("events", &config, Uuid::nil()).err().unwrap().to_string();
        assert!(
            error.contains("--features kafka") && error.contains("events"),
            "{error}"
        );
    }
}
