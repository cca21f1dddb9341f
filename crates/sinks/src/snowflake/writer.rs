//! Writes the changes of one shard into its channel.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use holdfast_api::v1::Change;
use tokio::time::Instant;
use uuid::Uuid;

use super::answers::Opened;
use super::channel::Channel;
use super::config::Limits;
use super::pace::Pace;
use super::rows::{Packed, Rows};
use super::session::{RequestError, Session};
use super::watch::{Miscount, Objection, Watch};
use crate::clock::now_ms;
use crate::sink::{Position, SinkError, Writer};

/// The attempts to send a request that Snowflake has no time for.
const ATTEMPTS: u32 = 5;
/// The longest pause that is waited for here. The runner waits for longer ones.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// The shards whose row counts did not fit, with the reason, since this process began.
pub(super) type Miscounts = Arc<Mutex<BTreeMap<u32, Miscount>>>;

/// Writes into an open channel.
pub(super) struct ChannelWriter {
    session: Arc<Session>,
    channel: Channel,
    limits: Limits,
    miscounts: Miscounts,
    watch: Watch,
    opened_at: Position,
    /// The token that the next append needs. Each answer has the next one.
    continuation: String,
    pace: Pace,
    status_at: Instant,
    /// The last whole entry of each request under way, and its log time.
    under_way: VecDeque<(u64, u64)>,
    log_time_ms: u64,
}

impl ChannelWriter {
    pub(super) fn new(
        session: Arc<Session>,
        channel: Channel,
        limits: Limits,
        miscounts: Miscounts,
        watch: Watch,
        opened: Opened,
    ) -> Self {
        Self {
            opened_at: Position {
                through_seq: watch.committed().whole_through(),
                log_time_ms: 0,
            },
            pace: Pace::new(&limits),
            status_at: Instant::now(),
            continuation: opened.next_continuation_token,
            under_way: VecDeque::new(),
            log_time_ms: 0,
            session,
            channel,
            limits,
            miscounts,
            watch,
        }
    }

    /// Appends rows. A request that Snowflake had no time for is sent again. After any other failure the
    /// channel is opened again, because only then it is certain what has arrived.
    async fn append(&mut self, rows: &Packed) -> Result<(), SinkError> {
        let request_id = Uuid::now_v7();
        let mut attempt = 0;
        loop {
            self.pace.wait().await;
            let answer = self
                .channel
                .append(&self.session, &self.continuation, rows, request_id)
                .await;
            self.pace.sent(rows.plain_bytes);
            attempt += 1;
            match answer {
                Ok(appended) => {
                    self.continuation = appended.next_continuation_token;
                    self.watch.sent(rows.last);
                    return Ok(());
                }
                Err(RequestError::Answered(failure))
                    if failure.is_throttled() && attempt < ATTEMPTS && failure.retry_after <= PAUSE_MAX =>
                {
                    let pause = self.limits.throttled_pause * 2u32.pow(attempt - 1);
                    let pause = pause.mul_f64(rand::random_range(0.5..=1.0));
                    tokio::time::sleep(pause.max(failure.retry_after)).await;
                }
                Err(error) => return Err(error.into_sink_error("sending rows", &self.session)),
            }
        }
    }

    /// Asks for the status when it is time to, and judges it.
    async fn look(&mut self) -> Result<(), SinkError> {
        if self.watch.is_settled() || self.status_at.elapsed() < self.limits.status_every {
            return Ok(());
        }
        let status = match self.channel.status(&self.session).await {
            Ok(Some(status)) => status,
            Ok(None) => {
                return Err(SinkError::Unavailable {
                    what: format!(
                        "channel {} was dropped while rows were on their way",
                        self.channel.name()
                    ),
                    retry_after_ms: 0,
                });
            }
            Err(error) => {
                let error = error.into_sink_error("asking for the position", &self.session);
                // One question without an answer changes nothing about the rows.
                let passes = matches!(error, SinkError::Unavailable { .. });
                let patient = self.status_at.elapsed() < self.limits.commit_patience;
                return if passes && patient { Ok(()) } else { Err(error) };
            }
        };
        self.status_at = Instant::now();
        match self.watch.observe(&self.channel, &status, &self.limits) {
            Ok(()) => {}
            Err(Objection::Error(error)) => return Err(error),
            Err(Objection::Miscount(miscount)) => {
                let mut miscounts = self.miscounts.lock().unwrap_or_else(PoisonError::into_inner);
                miscounts.insert(self.channel.shard, miscount.clone());
                return Err(miscount.into_error(self.channel.shard));
            }
        }
        let through = self.watch.committed().whole_through();
        while let Some((seq, log_time_ms)) = self.under_way.front().copied()
            && seq <= through
        {
            self.log_time_ms = log_time_ms;
            self.under_way.pop_front();
        }
        Ok(())
    }

    fn position(&self) -> Position {
        Position {
            through_seq: self.watch.committed().whole_through(),
            log_time_ms: self.log_time_ms,
        }
    }
}

impl Miscount {
    /// Returns the error of the sink.
    pub(super) fn into_error(self, shard: u32) -> SinkError {
        SinkError::Refused {
            what: self.0,
            advice: format!(
                "find the changes of shard {shard} that are missing with the query for gaps in \
                 docs/snowflake.md, put them right, and start the runner again"
            ),
        }
    }
}

#[async_trait]
impl Writer for ChannelWriter {
    fn opened_at(&self) -> Position {
        self.opened_at
    }

    async fn write(&mut self, changes: &[Change]) -> Result<(), SinkError> {
        // Rows of an entry that was sent in several requests may be there already.
        let sent = self.watch.sent_through().seq;
        let new = changes.partition_point(|change| change.seq <= sent);
        let changes = changes.get(new..).unwrap_or_default();
        let Some(first) = changes.first() else {
            return Ok(());
        };
        if first.seq != sent + 1 {
            return Err(SinkError::Moved {
                through_seq: sent,
                expected_seq: first.seq.saturating_sub(1),
            });
        }
        let rows = Rows::encode(changes, Duration::from_millis(now_ms()))?;
        let mut from = 0;
        while let Some(packed) = rows.pack(from, &self.limits)? {
            while self.watch.uncommitted() >= self.limits.uncommitted_changes {
                self.look().await?;
                tokio::time::sleep(self.limits.status_every).await;
            }
            self.append(&packed).await?;
            from += packed.rows;
            let whole = packed.last.whole_through();
            let log_time_ms = changes.get(..from).unwrap_or_default().iter().rev();
            let log_time_ms = log_time_ms.clone().find(|change| change.seq <= whole);
            if let Some(change) = log_time_ms {
                self.under_way.push_back((whole, change.log_time_ms));
            }
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<Position, SinkError> {
        self.look().await?;
        Ok(self.position())
    }

    async fn finish(&mut self) -> Result<Position, SinkError> {
        loop {
            self.look().await?;
            if self.watch.uncommitted() == 0 {
                return Ok(self.position());
            }
            tokio::time::sleep(self.limits.status_every).await;
        }
    }
}
