//! One connection of a caller: its share of the budget, and whether it sends and reads anything.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::budget::{Budget, Charge, Exhausted, Party, Share};
use super::pace::TooFast;

/// The length in bytes of HTTP/2's preface, which every client sends as soon as it is connected.
const PREFACE_BYTES: u64 = 24;

/// The times after which a connection counts as useless.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// The time until the connection has sent the preface of HTTP/2.
    pub(crate) preface: Duration,
    /// The time until its first call; None for no limit.
    pub(crate) first_call: Option<Duration>,
    /// The time for which it may leave its answers unread.
    pub(crate) unread: Duration,
}

/// The reason why a connection is closed as useless.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Useless {
    /// The connection did not begin to speak HTTP/2.
    #[error("the connection did not begin to speak HTTP/2")]
    Mute,
    /// The connection made no call.
    #[error("the connection made no call")]
    Silent,
    /// The connection does not read its answers.
    #[error("the connection does not read its answers")]
    Unread,
}

impl Useless {
    /// Returns the reason's word in the label of a metric.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Mute => "mute",
            Self::Silent => "silent",
            Self::Unread => "unread",
        }
    }
}

/// One connection, shared by all its calls.
#[derive(Debug)]
pub(crate) struct Session {
    share: Share,
    began: Instant,
    has_called: AtomicBool,
    /// The number of answers of which a part waits to be read.
    unread: AtomicUsize,
    /// The moment when a piece of an answer was last taken.
    read_at: Mutex<Instant>,
}

impl Session {
    /// Returns the session of a new connection.
    pub(crate) fn new(budget: &Budget, party: Party) -> Arc<Self> {
        let now = Instant::now();
        Arc::new(Self {
            share: budget.connection(party),
            began: now,
            has_called: AtomicBool::new(false),
            unread: AtomicUsize::new(0),
            read_at: Mutex::new(now),
        })
    }

    /// Takes bytes until the charge is dropped.
    ///
    /// # Errors
    /// [`Exhausted`] names the limit; nothing is taken.
    pub(crate) fn charge(&self, bytes: usize) -> Result<Charge, Exhausted> {
        self.share.charge(bytes)
    }

    /// Returns the moment when these bytes of a large message may be processed.
    pub(super) fn pace(&self, bytes: usize) -> Result<Instant, TooFast> {
        self.share.pace(bytes)
    }

    pub(super) fn called(&self) {
        self.has_called.store(true, Ordering::Relaxed);
    }

    /// Notes that a piece of an answer was taken.
    pub(super) fn read(&self) {
        *self.read_at.lock() = Instant::now();
    }

    /// Notes that an answer waits to be read, until the returned value is dropped.
    pub(super) fn waits(self: &Arc<Self>) -> Waiting {
        if self.unread.fetch_add(1, Ordering::Relaxed) == 0 {
            self.read();
        }
        Waiting(Arc::clone(self))
    }

    /// Decides whether a connection that has sent `received` bytes is of use. Returns when to decide again.
    ///
    /// # Errors
    /// [`Useless`] says why the connection must be closed.
    pub(crate) fn judge(&self, patience: &Patience, received: u64) -> Result<Instant, Useless> {
        let now = Instant::now();
        if received < PREFACE_BYTES {
            let until = self.began + patience.preface;
            return if now < until {
                Ok(until)
            } else {
                Err(Useless::Mute)
            };
        }
        if let Some(first_call) = patience.first_call
            && !self.has_called.load(Ordering::Relaxed)
        {
            let until = self.began + first_call;
            return if now < until {
                Ok(until)
            } else {
                Err(Useless::Silent)
            };
        }
        if self.unread.load(Ordering::Relaxed) == 0 {
            return Ok(now + patience.unread / 4);
        }
        let until = *self.read_at.lock() + patience.unread;
        if now < until {
            Ok(until)
        } else {
            Err(Useless::Unread)
        }
    }
}

/// An answer that waits to be read, until this is dropped.
#[derive(Debug)]
pub(super) struct Waiting(Arc<Session>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.unread.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    const PATIENCE: Patience = Patience {
        preface: Duration::from_secs(10),
        first_call: Some(Duration::from_secs(60)),
        unread: Duration::from_secs(30),
    };

    fn session() -> Arc<Session> {
        Session::new(
            &Budget::new(1_000, 1_000),
            Party::Address(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        )
    }

    /// Judges the connection whenever that is due, for the given number of seconds.
    async fn after(session: &Session, received: u64, seconds: u64) -> Result<(), Useless> {
        let end = Instant::now() + Duration::from_secs(seconds);
        loop {
            let next = session.judge(&PATIENCE, received)?;
            if next >= end {
                tokio::time::sleep_until(end).await;
                return Ok(());
            }
            tokio::time::sleep_until(next).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_says_nothing_is_closed_and_one_that_called_stays() {
        assert_eq!(after(&session(), 23, 11).await, Err(Useless::Mute));
        assert_eq!(after(&session(), 24, 59).await, Ok(()));
        assert_eq!(after(&session(), 24, 61).await, Err(Useless::Silent));
        let session = session();
        session.called();
        assert_eq!(after(&session, 24, 86_400).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_closed_when_it_reads_none_of_its_answers_for_so_long() {
        let session = session();
        session.called();
        let waiting = session.waits();
        for _ in 0..10 {
            assert_eq!(after(&session, 24, 29).await, Ok(()));
            session.read();
        }
        let other = session.waits();
        assert_eq!(after(&session, 24, 31).await, Err(Useless::Unread));
        drop((waiting, other));
        assert_eq!(after(&session, 24, 86_400).await, Ok(()));
    }
}
