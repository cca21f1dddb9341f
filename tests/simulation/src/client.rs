//! Clients that go on whatever happens: how they ask, and ask again. What they ask is in `workload`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use holdfast_ledger::{Action, Command, OperationId, Outcome, Principal, ReservationId};
use holdfast_shard::SubmitError;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::history::History;
use crate::network::{CLIENTS, Channel, Network};
use crate::plan::Plan;
use crate::requests::{self, Got, Wanted};
use crate::time::{EPOCH_MS, TrueTime};
use crate::workload::name;

/// Whether clients go on, and how many still wait to learn an outcome.
#[derive(Debug, Default)]
pub struct Work {
    stopping: AtomicBool,
    ended: AtomicUsize,
}

impl Work {
    /// Clients begin nothing new; they find out what became of what they began.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// How many have found out everything.
    pub fn ended(&self) -> usize {
        self.ended.load(Ordering::Relaxed)
    }
}

/// One client.
pub struct Client {
    pub(crate) random: SmallRng,
    pub(crate) plan: Arc<Plan>,
    pub(crate) time: TrueTime,
    network: Network,
    pub(crate) history: History,
    work: Arc<Work>,
    /// Its reservations on busy SKUs.
    pub(crate) orders: Vec<(u32, ReservationId)>,
    /// Its reservations on simple SKUs.
    pub(crate) simple: Vec<(u32, ReservationId)>,
    unsettled: Vec<(usize, u32, Command)>,
    unsettled_orders: Vec<(usize, u32, Command)>,
}

impl Client {
    /// A client of this number.
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
            unsettled: Vec::new(),
            unsettled_orders: Vec::new(),
        }
    }

    /// Works until it is told to stop, then settles what is open.
    pub async fn run(mut self) {
        while !self.work.stopping.load(Ordering::Relaxed) {
            let pause_ms = self.random.random_range(0..60);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            self.do_something().await;
        }
        for (number, shard, command) in std::mem::take(&mut self.unsettled) {
            self.attempt_until_decided(number, shard, &command, None).await;
        }
        for (number, home, command) in std::mem::take(&mut self.unsettled_orders) {
            self.order_until_decided(number, home, &command, None).await;
        }
        self.work.ended.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn shard(&mut self) -> u32 {
        self.random.random_range(0..self.plan.shards)
    }

    fn command(&mut self, action: Action) -> Command {
        let mut id: [u8; 16] = self.random.random();
        id[..6].copy_from_slice(&(EPOCH_MS + self.time.now_ms()).to_be_bytes()[2..]);
        id[6] = 0x70 | id[6] & 0x0f;
        id[8] = 0x80 | id[8] & 0x3f;
        Command {
            operation_id: name(OperationId::from_slice(&id)),
            principal: name(Principal::new("simulation")),
            reference: Default::default(),
            reason: Default::default(),
            action,
        }
    }

    /// Sends one operation again and again. None when it gave up; then it is settled in the end unless it certainly had no
    /// effect.
    pub(crate) async fn perform(
        &mut self,
        shard: u32,
        action: Action,
        patience_ms: Option<u64>,
    ) -> (OperationId, Option<Outcome>) {
        let command = self.command(action);
        let id = command.operation_id;
        let number = self.history.begin(shard, command.clone(), self.time.now_ms());
        let give_up_ms = patience_ms.map(|patience_ms| self.time.now_ms() + patience_ms);
        let outcome = self
            .attempt_until_decided(number, shard, &command, give_up_ms)
            .await;
        if outcome.is_none() && !self.history.is_without_effect(number) {
            self.unsettled.push((number, shard, command));
        }
        (id, outcome)
    }

    /// The same for a Reserve over several shards, whose home is the shard.
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
            let got = self.ask(home, Wanted::Order(command.clone())).await;
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

    async fn attempt_until_decided(
        &mut self,
        number: usize,
        shard: u32,
        command: &Command,
        give_up_ms: Option<u64>,
    ) -> Option<Outcome> {
        loop {
            let now_ms = self.time.now_ms();
            self.history
                .update(number, |operation| operation.last_attempt_ms = now_ms);
            let wanted = Wanted::Submit(vec![command.clone()]);
            let got = self.ask(shard, wanted).await;
            let now_ms = self.time.now_ms();
            let result = match got {
                Some(Got::Submitted(mut results)) => results.pop(),
                _ => None,
            };
            if let Some(Ok(outcome)) = &result {
                let answer = Some((now_ms, outcome.clone()));
                self.history.update(number, |operation| operation.answer = answer);
                return Some(outcome.clone());
            }
            let error = result.and_then(Result::err);
            let no_effect = error
                .as_ref()
                .is_some_and(|error| !matches!(error, SubmitError::OutcomeUnknown));
            self.history.update(number, |operation| {
                operation.without_effect &= no_effect;
                operation.last_error = error;
            });
            if give_up_ms.is_some_and(|give_up_ms| now_ms >= give_up_ms) {
                return None;
            }
            let pause_ms = self.random.random_range(5..100);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
    }

    /// One attempt through any node. Sometimes it hangs up before the node does.
    pub(crate) async fn ask(&mut self, shard: u32, wanted: Wanted) -> Option<Got> {
        let node = self.random.random_range(1..=self.plan.nodes);
        let timeout_ms = [100, 400, 1_500][self.random.random_range(0..3)];
        let patience_ms = timeout_ms + if self.random.random_bool(0.2) { 0 } else { 200 };
        let payload = requests::encode(timeout_ms, wanted);
        let answer = self.network.ask((CLIENTS, node), Channel::Client, shard, payload);
        let answer = tokio::time::timeout(Duration::from_millis(patience_ms), answer).await;
        let answer = answer.ok()?.ok()?;
        postcard::from_bytes(&answer).ok()
    }
}
