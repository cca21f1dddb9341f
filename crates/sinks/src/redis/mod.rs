//! The view that product pages read, kept in Redis.
//!
//! ```text
//!  {holdfast}:live                       the generation that readers use, and the number of shards
//!  holdfast:1:{0003}:shard               how far shard 3 is: seq, log time, when it was last current
//!  holdfast:1:{0003}:sku:SHIRT-1         what each storefront can sell, in all and by warehouse
//!  holdfast:1:{0003}:cell:LONDON|SHIRT-1 every bucket of one cell
//!  holdfast:1:{0003}:front:SHIRT-1       the storefronts with a pool or a stock policy: may they borrow
//! ```
//!
//! All keys of a shard have the same hash tag, so on a cluster they are on one node. One script (`apply.lua`)
//! moves the shard's position and the cells together, and only from the position that the writer knows. So a
//! replay and a second writer change nothing. `docs/redis.md` is the contract with readers.
//!
//! - `keys.rs` has the names of all keys.
//! - `view.rs` adds the changes of a batch up, and makes the arguments of the script.
//! - `connection.rs` opens a connection to one server or to a cluster; `fault.rs` says what its errors mean.
//! - `generation.rs` knows which generation is live, and which one is being built.
//! - `rebuild.rs` builds a generation from the ledger (`load.rs`), beside the live one.
//! - `compare.rs` compares a generation with the ledger.
//! - `writer.rs` is the [`Writer`].
//!
//! Start reading in `view.rs`, then `apply.lua`.

mod compare;
mod connection;
mod fault;
mod generation;
mod keys;
mod load;
mod rebuild;
mod view;
mod writer;

use std::time::Duration;

use async_trait::async_trait;
use serde::Deserialize;
use uuid::Uuid;

use crate::settings::{Secret, SecretReference, SettingError};
use crate::sink::{Position, Sink, SinkError, Writer};
pub use compare::{Comparison, Difference};
use connection::Connection;
use generation::Generations;
use keys::Keys;
pub use rebuild::{Progress, Rebuilt};
use writer::RedisWriter;

/// How to reach Redis.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RedisConfig {
    /// The address: `redis://host:port/database`, or `rediss://` for TLS. Without a password. For a cluster,
    /// the address of one of its nodes.
    pub url: String,
    /// Whether it is a Redis cluster.
    #[serde(default)]
    pub cluster: bool,
    /// The user, if it is not the default one.
    #[serde(default)]
    pub username: Option<String>,
    /// The password.
    #[serde(default)]
    pub password: Option<SecretReference>,
    /// The first part of all keys, of 1 to 64 of the characters `a-z A-Z 0-9 . _ : -`.
    #[serde(default = "default_prefix")]
    pub prefix: String,
    /// How long a connection or an answer may take.
    #[serde(default = "default_timeout", deserialize_with = "crate::settings::time")]
    pub timeout: Duration,
}

fn default_prefix() -> String {
    "holdfast".to_owned()
}

fn default_timeout() -> Duration {
    Duration::from_secs(5)
}

/// The view in Redis.
#[derive(Debug, Clone)]
pub struct RedisSink {
    config: RedisConfig,
    password: Option<Secret>,
    cluster_id: Uuid,
    shard_count: u32,
    /// The generation to write to, when it is not the one that readers use.
    generation: Option<u64>,
}

impl RedisSink {
    /// Makes the sink for a cluster with `shard_count` shards. Connects when it is first used.
    ///
    /// # Errors
    /// [`SettingError`]: the address, the prefix or the password cannot be used.
    pub fn new(
        name: &str,
        config: RedisConfig,
        cluster_id: Uuid,
        shard_count: u32,
    ) -> Result<Self, SettingError> {
        let wrong = |reason: String| SettingError::Sink {
            sink: name.to_owned(),
            reason,
        };
        connection::check_url(&config.url).map_err(wrong)?;
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        let prefix = &config.prefix;
        if prefix.is_empty() || prefix.len() > 64 || !prefix.bytes().all(allowed) {
            return Err(wrong(format!(
                "prefix {prefix:?} must have 1 to 64 of the characters a-z, A-Z, 0-9 and . _ : -"
            )));
        }
        let password = config
            .password
            .as_ref()
            .map(|secret| secret.read(&format!("sinks.{name}.password")))
            .transpose()?;
        Ok(Self {
            config,
            password,
            cluster_id,
            shard_count,
            generation: None,
        })
    }

    fn generations(&self) -> Generations {
        Generations::new(&self.config.prefix, self.cluster_id, self.shard_count)
    }

    /// Finds the generation that is written to, and changes nothing. Returns None when there is none.
    async fn readable(&self, connection: &mut Connection) -> Result<Option<Keys>, SinkError> {
        let number = match self.generation {
            Some(number) => Some(number),
            None => self.generations().followed(connection).await?,
        };
        Ok(number.map(|number| Keys::new(&self.config.prefix, number)))
    }

    /// Connects, and finds the generation to write to.
    async fn connect(&self) -> Result<(Connection, Generations, Keys), SinkError> {
        let mut connection = Connection::open(&self.config, self.password.as_ref()).await?;
        let generations = self.generations();
        let number = match self.generation {
            Some(number) => number,
            None => generations.to_follow(&mut connection).await?,
        };
        Ok((connection, generations, Keys::new(&self.config.prefix, number)))
    }
}

#[async_trait]
impl Sink for RedisSink {
    async fn position(&self, shard: u32) -> Result<Position, SinkError> {
        let mut connection = Connection::open(&self.config, self.password.as_ref()).await?;
        let Some(keys) = self.readable(&mut connection).await? else {
            return Ok(Position::default());
        };
        writer::position(&mut connection, &keys, shard, self.cluster_id).await
    }

    async fn open(&self, shard: u32) -> Result<Box<dyn Writer>, SinkError> {
        let (mut connection, generations, keys) = self.connect().await?;
        connection.check_it_can_be_trusted().await?;
        let at = writer::position(&mut connection, &keys, shard, self.cluster_id).await?;
        let follows_live = self.generation.is_none();
        let writer = RedisWriter::new(
            connection,
            generations,
            keys,
            shard,
            self.cluster_id,
            at,
            follows_live,
        );
        Ok(Box::new(writer))
    }
}
