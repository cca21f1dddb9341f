//! Settings that several kinds of sinks have: secrets, which are named by their place, and times.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

/// A setting cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
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
    /// [`SettingError::Secret`]: it is missing, empty or too long.
    pub fn read(&self, name: &str) -> Result<Secret, SettingError> {
        let fault = |reason: String| SettingError::Secret {
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

#[cfg(test)]
mod tests {
    use super::*;

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
