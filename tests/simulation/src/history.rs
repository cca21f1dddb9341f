//! What clients did and were told, with the times at which they knew it.

use std::sync::Arc;

use holdfast_ledger::{Command, Outcome, Query};
use holdfast_shard::{Answer, SubmitError};
use parking_lot::Mutex;

use crate::trace::Trace;

/// One mutating operation: one id, one or many attempts.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Where.
    pub shard: u32,
    /// What.
    pub command: Command,
    /// When the first attempt was sent, in milliseconds since the beginning.
    pub invoked_ms: u64,
    /// When the last attempt was sent.
    pub last_attempt_ms: u64,
    /// When the answer came, and the answer; none when nobody knows.
    pub answer: Option<(u64, Outcome)>,
    /// Every attempt was answered, and with an error that promises that it had no effect.
    pub without_effect: bool,
    /// The last such error.
    pub last_error: Option<SubmitError>,
}

/// One Reserve over several shards.
#[derive(Debug, Clone)]
pub struct Order {
    /// The shard that decides.
    pub home: u32,
    /// The Reserve.
    pub command: Command,
    /// The answer; none when nobody knows.
    pub answer: Option<Outcome>,
}

/// One read that was answered.
#[derive(Debug, Clone)]
pub struct Read {
    /// Where.
    pub shard: u32,
    /// The question.
    pub query: Query,
    /// Whether it had to see everything acknowledged before it was sent.
    pub linearizable: bool,
    /// When it was sent.
    pub invoked_ms: u64,
    /// When the answer came.
    pub answered_ms: u64,
    /// The answer.
    pub answer: Answer,
}

/// The histories of all clients. Clones are the same.
#[derive(Clone)]
pub struct History {
    trace: Trace,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    operations: Vec<Operation>,
    orders: Vec<Order>,
    reads: Vec<Read>,
}

impl History {
    /// Nothing happened yet.
    pub fn new(trace: Trace) -> Self {
        Self {
            trace,
            state: Arc::default(),
        }
    }

    /// An operation begins; its number.
    pub fn begin(&self, shard: u32, command: Command, now_ms: u64) -> usize {
        self.trace
            .event("invoke", &[u64::from(shard)], command.operation_id.as_bytes());
        let mut state = self.state.lock();
        state.operations.push(Operation {
            shard,
            command,
            invoked_ms: now_ms,
            last_attempt_ms: now_ms,
            answer: None,
            without_effect: true,
            last_error: None,
        });
        state.operations.len() - 1
    }

    /// Takes note of what is now known of an operation.
    pub fn update(&self, number: usize, update: impl FnOnce(&mut Operation)) {
        let mut state = self.state.lock();
        let operation = &mut state.operations[number];
        update(operation);
        if let Some((_, outcome)) = &operation.answer {
            let outcome = postcard::to_stdvec(outcome).unwrap_or_default();
            self.trace.event("answered", &[number as u64], &outcome);
        }
    }

    /// An order begins; its number.
    pub fn begin_order(&self, home: u32, command: Command) -> usize {
        self.trace
            .event("order", &[u64::from(home)], command.operation_id.as_bytes());
        let mut state = self.state.lock();
        state.orders.push(Order {
            home,
            command,
            answer: None,
        });
        state.orders.len() - 1
    }

    /// An order was answered.
    pub fn order_answered(&self, number: usize, outcome: Outcome) {
        let bytes = postcard::to_stdvec(&outcome).unwrap_or_default();
        self.trace.event("ordered", &[number as u64], &bytes);
        self.state.lock().orders[number].answer = Some(outcome);
    }

    /// All orders, in order of their first attempts.
    pub fn orders(&self) -> Vec<Order> {
        self.state.lock().orders.clone()
    }

    /// Whether every attempt at an operation ended with the promise that it had no effect.
    pub fn is_without_effect(&self, number: usize) -> bool {
        self.state.lock().operations[number].without_effect
    }

    /// What became of an operation; none when nobody knows.
    pub fn outcome(&self, number: usize) -> Option<Outcome> {
        let state = self.state.lock();
        let answer = state.operations[number].answer.as_ref();
        answer.map(|(_, outcome)| outcome.clone())
    }

    /// A read was answered.
    pub fn read(&self, read: Read) {
        let position = [u64::from(read.shard), read.answer.position.log_index];
        self.trace.event("read", &position, &[]);
        self.state.lock().reads.push(read);
    }

    /// All operations, in order of their first attempts.
    pub fn operations(&self) -> Vec<Operation> {
        self.state.lock().operations.clone()
    }

    /// All reads, in order of their answers.
    pub fn reads(&self) -> Vec<Read> {
        self.state.lock().reads.clone()
    }
}
