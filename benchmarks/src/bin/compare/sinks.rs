//! The sinks: how long after its commit a change can be read in the target, at a fixed rate.
//!
//! A change is as old as its log time, which the leader gives it before the quorum has it. A watcher reads
//! the position of each shard in the target again and again, so a figure includes the watcher's own pause.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::future::try_join_all;
use futures::{StreamExt as _, stream};
use hdrhistogram::Histogram;
use holdfast_api::v1;
use holdfast_client::Client;
use redis::aio::MultiplexedConnection;
use tokio::process::{Child, Command};
use tokio::time::Instant;

use crate::clock;
use crate::latencies::histogram;
use crate::usage::UsageMeter;

/// The pause between two looks at the target.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// The time that the target may take for the last changes of a measurement.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `holdfast sinks run` with a view in a Redis of its own.
pub(crate) struct Sinks {
    runner: Child,
    redis: Child,
    url: String,
}

/// The time of one change: its number, and the milliseconds of its log time.
type Made = (u64, u64);

impl Sinks {
    pub(crate) async fn start(
        binary: &Path,
        folder: &Path,
        port: u16,
        client: &Client,
        endpoints: &[String],
    ) -> Result<Self> {
        let data = folder.join("sinks");
        tokio::fs::create_dir(&data).await?;
        let redis = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--appendonly", "yes", "--dir"])
            .arg(&data)
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("the package redis-server is not installed")?;
        let url = format!("redis://127.0.0.1:{port}");
        let config = data.join("sinks.toml");
        tokio::fs::write(
            &config,
            format!("[sinks.view]\ntype = \"redis\"\nurl = \"{url}\"\n"),
        )
        .await?;
        let runner = Command::new(binary)
            .args(["sinks", "run", "--config"])
            .arg(&config)
            .env("HOLDFAST_ENDPOINTS", endpoints.join(","))
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started; build it first", binary.display()))?;
        let sinks = Self { runner, redis, url };
        let ends = client.get_positions(v1::GetPositionsRequest {}).await?;
        sinks.wait_until_at(&ends.shards).await?;
        Ok(sinks)
    }

    /// Returns the meter of the runner, and that of Redis.
    pub(crate) fn meters(&self) -> Result<(UsageMeter, UsageMeter)> {
        let runner = self.runner.id().context("the runner ended")?;
        let redis = self.redis.id().context("Redis ended")?;
        Ok((UsageMeter::new(runner), UsageMeter::new(redis)))
    }

    /// Measures how old changes are when they can be read in Redis, in microseconds, for as long as `load`
    /// runs.
    pub(crate) async fn lag<T>(
        &self,
        client: &Client,
        load: impl Future<Output = Result<T>>,
    ) -> Result<(T, Histogram<u64>)> {
        let begins = client.get_positions(v1::GetPositionsRequest {}).await?.shards;
        let (done, ending) = tokio::sync::watch::channel(false);
        let load = async {
            let result = load.await;
            done.send_replace(true);
            result
        };
        let made = made(client, &begins, ending.clone());
        let seen = try_join_all(
            begins
                .iter()
                .map(|begin| self.watch(client, *begin, ending.clone())),
        );
        let (result, made, seen) = tokio::try_join!(load, made, seen)?;
        let mut lag = histogram()?;
        for (begin, seen) in begins.iter().zip(seen) {
            let mut seen = seen.into_iter().peekable();
            for (seq, log_time_ms) in made.get(&begin.shard).into_iter().flatten() {
                while seen.next_if(|(through_seq, _)| through_seq < seq).is_some() {}
                let (_, at_ms) = seen.peek().context("the target lacks changes at the end")?;
                lag.saturating_record(at_ms.saturating_sub(*log_time_ms).saturating_mul(1_000));
            }
        }
        ensure!(!lag.is_empty(), "no change was made");
        Ok((result, lag))
    }

    /// Notes when a shard's position in Redis moved, until it has everything that the load made.
    async fn watch(
        &self,
        client: &Client,
        begin: v1::ShardPosition,
        ending: tokio::sync::watch::Receiver<bool>,
    ) -> Result<Vec<(u64, u64)>> {
        let mut connection = self.connect().await?;
        let (mut seen, mut at) = (Vec::new(), begin.last_seq);
        let mut until = None;
        loop {
            let through_seq = position(&mut connection, begin.shard).await?;
            if through_seq > at {
                at = through_seq;
                seen.push((at, clock::now_ms()));
            }
            if *ending.borrow() {
                let (deadline, last_seq) = match until {
                    Some(until) => until,
                    None => {
                        let ends = client.get_positions(v1::GetPositionsRequest {}).await?;
                        let end = ends.shards.iter().find(|end| end.shard == begin.shard);
                        let last_seq = end.map_or(0, |end| end.last_seq);
                        *until.insert((Instant::now() + PATIENCE, last_seq))
                    }
                };
                if at >= last_seq {
                    return Ok(seen);
                }
                ensure!(
                    Instant::now() < deadline,
                    "the target did not get the last changes"
                );
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn wait_until_at(&self, ends: &[v1::ShardPosition]) -> Result<()> {
        let until = Instant::now() + PATIENCE;
        let mut connection = loop {
            match self.connect().await {
                Ok(connection) => break connection,
                Err(error) if Instant::now() > until => return Err(error),
                Err(_) => tokio::time::sleep(LOOK_EVERY).await,
            }
        };
        for end in ends {
            while position(&mut connection, end.shard).await? < end.last_seq {
                ensure!(
                    Instant::now() < until,
                    "the view did not catch up with the catalogue"
                );
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    async fn connect(&self) -> Result<MultiplexedConnection> {
        let client = redis::Client::open(self.url.as_str())?;
        Ok(client.get_multiplexed_async_connection().await?)
    }
}

async fn position(connection: &mut MultiplexedConnection, shard: u32) -> Result<u64> {
    let mut command = redis::cmd("HGET");
    command.arg(format!("holdfast:1:{{{shard:04}}}:shard")).arg("seq");
    let seq: Option<u64> = command.query_async(connection).await?;
    Ok(seq.unwrap_or_default())
}

/// Returns the log time of each change that the load makes.
async fn made(
    client: &Client,
    begins: &[v1::ShardPosition],
    mut ending: tokio::sync::watch::Receiver<bool>,
) -> Result<BTreeMap<u32, Vec<Made>>> {
    let tails = begins.iter().map(|begin| {
        let stream = client.tail_changes(begin.shard, begin.last_seq + 1, true);
        Box::pin(stream)
    });
    let mut messages = stream::select_all(tails);
    let mut made: BTreeMap<u32, Vec<Made>> = BTreeMap::new();
    loop {
        let message = tokio::select! {
            message = messages.next() => message.context("the change streams ended")??,
            _ = ending.wait_for(|ended| *ended) => break,
        };
        for change in message.changes {
            made.entry(change.shard)
                .or_default()
                .push((change.seq, change.log_time_ms));
        }
    }
    Ok(made)
}
