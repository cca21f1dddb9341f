//! The status of a channel, and how it is judged after rows were sent.
//!
//! | Snowflake says | the sink |
//! |---|---|
//! | the committed token moves | goes on |
//! | it does not move for a while, though rows were accepted | opens the channel again, and sends again |
//! | it is behind an earlier one, or at a token that is not ours | stops or begins again |
//! | it is past what was sent | another runner writes |
//! | more rows are refused than were repaired | stops the shard: a row would be missing for ever |
//! | fewer rows arrived than were committed, for a while | stops the shard |
//! | the status has an error code | does what the code asks for |

use tokio::time::Instant;

use super::answers::{ChannelStatus, Meaning, meaning, shown};
use super::channel::Channel;
use super::config::Limits;
use super::offset::Offset;
use crate::sink::SinkError;

/// The rows of a channel that was opened: what was sent, and what is known to be committed.
#[derive(Debug)]
pub(super) struct Watch {
    opened: Offset,
    opened_rows: u64,
    opened_errors: u64,
    committed: Offset,
    sent: Offset,
    /// When rows were last committed, or sent when none were waiting.
    progress_at: Instant,
    counts: Counts,
    repaired_through: u64,
}

/// The comparison of row counts with what was committed. Counts and token need not change at one moment, so a
/// shortage counts only when it stays. A surplus says nothing: the counts may have been behind at opening.
#[derive(Debug, Default)]
struct Counts {
    /// Rows that were committed at a moment and had not all arrived.
    missing: Option<(u64, Instant)>,
    /// Whether everything that was sent has arrived.
    fit: bool,
}

/// Rows are in neither the table nor the error table, and the position has passed them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Miscount(pub(super) String);

/// The status of a channel forbids to go on.
#[derive(Debug)]
pub(super) enum Objection {
    Error(SinkError),
    Miscount(Miscount),
}

impl From<SinkError> for Objection {
    fn from(error: SinkError) -> Self {
        Self::Error(error)
    }
}

impl Watch {
    /// Begins with the status that opening has returned. `resume` counts when no token was ever committed.
    pub(super) fn new(
        channel: &Channel,
        status: &ChannelStatus,
        resume: Offset,
        repaired_through: u64,
    ) -> Result<Self, SinkError> {
        check_code(status)?;
        let opened = committed(channel, status)?.unwrap_or(resume);
        check_errors(channel, status, opened, repaired_through)?;
        Ok(Self {
            opened,
            opened_rows: status.inserted(),
            opened_errors: status.errors(),
            committed: opened,
            sent: opened,
            progress_at: Instant::now(),
            counts: Counts {
                fit: true,
                ..Counts::default()
            },
            repaired_through,
        })
    }

    /// Returns what is known to be committed.
    pub(super) fn committed(&self) -> Offset {
        self.committed
    }

    /// Returns the last row that was sent.
    pub(super) fn sent_through(&self) -> Offset {
        self.sent
    }

    /// Returns how many rows were sent and are not known to be committed.
    pub(super) fn uncommitted(&self) -> u64 {
        self.sent.seq - self.committed.seq
    }

    /// Returns whether the status can bring nothing new.
    pub(super) fn is_settled(&self) -> bool {
        self.uncommitted() == 0 && self.counts.fit
    }

    /// Notes that rows up to this one were accepted.
    pub(super) fn sent(&mut self, last: Offset) {
        if self.uncommitted() == 0 {
            self.progress_at = Instant::now();
        }
        self.sent = last;
        self.counts.fit = false;
    }

    /// Judges a status.
    pub(super) fn observe(
        &mut self,
        channel: &Channel,
        status: &ChannelStatus,
        limits: &Limits,
    ) -> Result<(), Objection> {
        check_code(status)?;
        let now_at = committed(channel, status)?.unwrap_or(self.opened);
        if now_at.seq > self.sent.seq {
            return Err(Objection::Error(SinkError::TakenOver {
                what: format!(
                    "channel {} is at change {}, and only {} was sent",
                    channel.name(),
                    now_at.seq,
                    self.sent.seq
                ),
            }));
        }
        if now_at.seq < self.committed.seq {
            return Err(Objection::Error(SinkError::Moved {
                through_seq: now_at.seq,
                expected_seq: self.committed.seq,
            }));
        }
        if now_at != self.committed {
            self.committed = now_at;
            self.progress_at = Instant::now();
        }
        check_errors(channel, status, now_at, self.repaired_through)?;
        self.check_counts(channel, status, limits)?;
        if self.uncommitted() > 0 && self.progress_at.elapsed() > limits.commit_patience {
            return Err(Objection::Error(SinkError::Unavailable {
                what: format!(
                    "Snowflake accepted the rows after change {} of shard {} and has not committed them within {}: the \
                     channel is opened again, and they are sent again",
                    now_at.seq,
                    channel.shard,
                    humantime::format_duration(limits.commit_patience)
                ),
                retry_after_ms: 0,
            }));
        }
        Ok(())
    }

