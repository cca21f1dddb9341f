//! A hash of everything that happens, in order: two runs with the same hash did the same.

use std::sync::Arc;

use parking_lot::Mutex;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use crate::time::TrueTime;

/// The trace of a run. Clones share its content.
#[derive(Clone)]
pub struct Trace {
    time: TrueTime,
    shown: bool,
    state: Arc<Mutex<State>>,
}

struct State {
    hash: Xxh3,
    events: u64,
}

impl Trace {
    /// Makes an empty trace; `shown` prints each event to standard error.
    pub fn new(time: TrueTime, shown: bool) -> Self {
        let hash = Xxh3::new();
        Self {
            time,
            shown,
            state: Arc::new(Mutex::new(State { hash, events: 0 })),
        }
    }

    /// Adds an event, with the present time.
    pub fn event(&self, what: &str, numbers: &[u64], bytes: &[u8]) {
        let now_ms = self.time.now_ms();
        let mut state = self.state.lock();
        state.events += 1;
        state.hash.update(&now_ms.to_le_bytes());
        state.hash.update(what.as_bytes());
        for number in numbers {
            state.hash.update(&number.to_le_bytes());
        }
        state.hash.update(&(bytes.len() as u64).to_le_bytes());
        state.hash.update(bytes);
        if self.shown {
            eprintln!("{now_ms:>7} {what} {numbers:?} {:016x}", xxh3_64(bytes));
        }
    }

    /// Returns the hash of everything so far.
    pub fn digest(&self) -> u64 {
        self.state.lock().hash.digest()
    }

    /// Returns the number of events.
    pub fn events(&self) -> u64 {
        self.state.lock().events
    }
}
