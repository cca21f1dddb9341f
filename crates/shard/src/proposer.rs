//! The shard's actor: many submissions in, few log entries out.

mod batch;
mod hold;
mod low_space;
mod shed;
mod unknown;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::{Actor, ActorFutureExt, AsyncContext, Context, Handler, Message, WrapFuture};
use holdfast_ledger::{Action, Command, Ledger, OperationId, ReservationId, Rules};
use openraft::async_runtime::watch::WatchReceiver;
use openraft::errors::ClientWriteError;
use openraft::impls::ProgressResponder;
use openraft::raft::ClientWriteResult;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tracing::Span;

pub(crate) use batch::CommandReply;
use batch::{Batch, Item};
use hold::Held;
pub(crate) use hold::{Hold, Lift};
use low_space::Refused;

use crate::PeerTransport;
use crate::adoption::Adoption;
use crate::clock::{Certainty, LogClock};
use crate::health::Health;
use crate::limits::ENTRY_CHANGES;
use crate::metrics::{Counters, add};
use crate::raft_types::{EncodedCommand, EntryBytes, Leadership, Raft, Response, Types};
use crate::read_gate::{NotConfirmed, ReadGate};
use crate::state_machine::{SharedState, View};
use crate::trace::EntryTrace;

/// How often the leader looks whether something is due.
const TICK: Duration = Duration::from_millis(25);

/// With so many entries in flight, the next one waits until it is worth its wake-ups.
const EAGER_ENTRIES: usize = 2;

/// So many commands are worth one more entry in flight.
const WORTHWHILE_COMMANDS: usize = 64;

/// What overloaded callers are told to wait.
pub(crate) const RETRY_AFTER_MS: u64 = 50;

/// Bounds of the actor.
#[derive(Debug, Clone)]
pub(crate) struct ProposerOptions {
    /// Raft's number of this replica.
    pub(crate) raft_id: u64,
    /// Whether the group begins with this process.
    pub(crate) founds: bool,
    pub(crate) max_entry_commands: usize,
    pub(crate) max_entry_bytes: usize,
    pub(crate) max_entries_in_flight: usize,
    pub(crate) queue_limit_commands: usize,
    /// How long after it was elected a leader waits for clocks that would settle what time it is.
    pub(crate) clock_patience: Duration,
}

/// The actor. Only a leader's proposer has anything to do.
pub(crate) struct Proposer {
    parts: ProposerParts,
    work: Work,
}

/// What waits where.
#[derive(Default)]
struct Work {
    queue: VecDeque<Item>,
    confirming: usize,
    /// Numbers of the proposals that are not answered.
    in_flight: BTreeSet<u64>,
    last_proposal: u64,
    /// How many cells the reservations may have that wait here or are in flight: those with more than one.
    reserving: BTreeMap<OperationId, usize>,
    /// Commands for a confirmed read, once every proposal up to a number is answered.
    after_proposals: Vec<(u64, Vec<Item>)>,
    pump_scheduled: bool,
    /// When this replica was first seen to lead; none when it does not.
    leads_since: Option<Instant>,
    held: Option<Held>,
    last_hold: u64,
    stopping: bool,
    adoption: Option<Adoption>,
    /// The rules were asked for since the last tick. A proposal that Raft does not take comes back at once.
    adoption_asked: bool,
    /// The disks of the voters are nearly full. Looked at once a tick.
    low_space: bool,
}

impl Work {
    /// The most changes that a command makes behind all that is in flight.
    fn weigh(&mut self, ledger: &Ledger, command: &Command) -> usize {
        let known = |id: &ReservationId| self.reserving.get(id).copied().unwrap_or(1);
        let weight = ledger.weigh(command, known);
        if weight > 1 && matches!(command.action, Action::Reserve { .. }) {
            self.reserving.insert(command.operation_id, weight);
        }
        weight
    }

    /// A command is answered: what it reserved is in the ledger, or will never be.
    fn weighed(&mut self, command: &Command) {
        if !self.reserving.is_empty() {
            self.reserving.remove(&command.operation_id);
        }
    }

    /// Commands that are neither in an entry nor answered.
    fn waiting(&self) -> usize {
        self.queue.len() + self.confirming
    }
}

