//! Which generation of the view is live, and which one is being built.
//!
//! A view is built beside the one that readers use. When every shard of it is current, one write makes it the
//! live one.

use std::collections::HashMap;

use redis::{Script, cmd};
use uuid::Uuid;

use super::connection::Connection;
use super::keys;
use crate::sink::SinkError;

/// Makes a generation the one being built, if there is none. Returns the one being built.
const BEGIN: &str = "
local number = redis.call('HGET', KEYS[1], 'generation')
if number then return number end
redis.call('HSET', KEYS[1], 'generation', ARGV[1], 'cluster', ARGV[2])
return ARGV[1]";

/// Makes a generation the one being built, whatever was being built before.
const REPLACE: &str = "
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'generation', ARGV[1], 'cluster', ARGV[2], 'rebuild', '1')
return 1";

/// Makes the generation live that a rebuild has built.
const FLIP: &str = "
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[2], 'generation', ARGV[1], 'cluster', ARGV[2], 'shards', ARGV[3])
redis.call('DEL', KEYS[1])
return 1";

/// Notes that a shard of the generation being built is current. Makes the generation live when all are.
const READY: &str = "
local number = redis.call('HGET', KEYS[1], 'generation')
if number ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], 'ready:' .. ARGV[3], '1')
if redis.call('HLEN', KEYS[1]) < 2 + tonumber(ARGV[4]) then return 0 end
redis.call('HSET', KEYS[2], 'generation', ARGV[1], 'cluster', ARGV[2], 'shards', ARGV[4])
redis.call('DEL', KEYS[1])
return 1";

/// How long a rebuild that says nothing counts as running, in milliseconds.
const REBUILD_LEASE_MS: u64 = 30_000;

/// The generations of one view.
#[derive(Debug, Clone)]
pub(crate) struct Generations {
    live_key: String,
    building_key: String,
    rebuilding_key: String,
    cluster_id: Uuid,
    shard_count: u32,
}

impl Generations {
    pub(crate) fn new(prefix: &str, cluster_id: Uuid, shard_count: u32) -> Self {
        Self {
            live_key: keys::live(prefix),
            building_key: keys::building(prefix),
            rebuilding_key: keys::rebuilding(prefix),
            cluster_id,
            shard_count,
        }
    }

    /// Returns the live generation. Returns None when there is none.
    ///
    /// # Errors
    /// [`SinkError::OtherCluster`], or Redis fails.
    pub(crate) async fn live(&self, connection: &mut Connection) -> Result<Option<u64>, SinkError> {
        self.number(connection, &self.live_key).await
    }

    /// Returns the generation that is being built. Returns None when there is none.
    ///
    /// # Errors
    /// [`SinkError::OtherCluster`], or Redis fails.
    pub(crate) async fn building(&self, connection: &mut Connection) -> Result<Option<u64>, SinkError> {
        self.number(connection, &self.building_key).await
    }

    /// Returns the generation that a runner keeps current: the live one, or the first one, which it builds.
    ///
    /// # Errors
    /// [`SinkError::OtherCluster`], or Redis fails.
    pub(crate) async fn to_follow(&self, connection: &mut Connection) -> Result<u64, SinkError> {
        if let Some(live) = self.live(connection).await? {
            return Ok(live);
        }
        let building = self.building(connection).await?;
        if let Some(number) = building
            && self.is_a_rebuild(connection).await?
        {
            if self.is_rebuilding(connection).await? {
                return Err(SinkError::Unavailable {
                    what: "Redis: `holdfast sinks rebuild` is building the view".to_owned(),
                    retry_after_ms: 1_000,
                });
            }
            // That rebuild has died: its view is not complete.
            let next = number.saturating_add(1);
            let _: i64 = connection
                .ask("give up a view", cmd("DEL").arg(&self.building_key))
                .await?;
            return self.begin(connection, next).await;
        }
        self.begin(connection, 1).await
    }

    /// Begins a rebuild: a new generation, which no runner touches. Fails when another rebuild runs.
    ///
    /// # Errors
    /// [`SinkError`]: another rebuild runs, or Redis fails.
    pub(crate) async fn begin_rebuild(&self, connection: &mut Connection) -> Result<u64, SinkError> {
        let mut command = cmd("SET");
        command
            .arg(&self.rebuilding_key)
            .arg("1")
            .arg("NX")
            .arg("PX")
            .arg(REBUILD_LEASE_MS);
        let mine: Option<String> = connection.ask("begin a rebuild", &command).await?;
        if mine.is_none() {
            return Err(SinkError::Refused {
                what: "another rebuild of this view is running".to_owned(),
                advice: format!(
                    "wait for it; if it was killed, try again in {} s",
                    REBUILD_LEASE_MS / 1_000
                ),
            });
        }
        let live = self.live(connection).await?.unwrap_or_default();
        let building = self.building(connection).await?.unwrap_or_default();
        let number = live.max(building).saturating_add(1);
        let script = Script::new(REPLACE);
        let mut call = script.key(&self.building_key);
        call.arg(number).arg(self.cluster_id.to_string());
        let _: u8 = connection.invoke("begin a view", &call).await?;
        Ok(number)
    }

