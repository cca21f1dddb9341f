//! Follows the changes of a shard up to a moment.

use holdfast_api::v1::{self, Change};

/// A moment of a shard: the one right after the last change at or before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// After the change with this number, at least 1.
    Seq(u64),
    /// After the last change of an entry with this log time or an earlier one, in milliseconds since the Unix
    /// epoch.
    LogTimeMs(u64),
}

/// The cells or the reservation that are followed through the changes.
pub trait Subject {
    /// Adds up a change. Returns false when the change is not about this subject.
    ///
    /// # Errors
    /// The fault of a change that contradicts an earlier one, as a text for a person.
    fn apply(&mut self, change: &Change) -> Result<bool, String>;
}

/// A change contradicts the ones before it, so nothing is known about earlier states.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "change {seq} of shard {shard} contradicts the history before it: {message}; run `holdfast verify` to learn everything that is wrong"
)]
pub struct Fault {
    /// The shard of the change.
    pub shard: u32,
    /// The change.
    pub seq: u64,
    /// The fault, in words.
    pub message: String,
}

/// The reason why the changes have no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AsOfError {
    /// The shard has never had a change.
    #[error("shard {shard} has no change yet")]
    NoChange {
        /// The shard.
        shard: u32,
    },
    /// The moment is before the shard's first change.
    #[error(
        "the first change of shard {shard} is later, at log time {first_log_time_ms} ms: ask for a later moment"
    )]
    BeforeFirst {
        /// The shard.
        shard: u32,
        /// The log time of its first change, in milliseconds since the Unix epoch.
        first_log_time_ms: u64,
    },
    /// The changes end before the requested one.
    #[error("shard {shard} has no change {seq} yet, the last one is {last_seq}")]
    InFuture {
        /// The shard.
        shard: u32,
        /// The requested change.
        seq: u64,
        /// The last change of the shard.
        last_seq: u64,
    },
}

/// A subject on its way to a moment.
#[derive(Debug, Clone)]
pub struct Reading<S> {
    shard: u32,
    at: At,
    subject: S,
    last: Option<v1::AsOf>,
    last_seq: u64,
    /// The log time of the first change, if that is already after the moment.
    begins_at_ms: Option<u64>,
    passed: bool,
}

impl<S: Subject> Reading<S> {
    /// Begins with a subject before the first change of a shard.
    pub fn new(shard: u32, at: At, subject: S) -> Self {
        Self {
            shard,
            at,
            subject,
            last: None,
            last_seq: 0,
            begins_at_ms: None,
            passed: false,
        }
    }

    /// Returns the shard whose changes it follows.
    pub fn shard(&self) -> u32 {
        self.shard
    }

    /// Returns the change that has to come next.
    pub fn next_seq(&self) -> u64 {
        self.last_seq + 1
    }

    /// Returns whether the moment is certainly reached, whatever changes come.
    pub fn is_passed(&self) -> bool {
        self.passed
    }

    /// Takes the next change. Skips a change that came before, and all changes after the moment.
    ///
    /// # Errors
    /// [`Fault`]: a change is missing, or this one contradicts those before it.
    pub fn observe(&mut self, change: &Change) -> Result<(), Fault> {
        if self.passed || (change.shard == self.shard && change.seq <= self.last_seq) {
            return Ok(());
        }
        let fault = |message: String| Fault {
            shard: self.shard,
            seq: change.seq,
            message,
        };
        if change.shard != self.shard {
            return Err(fault(format!("it is of shard {}", change.shard)));
        }
        if change.seq != self.next_seq() {
            return Err(fault(format!("change {} is missing", self.next_seq())));
        }
        let before_ms = self.last.map_or(0, |last| last.log_time_ms);
        if change.log_time_ms < before_ms {
            return Err(fault(format!(
                "its log time is {}, after {before_ms}",
                change.log_time_ms
            )));
        }
        if matches!(self.at, At::LogTimeMs(at_ms) if change.log_time_ms > at_ms) {
            self.passed = true;
            if self.last.is_none() {
                self.begins_at_ms = Some(change.log_time_ms);
            }
            return Ok(());
        }
        let concerned = self.subject.apply(change).map_err(fault)?;
        let last_change_seq = match (concerned, self.last) {
            (true, _) => change.seq,
            (false, Some(last)) => last.last_change_seq,
            (false, None) => 0,
        };
        self.last_seq = change.seq;
        self.last = Some(v1::AsOf {
            position: Some(v1::ChangePosition {
                shard: self.shard,
                seq: change.seq,
            }),
            log_index: change.log_index,
            log_time_ms: change.log_time_ms,
            entry_complete: change.entry_offset.checked_add(1) == Some(change.entry_changes),
            last_change_seq,
        });
        self.passed = self.at == At::Seq(change.seq);
        Ok(())
    }

    /// Returns the subject as it was, and the exact moment. Call it when the moment is passed or the shard
    /// has no more changes.
    ///
    /// # Errors
    /// [`AsOfError`]: the shard's changes begin after the moment, or end before it.
    pub fn finish(self) -> Result<(v1::AsOf, S), AsOfError> {
        let shard = self.shard;
        match (self.at, self.last) {
            (At::Seq(seq), _) if !self.passed => Err(AsOfError::InFuture {
                shard,
                seq,
                last_seq: self.last_seq,
            }),
            (_, Some(last)) => Ok((last, self.subject)),
            (_, None) => Err(match self.begins_at_ms {
                Some(first_log_time_ms) => AsOfError::BeforeFirst {
                    shard,
                    first_log_time_ms,
                },
                None => AsOfError::NoChange { shard },
            }),
        }
    }
}