/// What the actor is made of.
pub(crate) struct ProposerParts {
    pub(crate) options: ProposerOptions,
    pub(crate) raft: Raft,
    pub(crate) gate: ReadGate,
    pub(crate) state: SharedState,
    pub(crate) view: watch::Receiver<View>,
    pub(crate) leader: watch::Receiver<Option<u64>>,
    pub(crate) clock: LogClock,
    pub(crate) health: Health,
    pub(crate) counters: Arc<Counters>,
    /// Knows the space on the disks of the nodes.
    pub(crate) transport: Arc<dyn PeerTransport>,
    /// Where it is told how many commands wait.
    pub(crate) waiting: Arc<AtomicU64>,
}

/// Some commands of one caller.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Submit {
    pub(crate) commands: Arc<Vec<EncodedCommand>>,
    /// Which of them: indexes, in order.
    pub(crate) open: Vec<usize>,
    pub(crate) deadline: Instant,
    /// Gets one reply for each.
    pub(crate) reply: oneshot::Sender<Vec<(usize, CommandReply)>>,
    /// The caller's; none when it is not traced.
    pub(crate) span: Span,
}

/// Takes nothing more.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct StopProposing;

impl Proposer {
    pub(crate) fn new(parts: ProposerParts) -> Self {
        Self {
            parts,
            work: Work::default(),
        }
    }

    fn leads(&self) -> bool {
        *self.parts.leader.borrow() == Some(self.parts.options.raft_id)
    }

    /// Everybody who has sent something by now gets into the same entry, so the pump runs behind the mailbox.
    fn schedule_pump(&mut self, ctx: &mut Context<Self>) {
        if !self.work.pump_scheduled {
            self.work.pump_scheduled = true;
            ctx.spawn(std::future::ready(()).into_actor(self).map(|(), actor, ctx| {
                actor.work.pump_scheduled = false;
                actor.pump(ctx);
            }));
        }
    }

    fn pump(&mut self, ctx: &mut Context<Self>) {
        self.propose_what_waits(ctx);
        let waiting = self.work.waiting() as u64;
        self.parts.waiting.store(waiting, Ordering::Relaxed);
    }

    fn propose_what_waits(&mut self, ctx: &mut Context<Self>) {
        // A halted replica applies nothing: what it proposed would take effect, and its caller would not hear of it.
        if self.work.stopping || !self.leads() || self.parts.health.is_halted() {
            self.work.leads_since = None;
            self.give_up();
            return;
        }
        if self.is_held() || !self.knows_the_time() {
            return;
        }
        self.adopt_rules(ctx);
        while self.wants_entry() {
            let items = self.take_items();
            let (to_log, to_confirm) = self.sort_out(items);
            if !to_log.is_empty() {
                self.propose(to_log, ctx);
            }
            if !to_confirm.is_empty() {
                self.confirm(to_confirm, ctx);
            }
        }
    }

    /// The first command of a new shard asks for the newest rules.
    fn adopt_rules(&mut self, ctx: &mut Context<Self>) {
        let founds = self.parts.options.founds;
        let adoption = self.work.adoption.get_or_insert(Adoption::at_start(founds));
        if *adoption == Adoption::Over || self.work.adoption_asked || !self.work.in_flight.is_empty() {
            return;
        }
        let command = match self.parts.state.try_read() {
            Ok(state) => adoption.next(&state.ledger, self.parts.clock.peek(state.ledger.log_time_ms())),
            Err(_) => None,
        };
        let Some(command) = command else { return };
        self.work.adoption_asked = true;
        // Nobody waits for the answer.
        let (reply, _) = oneshot::channel();
        let commands = Arc::new(vec![EncodedCommand::new(command)]);
        let items = Batch::items(commands, &[0], Instant::now(), reply, Span::none());
        self.propose(items, ctx);
    }

    /// An entry stamped too early ends holds before their time, and one stamped too late gives holds that end as soon as the
    /// time is right again: so what the clocks do not agree on is waited for. A majority that is known already was heard
    /// with the votes; clocks that are down and disagree at once are one fault too many, and then late is safer.
    fn knows_the_time(&mut self) -> bool {
        let leads_since = *self.work.leads_since.get_or_insert_with(Instant::now);
        match self.parts.clock.certainty() {
            Certainty::Certain => true,
            Certainty::Disputed => leads_since.elapsed() >= self.parts.options.clock_patience,
            Certainty::Unknown => false,
        }
    }

