//! What clients did and were told, with the times at which they knew it.

use std::time::Instant;

use bytes::Bytes;
use holdfast_api::v1;
use holdfast_client::ClientError;
use parking_lot::Mutex;

/// What somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// An order that may be over several shards.
    Order,
    /// Units of one SKU arrive.
    Receive {
        /// Of what.
        sku: String,
        /// How many.
        quantity: i64,
    },
    /// Units of one SKU are taken.
    Reserve {
        /// Of what.
        sku: String,
        /// How many.
        quantity: i64,
    },
    /// Units that were taken come back.
    Release {
        /// Of what.
        sku: String,
        /// How many.
        quantity: i64,
    },
}

/// A place in the log of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    /// The shard.
    pub shard: u32,
    /// The entry.
    pub log_index: u64,
}

/// What somebody was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It took effect there.
    Granted(At),
    /// It had none, since there were only so many units free.
    Short(i64),
    /// It had none, for another reason.
    Refused,
    /// Nobody took it: it had none.
    Unavailable,
    /// Nobody knows.
    Unknown,
}

/// What an answer, of which this is the receipt, or an error tells.
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
    /// Its id.
    pub id: Bytes,
    /// What it asked for.
    pub what: What,
    /// When the first attempt was sent, in microseconds since the history began.
    pub invoked_us: u64,
    /// When the answer came, or the client gave up.
    pub answered_us: u64,
    /// The answer.
    pub told: Told,
}

/// One linearizable look at a SKU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// Of what.
    pub sku: String,
    /// When it was sent, in microseconds since the history began.
    pub invoked_us: u64,
    /// When the answer came.
    pub answered_us: u64,
    /// Up to where it saw.
    pub at: At,
    /// How many units were free.
    pub free: i64,
}

/// All that was recorded.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// In the order in which they ended.
    pub operations: Vec<Operation>,
    /// In the order in which they ended.
    pub reads: Vec<Read>,
}

/// Where all clients record.
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
    /// The time now, in microseconds since the history began. It does not go back, whatever the wall clock does.
    pub fn now_us(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// An operation is over.
    pub fn operation(&self, operation: Operation) {
        self.recorded.lock().operations.push(operation);
    }

    /// A read was answered.
    pub fn read(&self, read: Read) {
        self.recorded.lock().reads.push(read);
    }

    /// All so far.
    pub fn recorded(&self) -> Recorded {
        self.recorded.lock().clone()
    }
}
