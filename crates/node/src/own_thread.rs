//! Threads for work that must neither wait for other work nor delay it.

use std::future::Future;
use std::io;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::{JoinError, JoinHandle};
use tracing::Instrument as _;

/// The nice value of a thread that lets the others go first: they get the processor before it.
const BEHIND: i32 = 10;

/// A thread with a runtime of its own. The thread ends when this value is dropped.
#[derive(Debug)]
pub(crate) struct OwnThread(Option<Runtime>);

impl OwnThread {
    /// Starts a thread with the same priority as the others.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(name: &'static str) -> io::Result<Self> {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name(name).enable_all().build()?;
        Ok(Self(Some(runtime)))
    }

    /// Starts a thread that lets the others go first.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start_behind(name: &'static str) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(name)
            .on_thread_start(move || {
                let this = rustix::thread::gettid();
                // On Linux a nice value is a thread's own (setpriority(2), "C library/kernel differences").
                if let Err(error) = rustix::process::setpriority_process(Some(this), BEHIND) {
                    tracing::debug!(name, %error, "a thread is not behind the others");
                }
            })
            .enable_all()
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Returns a handle of the thread's runtime. None while this value is being dropped.
    pub(crate) fn handle(&self) -> Option<Handle> {
        self.0.as_ref().map(|runtime| runtime.handle().clone())
    }

    /// Runs `work` on the thread. Dropping the returned future ends the work.
    pub(crate) fn run<W>(
        &self,
        work: W,
    ) -> impl Future<Output = Result<W::Output, JoinError>> + Send + 'static + use<W>
    where
        W: Future<Output: Send> + Send + 'static,
    {
        let task = self
            .0
            .as_ref()
            .map(|runtime| Ended(runtime.spawn(work.in_current_span())));
        async move {
            match task {
                Some(mut task) => (&mut task.0).await,
                // Happens only while this value is being dropped, and then nobody waits.
                None => std::future::pending().await,
            }
        }
    }
}

impl Drop for OwnThread {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A task that is aborted when nobody waits for it any more.
struct Ended<T>(JoinHandle<T>);

impl<T> Drop for Ended<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
