//! The actions and answers of clients, with the times at which they knew of them.

use std::time::Instant;

use bytes::Bytes;
use holdfast_api::v1;
use holdfast_client::ClientError;
use parking_lot::Mutex;

/// The request of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An order that may be over several shards.
    Order,
    /// Units of one SKU arrive.
    Receive {
        /// SKU of the units.
        sku: String,
        /// Number of units.
        quantity: i64,
    },
    /// Units of one SKU are taken.
    Reserve {
        /// SKU of the units.
        sku: String,
        /// Number of units.
        quantity: i64,
    },
    /// Units that were taken come back.
    Release {
        /// SKU of the units.
        sku: String,
        /// Number of units.
        quantity: i64,
    },
}

/// A place in the log of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    /// Shard of the log.
    pub shard: u32,
    /// Index of the entry.
    pub log_index: u64,
}

/// The answer to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The request took effect at this place.
    Granted(At),
    /// The request had no effect, because only this many units were free.
    Short(i64),
    /// The request had no effect, for another reason.
    Refused,
    /// No node took the request, so it had no effect.
    Unavailable,
    /// Nobody knows whether the request had an effect.
    Unknown,
}

/// Returns what an answer with this receipt, or an error, says.
pub(crate) fn told(answer: Result<Option<&v1::Receipt>, &ClientError>) -> Told {
    let position = |receipt: Option<&v1::Receipt>| receipt.and_then(|receipt| receipt.position);
    match answer {
        Ok(receipt) => {
            let position = position(receipt).unwrap_or_default();
            Told::Granted(At {
                shard: position.shard,
                log_index: position.log_index,
            })
        }
        Err(ClientError::Refused(refusal)) if refusal.reason() == v1::Reason::InsufficientStock => {
            Told::Short(refusal.shortages.first().map_or(0, |line| line.available))
        }
        Err(ClientError::Unavailable { .. }) => Told::Unavailable,
        Err(ClientError::Unknown { .. }) => Told::Unknown,
        Err(_) => Told::Refused,
    }
}

/// One mutation: one id, one or many attempts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Id of the operation.
    pub id: Bytes,
    /// The request.
    pub what: What,
    /// Time of the first attempt, in microseconds since the history began.
    pub invoked_us: u64,
    /// Time when the answer came, or when the client gave up, in microseconds since the history began.
    pub answered_us: u64,
    /// The answer.
    pub told: Told,
}

/// One linearizable look at a SKU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// SKU that was read.
    pub sku: String,
    /// Time of the request, in microseconds since the history began.
    pub invoked_us: u64,
    /// Time of the answer, in microseconds since the history began.
    pub answered_us: u64,
    /// The last entry that the read saw.
    pub at: At,
    /// Number of free units.
    pub free: i64,
}

/// All records of a history.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// Operations, sorted by the time at which they ended.
    pub operations: Vec<Operation>,
    /// Reads, sorted by the time at which they ended.
    pub reads: Vec<Read>,
}

/// The history into which all clients record.
#[derive(Debug)]
pub struct History {
    began: Instant,
    recorded: Mutex<Recorded>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            recorded: Mutex::default(),
        }
    }
}

impl History {
    /// Returns the present time, in microseconds since the history began. It never goes back, whatever the
    /// wall clock does.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Records an operation that is over.
    pub fn operation(&self, operation: Operation) {
        self.recorded.lock().operations.push(operation);
    }

    /// Records a read that was answered.
    pub fn read(&self, read: Read) {
        self.recorded.lock().reads.push(read);
    }

    /// Returns all records so far.
    pub fn recorded(&self) -> Recorded {
        self.recorded.lock().clone()
    }
}
