//! Actor of the shard: turns many submissions into few log entries.

mod batch;
mod freeze;
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
use freeze::Frozen;
pub(crate) use freeze::{Freeze, Thaw};
use low_space::Refused;

use crate::PeerTransport;
use crate::adoption::Adoption;
use crate::clock::{Certainty, LogClock};
use crate::health::Health;
use crate::limits::ENTRY_CHANGES;
use crate::metrics::{Counters, add};
use crate::raft_types::{EncodedCommand, EntryBytes, Leadership, Response, Types};
use crate::read_gate::{NotConfirmed, ReadGate};
use crate::state_machine::Raft;
use crate::state_machine::{SharedState, View};
use crate::trace::EntryTrace;

/// Interval at which the leader checks whether something is due.
const TICK: Duration = Duration::from_millis(25);

/// Limit of eager proposals. With this many entries in flight, the next entry waits until it has enough
/// commands.
const EAGER_ENTRIES: usize = 2;

/// Number of commands that are worth one more entry in flight.
const WORTHWHILE_COMMANDS: usize = 64;

/// Time that overloaded callers are told to wait, in milliseconds.
pub(crate) const RETRY_AFTER_MS: u64 = 50;

/// Limits and patience of the actor.
#[derive(Debug, Clone)]
pub(crate) struct ProposerOptions {
    /// Raft id of this replica.
    pub(crate) raft_id: u64,
    /// Whether the group begins with this process.
    pub(crate) founds: bool,
    pub(crate) max_entry_commands: usize,
    pub(crate) max_entry_bytes: usize,
    pub(crate) max_entries_in_flight: usize,
    pub(crate) queue_limit_commands: usize,
    /// How long a leader waits, after its election, for clocks that would settle the time.
    pub(crate) clock_patience: Duration,
}

/// Actor that proposes entries. Only a leader's proposer has anything to do.
pub(crate) struct Proposer {
    parts: ProposerParts,
    work: Work,
}

/// Commands and numbers that the actor works on.
#[derive(Default)]
struct Work {
    queue: VecDeque<Item>,
    confirming: usize,
    /// Numbers of the proposals that have no answer yet.
    in_flight: BTreeSet<u64>,
    last_proposal: u64,
    /// Most cells of each reservation that waits here or is in flight. Only reservations with more than one
    /// cell are listed.
    reserving: BTreeMap<OperationId, usize>,
    /// Commands for a confirmed read, once every proposal up to a number is answered.
    after_proposals: Vec<(u64, Vec<Item>)>,
    pump_scheduled: bool,
    /// The time when this replica was first seen to lead; `None` when it does not lead.
    leads_since: Option<Instant>,
    frozen: Option<Frozen>,
    last_freeze: u64,
    stopping: bool,
    adoption: Option<Adoption>,
    /// Whether the adoption was proposed since the last tick. Raft may refuse a proposal at once, so without
    /// this limit the proposer would repeat it without a pause.
    adoption_asked: bool,
    /// Whether the disks of the voters are nearly full. Checked once in each tick.
    low_space: bool,
}

impl Work {
    /// Returns the most changes that a command can make, behind everything in flight.
    fn weigh(&mut self, ledger: &Ledger, command: &Command) -> usize {
        let known = |id: &ReservationId| self.reserving.get(id).copied().unwrap_or(1);
        let weight = ledger.weigh(command, known);
        if weight > 1 && matches!(command.action, Action::Reserve { .. }) {
            self.reserving.insert(command.operation_id, weight);
        }
        weight
    }

    /// Forgets a command's reservation once the command is answered: it is in the ledger, or never will be.
    fn weighed(&mut self, command: &Command) {
        if !self.reserving.is_empty() {
            self.reserving.remove(&command.operation_id);
        }
    }

    /// Returns the number of commands that are neither in an entry nor answered.
    fn waiting(&self) -> usize {
        self.queue.len() + self.confirming
    }
}

/// Parts from which the actor is made.
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
    /// Knows the free space on the disks of the nodes.
    pub(crate) transport: Arc<dyn PeerTransport>,
    /// The number of waiting commands, which the actor reports here.
    pub(crate) waiting: Arc<AtomicU64>,
}

/// Commands of one caller.
#[derive(Message)]
#[rtype(result = "()")]
pub(crate) struct Submit {
    pub(crate) commands: Arc<Vec<EncodedCommand>>,
    /// Indexes of the commands that are still open, in order.
    pub(crate) open: Vec<usize>,
    pub(crate) deadline: Instant,
    /// Gets one reply for each open command.
    pub(crate) reply: oneshot::Sender<Vec<(usize, CommandReply)>>,
    /// The caller's span; disabled when the caller is not traced.
    pub(crate) span: Span,
}

