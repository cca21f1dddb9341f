//! What a replica takes from the machine it runs on, so that a simulation can put something else in its place.

use std::fmt;
use std::io;
use std::sync::Arc;

use holdfast_ledger::Entry;

/// Milliseconds since the Unix epoch, by this node's clock. It may be wrong, and may jump.
pub type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// The nice value of background work: a tenth of a processor where others want all of it, so that it does end.
const BACKGROUND_NICE: i32 = 10;

/// Told of every entry that a replica applies: its index in the log and what it holds. Entries without commands
/// and time of Raft itself are left out.
pub type EntryObserver = Arc<dyn Fn(u64, &Entry) + Send + Sync>;

/// The machine of a replica. [`Host::default`] is the real one.
#[derive(Clone)]
pub struct Host {
    /// What time it is.
    pub wall_clock: WallClock,
    /// Where work is done.
    pub threads: Threads,
    /// Who is told of applied entries.
    pub observer: Option<EntryObserver>,
}

/// Where a replica's work is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// The replica has a thread of its own, and what blocks is done on others.
    Own,
    /// The replica lives on the caller's `LocalSet`, beside whatever else does, and what blocks is done on other threads: no
    /// message between them has to wake a thread.
    Shared,
    /// Everything is done on the caller's `LocalSet`, and what blocks holds it up: one thread, so that the order of
    /// events depends on nothing else.
    Caller,
}

/// Runs `work` so that whatever randomness the replicas in it need comes from `seed`. With the feature `simulation` a replica
/// runs in nothing else.
#[cfg(feature = "simulation")]
pub fn seeded<F: Future>(seed: u64, work: F) -> impl Future<Output = F::Output> {
    crate::raft_types::Runtime::scope(seed, work)
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
    /// Runs work that blocks, away from the shard's thread if there may be another.
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

    /// As [`Self::blocking`], for work that is long and can wait: the processors are for who is waited for.
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
