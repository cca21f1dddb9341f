//! The section of a Kafka sink in `sinks.toml`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::settings::Settings;
use crate::settings::{SecretReference, SettingError};

/// How to reach Kafka, and where the changes go.
///
/// ```toml
/// [sinks.events]
/// type = "kafka"
/// bootstrap_servers = ["kafka-1:9093", "kafka-2:9093"]
/// tls = { ca = "/etc/holdfast/kafka-ca.pem" }
/// sasl = { mechanism = "scram-sha-512", user = "holdfast", password = { env = "KAFKA_PASSWORD" } }
/// topics = { cells = "stock.cells", reservations = "stock.reservations", positions = "stock.positions" }
/// properties = { "linger.ms" = 10 }
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KafkaConfig {
    /// Some brokers, each as `host:port`. The others are found through them.
    pub bootstrap_servers: Vec<String>,
    /// The names of the topics. They must exist.
    #[serde(default)]
    pub topics: KafkaTopics,
    /// TLS to the brokers. Absent means none; `tls = {}` trusts the well-known authorities.
    #[serde(default)]
    pub tls: Option<Tls>,
    /// The user who writes. Absent means that the brokers ask for none.
    #[serde(default)]
    pub sasl: Option<Sasl>,
    /// Properties of the client, by the names that Kafka's own producer gives them, such as `linger.ms`.
    /// Those that would break the guarantees of the sink are refused.
    #[serde(default)]
    pub properties: BTreeMap<String, toml::Value>,
}

/// The topics of the sink.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KafkaTopics {
    /// The topic for changes of cells, stock policies and supplies, keyed by SKU.
    pub cells: String,
    /// The topic for changes of reservations, keyed by reservation id.
    pub reservations: String,
    /// The topic for the positions of the shards: partition n has that of shard n. It must be compacted.
    pub positions: String,
}

impl Default for KafkaTopics {
    fn default() -> Self {
        Self {
            cells: "holdfast.cells".to_owned(),
            reservations: "holdfast.reservations".to_owned(),
            positions: "holdfast.positions".to_owned(),
        }
    }
}

/// TLS to the brokers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// A PEM file with the authorities to trust, and no others. Absent means the well-known ones.
    pub ca: Option<PathBuf>,
    /// A PEM file with the certificate of this client, if the brokers ask for one.
    pub certificate: Option<PathBuf>,
    /// The key of that certificate, as PEM.
    pub key: Option<SecretReference>,
}

/// A user name and a password.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sasl {
    /// The way in which the password is proven.
    pub mechanism: SaslMechanism,
    /// The user.
    pub user: String,
    /// The password.
    pub password: SecretReference,
}

/// The way in which a password is proven to a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum SaslMechanism {
    /// Sends the password itself. Only over TLS, or to this machine.
    #[serde(rename = "plain")]
    Plain,
    /// Proves the password without sending it, with SHA-256.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
    /// Proves the password without sending it, with SHA-512.
    #[serde(rename = "scram-sha-512")]
    ScramSha512,
}

/// The longest name of a topic, in bytes (Kafka's own limit).
const MAX_TOPIC_BYTES: usize = 249;

impl KafkaConfig {
    /// Checks everything that can be known without a broker.
    ///
    /// # Errors
    /// [`SettingError::Sink`] names the setting.
    pub fn check(&self, sink: &str) -> Result<(), SettingError> {
        self.fault().map_or(Ok(()), |reason| {
            Err(SettingError::Sink {
                sink: sink.to_owned(),
                reason,
            })
        })
    }

    fn fault(&self) -> Option<String> {
        if self.bootstrap_servers.is_empty() {
            return Some("bootstrap_servers is empty: name at least one broker as host:port".to_owned());
        }
        for server in &self.bootstrap_servers {
            if host_of(server).is_none() {
                return Some(format!(
                    "bootstrap_servers: {server:?} is not an address: write host:port, such as kafka-1:9092"
                ));
            }
        }
        let KafkaTopics {
            cells,
            reservations,
            positions,
        } = &self.topics;
        for (setting, name) in [
            ("cells", cells),
            ("reservations", reservations),
            ("positions", positions),
        ] {
            if !is_topic(name) {
                return Some(format!(
                    "topics.{setting}: {name:?} is not the name of a topic: it has 1 to {MAX_TOPIC_BYTES} of the \
                     characters A-Z, a-z, 0-9, '.', '_' and '-'"
                ));
            }
        }
        if cells == reservations || cells == positions || reservations == positions {
            return Some("topics: cells, reservations and positions need a topic each".to_owned());
        }
        if let Some(tls) = &self.tls
            && tls.certificate.is_some() != tls.key.is_some()
        {
            return Some("tls: certificate and key go together: set both or none".to_owned());
        }
        if let Some(sasl) = &self.sasl {
            if sasl.user.is_empty() {
                return Some("sasl.user is empty".to_owned());
            }
            let own_machine = self.bootstrap_servers.iter().all(|server| is_loopback(server));
            if sasl.mechanism == SaslMechanism::Plain && self.tls.is_none() && !own_machine {
                return Some(
                    "sasl: the mechanism plain sends the password in the clear: add a section tls, or use \
                     scram-sha-512"
                        .to_owned(),
                );
            }
        }
        Settings::of(&self.properties).err()
    }
}