    /// Somebody else leads: nothing that waits here was proposed.
    fn give_up(&mut self) {
        let confirming = self.work.after_proposals.drain(..).flat_map(|(_, items)| items);
        let confirming: Vec<Item> = confirming.collect();
        self.work.confirming -= confirming.len();
        self.work.reserving.clear();
        for item in self.work.queue.drain(..).chain(confirming) {
            item.answer(CommandReply::NotProposed);
        }
    }

    fn wants_entry(&self) -> bool {
        let waiting = self.work.queue.len();
        let in_flight = self.work.in_flight.len();
        waiting > 0
            && in_flight < self.parts.options.max_entries_in_flight
            && (in_flight < EAGER_ENTRIES || waiting >= WORTHWHILE_COMMANDS)
    }

    /// As many waiting commands as one entry may hold, by their number, their bytes and the changes that they may make; those nobody
    /// waits for are dropped, they were never proposed.
    fn take_items(&mut self) -> Vec<Item> {
        let now = Instant::now();
        let state = Arc::clone(&self.parts.state);
        let state = state.try_read().ok();
        let mut items: Vec<Item> = Vec::new();
        let (mut bytes, mut changes) = (0, 0_usize);
        while let Some(item) = self.work.queue.pop_front() {
            if item.is_abandoned(now) {
                item.answer(CommandReply::NotProposed);
                continue;
            }
            bytes += item.encoded().bytes.len();
            let weight = match &state {
                Some(state) => self.work.weigh(&state.ledger, item.command()),
                None => Ledger::weigh_blindly(item.command()),
            };
            changes = changes.saturating_add(weight);
            let full = items.len() >= self.parts.options.max_entry_commands
                || (!items.is_empty()
                    && (bytes > self.parts.options.max_entry_bytes || changes > ENTRY_CHANGES));
            if full {
                self.work.queue.push_front(item);
                break;
            }
            items.push(item);
        }
        items
    }

    /// Which commands go to the log, and which will probably be answered from a confirmed read. The commands of one batch
    /// keep their order: behind one in the log all go to the log, behind one that waits for a read all wait.
    fn sort_out(&self, items: Vec<Item>) -> (Vec<Item>, Vec<Item>) {
        // While a snapshot is installed the ledger is locked. Then everything goes to the log, unless it may
        // have to be refused.
        let Ok(state) = self.parts.state.try_read() else {
            return match self.work.low_space || self.needs_something_new(&items) {
                true => (Vec::new(), self.all_to_confirm(items)),
                false => (items, Vec::new()),
            };
        };
        let now_ms = self.parts.clock.peek(state.ledger.log_time_ms());
        let rules = state.ledger.rules();
        let (mut to_log, mut to_confirm) = (Vec::with_capacity(items.len()), Vec::new());
        for item in items {
            let batch = &item.batch;
            let has_to_wait = batch.confirming.get() > 0;
            let answerable = || has_to_wait || state.ledger.preview(now_ms, item.command()).is_some();
            // Whether it took effect before, or the rules it needs are adopted, only a confirmed read can tell.
            let is_judged = self.is_unwelcome(item.command()) || unknown::needs_newer(rules, item.command());
            let follows_one = has_to_wait && (self.work.low_space || rules < Rules::Second);
            let has_to_be_confirmed = is_judged || follows_one;
            if has_to_be_confirmed || (!batch.in_log.get() && answerable()) {
                batch.confirming.set(batch.confirming.get() + 1);
                to_confirm.push(item);
            } else {
                batch.in_log.set(true);
                to_log.push(item);
            }
        }
        (to_log, to_confirm)
    }

    /// The leadership of this replica as Raft knows it, which may be ahead of what was told here.
    fn leadership(&self) -> Option<Leadership> {
        let vote = self.parts.raft.server_metrics().borrow_watched().vote;
        let own = vote.leader_id().node_id == self.parts.options.raft_id;
        (own && vote.is_committed()).then(|| *vote.leader_id())
    }

    fn propose(&mut self, items: Vec<Item>, ctx: &mut Context<Self>) {
        let Some(leadership) = self.leadership() else {
            items
                .into_iter()
                .for_each(|item| item.answer(CommandReply::NotProposed));
            return;
        };
        let (items, late): (Vec<Item>, Vec<Item>) =
            items.into_iter().partition(|item| item.may_follow(leadership));
        let is_of_late_ones = items.is_empty() && !late.is_empty();
        late.into_iter()
            .for_each(|item| item.answer(CommandReply::NotProposed));
        if is_of_late_ones {
            return;
        }
        self.propose_under(leadership, items, ctx);
    }

