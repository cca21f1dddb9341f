//! One shard of one sink.
//!
//! ```text
//!  open ──> the target is at change p ──> stream from p + 1 ──> [queue] ──> write ──> settle ─┐
//!    ^                                                                        ^               │
//!    │                                                                        └───────────────┘
//!    └── pause ── any error: the writer is dropped, and the target is asked again where it is
//! ```

use std::sync::Arc;
use std::time::Duration;

use holdfast_api::v1::Change;
use holdfast_changes::cursor::Cursors;
use holdfast_client::ClientError;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::waiting::Waiting;
use super::{Cluster, source};
use crate::ends::Ends;
use crate::sink::{Position, Sink, SinkError, Writer};
use crate::status::{Entry, State};

/// The messages of a stream that wait for the writer. A message has about 128 KiB, and 3 MiB at most.
const QUEUED_MESSAGES: usize = 16;
/// The changes after which a batch takes no further message.
const BATCH_CHANGES: usize = 8_192;
/// The longest time between two calls of `settle`.
const SETTLE_EVERY: Duration = Duration::from_millis(250);
/// The first pause after an error; it doubles from there.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause after an error that passes by itself.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// The longest pause before asking a target again that said no.
const REFUSED_PAUSE_MAX: Duration = Duration::from_secs(30);
/// How often a runner that stands by looks whether the other one still delivers.
const STANDBY_LOOK: Duration = Duration::from_secs(2);
/// The looks without progress after which it takes over.
const STANDBY_LOOKS: u32 = 5;
/// The longest time that stopping waits for a target to take what was read.
const FINISH_PATIENCE: Duration = Duration::from_secs(20);

pub(super) struct Task {
    pub(super) cluster: Cluster,
    pub(super) sink: Arc<dyn Sink>,
    pub(super) shard: u32,
    pub(super) entry: Entry,
    pub(super) ends: watch::Receiver<Ends>,
    pub(super) stopping: CancellationToken,
}

impl Task {
    /// Delivers until it is asked to stop.
    pub(super) async fn run(self) {
        let stopping = self.stopping.clone();
        let mut pause = PAUSE_MIN;
        while !stopping.is_cancelled() {
            let began = Instant::now();
            let Err(error) = self.deliver().await else { break };
            if began.elapsed() > PAUSE_MAX {
                pause = PAUSE_MIN;
            }
            let state = self.note(&error);
            let waited = async {
                match (&error, state) {
                    (_, State::Standby) => self.stand_by().await,
                    (SinkError::Moved { .. }, _) => {}
                    (SinkError::Unavailable { retry_after_ms, .. }, _) => {
                        let least = Duration::from_millis(*retry_after_ms);
                        tokio::time::sleep(jittered(pause).max(least)).await;
                    }
                    _ => tokio::time::sleep(jittered(pause)).await,
                }
            };
            tokio::select! {
                () = waited => {}
                () = stopping.cancelled() => break,
            }
            let longest = if state == State::Refused {
                REFUSED_PAUSE_MAX
            } else {
                PAUSE_MAX
            };
            pause = (pause * 2).min(longest);
        }
        self.entry.state(State::Stopped);
    }

    fn note(&self, error: &SinkError) -> State {
        let state = match error {
            SinkError::TakenOver { .. } => State::Standby,
            error if error.needs_a_person() => State::Refused,
            _ => State::Waiting,
        };
        let text = error.to_string();
        let before = self.entry.now().and_then(|status| status.error);
        // A target that is down says the same many times.
        if before.as_deref() != Some(&text) {
            match state {
                _ if matches!(error, SinkError::Moved { .. }) => {
                    tracing::info!(sink = %self.entry.sink(), shard = self.shard, %error, "going on from the target's position");
                }
                State::Refused => {
                    tracing::error!(sink = %self.entry.sink(), shard = self.shard, %error, "the sink stopped: it needs somebody to act")
                }
                _ => tracing::warn!(sink = %self.entry.sink(), shard = self.shard, %error, "the sink waits"),
            }
        }
        self.entry.failed(state, text);
        state
    }

