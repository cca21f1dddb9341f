//! One run of a seed: first faults, then quiet, then the check that every claim holds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures::FutureExt as _;
use holdfast_ledger::LedgerOptions;
use holdfast_shard::{ReplicaStatus, Role};
use tokio::runtime::{Builder, RngSeed, Runtime, UnhandledPanic};
use tokio::task::LocalSet;

use crate::check::{self, Checked, Kept};
use crate::client::{Client, Work};
use crate::directory::Directory;
use crate::faults::Faults;
use crate::history::History;
use crate::network::{CLIENTS, Counts, Network};
use crate::node::Node;
use crate::plan::Plan;
use crate::record::Record;
use crate::tail::Cursors;
use crate::time::{NodeClock, TrueTime};
use crate::trace::Trace;

/// Longest time after the faults until every shard serves again: three election timeouts, and the work that
/// the last crash left.
const RECOVERY_MS: u64 = 4_000;

/// Time that clients go on after the faults.
const QUIET_MS: u64 = 5_000;

/// Time for clients to ask for the outcomes of their last operations, and for replicas to catch up.
const SETTLING_MS: u64 = 30_000;

/// The report of a run.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Length of the run in simulated milliseconds.
    pub simulated_ms: u64,
    /// Hash of the trace.
    pub digest: u64,
    /// Events in the trace.
    pub events: u64,
    /// Number of faults, by name.
    pub faults: BTreeMap<&'static str, u64>,
    /// Counts of the network.
    pub network: Counts,
    /// Counts of what was checked.
    pub checked: Checked,
    /// Operations that clients began.
    pub operations: u64,
    /// Entries applied, counted on each replica.
    pub applied: u64,
    /// Processes that ended because their disk failed.
    pub disk_deaths: u64,
    /// Disks that were replaced because a start found bytes that nobody wrote.
    pub damaged_disks: u64,
    /// Time after the faults until the last shard served again, in milliseconds.
    pub recovery_ms: u64,
}

/// A run in which everything held, and the material by which it was judged.
pub struct Run {
    /// Report of the run.
    pub report: Report,
    /// Record of what the replicas did.
    pub record: Record,
    /// History of what clients did and saw.
    pub history: History,
    /// State of each node in the end, by shard.
    pub kept: BTreeMap<u32, BTreeMap<u64, Kept>>,
    /// Options of every ledger.
    pub ledger: LedgerOptions,
}

/// The simulated world: nodes, clients, network and time.
struct World {
    plan: Arc<Plan>,
    time: TrueTime,
    /// Milliseconds in which something ran.
    lived_ms: u64,
    trace: Trace,
    network: Network,
    record: Record,
    history: History,
    directory: Directory,
    nodes: Vec<Node>,
    faults: Faults,
    clients: Clients,
    kept: BTreeMap<u32, BTreeMap<u64, Kept>>,
    report: Report,
}

/// The machine on which all clients run.
struct Clients {
    local: LocalSet,
    runtime: Runtime,
    work: Arc<Work>,
}

/// Runs a plan to its end.
///
/// # Errors
/// Everything that did not hold.
pub fn run(plan: Plan, shown: bool) -> Result<Run> {
    let mut world = World::new(plan, shown)?;
    let result = world.live().and_then(|()| world.judge());
    if let Err(error) = result {
        let violations = world.record.violations().join("\n");
        return Err(match violations.is_empty() {
            true => error,
            false => error.context(violations),
        });
    }
    Ok(Run {
        report: world.report,
        record: world.record,
        history: world.history,
        kept: world.kept,
        ledger: world.plan.ledger.clone(),
    })
}

impl World {
    fn new(plan: Plan, shown: bool) -> Result<Self> {
        let plan = Arc::new(plan);
        let time = TrueTime::default();
        let trace = Trace::new(time.clone(), shown);
        let network = Network::new(plan.seed_for("network", 0), time.clone(), trace.clone());
        let record = Record::new(time.clone(), trace.clone());
        let cursors = Cursors::default();
        let directory = Directory::new(plan.nodes, plan.shards);
        let nodes = (1..=plan.all_nodes()).map(|id| {
            let right_ms = (plan.seed_for("clock", id) % 41) as i64 - 20;
            Node::new(
                id,
                Arc::clone(&plan),
                NodeClock::new(time.clone(), right_ms),
                network.clone(),
                record.clone(),
                cursors.clone(),
                directory.clone(),
            )
        });
        let nodes = nodes.collect();
        let history = History::new(trace.clone());
        let clients = Clients::new(&plan, &time, &network, &history)?;
        Ok(Self {
            faults: Faults::new(
                &plan,
                time.clone(),
                network.clone(),
                trace.clone(),
                directory.clone(),
            ),
            plan,
            time,
            lived_ms: 0,
            trace,
            network,
            record,
            history,
            directory,
            nodes,
            clients,
            kept: BTreeMap::new(),
            report: Report::default(),
        })
    }