    fn propose_under(&mut self, leadership: Leadership, items: Vec<Item>, ctx: &mut Context<Self>) {
        let applied_ms = self.parts.view.borrow().log_time_ms;
        let stamp = self.parts.clock.stamp(applied_ms);
        let mut entry = match EntryBytes::join(stamp, items.iter().map(Item::encoded)) {
            Ok(entry) => entry,
            Err(error) => {
                tracing::error!(%error, "an entry cannot be written");
                items
                    .into_iter()
                    .for_each(|item| item.answer(CommandReply::NotProposed));
                return;
            }
        };
        let counter = if items.is_empty() {
            &self.parts.counters.time_entries_proposed
        } else {
            &self.parts.counters.entries_proposed
        };
        add(counter, 1);
        add(&self.parts.counters.commands_proposed, items.len());
        let mut callers = Vec::new();
        for item in &items {
            item.batch.under.set(Some(leadership));
            callers.extend(item.enters(&callers));
        }
        entry.trace = EntryTrace::begin(callers, items.len());
        self.work.last_proposal += 1;
        let number = self.work.last_proposal;
        self.work.in_flight.insert(number);
        let raft = self.parts.raft.clone();
        let proposal = async move {
            let (responder, result) = ProgressResponder::complete_only();
            match raft
                .write(entry)
                .responder(responder)
                .with_leader(leadership)
                .await
            {
                Ok(()) => Proposed::Answered(result.await.ok()),
                Err(_) => Proposed::NotTaken,
            }
        };
        ctx.spawn(proposal.into_actor(self).map(move |proposed, actor, ctx| {
            actor.work.in_flight.remove(&number);
            items.iter().for_each(|item| actor.work.weighed(item.command()));
            answer_all(items, proposed);
            actor.tell_when_drained();
            actor.confirm_what_may_be(ctx);
            actor.schedule_pump(ctx);
        }));
    }

    /// Answers from the ledger, later: perhaps an earlier attempt at one of the commands is in flight, and a caller who
    /// repeats it must not be refused while that takes effect.
    fn confirm(&mut self, items: Vec<Item>, ctx: &mut Context<Self>) {
        self.work.confirming += items.len();
        items.iter().for_each(Item::confirms);
        self.work.after_proposals.push((self.work.last_proposal, items));
        self.confirm_what_may_be(ctx);
    }

    fn confirm_what_may_be(&mut self, ctx: &mut Context<Self>) {
        let answered = self.work.in_flight.first().map_or(u64::MAX, |oldest| oldest - 1);
        let ready: Vec<Item> = self
            .work
            .after_proposals
            .extract_if(.., |(after, _)| *after <= answered)
            .flat_map(|(_, items)| items)
            .collect();
        if !ready.is_empty() {
            self.confirm_now(ready, ctx);
        }
    }

    /// Answers from the ledger once it is certain that nothing acknowledged is missing in it.
    fn confirm_now(&mut self, items: Vec<Item>, ctx: &mut Context<Self>) {
        let (gate, state) = (self.parts.gate.clone(), Arc::clone(&self.parts.state));
        let health = self.parts.health.clone();
        let round = async move {
            gate.confirm().await?;
            let state = state.read_owned().await;
            // It may have died while an entry was applied, with a ledger between two entries.
            if !health.can_answer() {
                return Err(NotConfirmed::Stopped);
            }
            Ok(state)
        };
        ctx.spawn(round.into_actor(self).map(move |confirmed, actor, ctx| {
            actor.work.confirming -= items.len();
            let mut to_log = Vec::new();
            let mut refused = Refused::default();
            for item in items {
                let batch = &item.batch;
                batch.confirming.set(batch.confirming.get() - 1);
                let reply = match &confirmed {
                    Ok(_) if refused.is_followed_by(item.command()) => Some(CommandReply::LowSpace),
                    Ok(state) if unknown::needs_newer(state.ledger.rules(), item.command()) => {
                        Some(actor.refuse_unknown(&state.ledger, item.command()))
                    }
                    Ok(_) if batch.in_log.get() && !actor.is_unwelcome(item.command()) => None,
                    Ok(state) => {
                        let now_ms = actor.parts.clock.peek(state.ledger.log_time_ms());
                        state
                            .ledger
                            .preview(now_ms, item.command())
                            .map(CommandReply::Decided)
                            .or_else(|| actor.refuse_new(item.command(), &mut refused))
                    }
                    Err(NotConfirmed::Overloaded) => Some(CommandReply::Overloaded {
                        retry_after_ms: RETRY_AFTER_MS,
                    }),
                    Err(NotConfirmed::NotLeader(_) | NotConfirmed::NoQuorum | NotConfirmed::Stopped) => {
                        Some(CommandReply::NotProposed)
                    }
                };
                match reply {
                    Some(reply) => {
                        if matches!(reply, CommandReply::Decided(_)) {
                            add(&actor.parts.counters.refused_from_read, 1);
                        }
                        actor.work.weighed(item.command());
                        item.answer(reply);
                    }
                    None => {
                        batch.in_log.set(true);
                        to_log.push(item);
                    }
                }
            }
            to_log
                .into_iter()
                .rev()
                .for_each(|item| actor.work.queue.push_front(item));
            actor.schedule_pump(ctx);
        }));
    }

