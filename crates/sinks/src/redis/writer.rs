//! Writes the changes of one shard into the view.

use std::time::Duration;

use async_trait::async_trait;
use holdfast_api::v1::Change;
use redis::{Script, cmd};
use tokio::time::Instant;
use uuid::Uuid;

use super::connection::Connection;
use super::generation::{Generations, check_cluster};
use super::keys::Keys;
use super::view::{Batch, Call};
use crate::entries::whole_entries;
use crate::sink::{Position, SinkError, Writer};

/// The script that applies a batch.
pub(crate) const APPLY: &str = include_str!("apply.lua");
/// The script that notes how current a shard is.
const CURRENT: &str = include_str!("current.lua");
/// The changes that one call of the script applies, at least one entry. Redis answers nobody else meanwhile.
const CHANGES_A_CALL: usize = 256;
/// How often a writer looks whether another generation has become live.
const LOOK_EVERY: Duration = Duration::from_secs(1);

pub(crate) struct RedisWriter {
    connection: Connection,
    generations: Generations,
    keys: Keys,
    apply: Script,
    current: Script,
    shard: u32,
    cluster: String,
    opened_at: Position,
    at: Position,
    /// Whether it writes to whatever generation is live, and not to one that was asked for.
    follows_live: bool,
    is_live: bool,
    looked_at: Instant,
}

impl RedisWriter {
    pub(crate) fn new(
        connection: Connection,
        generations: Generations,
        keys: Keys,
        shard: u32,
        cluster_id: Uuid,
        at: Position,
        follows_live: bool,
    ) -> Self {
        Self {
            connection,
            generations,
            keys,
            apply: Script::new(APPLY),
            current: Script::new(CURRENT),
            shard,
            cluster: cluster_id.to_string(),
            opened_at: at,
            at,
            follows_live,
            is_live: false,
            looked_at: Instant::now(),
        }
    }

    /// Returns where a shard is. Refuses one that has gone back behind this writer: its server has lost data.
    fn not_behind(&self, reached: &str) -> Result<u64, SinkError> {
        let expected_seq = self.at.through_seq;
        let through_seq = reached.parse().unwrap_or_default();
        if through_seq < expected_seq {
            return Err(SinkError::Moved {
                through_seq,
                expected_seq,
            });
        }
        Ok(through_seq)
    }

    /// Goes over to another generation when it has become live: the writer must be opened again.
    async fn look_which_is_live(&mut self) -> Result<(), SinkError> {
        if !self.follows_live || self.looked_at.elapsed() < LOOK_EVERY {
            return Ok(());
        }
        self.looked_at = Instant::now();
        let live = self.generations.live(&mut self.connection).await?;
        self.is_live = live == Some(self.keys.generation());
        let followed = match live {
            Some(live) => Some(live),
            None => self.generations.building(&mut self.connection).await?,
        };
        if followed != Some(self.keys.generation()) {
            return Err(SinkError::Moved {
                through_seq: 0,
                expected_seq: self.at.through_seq,
            });
        }
        Ok(())
    }
}

#[async_trait]
impl Writer for RedisWriter {
    fn opened_at(&self) -> Position {
        self.opened_at
    }

    async fn write(&mut self, changes: &[Change]) -> Result<(), SinkError> {
        loop {
            // Another runner may have brought some of them, so each round begins where the shard is.
            let begin = changes.partition_point(|change| change.seq <= self.at.through_seq);
            let (_, rest) = changes.split_at(begin);
            let Some(first) = rest.first() else {
                return Ok(());
            };
            if first.seq != self.at.through_seq.saturating_add(1) {
                return Err(SinkError::Moved {
                    through_seq: self.at.through_seq,
                    expected_seq: first.seq.saturating_sub(1),
                });
            }
            let (part, _) = rest.split_at(whole_entries(rest, CHANGES_A_CALL));
            let batch = Batch::of(part)?;
            let call = batch.call(&self.keys, self.shard, &self.cluster, self.at.through_seq);
            let reached = run(&mut self.connection, &self.apply, &call).await?;
            let through_seq = self.not_behind(&reached)?;
            // When another runner was faster, this call did nothing, and the next one goes on after it.
            let at = changes.iter().find(|change| change.seq == through_seq);
            self.at = Position {
                through_seq,
                log_time_ms: at.map_or(self.at.log_time_ms, |change| change.log_time_ms),
            };
        }
    }

    async fn settle(&mut self) -> Result<Position, SinkError> {
        self.look_which_is_live().await?;
        Ok(self.at)
    }

    async fn current(&mut self, at_ms: u64) -> Result<(), SinkError> {
        let expected_seq = self.at.through_seq;
        let mut call = self.current.key(self.keys.shard(self.shard));
        call.arg(&self.cluster).arg(expected_seq).arg(at_ms);
        let reached: String = self.connection.invoke("write the view's age", &call).await?;
        // A runner that is further says itself how current the view is.
        let is_noted = self.not_behind(&reached)? == expected_seq;
        if is_noted && self.follows_live && !self.is_live {
            let number = self.keys.generation();
            self.generations
                .ready(&mut self.connection, number, self.shard)
                .await?;
        }
        Ok(())
    }
}

/// Calls the script. Returns the change at which the shard is afterwards.
///
/// # Errors
/// [`SinkError::OtherCluster`], or Redis fails.
pub(crate) async fn run(
    connection: &mut Connection,
    script: &Script,
    call: &Call,
) -> Result<String, SinkError> {
    let mut invocation = script.prepare_invoke();
    for key in &call.keys {
        invocation.key(key);
    }
    for argument in &call.arguments {
        invocation.arg(argument);
    }
    connection.invoke("write changes", &invocation).await
}

/// Reads the position of a shard.
///
/// # Errors
/// [`SinkError::OtherCluster`], or Redis fails.
pub(crate) async fn position(
    connection: &mut Connection,
    keys: &Keys,
    shard: u32,
    cluster_id: Uuid,
) -> Result<Position, SinkError> {
    let mut command = cmd("HMGET");
    command
        .arg(keys.shard(shard))
        .arg(&["cluster", "seq", "log_time_ms"]);
    let (cluster, seq, log_time): (Option<String>, Option<u64>, Option<u64>) =
        connection.ask("read how far the view is", &command).await?;
    if let Some(cluster) = cluster {
        check_cluster(&cluster, cluster_id)?;
    }
    Ok(Position {
        through_seq: seq.unwrap_or_default(),
        log_time_ms: log_time.unwrap_or_default(),
    })
}
