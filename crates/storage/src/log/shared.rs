//! State that the callers of a log and its writer share: the groups in memory, the open files, and the queue.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex, RwLock};

use super::group::Group;
use super::stats::Counters;
use super::{LogError, LogRecord, Synced};
use crate::{DiskFile, GroupId};

/// Content of a write.
pub(super) enum Write {
    Append { ticket: u64, records: Vec<LogRecord> },
    Truncate { index: u64 },
    Purge { index: u64, marker: Bytes },
    Vote(Bytes),
}

/// One write and its callback.
pub(super) struct Request {
    pub(super) group: GroupId,
    pub(super) memory: Arc<Mutex<Group>>,
    pub(super) write: Write,
    pub(super) synced: Option<Synced>,
}

/// Queue of writes, in order.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) requests: Vec<Request>,
    /// Newest commit position of each group. They come after all requests and wake nobody.
    pub(super) committed: BTreeMap<GroupId, Bytes>,
    pub(super) next_ticket: u64,
    pub(super) closing: bool,
    pub(super) failure: Option<LogError>,
    pub(super) on_failure: Vec<Box<dyn FnOnce(LogError) + Send>>,
}

impl Queue {
    pub(super) fn check_open(&self) -> Result<(), LogError> {
        match &self.failure {
            Some(failure) => Err(failure.clone()),
            None if self.closing => Err(LogError::Closed),
            None => Ok(()),
        }
    }
}

/// State with this order of locks: a group, then the queue or the files. No lock is held while a callback
/// runs.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) groups: RwLock<BTreeMap<GroupId, Arc<Mutex<Group>>>>,
    /// All segments, oldest first.
    pub(super) files: RwLock<BTreeMap<u32, Arc<dyn DiskFile>>>,
    pub(super) queue: Mutex<Queue>,
    pub(super) wake: Condvar,
    pub(super) counters: Counters,
}

impl Shared {
    pub(super) fn group(&self, group: GroupId) -> Arc<Mutex<Group>> {
        if let Some(found) = self.groups.read().get(&group) {
            return found.clone();
        }
        self.groups.write().entry(group).or_default().clone()
    }

    /// Fails the log: reports the error to all callers that wait and to all that come later. Nothing may be
    /// written any more.
    pub(super) fn fail(&self, error: &LogError) {
        let (requests, notify) = {
            let mut queue = self.queue.lock();
            queue.failure.get_or_insert_with(|| error.clone());
            (
                std::mem::take(&mut queue.requests),
                std::mem::take(&mut queue.on_failure),
            )
        };
        for synced in requests.into_iter().filter_map(|request| request.synced) {
            synced(Err(error.clone()));
        }
        for notify in notify {
            notify(error.clone());
        }
    }
}
