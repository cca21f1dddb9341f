//! Clients that go on whatever happens: they ask, and ask again. `workload` says what they ask.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use holdfast_ledger::{Action, Command, Details, OperationId, Outcome, Principal, ReservationId, TransferId};
use holdfast_shard::SubmitError;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::check::Key;
use crate::history::History;
use crate::names::name;
use crate::network::{CLIENTS, Channel, Network};
use crate::plan::Plan;
use crate::requests::{self, Got, Wanted};
use crate::time::{EPOCH_MS, TrueTime};

/// Whether clients go on, and how many still wait to learn an outcome.
#[derive(Debug, Default)]
pub struct Work {
    stopping: AtomicBool,
    ended: AtomicUsize,
}

impl Work {
    /// Stops clients from beginning anything new. They still find out the outcomes of what they began.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Returns how many clients have found out everything.
    pub fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }
}

/// A command that has no outcome yet.
#[derive(Debug, Clone)]
pub(crate) struct Pending {
    /// The number of its operation in the history.
    number: usize,
    shard: u32,
    command: Command,
}

/// Most commands without an outcome that a client asks for at once in the end.
const SETTLED_AT_ONCE: usize = 64;

/// Most commands that a client remembers in order to use their ids again.
const REMEMBERED_COMMANDS: usize = 30;

/// One client of the cluster.
pub struct Client {
    pub(crate) random: SmallRng,
    pub(crate) plan: Arc<Plan>,
    pub(crate) time: TrueTime,
    network: Network,
    pub(crate) history: History,
    work: Arc<Work>,
    /// Reservations of this client on busy SKUs.
    pub(crate) orders: Vec<(u32, ReservationId)>,
    /// Reservations of this client on simple SKUs.
    pub(crate) simple: Vec<(u32, ReservationId)>,
    /// Transfers of this client.
    pub(crate) transfers: Vec<(u32, TransferId)>,
    /// Commands that this client sent, in order to use their ids again.
    pub(crate) sent: Vec<(u32, Command)>,
    /// Requests that this client made with an id that was used before.
    pub(crate) reused: BTreeSet<Key>,
    unsettled: Vec<Pending>,
    unsettled_orders: Vec<(usize, u32, Command)>,
}

impl Client {
    /// Makes the client of this number.
    pub fn new(
        number: u64,
        plan: Arc<Plan>,
        time: TrueTime,
        network: Network,
        history: History,
        work: Arc<Work>,
    ) -> Self {
        let random = SmallRng::seed_from_u64(plan.seed_for("client", number));
        Self {
            random,
            plan,
            time,
            network,
            history,
            work,
            orders: Vec::new(),
            simple: Vec::new(),
            transfers: Vec::new(),
            sent: Vec::new(),
            reused: BTreeSet::new(),
            unsettled: Vec::new(),
            unsettled_orders: Vec::new(),
        }
    }

