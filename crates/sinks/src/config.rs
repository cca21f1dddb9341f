//! The configuration of the runner: `sinks.toml`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::archive::ArchiveConfig;
use crate::kafka::KafkaConfig;
use crate::redis::RedisConfig;
use crate::settings::SettingError;
use crate::snowflake::SnowflakeConfig;

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The error of the file system.
        source: std::io::Error,
    },
    /// The file is not TOML, or has a key or a value that is not known.
    #[error("{}, line {line}: {reason}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, from 1; 1 when the fault has no place.
        line: usize,
        /// The fault, in words. Without the text of the line, which may have a secret.
        reason: String,
    },
    /// A setting has a value that cannot work.
    #[error(transparent)]
    Setting(#[from] SettingError),
}

/// All of `sinks.toml`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The address for `/metrics`, `/livez` and `/readyz`. None means that nothing listens.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// The sinks by name. A name has 1 to 32 bytes of `a-z 0-9 -`.
    #[serde(default)]
    pub sinks: BTreeMap<String, SinkConfig>,
}

/// One sink.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum SinkConfig {
    /// A view for product pages in Redis.
    Redis(RedisConfig),
    /// An archive in a folder or an object store.
    Archive(ArchiveConfig),
    /// Records in Kafka topics.
    Kafka(Box<KafkaConfig>),
    /// A table in Snowflake.
    Snowflake(Box<SnowflakeConfig>),
}

impl Config {
    /// Reads `sinks.toml`.
    ///
    /// # Errors
    /// [`ConfigError`]: it cannot be read, or something in it cannot work.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let config: Self = toml::from_str(&text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start));
            ConfigError::Wrong {
                path: path.to_owned(),
                line: before.map_or(0, |before| before.matches('\n').count()) + 1,
                reason: error.message().to_owned(),
            }
        })?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let sink = |sink: &str, reason: &str| {
            ConfigError::from(SettingError::Sink {
                sink: sink.to_owned(),
                reason: reason.to_owned(),
            })
        };
        if self.sinks.is_empty() {
            return Err(sink(
                "(none)",
                "there is no sink: add a section such as [sinks.product-pages]",
            ));
        }
        for (name, config) in &self.sinks {
            let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if name.is_empty() || name.len() > 32 || !name.bytes().all(allowed) {
                return Err(sink(name, "a name has 1 to 32 of the characters a-z, 0-9 and -"));
            }
            if let SinkConfig::Kafka(kafka) = config {
                kafka.check(name)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sinks.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(&path)
    }

    #[test]
    fn a_configuration_names_its_sinks() {
        let config = read(
            "listen = '127.0.0.1:7480'\n[sinks.pages]\ntype = 'redis'\nurl = 'redis://127.0.0.1'\n\
             password = { env = 'REDIS_PASSWORD' }",
        )
        .unwrap();
        assert_eq!(config.sinks.keys().collect::<Vec<_>>(), ["pages"]);
    }

    #[test]
    fn the_example_can_be_used() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../cluster/sinks.toml");
        let config = Config::read(&path).unwrap();
        assert!(config.sinks.contains_key("product-pages"));
    }

    #[test]
    fn what_cannot_work_is_refused_with_the_place() {
        for (text, part) in [
            ("", "there is no sink"),
            (
                "[sinks.A]\ntype = 'redis'\nurl = 'redis://h'",
                "a name has 1 to 32",
            ),
            ("[sinks.a]\ntype = 'rdis'", "unknown variant `rdis`"),
            (
                "[sinks.a]\ntype = 'redis'\nurl = 'redis://h'\nport = 1",
                "unknown field `port`",
            ),
            (
                "[sinks.a]\ntype = 'redis'\nurl = 'redis://h'\npassword = 'x'",
                "password",
            ),
            ("listen = 'x'\n", "line 1: invalid socket address"),
            (
                "[sinks.a]\ntype = 'kafka'\nbootstrap_servers = ['k:9092']\nproperties = { acks = 1 }",
                "sink a: properties.\"acks\": 1 would lose records",
            ),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_secret_in_the_wrong_place_is_not_repeated() {
        for wrong in [
            "password = 'hush-hush'",
            "password = { value = 'hush-hush' }",
            "password = { file = 'x', env = 'hush-hush' }",
            "password = hush-hush",
            "password = ['hush-hush']",
        ] {
            let text = format!("[sinks.a]\ntype = 'redis'\nurl = 'redis://h'\n{wrong}\n");
            let error = read(&text).unwrap_err().to_string();
            assert!(
                error.contains("line ") && !error.contains("hush"),
                "{wrong}: {error}"
            );
        }
    }
}