fn is_topic(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    !name.is_empty()
        && name.len() <= MAX_TOPIC_BYTES
        && name != "."
        && name != ".."
        && name.bytes().all(allowed)
}

/// Returns the host of `host:port`, if it is one.
fn host_of(server: &str) -> Option<&str> {
    let (host, port) = server.rsplit_once(':')?;
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_host = !host.is_empty() && !host.contains([' ', '/', ',', '@']);
    (is_host && is_port).then_some(host)
}

fn is_loopback(server: &str) -> bool {
    host_of(server).is_some_and(|host| {
        let address = host.trim_start_matches('[').trim_end_matches(']');
        host == "localhost"
            || address
                .parse::<std::net::IpAddr>()
                .is_ok_and(|address| address.is_loopback())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        match toml::from_str::<KafkaConfig>(text) {
            Ok(config) => config
                .check("events")
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_few_lines_are_enough() {
        let config: KafkaConfig = toml::from_str("bootstrap_servers = ['k1:9092']").unwrap();
        config.check("events").unwrap();
        assert_eq!(config.topics.cells, "holdfast.cells");
        assert_eq!(
            fault(
                "bootstrap_servers = ['k1:9093', '[::1]:9093']\ntls = {}\n[sasl]\nmechanism = 'scram-sha-512'\n\
                 user = 'holdfast'\npassword = { env = 'KAFKA_PASSWORD' }\n[properties]\n'linger.ms' = 10\n\
                 'compression.type' = 'snappy'\nacks = 'all'\n'enable.idempotence' = true"
            ),
            ""
        );
    }

    #[test]
    fn what_cannot_work_is_refused_with_its_setting() {
        for (text, part) in [
            ("bootstrap_servers = []", "at least one broker"),
            ("bootstrap_servers = ['k1']", "host:port"),
            ("bootstrap_servers = ['k1:0']", "host:port"),
            ("bootstrap_servers = ['kafka://k1:9092']", "host:port"),
            (
                "bootstrap_servers = ['k1:9092']\nacks = 1",
                "unknown field `acks`",
            ),
            (
                "bootstrap_servers = ['k1:9092']\ntopics = { cells = 'a b' }",
                "topics.cells",
            ),
            (
                "bootstrap_servers = ['k1:9092']\ntopics = { cells = 'x', reservations = 'x' }",
                "a topic each",
            ),
            (
                "bootstrap_servers = ['k1:9092']\ntls = { certificate = 'c.pem' }",
                "go together",
            ),
            (
                "bootstrap_servers = ['k1:9092']\nsasl = { mechanism = 'plain', user = 'u', password = { env = 'P' } }",
                "in the clear",
            ),
            (
                "bootstrap_servers = ['k1:9092']\nsasl = { mechanism = 'plain', user = 'u', password = 'hush' }",
                "password",
            ),
            (
                "bootstrap_servers = ['k1:9092']\nsasl = { mechanism = 'gssapi', user = 'u', password = { env = 'P' } }",
                "unknown variant `gssapi`",
            ),
            (
                "bootstrap_servers = ['k1:9092']\nproperties = { acks = 1 }",
                "acks",
            ),
        ] {
            let fault = fault(text);
            assert!(fault.contains(part), "{text}: {fault}");
        }
    }

    #[test]
    fn a_password_in_the_clear_is_for_this_machine_alone() {
        let sasl = "sasl = { mechanism = 'plain', user = 'u', password = { env = 'P' } }";
        for (servers, works) in [
            ("'127.0.0.1:9092', 'localhost:9092', '[::1]:9092'", true),
            ("'127.0.0.1:9092', '10.0.0.7:9092'", false),
            ("'localhost.example:9092'", false),
        ] {
            let fault = fault(&format!("bootstrap_servers = [{servers}]\n{sasl}"));
            assert_eq!(fault.is_empty(), works, "{servers}: {fault}");
        }
    }
}
