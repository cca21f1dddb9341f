//! Faults of a run: what goes wrong, when, and for how long. They are drawn from the seed.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use holdfast_storage::FaultDisk;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use crate::directory::Directory;
use crate::network::Network;
use crate::node::Node;
use crate::plan::Plan;
use crate::time::TrueTime;
use crate::trace::Trace;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// A node loses power between two steps.
    PowerLoss,
    /// A node loses power in the middle of its disk work.
    PowerCutWhileWriting,
    /// Every node loses power at once.
    PowerLossOfAll,
    /// A process is killed; the machine goes on.
    Kill,
    /// A process does not run for a while.
    Freeze,
    /// A sync fails.
    SyncError,
    /// A write fails.
    WriteError,
    /// Syncs take long.
    SlowDisk,
    /// Some nodes cannot reach the others, in both directions.
    Partition,
    /// One node hears another that does not hear it.
    OneWayPartition,
    /// Messages from one node to another take long.
    Delay,
    /// Messages are lost.
    Loss,
    /// Messages arrive twice.
    Duplication,
    /// Messages overtake others.
    Reordering,
    /// A snapshot breaks off on its way.
    BrokenSnapshot,
    /// A leader does not run for a while. Another node loses power as soon as it has given its vote to a
    /// successor.
    PowerCutAfterVote,
    /// The leader of a shard cannot reach the other nodes, nor they it. Clients reach them all.
    LeaderCutOff,
    /// The replicas of one shard cannot reach each other; those of the others can.
    ShardCutOff,
    /// There is no more room on a disk for a while.
    DiskFull,
    /// Every node is without power for minutes or days: much more is due afterwards than before.
    Outage,
    /// A clock leaps. Only the clocks of one minority ever do.
    ClockLeap,
    /// A shard is told to leave a node for another.
    Move,
    /// A node's disk is replaced by an empty one.
    DiskLost,
    /// A process is killed, and a bit of its disk is flipped when it starts again at once. The power does not
    /// fail in between: otherwise the last batch could not be distinguished from one that was never synced
    /// (see the mark in `crates/storage`).
    BitFlip,
}

impl Fault {
    /// All faults, with the weight with which each is drawn.
    pub const ALL: [(Fault, u32); 24] = [
        (Fault::PowerLoss, 12),
        (Fault::PowerCutWhileWriting, 12),
        (Fault::PowerLossOfAll, 2),
        (Fault::Kill, 8),
        (Fault::Freeze, 6),
        (Fault::SyncError, 6),
        (Fault::WriteError, 3),
        (Fault::SlowDisk, 5),
        (Fault::Partition, 12),
        (Fault::OneWayPartition, 8),
        (Fault::Delay, 6),
        (Fault::Loss, 6),
        (Fault::Duplication, 5),
        (Fault::Reordering, 5),
        (Fault::BrokenSnapshot, 8),
        (Fault::ClockLeap, 12),
        (Fault::PowerCutAfterVote, 8),
        (Fault::LeaderCutOff, 8),
        (Fault::ShardCutOff, 6),
        (Fault::DiskFull, 3),
        (Fault::Outage, 2),
        (Fault::Move, 20),
        (Fault::DiskLost, 3),
        (Fault::BitFlip, 12),
    ];

    /// Returns the name of the fault in reports.
    pub fn name(self) -> &'static str {
        match self {
            Fault::PowerLoss => "power_loss",
            Fault::PowerCutWhileWriting => "power_cut_while_writing",
            Fault::PowerLossOfAll => "power_loss_of_all",
            Fault::Kill => "kill",
            Fault::Freeze => "freeze",
            Fault::SyncError => "sync_error",
            Fault::WriteError => "write_error",
            Fault::SlowDisk => "slow_disk",
            Fault::Partition => "partition",
            Fault::OneWayPartition => "one_way_partition",
            Fault::Delay => "delay",
            Fault::Loss => "loss",
            Fault::Duplication => "duplication",
            Fault::Reordering => "reordering",
            Fault::BrokenSnapshot => "broken_snapshot",
            Fault::ClockLeap => "clock_leap",
            Fault::Move => "move",
            Fault::DiskLost => "disk_lost",
            Fault::BitFlip => "bit_flip",
            Fault::PowerCutAfterVote => "power_cut_after_vote",
            Fault::LeaderCutOff => "leader_cut_off",
            Fault::ShardCutOff => "shard_cut_off",
            Fault::DiskFull => "disk_full",
            Fault::Outage => "outage",
        }
    }
}

