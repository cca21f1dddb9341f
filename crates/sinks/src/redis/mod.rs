//! A view for product pages in Redis.

use serde::Deserialize;

use crate::config::SecretReference;

/// How to reach Redis.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisConfig {
    /// The address: `redis://host:port/database`, or `rediss://` for TLS. Without a password.
    pub url: String,
    /// The password.
    #[serde(default)]
    pub password: Option<SecretReference>,
}
