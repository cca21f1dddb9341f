//! Builds a new generation of the view beside the live one, compares it, and makes it live.

use std::time::Duration;

use futures::TryStreamExt as _;
use holdfast_api::v1::ListStockRequest;
use redis::cmd;
use serde::Serialize;
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::RedisSink;
use super::compare::{Comparing, Comparison};
use super::connection::Connection;
use super::keys::Keys;
use super::load::Loader;
use crate::runner::{Cluster, NamedSink, Runner};
use crate::sink::{Position, SinkError};
use crate::status::{Board, State};

/// How often the lease of a rebuild is renewed, and its progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How long the changes since the list may take.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(600);

/// A step of a rebuild, for people who wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// So many cells were written.
    Loaded(u64),
    /// All cells are there; the changes since then follow.
    CatchingUp,
    /// So many cells were compared.
    Compared(u64),
    /// Readers use the new view.
    Live,
    /// So many keys of older views were removed.
    Removed(u64),
}

/// The result of a rebuild.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rebuilt {
    /// The number of the new generation.
    pub generation: u64,
    /// Cells that were loaded.
    pub cells: u64,
    /// The comparison with the ledger before it became live.
    pub comparison: Comparison,
    /// Whether it is live. It is not when it differs from the ledger.
    pub live: bool,
    /// Keys of older generations that were removed.
    pub removed_keys: u64,
}

