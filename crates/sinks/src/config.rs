//! The configuration of the runner: `sinks.toml`.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

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
    /// A secret cannot be read.
    #[error("{name}: {reason}")]
    Secret {
        /// The setting.
        name: String,
        /// The fault, in words. Never the secret.
        reason: String,
    },
    /// A setting has a value that cannot work.
    #[error("sink {sink}: {reason}")]
    Sink {
        /// The name of the sink.
        sink: String,
        /// The fault, in words.
        reason: String,
    },
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
    Redis(crate::redis::RedisConfig),
}

/// Where a secret is: `{ file = "path" }` or `{ env = "VARIABLE" }`. It is never written in the configuration
/// itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretReference {
    /// In a file, without a line break at its end.
    File(PathBuf),
    /// In an environment variable.
    Env(String),
}

// By hand: the derived code repeats a value that it did not expect, and that may be the secret itself.
impl<'de> Deserialize<'de> for SecretReference {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const SHAPE: &str = "a secret (a password or a key) is not written here: name its file as { file = \"path\" } \
                             or its environment variable as { env = \"VARIABLE\" }";
        let fault = || serde::de::Error::custom(SHAPE);
        let table = BTreeMap::<String, String>::deserialize(from).map_err(|_| fault())?;
        match table.into_iter().collect::<Vec<_>>().as_slice() {
            [(kind, path)] if kind == "file" => Ok(Self::File(path.into())),
            [(kind, variable)] if kind == "env" => Ok(Self::Env(variable.clone())),
            _ => Err(fault()),
        }
    }
}

/// A secret. It is never shown.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Returns the secret, for use in a request.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("(secret)")
    }
}

impl SecretReference {
    /// The largest secret that is read, in bytes.
    const MAX_BYTES: u64 = 64 << 10;

    /// Reads the secret. `name` is the setting that refers to it, for the error.
    ///
    /// # Errors
    /// [`ConfigError::Secret`]: it is missing, empty or too long.
    pub fn read(&self, name: &str) -> Result<Secret, ConfigError> {
        let fault = |reason: String| ConfigError::Secret {
            name: name.to_owned(),
            reason,
        };
        let text = match self {
            Self::File(path) => {
                let bytes = std::fs::metadata(path).map(|file| file.len());
                let bytes = bytes
                    .map_err(|error| fault(format!("the file {} cannot be read: {error}", path.display())))?;
                if bytes > Self::MAX_BYTES {
                    return Err(fault(format!(
                        "the file {} has {bytes} bytes, a secret has at most {}",
                        path.display(),
                        Self::MAX_BYTES
                    )));
                }
                std::fs::read_to_string(path)
                    .map_err(|error| fault(format!("the file {} cannot be read: {error}", path.display())))?
            }
            Self::Env(variable) => std::env::var(variable)
                .map_err(|_| fault(format!("the environment variable {variable} is not set")))?,
        };
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(fault("the secret is empty".to_owned()));
        }
        Ok(Secret(text.to_owned()))
    }
}

/// Reads a time such as `5s` or `250ms`.
///
/// # Errors
/// The text is no time, or it is 0 or more than a day.
pub(crate) fn time<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let time = humantime::parse_duration(&text).map_err(serde::de::Error::custom)?;
    if time.is_zero() || time > Duration::from_secs(86_400) {
        return Err(serde::de::Error::custom(format!(
            "{text} is not allowed: choose a time from 1ms to 1day"
        )));
    }
    Ok(time)
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

    #[test]
    fn a_secret_is_read_from_its_file_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, "hush\n").unwrap();
        let secret = SecretReference::File(path.clone()).read("password").unwrap();
        assert_eq!(secret.expose(), "hush");
        assert!(!format!("{secret:?}").contains("hush"));
        std::fs::write(&path, "\n").unwrap();
        assert!(SecretReference::File(path).read("password").is_err());
        let missing = SecretReference::Env("HOLDFAST_NO_SUCH_VARIABLE".to_owned());
        let error = missing.read("sinks.a.password").unwrap_err().to_string();
        assert!(
            error.contains("sinks.a.password") && error.contains("not set"),
            "{error}"
        );
    }
}
