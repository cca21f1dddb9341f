//! Loop of the writer: it writes as soon as something is queued, until it is told to stop.

use std::io;
use std::thread;
use std::time::Duration;

use super::core::Core;
use super::shared::Shared;
use super::{DIRECTORY, LogError};

/// Time without requests after which the mark of what is synced is synced too.
const IDLE: Duration = Duration::from_millis(20);

/// Guard that fails the log when the writer panics. Without it the callers would wait for ever.
struct FailOnPanic<'a>(&'a Shared);

impl Drop for FailOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let source = io::Error::other("the writer thread panicked");
            self.0
                .fail(&LogError::failed("write", DIRECTORY.to_string(), source));
        }
    }
}

pub(super) fn write_until_closed(mut core: Core, shared: &Shared) {
    let _guard = FailOnPanic(shared);
    loop {
        let more = write_batch(&mut core, shared);
        let mut queue = shared.queue.lock();
        while !more && queue.requests.is_empty() && !queue.closing && queue.failure.is_none() {
            if core.marker.is_synced() {
                shared.wake.wait(&mut queue);
            } else if shared.wake.wait_for(&mut queue, IDLE).timed_out() {
                drop(queue);
                core.marker.sync();
                queue = shared.queue.lock();
            }
        }
        if queue.closing || queue.failure.is_some() {
            break;
        }
    }
    finish(core, shared);
}

/// Writes the whole queue. Returns whether there is more to do at once.
pub(super) fn write_batch(core: &mut Core, shared: &Shared) -> bool {
    let (requests, committed) = {
        let mut queue = shared.queue.lock();
        if queue.failure.is_some() || queue.requests.is_empty() && !queue.closing {
            (Vec::new(), Default::default())
        } else {
            (
                std::mem::take(&mut queue.requests),
                std::mem::take(&mut queue.committed),
            )
        }
    };
    let wrote = !requests.is_empty() || !committed.is_empty();
    if wrote && let Err(error) = core.run(requests, committed) {
        shared.fail(&error);
        return false;
    }
    match core.reclaim() {
        Ok(more) => more || wrote && !shared.queue.lock().requests.is_empty(),
        Err(error) => {
            shared.fail(&error);
            false
        }
    }
}

pub(super) fn finish(mut core: Core, shared: &Shared) {
    while write_batch(&mut core, shared) {}
    if shared.queue.lock().failure.is_none()
        && let Err(error) = core.mark_synced()
    {
        shared.fail(&error);
    }
}