    /// Works until it is asked to stop, then settles what is open.
    pub async fn run(mut self) {
        while !self.work.stopping.load(Ordering::Relaxed) {
            let pause_ms = self.random.random_range(0..60);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            self.do_something().await;
        }
        let unsettled = std::mem::take(&mut self.unsettled);
        for shard in 0..self.plan.shards {
            let of_shard: Vec<Pending> = unsettled.iter().filter(|it| it.shard == shard).cloned().collect();
            for some in of_shard.chunks(SETTLED_AT_ONCE) {
                self.attempt_until_decided(some.to_vec(), None).await;
            }
        }
        for (number, home, command) in std::mem::take(&mut self.unsettled_orders) {
            self.order_until_decided(number, home, &command, None).await;
        }
        self.work.ended.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn shard(&mut self) -> u32 {
        self.random.random_range(0..self.plan.shards)
    }

    pub(crate) fn command(&mut self, action: Action) -> Command {
        let mut id: [u8; 16] = self.random.random();
        id[..6].copy_from_slice(&(EPOCH_MS + self.time.now_ms()).to_be_bytes()[2..]);
        id[6] = 0x70 | id[6] & 0x0f;
        id[8] = 0x80 | id[8] & 0x3f;
        Command {
            operation_id: name(OperationId::from_slice(&id)),
            principal: name(Principal::new("simulation")),
            reference: Default::default(),
            reason: Default::default(),
            details: Details::default(),
            action,
        }
    }

    /// Sends one operation until it has an outcome. Returns none when the client gave up. Then the operation
    /// is settled in the end, unless it certainly had no effect.
    pub(crate) async fn perform(
        &mut self,
        shard: u32,
        action: Action,
        patience_ms: Option<u64>,
    ) -> (OperationId, Option<Outcome>) {
        let command = self.command(action);
        self.sent.push((shard, command.clone()));
        if self.sent.len() > REMEMBERED_COMMANDS {
            self.sent.remove(0);
        }
        let id = command.operation_id;
        let mut outcomes = self.perform_all(shard, vec![command], patience_ms).await;
        (id, outcomes.pop().flatten())
    }

    /// Sends commands that exist already, together, until each has an outcome. They are decided in their
    /// order.
    pub(crate) async fn perform_all(
        &mut self,
        shard: u32,
        commands: Vec<Command>,
        patience_ms: Option<u64>,
    ) -> Vec<Option<Outcome>> {
        let now_ms = self.time.now_ms();
        let pending: Vec<Pending> = commands
            .into_iter()
            .map(|command| Pending {
                number: self.history.begin(shard, command.clone(), now_ms),
                shard,
                command,
            })
            .collect();
        let numbers: Vec<usize> = pending.iter().map(|it| it.number).collect();
        let give_up_ms = patience_ms.map(|patience_ms| now_ms + patience_ms);
        let left = self.attempt_until_decided(pending, give_up_ms).await;
        let unsettled = left
            .into_iter()
            .filter(|it| !self.history.is_without_effect(it.number));
        self.unsettled.extend(unsettled);
        numbers
            .into_iter()
            .map(|number| self.history.outcome(number))
            .collect()
    }

    /// Sends a Reserve over several shards until it has an outcome. `home` is the shard that decides.
    pub(crate) async fn perform_order(
        &mut self,
        home: u32,
        action: Action,
        patience_ms: Option<u64>,
    ) -> (OperationId, Option<Outcome>) {
        let command = self.command(action);
        let id = command.operation_id;
        let number = self.history.begin_order(home, command.clone());
        let give_up_ms = patience_ms.map(|patience_ms| self.time.now_ms() + patience_ms);
        let outcome = self.order_until_decided(number, home, &command, give_up_ms).await;
        if outcome.is_none() {
            self.unsettled_orders.push((number, home, command));
        }
        (id, outcome)
    }

    async fn order_until_decided(
        &mut self,
        number: usize,
        home: u32,
        command: &Command,
        give_up_ms: Option<u64>,
    ) -> Option<Outcome> {
        loop {
            let got = self.ask(home, Wanted::Order(Box::new(command.clone()))).await;
            if let Some(Got::Ordered(Some(outcome))) = got {
                self.history.order_answered(number, outcome.clone());
                return Some(outcome);
            }
            if give_up_ms.is_some_and(|give_up_ms| self.time.now_ms() >= give_up_ms) {
                return None;
            }
            let pause_ms = self.random.random_range(5..100);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
    }

    /// Sends the commands without an outcome again and again. Returns those that have none when the client
    /// gives up.
    async fn attempt_until_decided(
        &mut self,
        mut pending: Vec<Pending>,
        give_up_ms: Option<u64>,
    ) -> Vec<Pending> {
        loop {
            let Some(shard) = pending.first().map(|it| it.shard) else {
                return pending;
            };
            let now_ms = self.time.now_ms();
            for it in &pending {
                self.history
                    .update(it.number, |operation| operation.last_attempt_ms = now_ms);
            }
            let commands = pending.iter().map(|it| it.command.clone()).collect();
            let got = self.ask(shard, Wanted::Submit(commands)).await;
            let now_ms = self.time.now_ms();
            let results: Vec<Option<Result<Outcome, SubmitError>>> = match got {
                Some(Got::Submitted(results)) if results.len() == pending.len() => {
                    results.into_iter().map(Some).collect()
                }
                _ => vec![None; pending.len()],
            };
            let mut results = results.into_iter();
            pending.retain(|it| {
                let error = match results.next().flatten() {
                    Some(Ok(outcome)) => {
                        let answer = Some((now_ms, outcome));
                        self.history
                            .update(it.number, |operation| operation.answer = answer);
                        return false;
                    }
                    Some(Err(error)) => Some(error),
                    None => None,
                };
                let no_effect = error.as_ref().is_some_and(|error| {
                    !matches!(error, SubmitError::OutcomeUnknown | SubmitError::Unsettled(_))
                });
                self.history.update(it.number, |operation| {
                    operation.without_effect &= no_effect;
                    operation.last_error = error;
                });
                true
            });
            if pending.is_empty() || give_up_ms.is_some_and(|give_up_ms| now_ms >= give_up_ms) {
                return pending;
            }
            let pause_ms = self.random.random_range(5..100);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
    }

    /// Makes one attempt through any node. Sometimes the client hangs up before the node does.
    pub(crate) async fn ask(&mut self, shard: u32, wanted: Wanted) -> Option<Got> {
        let node = self.random.random_range(1..=self.plan.all_nodes());
        let timeout_ms = [100, 400, 1_500][self.random.random_range(0..3)];
        let patience_ms = timeout_ms + if self.random.random_bool(0.2) { 0 } else { 200 };
        let payload = requests::encode(timeout_ms, wanted);
        let answer = self.network.ask((CLIENTS, node), Channel::Client, shard, payload);
        let answer = tokio::time::timeout(Duration::from_millis(patience_ms), answer).await;
        let answer = answer.ok()?.ok()?;
        postcard::from_bytes(&answer).ok()
    }
}
