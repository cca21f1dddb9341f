//! Preparer of the next segment, which it makes while the current one is being written.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use super::segment;
use crate::{Disk, DiskFile};

struct Job {
    id: u32,
    recycle: Option<String>,
}

/// Preparer that fills segments with zeros ahead of time, on its own thread where threads are allowed.
pub(super) struct Preparer {
    disk: Arc<dyn Disk>,
    segment_bytes: u32,
    thread: Option<Helper>,
    /// The segment that the thread is making or has made.
    asked_for: Option<u32>,
}

struct Helper {
    jobs: Option<Sender<Job>>,
    results: Receiver<io::Result<Arc<dyn DiskFile>>>,
    thread: Option<JoinHandle<()>>,
}

impl Preparer {
    pub(super) fn new(disk: Arc<dyn Disk>, segment_bytes: u32, threaded: bool) -> io::Result<Preparer> {
        let thread = if threaded {
            Some(Helper::start(disk.clone(), segment_bytes)?)
        } else {
            None
        };
        Ok(Preparer {
            disk,
            segment_bytes,
            thread,
            asked_for: None,
        })
    }

    /// Starts making segment `id`. Without a thread, nothing happens before the segment is taken.
    pub(super) fn request(&mut self, id: u32, recycle: &mut Option<String>) {
        let Some(jobs) = self.thread.as_ref().and_then(|helper| helper.jobs.as_ref()) else {
            return;
        };
        if jobs
            .send(Job {
                id,
                recycle: recycle.take(),
            })
            .is_ok()
        {
            self.asked_for = Some(id);
        }
    }

    /// Returns segment `id`, and waits for it if it is not ready.
    pub(super) fn take(&mut self, id: u32, recycle: &mut Option<String>) -> io::Result<Arc<dyn DiskFile>> {
        if self.asked_for.take() == Some(id) {
            match self.thread.as_ref().map(|helper| helper.results.recv()) {
                Some(Ok(Ok(file))) => return Ok(file),
                Some(Ok(Err(error))) => {
                    tracing::warn!(segment = id, %error, "could not prepare a log segment ahead, trying again");
                }
                Some(Err(_)) | None => {}
            }
        }
        segment::prepare(&*self.disk, id, self.segment_bytes, recycle.take().as_deref())
    }
}

impl Helper {
    fn start(disk: Arc<dyn Disk>, segment_bytes: u32) -> io::Result<Helper> {
        let (jobs, inbox) = channel::<Job>();
        let (outbox, results) = channel();
        let thread = thread::Builder::new()
            .name("log-prepare".to_string())
            .spawn(move || {
                for job in inbox {
                    let made = segment::prepare(&*disk, job.id, segment_bytes, job.recycle.as_deref());
                    if outbox.send(made).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Helper {
            jobs: Some(jobs),
            results,
            thread: Some(thread),
        })
    }
}

impl Drop for Helper {
    /// Waits for the thread, so that the data directory is unused when the log is gone.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