    /// Lets time pass when nobody else does and something is due.
    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.work.adoption_asked = false;
        self.work.low_space = self.is_short_of_space();
        self.schedule_pump(ctx);
        let idle = self.work.queue.is_empty() && self.work.in_flight.is_empty() && !self.work.stopping;
        let idle = idle && !self.parts.health.is_halted();
        if idle && !self.is_held() && self.leads() && self.knows_the_time() {
            let view = *self.parts.view.borrow();
            let now_ms = self.parts.clock.peek(view.log_time_ms);
            if view.next_due_ms.is_some_and(|due_ms| due_ms <= now_ms) {
                self.propose(Vec::new(), ctx);
            }
        }
    }
}

/// What became of one entry.
enum Proposed {
    /// Raft did not take it.
    NotTaken,
    /// Raft's answer; none when Raft ended first.
    Answered(Option<ClientWriteResult<Types>>),
}

fn answer_all(items: Vec<Item>, proposed: Proposed) {
    let every = |reply: CommandReply| move |item: Item| item.answer(reply.clone());
    match proposed {
        Proposed::Answered(Some(Ok(response))) => match response.data {
            Response::Outcomes(outcomes) if outcomes.len() == items.len() => {
                for (item, outcome) in items.into_iter().zip(outcomes) {
                    item.answer(CommandReply::Decided(outcome));
                }
            }
            _ => items.into_iter().for_each(every(CommandReply::Unknown)),
        },
        Proposed::NotTaken | Proposed::Answered(Some(Err(ClientWriteError::ForwardToLeader(_)))) => {
            items.into_iter().for_each(every(CommandReply::NotProposed));
        }
        Proposed::Answered(_) => items.into_iter().for_each(every(CommandReply::Unknown)),
    }
}

impl Actor for Proposer {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        ctx.run_interval(TICK, Self::tick);
    }
}

impl Handler<Submit> for Proposer {
    type Result = ();

    fn handle(&mut self, submit: Submit, ctx: &mut Context<Self>) {
        let items = Batch::items(
            submit.commands,
            &submit.open,
            submit.deadline,
            submit.reply,
            submit.span,
        );
        let waiting = self.work.waiting();
        if self.work.stopping {
            items
                .into_iter()
                .for_each(|item| item.answer(CommandReply::NotProposed));
        } else {
            let (taken, refused) = shed::shed(items, waiting, self.parts.options.queue_limit_commands);
            add(&self.parts.counters.commands_overloaded, refused.len());
            let reply = CommandReply::Overloaded {
                retry_after_ms: RETRY_AFTER_MS,
            };
            refused.into_iter().for_each(|item| item.answer(reply.clone()));
            if !taken.is_empty() {
                self.work.queue.extend(taken);
                self.schedule_pump(ctx);
            }
        }
    }
}

impl Handler<StopProposing> for Proposer {
    type Result = ();

    fn handle(&mut self, _: StopProposing, ctx: &mut Context<Self>) {
        self.work.stopping = true;
        self.pump(ctx);
    }
}

impl Drop for Proposer {
    fn drop(&mut self) {
        // A panic ends only the actor: the rest would go on without it.
        if std::thread::panicking() {
            self.parts.health.fail("the shard's actor panicked");
        }
    }
}