/// Makes the proposer take nothing more.
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

    /// Schedules the pump behind the mailbox, so that everything already sent gets into the same entry.
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
        // A halted replica applies nothing. Its proposals would take effect, but their callers would get no
        // answer.
        if self.work.stopping || !self.leads() || self.parts.health.is_halted() {
            self.work.leads_since = None;
            self.give_up();
            return;
        }
        if self.is_frozen() || !self.knows_the_time() {
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

    /// Asks for the newest rules, as the first command of a new shard.
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
        // No caller waits for the answer.
        let (reply, _) = oneshot::channel();
        let commands = Arc::new(vec![EncodedCommand::new(command)]);
        let items = Batch::items(commands, &[0], Instant::now(), reply, Span::none());
        self.propose(items, ctx);
    }

    /// Returns whether an entry can be stamped. A stamp ahead of the true time ends holds too early. A stamp
    /// behind it gives holds that end as soon as the time is right again. So the leader waits for clocks that
    /// could settle a disagreement. Without a known majority it waits without end, but a majority was usually
    /// heard with the votes. If some clocks are down while others disagree, that is two faults at once. After
    /// the patience the leader then stamps anyway. It stamps rather behind than ahead, because that is safer.
    fn knows_the_time(&mut self) -> bool {
        let leads_since = *self.work.leads_since.get_or_insert_with(Instant::now);
        match self.parts.clock.certainty() {
            Certainty::Certain => true,
            Certainty::Disputed => leads_since.elapsed() >= self.parts.options.clock_patience,
            Certainty::Unknown => false,
        }
    }

    /// Gives up what waits, because another replica leads. Nothing of it was proposed.
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

    /// Takes as many waiting commands as one entry may hold, by their number, their bytes and the changes
    /// that they may make. Drops commands that nobody waits for; they were never proposed.
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

    /// Separates the commands that go to the log from those that a confirmed read will probably answer. The
    /// commands of one batch keep their order: after one that goes to the log, all go to the log; after one
    /// that waits for a read, all wait.
    fn sort_out(&self, items: Vec<Item>) -> (Vec<Item>, Vec<Item>) {
        // While a snapshot is installed, the ledger is locked. Then everything goes to the log, unless it may
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
            // Only a confirmed read shows whether the command took effect before, and whether the rules that
            // it needs are adopted.
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

    /// Returns this replica's leadership as Raft knows it, which may be ahead of the leader last reported
    /// here.
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

    /// Answers commands from the ledger, but only after earlier proposals. An earlier attempt at one of the
    /// commands may be in flight, and a caller who repeats it must not be refused while that attempt takes
    /// effect.
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

    /// Answers commands from the ledger once it is certain that it contains everything acknowledged.
    fn confirm_now(&mut self, items: Vec<Item>, ctx: &mut Context<Self>) {
        let (gate, state) = (self.parts.gate.clone(), Arc::clone(&self.parts.state));
        let health = self.parts.health.clone();
        let round = async move {
            gate.confirm().await?;
            let state = state.read_owned().await;
            // The replica may have died while it applied an entry. Then its ledger is between two entries.
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

    /// Lets time pass when something is due and no other entry does it.
    fn tick(&mut self, ctx: &mut Context<Self>) {
        self.work.adoption_asked = false;
        self.work.low_space = self.is_short_of_space();
        self.schedule_pump(ctx);
        let idle = self.work.queue.is_empty() && self.work.in_flight.is_empty() && !self.work.stopping;
        let idle = idle && !self.parts.health.is_halted();
        if idle && !self.is_frozen() && self.leads() && self.knows_the_time() {
            let view = *self.parts.view.borrow();
            let now_ms = self.parts.clock.peek(view.log_time_ms);
            if view.next_due_ms.is_some_and(|due_ms| due_ms <= now_ms) {
                self.propose(Vec::new(), ctx);
            }
        }
    }
}

/// Result of one proposed entry.
enum Proposed {
    /// Raft did not accept the entry.
    NotTaken,
    /// Raft answered; `None` when Raft ended first.
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
        // A panic ends only the actor, and the rest would go on without it.
        if std::thread::panicking() {
            self.parts.health.fail("the shard's actor panicked");
        }
    }
}
