//! Secrets: the configuration says where they are, and never what they are.

use std::path::PathBuf;

use serde::Deserialize;

use crate::config_error::ConfigError;

/// Where a secret is. It is never written in the configuration itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretReference {
    /// In a file, without a line break at its end.
    File(PathBuf),
    /// In an environment variable.
    Env(String),
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