/// The shortest outage of all nodes, in milliseconds.
const SHORTEST_OUTAGE_MS: u64 = 10_000;

/// The action that undoes a fault.
type Undo = Box<dyn FnOnce(&mut [Node])>;

/// The maker of faults.
pub struct Faults {
    random: SmallRng,
    network: Network,
    trace: Trace,
    time: TrueTime,
    outage_ms: u64,
    shards: u32,
    every_ms: u64,
    next_ms: u64,
    /// Nodes whose clocks may be wrong: the same minority for the whole run.
    wrong_clocks: Vec<usize>,
    clocks_leapt: bool,
    directory: Directory,
    /// The node whose disk was lost, or may be damaged. Until it has new replicas and all shards have
    /// settled, no other node's disk is harmed: a cluster does not promise to survive the loss of what a
    /// quorum confirmed.
    harmed_disk: Option<usize>,
    restarts: BTreeMap<usize, u64>,
    undone: Vec<(u64, Undo)>,
    counts: BTreeMap<Fault, u64>,
}

impl Faults {
    /// Makes the faults of a plan.
    pub fn new(plan: &Plan, time: TrueTime, network: Network, trace: Trace, directory: Directory) -> Self {
        let mut random = SmallRng::seed_from_u64(plan.seed_for("faults", 0));
        let mut wrong_clocks: Vec<usize> = (0..plan.nodes as usize).collect();
        while wrong_clocks.len() > (plan.nodes as usize - 1) / 2 {
            wrong_clocks.swap_remove(random.random_range(0..wrong_clocks.len()));
        }
        Self {
            random,
            network,
            trace,
            time,
            outage_ms: plan.outage_ms,
            shards: plan.shards,
            every_ms: plan.fault_every_ms,
            next_ms: 1_000,
            wrong_clocks,
            clocks_leapt: false,
            directory,
            harmed_disk: None,
            restarts: BTreeMap::new(),
            undone: Vec::new(),
            counts: BTreeMap::new(),
        }
    }

    /// Returns how often each fault happened.
    pub fn counts(&self) -> &BTreeMap<Fault, u64> {
        &self.counts
    }

    /// Starts what has to be started now; `faults` says whether something new may go wrong.
    ///
    /// # Errors
    /// When a node has no runtime to start in.
    pub fn act(&mut self, now_ms: u64, nodes: &mut [Node], faults: bool) -> anyhow::Result<()> {
        let mut index = 0;
        while index < self.undone.len() {
            if self.undone[index].0 <= now_ms {
                (self.undone.swap_remove(index).1)(nodes);
            } else {
                index += 1;
            }
        }
        if faults && now_ms >= self.next_ms {
            self.next_ms = now_ms + self.random.random_range(1..=2 * self.every_ms);
            let fault = self.draw();
            // These two may be impossible at the moment.
            if !matches!(fault, Fault::Move | Fault::BitFlip) {
                *self.counts.entry(fault).or_default() += 1;
            }
            self.happen(fault, now_ms, nodes);
        }
        for (index, node) in nodes.iter_mut().enumerate() {
            let at_ms = self.restarts.get(&index).copied().unwrap_or(0);
            if !node.is_running() && at_ms <= now_ms {
                self.restarts.remove(&index);
                self.trace.event("start", &[node.id()], &[]);
                node.start()?;
            }
        }
        Ok(())
    }