    /// Says that the rebuild still runs. Without that it counts as dead.
    ///
    /// # Errors
    /// Redis fails.
    pub(crate) async fn still_rebuilding(&self, connection: &mut Connection) -> Result<(), SinkError> {
        let mut command = cmd("SET");
        command
            .arg(&self.rebuilding_key)
            .arg("1")
            .arg("PX")
            .arg(REBUILD_LEASE_MS);
        connection.ask("go on with a rebuild", &command).await
    }

    /// Says that no rebuild runs any more.
    ///
    /// # Errors
    /// Redis fails.
    pub(crate) async fn end_rebuild(&self, connection: &mut Connection) -> Result<(), SinkError> {
        let _: i64 = connection
            .ask("end a rebuild", cmd("DEL").arg(&self.rebuilding_key))
            .await?;
        Ok(())
    }

    /// Makes the generation live that a rebuild has built. Returns false when it is not the one being built.
    ///
    /// # Errors
    /// Redis fails.
    pub(crate) async fn flip(&self, connection: &mut Connection, number: u64) -> Result<bool, SinkError> {
        let script = Script::new(FLIP);
        let mut call = script.key(&self.building_key);
        call.key(&self.live_key);
        call.arg(number)
            .arg(self.cluster_id.to_string())
            .arg(self.shard_count);
        let flipped: u8 = connection.invoke("make a view live", &call).await?;
        Ok(flipped == 1)
    }

    async fn is_a_rebuild(&self, connection: &mut Connection) -> Result<bool, SinkError> {
        let mut command = cmd("HEXISTS");
        command.arg(&self.building_key).arg("rebuild");
        connection.ask("read which view is being built", &command).await
    }

    async fn is_rebuilding(&self, connection: &mut Connection) -> Result<bool, SinkError> {
        let mut command = cmd("EXISTS");
        command.arg(&self.rebuilding_key);
        connection.ask("read whether a rebuild runs", &command).await
    }

    /// Begins to build a generation, unless one is being built. Returns the one being built.
    ///
    /// # Errors
    /// Redis fails.
    pub(crate) async fn begin(&self, connection: &mut Connection, number: u64) -> Result<u64, SinkError> {
        let script = Script::new(BEGIN);
        let mut call = script.key(&self.building_key);
        call.arg(number).arg(self.cluster_id.to_string());
        let begun: String = connection.invoke("begin a view", &call).await?;
        self.parse(&begun)
    }

    /// Notes that a shard of the generation that is being built is current. Returns whether this made the
    /// generation live.
    ///
    /// # Errors
    /// Redis fails.
    pub(crate) async fn ready(
        &self,
        connection: &mut Connection,
        number: u64,
        shard: u32,
    ) -> Result<bool, SinkError> {
        let script = Script::new(READY);
        let mut call = script.key(&self.building_key);
        call.key(&self.live_key);
        call.arg(number)
            .arg(self.cluster_id.to_string())
            .arg(format!("{shard:04}"))
            .arg(self.shard_count);
        let live: u8 = connection.invoke("make a view live", &call).await?;
        Ok(live == 1)
    }

    async fn number(&self, connection: &mut Connection, key: &str) -> Result<Option<u64>, SinkError> {
        let fields: HashMap<String, String> = connection
            .ask("read which view is live", cmd("HGETALL").arg(key))
            .await?;
        let Some(number) = fields.get("generation") else {
            return Ok(None);
        };
        if let Some(cluster) = fields.get("cluster") {
            check_cluster(cluster, self.cluster_id)?;
        }
        self.parse(number).map(Some)
    }

    fn parse(&self, number: &str) -> Result<u64, SinkError> {
        number.parse().map_err(|_| SinkError::Refused {
            what: format!(
                "Redis: the generation {number:?} in {} is no number",
                self.live_key
            ),
            advice: "another program uses keys of this prefix: choose another prefix".to_owned(),
        })
    }
}

/// Refuses a view of another cluster.
///
/// # Errors
/// [`SinkError::OtherCluster`].
pub(crate) fn check_cluster(found: &str, cluster: Uuid) -> Result<(), SinkError> {
    let target = Uuid::parse_str(found).map_err(|_| SinkError::Refused {
        what: format!("Redis: the view says that it is of cluster {found:?}, which is no id"),
        advice: "another program uses keys of this prefix: choose another prefix".to_owned(),
    })?;
    if target != cluster {
        return Err(SinkError::OtherCluster { target, cluster });
    }
    Ok(())
}