    /// Lets one millisecond pass everywhere.
    fn step(&mut self, faults: bool) -> Result<()> {
        self.time.pass();
        self.lived_ms += 1;
        self.faults.act(self.time.now_ms(), &mut self.nodes, faults)?;
        let now_ms = self.time.now_ms();
        for (index, node) in self.nodes.iter_mut().enumerate() {
            node.step(now_ms);
            if !node.disk.has_power() {
                node.lose_power();
                self.faults.went_down(index, now_ms);
            } else if let Some(death) = node.died().filter(|death| death.is_damage) {
                ensure!(node.disk_may_be_damaged, "node {}: {}", node.id(), death.why);
                self.report.damaged_disks += 1;
                // The real node first asks the others whether they can do without its data. Here they always
                // can.
                node.lose_disk();
                self.faults.went_down(index, now_ms);
            } else if let Some(death) = node.died() {
                let explained = node.disk_may_fail || node.disk_may_be_damaged;
                ensure!(explained, "node {} died: {}", node.id(), death.why);
                self.report.disk_deaths += 1;
                // The process ends. What its page cache holds may differ from what is on disk.
                match now_ms % 2 {
                    0 => node.kill(),
                    _ => node.lose_power(),
                }
                self.faults.went_down(index, now_ms);
            }
        }
        if self.faults.clocks_disputed(now_ms, &self.nodes) {
            self.record.clocks_disputed();
        }
        self.clients.step(&self.network);
        ensure!(self.record.violations().is_empty(), "it does not hold");
        Ok(())
    }

    fn live(&mut self) -> Result<()> {
        while self.lived_ms < self.plan.faults_ms {
            self.step(true)?;
        }
        self.faults.end(&mut self.nodes);
        let quiet_since_ms = self.time.now_ms();
        while self.time.now_ms() < quiet_since_ms + QUIET_MS {
            self.step(false)?;
        }
        self.recovered_in_time(quiet_since_ms)?;
        self.clients.work.stop();
        let give_up_ms = self.time.now_ms() + SETTLING_MS;
        while self.clients.work.ended() < self.plan.clients as usize {
            self.step(false)?;
            ensure!(
                self.time.now_ms() < give_up_ms,
                "clients wait in vain for their outcomes"
            );
        }
        while !self.settled() {
            self.step(false)?;
            ensure!(
                self.time.now_ms() < give_up_ms,
                "the replicas do not come to rest: {:#?}",
                self.statuses()
            );
        }
        Ok(())
    }

    fn recovered_in_time(&mut self, since_ms: u64) -> Result<()> {
        let operations = self.history.operations();
        for shard in 0..self.plan.shards {
            let served = operations
                .iter()
                .filter(|operation| operation.shard == shard && operation.last_attempt_ms >= since_ms)
                .filter_map(|operation| operation.answer.as_ref().map(|(at_ms, _)| at_ms - since_ms))
                .min();
            let served_ms =
                served.with_context(|| format!("shard {shard} serves nobody after the faults"))?;
            ensure!(
                served_ms <= RECOVERY_MS,
                "shard {shard} serves again only after {served_ms} ms"
            );
            self.report.recovery_ms = self.report.recovery_ms.max(served_ms);
        }
        Ok(())
    }

    fn statuses(&self) -> Vec<ReplicaStatus> {
        let statuses = self.nodes.iter().filter_map(|node| {
            node.inspect(|shards| shards.values().map(|shard| shard.status()).collect::<Vec<_>>())
        });
        let here = |status: &ReplicaStatus| status.role != Role::Absent;
        statuses.flatten().filter(here).collect()
    }

