//! Machine of a replica: everything that a simulation replaces with something else.

use std::fmt;
use std::io;
use std::sync::Arc;

use holdfast_ledger::Entry;

use crate::clock::WallClock;

/// Nice value of background work. It gets about a tenth of a busy processor, so it still ends.
const BACKGROUND_NICE: i32 = 10;

/// Observer of every entry that a replica applies: gets the entry's index in the log and its content. Raft's
/// own entries, which have no commands and no time, are left out.
pub type EntryObserver = Arc<dyn Fn(u64, &Entry) + Send + Sync>;

/// Machine of a replica. [`Host::default`] is the real one.
#[derive(Clone)]
pub struct Host {
    /// Clock of this node.
    pub wall_clock: WallClock,
    /// Threads on which the work is done.
    pub threads: Threads,
    /// Observer of applied entries.
    pub observer: Option<EntryObserver>,
}

/// Threads on which a replica's work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The replica has its own thread, and work that blocks is done on others.
    Own,
    /// The replica lives on the caller's `LocalSet`, with everything else there, and work that blocks is done
    /// on other threads. So no message within the set has to wake a thread.
    Shared,
    /// Everything is done on the caller's `LocalSet`, and work that blocks holds it up. With one thread, the
    /// order of events depends on nothing else.
    Caller,
}

impl Default for Host {
    fn default() -> Self {
        Self {
            wall_clock: Arc::new(crate::clock::system_clock_ms),
            threads: Threads::Own,
            observer: None,
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("threads", &self.threads)
            .finish_non_exhaustive()
    }
}

impl Threads {
    /// Runs work that blocks, away from the shard's thread where there may be another.
    pub(crate) async fn blocking<T: Send + 'static>(
        self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        match self {
            Self::Own | Self::Shared => match tokio::task::spawn_blocking(work).await {
                Ok(result) => result,
                Err(error) => Err(io::Error::other(error)),
            },
            Self::Caller => work(),
        }
    }

    /// Runs long work that can wait, as [`Self::blocking`] does. Work that somebody waits for gets the
    /// processors first.
    pub(crate) async fn in_background<T: Send + 'static>(
        self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        if self == Self::Caller {
            return work();
        }
        let (done, result) = tokio::sync::oneshot::channel();
        let thread = std::thread::Builder::new().name("background".to_owned());
        thread.spawn(move || {
            let this = rustix::thread::gettid();
            // On Linux a nice value is a thread's own (setpriority(2), "C library/kernel differences").
            if let Err(error) = rustix::process::setpriority_process(Some(this), BACKGROUND_NICE) {
                tracing::debug!(%error, "background work is as urgent as the rest");
            }
            done.send(work()).ok();
        })?;
        match result.await {
            Ok(result) => result,
            Err(_) => Err(io::Error::other("background work panicked")),
        }
    }
}
