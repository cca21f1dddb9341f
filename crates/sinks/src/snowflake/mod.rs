//! A table in Snowflake, filled by Snowpipe Streaming (high performance) over its REST interface.
//!
//! ```text
//!  changes ─> rows ─> lines of JSON, compressed ─> append, with a continuation token ─┐
//!   (one for each change)                          one request at a time, paced       │
//!                                                                                     v
//!  position <── last committed offset token <── status of the channel <── channel of the shard ─> table
//! ```
//!
//! Each shard has a channel of its own. An offset token names the last change of each request, and Snowflake
//! commits it with the rows. So the position is what Snowflake has committed, never what it has accepted.
//! Nothing is sent again on the same channel: after an answer that is missing or unclear, the channel is
//! opened again, and the stream begins after the committed token. It is opened so that Snowflake refuses as
//! long as rows of the past are on their way (`fail_on_uncommitted_rows`).
//!
//! - `config.rs` has the settings, and the limits of Snowflake with their sources.
//! - `key.rs` reads the private key and signs tokens; `session.rs` exchanges them and sends requests.
//! - `answers.rs` reads what Snowflake answers, and says what each error code means.
//! - `channel.rs` has the requests of one channel; `offset.rs` the offset tokens.
//! - `rows.rs` makes lines of JSON; `pace.rs` keeps the limits a second.
//! - `writer.rs` brings it all together, and `watch.rs` judges each status of the channel.
//!
//! Start reading in `writer.rs`. [docs/snowflake.md](../../../../docs/snowflake.md) is the page for operators.

mod config;

#[cfg(feature = "snowflake")]
mod answers;
#[cfg(feature = "snowflake")]
mod channel;
#[cfg(feature = "snowflake")]
mod key;
#[cfg(feature = "snowflake")]
mod offset;
#[cfg(feature = "snowflake")]
mod pace;
#[cfg(feature = "snowflake")]
mod rows;
#[cfg(feature = "snowflake")]
mod session;
#[cfg(feature = "snowflake")]
mod target;
#[cfg(feature = "snowflake")]
mod watch;
#[cfg(feature = "snowflake")]
mod writer;

pub use config::{Limits, SnowflakeConfig};
#[cfg(feature = "snowflake")]
pub use target::SnowflakeSink;

use std::sync::Arc;

use uuid::Uuid;

use crate::settings::SettingError;
use crate::sink::Sink;

/// Makes the sink of a configuration. It does not connect yet.
///
/// # Errors
/// [`SettingError`]: a setting cannot work, the key cannot be read, or this program was built without
/// Snowflake.
#[cfg(feature = "snowflake")]
pub fn sink(name: &str, cluster_id: Uuid, config: &SnowflakeConfig) -> Result<Arc<dyn Sink>, SettingError> {
    Ok(Arc::new(SnowflakeSink::new(name, cluster_id, config)?))
}

/// Reports that this program was built without Snowflake.
///
/// # Errors
/// [`SettingError::Sink`], always.
#[cfg(not(feature = "snowflake"))]
pub fn sink(name: &str, _cluster_id: Uuid, _config: &SnowflakeConfig) -> Result<Arc<dyn Sink>, SettingError> {
    Err(SettingError::Sink {
        sink: name.to_owned(),
        reason:
            "this program was built without Snowflake: build it with the feature `snowflake` (the image has \
                 all features), or remove the sink"
                .to_owned(),
    })
}

#[cfg(all(test, not(feature = "snowflake")))]
mod tests {
    use super::*;

    #[test]
    fn without_the_feature_the_error_says_how_to_get_it() {
        let text = "account = 'a-b'\nuser = 'u'\nprivate_key = { env = 'KEY' }";
        let config: SnowflakeConfig = toml::from_str(text).unwrap();
        let error = sink("facts", Uuid::nil(), &config).err().unwrap().to_string();
        assert!(
            error.contains("facts") && error.contains("the feature `snowflake`"),
            "{error}"
        );
    }
}