    fn check_counts(
        &mut self,
        channel: &Channel,
        status: &ChannelStatus,
        limits: &Limits,
    ) -> Result<(), Objection> {
        let (committed, sent) = (
            self.committed.seq - self.opened.seq,
            self.sent.seq - self.opened.seq,
        );
        let before = self.opened_rows + self.opened_errors;
        let arrived = (status.inserted() + status.errors()).saturating_sub(before);
        self.counts.fit = !limits.check_counts || arrived >= sent;
        if !limits.check_counts {
            return Ok(());
        }
        if self.counts.missing.is_some_and(|(rows, _)| arrived >= rows) {
            self.counts.missing = None;
        }
        if arrived < committed {
            self.counts.missing.get_or_insert((committed, Instant::now()));
        }
        let since = self.counts.missing.map(|(_, since)| since);
        if since.is_none_or(|since| since.elapsed() <= limits.count_patience) {
            return Ok(());
        }
        Err(Objection::Miscount(Miscount(format!(
            "Snowflake counts {arrived} rows in channel {} after change {}, of {sent} that were sent and {committed} \
             that are committed",
            channel.name(),
            self.opened.seq
        ))))
    }
}

/// Returns the offset that is committed.
fn committed(channel: &Channel, status: &ChannelStatus) -> Result<Option<Offset>, SinkError> {
    let Some(token) = status.last_committed_offset_token.as_deref() else {
        return Ok(None);
    };
    let offset = Offset::parse(token).filter(|offset| offset.shard == channel.shard);
    offset.map(Some).ok_or_else(|| SinkError::Refused {
        what: format!(
            "channel {} has the offset token {:?}, which is not one of shard {}",
            channel.name(),
            shown(token),
            channel.shard
        ),
        advice:
            "something else writes to this channel. Give the sink another name, which gives it other channels"
                .to_owned(),
    })
}

/// Reads the position of a channel.
pub(super) fn position_of(channel: &Channel, status: &ChannelStatus) -> Result<Option<Offset>, SinkError> {
    committed(channel, status)
}

fn check_code(status: &ChannelStatus) -> Result<(), SinkError> {
    let Some(code) = status.fault() else {
        return Ok(());
    };
    let what = format!("the status of the channel is {}", shown(code));
    Err(match meaning(code) {
        Meaning::TakenOver => SinkError::TakenOver { what },
        Meaning::Refused(advice) => SinkError::Refused {
            what,
            advice: advice.to_owned(),
        },
        // Any other code asks for the channel to be opened again.
        Meaning::Reopen | Meaning::Uncommitted | Meaning::Unknown => SinkError::Unavailable {
            what,
            retry_after_ms: 0,
        },
    })
}

/// Refuses a channel with refused rows that nobody has repaired. Snowflake's count is for ever, so what was
/// repaired is told by position.
pub(super) fn check_errors(
    channel: &Channel,
    status: &ChannelStatus,
    at: Offset,
    repaired_through: u64,
) -> Result<(), SinkError> {
    if status.errors() == 0 {
        return Ok(());
    }
    let bound = status.last_error_offset_upper_bound.as_deref();
    let bound = bound.and_then(Offset::parse).unwrap_or(at).seq;
    if bound <= repaired_through {
        return Ok(());
    }
    let shard = channel.shard;
    Err(SinkError::Refused {
        what: format!(
            "Snowflake has refused {} rows of shard {shard} since the channel was made, the last at or before change \
             {bound}: {}. Its position has passed them and is change {}",
            status.errors(),
            shown(status.last_error_message.as_deref().unwrap_or("no message")),
            at.seq
        ),
        advice: format!(
            "read them with SELECT * FROM ERROR_TABLE(<the table>), put them right as docs/snowflake.md says, and then \
             set errors_repaired_through.{shard} = {bound} in sinks.toml"
        ),
    })
}

#[cfg(test)]
mod tests;
