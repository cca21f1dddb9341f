//! The actions and answers of clients, with the times at which they knew of them.

use std::sync::Arc;

use holdfast_ledger::{Command, Outcome, Query};
use holdfast_shard::{Answer, SubmitError};
use parking_lot::Mutex;

use crate::trace::Trace;

/// One mutating operation: one id, one or many attempts.
#[derive(Debug, Clone)]
pub struct Operation {
    /// The shard that it was sent to.
    pub shard: u32,
    /// The command that was sent.
    pub command: Command,
    /// Time of the first attempt, in milliseconds since the beginning.
    pub invoked_ms: u64,
    /// Time of the last attempt, in milliseconds since the beginning.
    pub last_attempt_ms: u64,
    /// The time of the answer, and the answer; none when nobody knows it.
    pub answer: Option<(u64, Outcome)>,
    /// Whether every attempt was answered with an error which promises that it had no effect.
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
    /// The answer; none when nobody knows it.
    pub answer: Option<Outcome>,
}

/// One read that was answered.
#[derive(Debug, Clone)]
pub struct Read {
    /// The shard that was asked.
    pub shard: u32,
    /// The question.
    pub query: Query,
    /// Whether it had to see everything acknowledged before it was sent.
    pub linearizable: bool,
    /// Time of the request, in milliseconds since the beginning.
    pub invoked_ms: u64,
    /// Time of the answer, in milliseconds since the beginning.
    pub answered_ms: u64,
    /// The answer.
    pub answer: Answer,
}

/// The histories of all clients. Clones share their content.
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
    /// Makes an empty history.
    pub fn new(trace: Trace) -> Self {
        Self {
            trace,
            state: Arc::default(),
        }
    }

    /// Notes that an operation begins. Returns its number.
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

    /// Notes what is known of an operation.
    pub fn update(&self, number: usize, update: impl FnOnce(&mut Operation)) {
        let mut state = self.state.lock();
        let operation = &mut state.operations[number];
        update(operation);
        if let Some((_, outcome)) = &operation.answer {
            let outcome = postcard::to_stdvec(outcome).unwrap_or_default();
            self.trace.event("answered", &[number as u64], &outcome);
        }
    }

    /// Notes that an order begins. Returns its number.
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

    /// Notes the answer to an order.
    pub fn order_answered(&self, number: usize, outcome: Outcome) {
        let bytes = postcard::to_stdvec(&outcome).unwrap_or_default();
        self.trace.event("ordered", &[number as u64], &bytes);
        self.state.lock().orders[number].answer = Some(outcome);
    }

    /// Returns all orders, sorted by their first attempts.
    pub fn orders(&self) -> Vec<Order> {
        self.state.lock().orders.clone()
    }

    /// Returns whether every attempt at an operation ended with the promise that it had no effect.
    pub fn is_without_effect(&self, number: usize) -> bool {
        self.state.lock().operations[number].without_effect
    }

    /// Returns the outcome of an operation, or none when nobody knows it.
    pub fn outcome(&self, number: usize) -> Option<Outcome> {
        let state = self.state.lock();
        let answer = state.operations[number].answer.as_ref();
        answer.map(|(_, outcome)| outcome.clone())
    }

    /// Notes a read that was answered.
    pub fn read(&self, read: Read) {
        let position = [u64::from(read.shard), read.answer.position.log_index];
        self.trace.event("read", &position, &[]);
        self.state.lock().reads.push(read);
    }

    /// Returns all operations, sorted by their first attempts.
    pub fn operations(&self) -> Vec<Operation> {
        self.state.lock().operations.clone()
    }

    /// Returns all reads, sorted by their answers.
    pub fn reads(&self) -> Vec<Read> {
        self.state.lock().reads.clone()
    }
}