    async fn deliver(&self) -> Result<(), SinkError> {
        self.entry.state(State::Opening);
        let mut writer = self.sink.open(self.shard).await?;
        let opened_at = writer.opened_at();
        self.check_not_ahead(opened_at).await?;
        self.entry.opened(opened_at);
        tracing::info!(sink = %self.entry.sink(), shard = self.shard, from_seq = opened_at.through_seq + 1, "delivering");
        let (messages, mut queue) = mpsc::channel(QUEUED_MESSAGES);
        let _reader = AbortOnDropHandle::new(tokio::spawn(source::read(
            self.cluster.clone(),
            self.shard,
            opened_at.through_seq + 1,
            messages,
        )));
        let mut cursor = Cursors::in_memory();
        cursor.advance(self.shard, opened_at.through_seq);
        let mut waiting = Waiting::default();
        let mut current_at_ms = 0;
        let mut batch: Vec<Change> = Vec::new();
        loop {
            let message = tokio::select! {
                message = queue.recv() => message,
                () = tokio::time::sleep(SETTLE_EVERY) => {
                    let at = writer.settle().await?;
                    self.settled(&mut waiting, at);
                    self.tell_if_current(&mut *writer, at, &mut current_at_ms).await?;
                    continue;
                }
                () = self.stopping.cancelled() => {
                    let finished = tokio::time::timeout(FINISH_PATIENCE, writer.finish()).await;
                    let finished = finished.map_err(|_| SinkError::Unavailable {
                        what: format!("the target did not take the last changes within {} s", FINISH_PATIENCE.as_secs()),
                        retry_after_ms: 0,
                    })?;
                    self.settled(&mut waiting, finished?);
                    return Ok(());
                }
            };
            let message = message.ok_or_else(|| SinkError::Unavailable {
                what: "the change stream ended".to_owned(),
                retry_after_ms: 0,
            })?;
            batch.clear();
            batch.extend(cursor.admit(self.shard, message?)?);
            while batch.len() < BATCH_CHANGES {
                let Ok(message) = queue.try_recv() else { break };
                batch.extend(cursor.admit(self.shard, message?)?);
            }
            if batch.is_empty() {
                continue;
            }
            waiting.read(&batch);
            self.entry.update(|status| {
                status.read_through_seq = cursor.last_seq(self.shard);
                status.oldest_waiting_ms = waiting.oldest_ms();
            });
            writer.write(&batch).await?;
            let at = writer.settle().await?;
            self.settled(&mut waiting, at);
            self.tell_if_current(&mut *writer, at, &mut current_at_ms).await?;
        }
    }

    /// Tells the target that it has all that the cluster had at the moment when the cluster was last asked.
    async fn tell_if_current(
        &self,
        writer: &mut dyn Writer,
        at: Position,
        told_at_ms: &mut u64,
    ) -> Result<(), SinkError> {
        let (at_ms, last_seq) = {
            let ends = self.ends.borrow();
            (ends.at_ms, ends.last_seq(self.shard))
        };
        if at_ms > *told_at_ms && last_seq.is_some_and(|last_seq| at.through_seq >= last_seq) {
            writer.current(at_ms).await?;
            *told_at_ms = at_ms;
        }
        Ok(())
    }

    /// Refuses a target that has more than the cluster.
    async fn check_not_ahead(&self, opened_at: Position) -> Result<(), SinkError> {
        if opened_at.through_seq == 0 {
            return Ok(());
        }
        let last_seq = self.last_seq().await?;
        if opened_at.through_seq > last_seq {
            return Err(SinkError::AheadOfCluster {
                shard: self.shard,
                through_seq: opened_at.through_seq,
                last_seq,
            });
        }
        Ok(())
    }

    /// Asks the cluster for the last change of the shard.
    async fn last_seq(&self) -> Result<u64, ClientError> {
        let positions = self.cluster.client.get_positions(Default::default()).await?;
        let mut shards = positions.shards.iter();
        let of_shard = shards.find(|position| position.shard == self.shard);
        Ok(of_shard.map_or(0, |position| position.last_seq))
    }

    fn settled(&self, waiting: &mut Waiting, at: Position) {
        waiting.arrived(at.through_seq);
        self.entry.update(|status| {
            if at.through_seq > status.through_seq {
                status.delivered += at.through_seq - status.through_seq;
                status.through_seq = at.through_seq;
                status.log_time_ms = at.log_time_ms;
            }
            status.oldest_waiting_ms = waiting.oldest_ms();
        });
    }

    /// Returns when the other runner seems to have stopped.
    async fn stand_by(&self) {
        let mut seen = None;
        let mut looks = 0;
        while looks < STANDBY_LOOKS {
            tokio::time::sleep(jittered(STANDBY_LOOK)).await;
            let Ok(position) = self.sink.position(self.shard).await else {
                return;
            };
            let Ok(last_seq) = self.last_seq().await else {
                continue;
            };
            let behind = last_seq > position.through_seq;
            self.entry.update(|status| {
                status.through_seq = position.through_seq;
                status.log_time_ms = position.log_time_ms;
            });
            // A target that has everything needs nobody.
            looks = if behind && seen == Some(position) {
                looks + 1
            } else {
                0
            };
            seen = Some(position);
        }
    }
}

/// Returns between half of a pause and the whole of it, so that many runners do not come back together.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::random_range(0.5..=1.0))
}