    /// Notes that the node is down. It starts again some time later.
    pub fn went_down(&mut self, index: usize, now_ms: u64) {
        let down_ms = self.random.random_range(20..3_000);
        self.trace.event("down", &[index as u64 + 1, down_ms], &[]);
        self.restarts.insert(index, now_ms + down_ms);
    }

    /// Ends all faults. Clocks stay as they are: a minority of them may be wrong for ever.
    pub fn end(&mut self, nodes: &mut [Node]) {
        for node in nodes.iter_mut() {
            node.frozen_until_ms = 0;
            node.disk.cut_power_after(u64::MAX);
            node.disk.fail_sync_after(u64::MAX / 2);
            node.disk.fail_write_after(u64::MAX / 2);
            node.disk.set_capacity_bytes(None);
            node.power_ends_with_a_vote.store(false, Ordering::Relaxed);
        }
        self.restarts.clear();
        self.undone.drain(..).for_each(|(_, undo)| undo(nodes));
    }

    /// Returns whether a clock is wrong while some of the others may be out of reach.
    pub fn clocks_disputed(&self, now_ms: u64, nodes: &[Node]) -> bool {
        let out_of_reach = |node: &Node| !node.is_running() || node.frozen_until_ms > now_ms;
        self.clocks_leapt && (self.network.is_harmed() || nodes.iter().any(out_of_reach))
    }

    fn draw(&mut self) -> Fault {
        let all: u32 = Fault::ALL.iter().map(|(_, weight)| weight).sum();
        let mut left = self.random.random_range(0..all);
        for (fault, weight) in Fault::ALL {
            let fault = match fault {
                Fault::Outage if self.outage_ms == 0 => Fault::PowerLossOfAll,
                fault => fault,
            };
            match left.checked_sub(weight) {
                Some(less) => left = less,
                None => return fault,
            }
        }
        Fault::Kill
    }

    /// Cuts the power of all nodes for a while. Whatever was due to be undone or started in that time happens
    /// right after it.
    fn outage(&mut self, now_ms: u64, nodes: &mut [Node]) {
        let ms = self.random.random_range(SHORTEST_OUTAGE_MS..=self.outage_ms);
        self.trace.event("leap", &[ms], &[]);
        self.time.leap(ms);
        for index in 0..nodes.len() {
            self.lose_power(index, now_ms + ms, nodes);
        }
        self.next_ms += ms;
    }

