//! A table in Snowflake as a sink: the position of each shard, and its writer.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use tokio::time::Instant;
use uuid::Uuid;

use super::answers::{Meaning, Opened};
use super::channel::Channel;
use super::config::{SnowflakeConfig, by_shard};
use super::offset::Offset;
use super::session::{RequestError, Session};
use super::watch::{self, Watch};
use super::writer::{ChannelWriter, Miscounts};
use crate::settings::SettingError;
use crate::sink::{Position, Sink, SinkError, Writer};

/// A table in Snowflake. Each shard has a channel of its own.
pub struct SnowflakeSink {
    name: String,
    cluster_id: Uuid,
    config: SnowflakeConfig,
    session: Arc<Session>,
    resume_after: BTreeMap<u32, u64>,
    errors_repaired_through: BTreeMap<u32, u64>,
    miscounts: Miscounts,
}

impl SnowflakeSink {
    /// Makes the sink of a configuration. It does not connect yet.
    ///
    /// # Errors
    /// [`SettingError`]: a setting cannot work, or the key cannot be read.
    pub fn new(name: &str, cluster_id: Uuid, config: &SnowflakeConfig) -> Result<Self, SettingError> {
        Self::with_client(name, cluster_id, config, None)
    }

    /// Makes the sink of a configuration with an HTTP client of the caller's own: for certificates, proxies
    /// or host names that are not the system's.
    ///
    /// # Errors
    /// [`SettingError`]: a setting cannot work, or the key cannot be read.
    pub fn with_client(
        name: &str,
        cluster_id: Uuid,
        config: &SnowflakeConfig,
        client: Option<reqwest::Client>,
    ) -> Result<Self, SettingError> {
        config.check(name)?;
        let shards = |table| by_shard(table).unwrap_or_default();
        Ok(Self {
            name: name.to_owned(),
            cluster_id,
            session: Arc::new(Session::new(name, config, client)?),
            resume_after: shards(&config.resume_after),
            errors_repaired_through: shards(&config.errors_repaired_through),
            config: config.clone(),
            miscounts: Miscounts::default(),
        })
    }

    /// Returns the name of the channel of a shard, as `SHOW CHANNELS` shows it.
    pub fn channel_name(&self, shard: u32) -> String {
        self.channel(shard).name().to_owned()
    }

    fn channel(&self, shard: u32) -> Channel {
        Channel::new(
            &self.config.database,
            &self.config.schema,
            &self.config.pipe(),
            &self.name,
            self.cluster_id,
            shard,
        )
    }

    /// Returns where a channel begins that Snowflake does not know.
    fn resume(&self, shard: u32) -> Offset {
        Offset {
            shard,
            seq: self.resume_after.get(&shard).copied().unwrap_or(0),
            unfinished: 0,
        }
    }

    fn repaired_through(&self, shard: u32) -> u64 {
        self.errors_repaired_through.get(&shard).copied().unwrap_or(0)
    }

    /// Opens a channel when no rows of the past are on their way.
    async fn open_settled(&self, channel: &Channel, begin: Option<Offset>) -> Result<Opened, SinkError> {
        let limits = &self.config.limits;
        let began = Instant::now();
        loop {
            let failure = match channel.open(&self.session, begin, true).await {
                Ok(opened) => return Ok(opened),
                Err(RequestError::Answered(failure)) if failure.meaning() == Meaning::Uncommitted => failure,
                Err(error) => return Err(error.into_sink_error("opening the channel", &self.session)),
            };
            if began.elapsed() >= limits.uncommitted_patience {
                if !self.config.discard_uncommitted {
                    return Err(SinkError::Unavailable {
                        what: format!(
                            "opening the channel: Snowflake answered {failure}. Rows that it accepted were not committed \
                             within {}; docs/snowflake.md says what to do if this stays",
                            humantime::format_duration(limits.uncommitted_patience)
                        ),
                        retry_after_ms: 0,
                    });
                }
                tracing::warn!(
                    channel = channel.name(),
                    "discarding rows that stay uncommitted, to send them again"
                );
                let opened = channel.open(&self.session, begin, false).await;
                return opened.map_err(|error| error.into_sink_error("opening the channel", &self.session));
            }
            tokio::time::sleep(limits.status_every.max(failure.retry_after)).await;
        }
    }
}

#[async_trait]
impl Sink for SnowflakeSink {
    async fn position(&self, shard: u32) -> Result<Position, SinkError> {
        let channel = self.channel(shard);
        let status = channel.status(&self.session).await;
        let status =
            status.map_err(|error| error.into_sink_error("asking for the position", &self.session))?;
        let at = status
            .map(|status| watch::position_of(&channel, &status))
            .transpose()?;
        let at = at.flatten().unwrap_or_else(|| self.resume(shard));
        Ok(Position {
            through_seq: at.whole_through(),
            log_time_ms: 0,
        })
    }

    async fn open(&self, shard: u32) -> Result<Box<dyn Writer>, SinkError> {
        let miscount = {
            let miscounts = self.miscounts.lock().unwrap_or_else(PoisonError::into_inner);
            miscounts.get(&shard).cloned()
        };
        if let Some(miscount) = miscount {
            return Err(miscount.into_error(shard));
        }
        let channel = self.channel(shard);
        let known = channel.status(&self.session).await;
        let known = known.map_err(|error| error.into_sink_error("asking for the position", &self.session))?;
        let repaired_through = self.repaired_through(shard);
        let resume = self.resume(shard);
        let mut at = None;
        if let Some(status) = &known {
            at = watch::position_of(&channel, status)?;
            // A channel that nobody should write to is not opened: that would shut out another runner.
            watch::check_errors(&channel, status, at.unwrap_or(resume), repaired_through)?;
        }
        let begin = (at.is_none() && resume.seq > 0).then_some(resume);
        let opened = self.open_settled(&channel, begin).await?;
        let watch = Watch::new(&channel, &opened.channel_status, resume, repaired_through)?;
        tracing::debug!(
            channel = channel.name(),
            through_seq = watch.committed().seq,
            "opened"
        );
        Ok(Box::new(ChannelWriter::new(
            Arc::clone(&self.session),
            channel,
            self.config.limits.clone(),
            Arc::clone(&self.miscounts),
            watch,
            opened,
        )))
    }
}
