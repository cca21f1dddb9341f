//! The configuration of the runner: `sinks.toml`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;

pub use crate::config_error::ConfigError;
pub use crate::secret::{Secret, SecretReference};
pub(crate) use crate::units::time;

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
    Redis(crate::redis::RedisConfig),
    /// A table in Snowflake.
    Snowflake(Box<crate::snowflake::SnowflakeConfig>),
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
        let config: Self = toml::from_str(&text).map_err(|source| ConfigError::Wrong {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let sink = |sink: &str, reason: &str| ConfigError::Sink {
            sink: sink.to_owned(),
            reason: reason.to_owned(),
        };
        if self.sinks.is_empty() {
            return Err(sink(
                "(none)",
                "there is no sink: add a section such as [sinks.product-pages]",
            ));
        }
        for name in self.sinks.keys() {
            let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            if name.is_empty() || name.len() > 32 || !name.bytes().all(allowed) {
                return Err(sink(name, "a name has 1 to 32 of the characters a-z, 0-9 and -"));
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
            ("listen = 'x'\n", "listen"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