    fn happen(&mut self, fault: Fault, now_ms: u64, nodes: &mut [Node]) {
        let index = self.random.random_range(0..nodes.len());
        let until_ms = now_ms + self.random.random_range(100..4_000);
        self.trace
            .event(fault.name(), &[nodes[index].id(), until_ms], &[]);
        match fault {
            Fault::PowerLoss => self.lose_power(index, now_ms, nodes),
            Fault::Outage => self.outage(now_ms, nodes),
            Fault::DiskFull => {
                let room_bytes = self.random.random_range(0..128 << 10);
                let node = &mut nodes[index];
                node.disk
                    .set_capacity_bytes(Some(node.disk.used_bytes() + room_bytes));
                node.disk_may_fail = true;
                let undo = move |nodes: &mut [Node]| nodes[index].disk.set_capacity_bytes(None);
                self.undone.push((until_ms, Box::new(undo)));
            }
            Fault::Move => {
                let to = nodes[index].id();
                let shard = self.random.random_range(0..self.shards);
                let placement = self.directory.placement(shard);
                let leaving = self.random.random_range(0..placement.replicas.len());
                let from = placement
                    .replicas
                    .iter()
                    .nth(leaving)
                    .map(|replica| replica.node());
                if from.is_some_and(|from| self.directory.move_replica(shard, from, to)) {
                    *self.counts.entry(Fault::Move).or_default() += 1;
                }
            }
            Fault::DiskLost => {
                let index = self.whose_disk(index, nodes);
                nodes[index].lose_disk();
                self.went_down(index, now_ms);
            }
            Fault::BitFlip => {
                let index = self.whose_disk(index, nodes);
                if nodes[index].is_running() {
                    *self.counts.entry(Fault::BitFlip).or_default() += 1;
                    nodes[index].kill();
                    nodes[index].disk_may_be_damaged |= self.flip_a_bit(&nodes[index].disk);
                    self.restarts.insert(index, now_ms);
                }
            }
            Fault::PowerLossOfAll => (0..nodes.len()).for_each(|index| self.lose_power(index, now_ms, nodes)),
            Fault::Kill => {
                nodes[index].kill();
                self.went_down(index, now_ms);
            }
            Fault::PowerCutWhileWriting => {
                let changes = self.random.random_range(0..60);
                nodes[index].disk.cut_power_after(changes);
            }
            Fault::SyncError => {
                nodes[index].disk.fail_sync_after(self.random.random_range(0..20));
                nodes[index].disk_may_fail = true;
            }
            Fault::WriteError => {
                nodes[index]
                    .disk
                    .fail_write_after(self.random.random_range(0..40));
                nodes[index].disk_may_fail = true;
            }
            Fault::Freeze => nodes[index].frozen_until_ms = until_ms,
            Fault::PowerCutAfterVote => {
                let leader = self.some_leader(nodes).unwrap_or((index + 1) % nodes.len());
                nodes[leader].frozen_until_ms = until_ms;
                let voter = (leader + self.random.random_range(1..nodes.len())) % nodes.len();
                nodes[voter].power_ends_with_a_vote.store(true, Ordering::Relaxed);
                let undo = move |nodes: &mut [Node]| {
                    nodes[voter]
                        .power_ends_with_a_vote
                        .store(false, Ordering::Relaxed);
                };
                self.undone.push((until_ms, Box::new(undo)));
            }
            Fault::SlowDisk => {
                let slow_ms = self.random.random_range(10..250);
                nodes[index].slow_disk_ms.store(slow_ms, Ordering::Relaxed);
                let undo = move |nodes: &mut [Node]| nodes[index].slow_disk_ms.store(0, Ordering::Relaxed);
                self.undone.push((until_ms, Box::new(undo)));
            }
            Fault::ClockLeap => {
                let wrong = self.wrong_clocks[self.random.random_range(0..self.wrong_clocks.len())];
                let size_ms = [2_000, 60_000, 7_200_000, 4_000_000_000][self.random.random_range(0..4)];
                let error_ms = self.random.random_range(-size_ms..=size_ms);
                nodes[wrong].clock.set_error_ms(error_ms);
                self.clocks_leapt = true;
            }
            _ => self.harm_network(fault, until_ms, nodes),
        }
    }

    /// Returns the node whose disk may be harmed: this one, unless another node has not recovered yet.
    fn whose_disk(&mut self, index: usize, nodes: &[Node]) -> usize {
        let got_over = |harmed: &usize| self.directory.is_complete() && !nodes[*harmed].disk_may_be_damaged;
        self.harmed_disk = self.harmed_disk.filter(|harmed| !got_over(harmed));
        *self.harmed_disk.get_or_insert(index)
    }

    /// Flips a bit, in half of the cases near the end of the log. Returns whether there was a bit to flip.
    fn flip_a_bit(&mut self, disk: &FaultDisk) -> bool {
        let paths = disk.paths();
        let is_segment = |path: &&String| path.starts_with("log/") && path.ends_with(".wal");
        let at_the_tail = self.random.random_bool(0.5);
        let path = match at_the_tail {
            true => paths.iter().rfind(is_segment),
            false => paths.get(self.random.random_range(0..paths.len().max(1))),
        };
        let Some((path, content)) = path.and_then(|path| Some((path, disk.content(path)?))) else {
            return false;
        };
        let written = content
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        if written == 0 {
            return false;
        }
        let first = if at_the_tail {
            written.saturating_sub(600)
        } else {
            0
        };
        let offset = self.random.random_range(first..written) as u64;
        disk.flip_bit(path, offset, self.random.random_range(0..8))
    }

    fn lose_power(&mut self, index: usize, now_ms: u64, nodes: &mut [Node]) {
        nodes[index].lose_power();
        self.went_down(index, now_ms);
    }