impl RedisSink {
    /// Compares the live view with the ledger.
    ///
    /// # Errors
    /// [`SinkError`]: there is no view, or it or the cluster cannot be read.
    pub async fn compare(
        &self,
        cluster: &Cluster,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Comparison, SinkError> {
        let (connection, _, keys) = self.connect().await?;
        self.compare_generation(cluster, connection, keys, progress).await
    }

    async fn compare_generation(
        &self,
        cluster: &Cluster,
        connection: Connection,
        keys: Keys,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Comparison, SinkError> {
        let mut comparing = Comparing {
            client: &cluster.client,
            connection,
            keys,
        };
        let mut comparison = Comparison::default();
        for shard in &cluster.shards {
            let compared = |cells| progress(Progress::Compared(cells));
            comparing.shard(*shard, &mut comparison, &compared).await?;
        }
        Ok(comparison)
    }

    /// Builds the view again from the ledger, beside the one that readers use. When it equals the ledger, it
    /// becomes live at once for all readers, and older ones are removed after `keep_old`.
    ///
    /// # Errors
    /// [`SinkError`]: another rebuild runs, or Redis or the cluster fails. The live view stays as it was.
    pub async fn rebuild(
        &self,
        cluster: &Cluster,
        keep_old: Duration,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Rebuilt, SinkError> {
        let mut connection = Connection::open(&self.config, self.password.as_ref()).await?;
        connection.check_it_can_be_trusted().await?;
        let generations = self.generations();
        let number = generations.begin_rebuild(&mut connection).await?;
        let work = self.build(cluster, number, keep_old, progress);
        let renew = async {
            loop {
                tokio::time::sleep(Duration::from_secs(5)).await;
                if let Err(error) = generations.still_rebuilding(&mut connection).await {
                    return error;
                }
            }
        };
        let done = tokio::select! {
            done = work => done,
            error = renew => Err(error),
        };
        generations.end_rebuild(&mut connection).await?;
        done
    }

    async fn build(
        &self,
        cluster: &Cluster,
        number: u64,
        keep_old: Duration,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<Rebuilt, SinkError> {
        let mut connection = Connection::open(&self.config, self.password.as_ref()).await?;
        let keys = Keys::new(&self.config.prefix, number);
        let mut cells = 0;
        for shard in &cluster.shards {
            cells += self
                .load(cluster, &mut connection, &keys, *shard, progress)
                .await?;
        }
        progress(Progress::CatchingUp);
        let following = NamedSink {
            name: "rebuild".to_owned(),
            sink: Arc::new(Self {
                generation: Some(number),
                ..self.clone()
            }),
        };
        let runner = Runner::new(cluster.clone(), vec![following]).unregistered();
        let board = runner.board();
        let stopping = CancellationToken::new();
        let steps = async {
            caught_up(&board).await?;
            let reading = Connection::open(&self.config, self.password.as_ref()).await?;
            let comparison = self.compare_generation(cluster, reading, keys, progress).await?;
            let live =
                comparison.differences == 0 && self.generations().flip(&mut connection, number).await?;
            let mut removed_keys = 0;
            if live {
                progress(Progress::Live);
                // A runner notices within a second; until it does, this one keeps the new view current.
                tokio::time::sleep(keep_old.max(Duration::from_secs(3))).await;
                removed_keys = self
                    .remove_older(&mut connection, cluster, number, progress)
                    .await?;
            }
            Ok(Rebuilt {
                generation: number,
                cells,
                comparison,
                live,
                removed_keys,
            })
        };
        let steps = async {
            let done = steps.await;
            stopping.cancel();
            done
        };
        let ((), done) = tokio::join!(runner.run(&stopping), steps);
        done
    }

    async fn load(
        &self,
        cluster: &Cluster,
        connection: &mut Connection,
        keys: &Keys,
        shard: u32,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<u64, SinkError> {
        let mut loader = Loader::new(connection, keys, shard, self.cluster_id.to_string());
        let request = ListStockRequest {
            shard: Some(shard),
            ..ListStockRequest::default()
        };
        let mut answers = std::pin::pin!(cluster.client.list_stock(request));
        let (mut cells, mut at) = (0, Position::default());
        while let Some(answer) = answers.try_next().await? {
            if let Some(read) = &answer.read {
                at = Position {
                    through_seq: read.change_seq,
                    log_time_ms: read.position.map_or(0, |position| position.log_time_ms),
                };
            }
            loader.cells(&answer.cells, at).await?;
            loader.policies(&answer.policies).await?;
            cells += answer.cells.len() as u64;
            progress(Progress::Loaded(answer.cells.len() as u64));
        }
        loader.finish(at).await?;
        Ok(cells)
    }

    /// Removes every generation before this one.
    async fn remove_older(
        &self,
        connection: &mut Connection,
        cluster: &Cluster,
        number: u64,
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<u64, SinkError> {
        let mut removed = 0;
        let current = Keys::new(&self.config.prefix, number);
        for shard in &cluster.shards {
            let older = current.older_pattern(*shard);
            let tag = current.shard(*shard);
            let mut cursor = 0;
            loop {
                let (next, found) = connection.scan(&tag, &older, cursor).await?;
                let found: Vec<String> = found
                    .into_iter()
                    .filter(|key| current.generation_of(key).is_some_and(|of| of < number))
                    .collect();
                if !found.is_empty() {
                    let count: u64 = connection
                        .ask("remove an older view", cmd("UNLINK").arg(&found))
                        .await?;
                    removed += count;
                    progress(Progress::Removed(count));
                }
                if next == 0 {
                    break;
                }
                cursor = next;
            }
        }
        Ok(removed)
    }
}

/// Waits until every shard has what the cluster has.
async fn caught_up(board: &Board) -> Result<(), SinkError> {
    let until = Instant::now() + CATCH_UP_PATIENCE;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let all = board.all();
        if let Some(refused) = all.iter().find(|report| report.status.state == State::Refused) {
            return Err(SinkError::Refused {
                what: refused.status.error.clone().unwrap_or_default(),
                advice: "the live view stays as it was".to_owned(),
            });
        }
        let current = |lag: u64, state| state == State::Delivering && lag < 1_000;
        if !all.is_empty()
            && all
                .iter()
                .all(|report| current(report.lag_changes, report.status.state))
        {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(SinkError::Unavailable {
                what: format!(
                    "the new view did not catch up with the cluster within {} s",
                    CATCH_UP_PATIENCE.as_secs()
                ),
                retry_after_ms: 0,
            });
        }
    }
}