    /// Returns whether all replicas have applied the same and nothing is due.
    fn settled(&self) -> bool {
        let statuses = self.statuses();
        let placed = self.directory.is_complete() && self.nodes.iter().all(Node::has_its_replicas);
        if !placed || statuses.len() != (self.plan.nodes * u64::from(self.plan.shards)) as usize {
            return false;
        }
        (0..self.plan.shards).all(|shard| {
            let mut of_shard = statuses.iter().filter(|status| status.shard == shard);
            let last = of_shard.clone().map(|status| status.last_log_index).max();
            of_shard.all(|status| Some(status.applied_index) == last && status.leader.is_some())
        }) && self.orders_are_settled()
    }

    /// Returns whether no order waits for a decision, and every participant has followed.
    fn orders_are_settled(&self) -> bool {
        self.nodes.iter().all(|node| {
            let idle = node.inspect(|shards| {
                shards
                    .values()
                    .all(|shard| shard.orders_under_way().now_or_never().is_none())
            });
            idle == Some(true)
        })
    }

    fn judge(&mut self) -> Result<()> {
        let mut failures = Vec::new();
        let mut replayed = BTreeMap::new();
        for shard in 0..self.plan.shards {
            let directory = &self.directory;
            let kept: Result<BTreeMap<u64, Kept>> = self
                .nodes
                .iter_mut()
                .filter(|node| directory.runs(shard, node.id()).is_some())
                .map(|node| Ok((node.id(), node.kept(shard)?)))
                .collect();
            let kept = self.kept.entry(shard).or_insert(kept?);
            match check::shard(shard, &self.plan.ledger, &self.record, &self.history, kept) {
                Ok((checked, ledger)) => {
                    add(&mut self.report.checked, checked);
                    replayed.insert(shard, ledger);
                }
                Err(wrong) => failures.extend(wrong),
            }
        }
        if failures.is_empty() {
            match check::orders(&self.history.orders(), &replayed, &self.plan.ledger) {
                Ok(orders) => self.report.checked.orders += orders,
                Err(wrong) => failures.extend(wrong),
            }
        }
        let operations = self.history.operations();
        let unknown = operations
            .iter()
            .filter(|operation| operation.answer.is_none() && !operation.without_effect);
        failures.extend(unknown.map(|operation| format!("never settled: {operation:?}")));
        failures.truncate(20);
        ensure!(failures.is_empty(), "{}", failures.join("\n"));

        let report = &mut self.report;
        report.operations = operations.len() as u64;
        report.simulated_ms = self.lived_ms;
        report.digest = self.trace.digest();
        report.events = self.trace.events();
        report.network = self.network.counts();
        report.applied = self.record.work().0;
        for (fault, count) in self.faults.counts() {
            report.faults.insert(fault.name(), *count);
        }
        self.did_enough()
    }

    /// Checks that enough happened: a run in which little happened proves little.
    fn did_enough(&self) -> Result<()> {
        let report = &self.report;
        let checked = &report.checked;
        let least = self.plan.faults_ms / 1_000;
        ensure!(
            checked.outcomes >= 5 * least && checked.reads >= least && checked.changes >= 10 * least,
            "too little was done to say anything: {report:?}"
        );
        ensure!(!report.faults.is_empty(), "nothing went wrong: {report:?}");
        Ok(())
    }
}

fn add(sum: &mut Checked, more: Checked) {
    sum.outcomes += more.outcomes;
    sum.reads += more.reads;
    sum.without_effect += more.without_effect;
    sum.linearized += more.linearized;
    sum.expiries += more.expiries;
    sum.true_expiries += more.true_expiries;
    sum.changes += more.changes;
}

impl Clients {
    fn new(plan: &Arc<Plan>, time: &TrueTime, network: &Network, history: &History) -> Result<Self> {
        let seed = plan.seed_for("clients", 0);
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .rng_seed(RngSeed::from_bytes(&seed.to_le_bytes()))
            .unhandled_panic(UnhandledPanic::ShutdownRuntime)
            .build()?;
        let local = LocalSet::new();
        let work = Arc::new(Work::default());
        for number in 0..plan.clients {
            let client = Client::new(
                number,
                Arc::clone(plan),
                time.clone(),
                network.clone(),
                history.clone(),
                Arc::clone(&work),
            );
            local.spawn_local(client.run());
        }
        Ok(Self { local, runtime, work })
    }

    fn step(&self, network: &Network) {
        let step = async {
            network.deliver(CLIENTS, None);
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        self.local.block_on(&self.runtime, step);
    }
}