    fn harm_network(&mut self, fault: Fault, until_ms: u64, nodes: &[Node]) {
        let ways = match fault {
            Fault::LeaderCutOff => self.ways_of_a_leader(nodes),
            Fault::ShardCutOff => all_ways(nodes),
            _ => self.some_ways(fault, nodes.len() as u64),
        };
        let permille = self.random.random_range(5..250);
        let slow_ms = self.random.random_range(20..400);
        let cut = ways.clone();
        let shard = self.random.random_range(0..self.shards);
        self.network.change(|conditions| match fault {
            Fault::Partition | Fault::OneWayPartition | Fault::LeaderCutOff => conditions.cut.extend(cut),
            Fault::ShardCutOff => {
                let of_shard = cut.into_iter().map(|(from, to)| (from, to, shard));
                conditions.cut_shards.extend(of_shard);
            }
            Fault::Delay => conditions
                .slow_ms
                .extend(cut.into_iter().map(|way| (way, slow_ms))),
            Fault::Loss => conditions.lost_permille = permille,
            Fault::Duplication => conditions.doubled_permille = permille,
            Fault::Reordering => conditions.reordering = true,
            Fault::BrokenSnapshot => conditions.broken_snapshots += 1,
            _ => {}
        });
        let network = self.network.clone();
        let undo = move |_: &mut [Node]| {
            network.change(|conditions| match fault {
                Fault::Partition | Fault::OneWayPartition | Fault::LeaderCutOff => {
                    conditions.cut.retain(|way| !ways.contains(way));
                }
                Fault::ShardCutOff => conditions.cut_shards.retain(|(_, _, cut)| *cut != shard),
                Fault::Delay => conditions.slow_ms.retain(|way, _| !ways.contains(way)),
                Fault::Loss => conditions.lost_permille = 0,
                Fault::Duplication => conditions.doubled_permille = 0,
                Fault::Reordering => conditions.reordering = false,
                Fault::BrokenSnapshot => conditions.broken_snapshots = 0,
                _ => {}
            });
        };
        let until_ms = match fault {
            Fault::BrokenSnapshot => until_ms + 20_000,
            _ => until_ms,
        };
        self.undone.push((until_ms, Box::new(undo)));
    }

    /// Returns a node that leads a shard, if any does.
    fn some_leader(&mut self, nodes: &[Node]) -> Option<usize> {
        let shard = self.random.random_range(0..self.shards);
        nodes.iter().position(|node| node.leads(shard))
    }

    /// Returns the connections between a leader and the other nodes, as (from, to).
    fn ways_of_a_leader(&mut self, nodes: &[Node]) -> Vec<(u64, u64)> {
        let leader = self.some_leader(nodes).map_or(1, |index| nodes[index].id());
        let others = nodes.iter().map(Node::id).filter(|node| *node != leader);
        others
            .flat_map(|other| [(leader, other), (other, leader)])
            .collect()
    }

    /// Returns the connections between nodes that a fault of this kind affects, as (from, to).
    fn some_ways(&mut self, fault: Fault, nodes: u64) -> Vec<(u64, u64)> {
        let one = self.random.random_range(1..=nodes);
        let other = (one + self.random.random_range(0..nodes - 1)) % nodes + 1;
        if fault != Fault::Partition {
            return vec![(one, other)];
        }
        let side = self.random.random_range(1..(1u64 << nodes) - 1);
        let in_side = |node: u64| side >> (node - 1) & 1 == 1;
        (1..=nodes)
            .flat_map(|from| (1..=nodes).map(move |to| (from, to)))
            .filter(|(from, to)| in_side(*from) != in_side(*to))
            .collect()
    }
}

/// Returns all connections between two nodes, as (from, to).
fn all_ways(nodes: &[Node]) -> Vec<(u64, u64)> {
    let ids = || nodes.iter().map(Node::id);
    let ways = ids().flat_map(|from| ids().map(move |to| (from, to)));
    ways.filter(|(from, to)| from != to).collect()
}
