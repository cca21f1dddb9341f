//! Three replicas, a network between them that can be cut, and disks that can crash.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use futures::stream::BoxStream;
use holdfast_ledger::{CellView, Command, LedgerOptions, Query, QueryReply};
use holdfast_storage::{
    ChangeLog, ChangeLogOptions, Disk, FaultDisk, Log, LogOptions, RealDisk, SnapshotStore,
};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::commands::{SubmitResult, cells, one_cell, receive};
use crate::{
    Answer, DiskSpace, Freshness, GoneNodes, PeerTransport, PreVoteSupport, Seed, SeedError, ShardHandle,
    ShardOptions, ShardStores, StartError, TransportError, plant, start,
};

const SHARD: u32 = 3;

/// Longer than any step of these tests takes. A wait that long means a bug.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn deadline() -> Instant {
    Instant::now() + PATIENCE
}

pub(super) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let give_up = deadline();
    while !condition() {
        assert!(Instant::now() < give_up, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Network between the nodes: who can be reached, and which links are cut.
#[derive(Default)]
pub(super) struct Net {
    nodes: Mutex<BTreeMap<u64, ShardHandle>>,
    cut: Mutex<BTreeSet<(u64, u64)>>,
    late: Mutex<Duration>,
    /// The nodes that are gone, as each node sees it.
    gone: Mutex<BTreeMap<u64, watch::Sender<GoneNodes>>>,
    /// Nodes of a version that does not know pre-votes.
    old: Mutex<BTreeSet<u64>>,
    /// Nodes whose disks are nearly full.
    low: Mutex<BTreeSet<u64>>,
    /// Requests to forward that are held up on their way, until they are let go.
    held_up: Mutex<Option<Vec<HeldUp>>>,
}

impl Net {
    /// Refuses the connection from one node to another from here on.
    pub(super) fn refuse(&self, from: u64, to: u64) {
        let mut gone = self.gone.lock();
        let seen = gone.entry(from).or_default();
        seen.send_modify(|gone| _ = gone.insert(to, Instant::now()));
    }

    /// Makes all others see that the process of this node has ended.
    pub(super) fn refuse_all(&self, to: u64) {
        for from in (1..=3).filter(|from| *from != to) {
            self.refuse(from, to);
        }
    }

    /// Lets this node take connections again.
    pub(super) fn accept(&self, to: u64) {
        for seen in self.gone.lock().values() {
            seen.send_modify(|gone| _ = gone.remove(&to));
        }
    }

    /// Makes this node count as one whose version does not know pre-votes.
    pub(super) fn is_old(&self, node: u64) {
        self.old.lock().insert(node);
    }

    /// Makes the disks of these nodes nearly full, and those of all others not.
    pub(super) fn are_low(&self, nodes: impl IntoIterator<Item = u64>) {
        *self.low.lock() = nodes.into_iter().collect();
    }

    fn node(&self, to: u64) -> Result<ShardHandle, TransportError> {
        self.nodes
            .lock()
            .get(&to)
            .cloned()
            .ok_or_else(|| TransportError::NotSent("it is down".into()))
    }

    /// Returns one of the running nodes.
    pub(super) fn any(&self, number: usize) -> Option<ShardHandle> {
        let nodes = self.nodes.lock();
        nodes.values().nth(number % nodes.len().max(1)).cloned()
    }

    fn is_cut(&self, from: u64, to: u64) -> bool {
        self.cut.lock().contains(&(from, to))
    }

    /// Cuts all links to and from this node.
    pub(super) fn isolate(&self, node: u64) {
        let mut cut = self.cut.lock();
        for other in 1..=3 {
            cut.insert((node, other));
            cut.insert((other, node));
        }
    }

    /// Cuts the link from one node to another: messages are lost.
    pub(super) fn cut(&self, from: u64, to: u64) {
        self.cut.lock().insert((from, to));
    }

    /// Makes this node hear nobody, while everybody still hears it.
    pub(super) fn deafen(&self, node: u64) {
        let mut cut = self.cut.lock();
        cut.extend((1..=3).map(|other| (other, node)));
    }

    /// Delays each answer by this time from here on.
    pub(super) fn answer_late(&self, by: Duration) {
        *self.late.lock() = by;
    }

    /// Holds up forwarded requests from here on. The forwarding node learns that they are lost.
    pub(super) fn hold_up_forwards(&self) {
        *self.held_up.lock() = Some(Vec::new());
    }

    /// Lets later forwarded requests arrive at once. Returns those that were held up.
    pub(super) fn pass_forwards(&self) -> Vec<HeldUp> {
        self.held_up.lock().take().unwrap_or_default()
    }

    pub(super) fn heal(&self) {
        self.cut.lock().clear();
    }
}

/// A forwarded request that is held up on its way to another node.
pub(super) struct HeldUp {
    let_go: oneshot::Sender<()>,
    arrives: tokio::task::JoinHandle<()>,
}

impl HeldUp {
    /// Lets the request arrive, and waits until it is answered.
    pub(super) async fn arrive(self) {
        self.let_go.send(()).unwrap();
        self.arrives.await.unwrap();
    }
}

struct Wire {
    from: u64,
    net: Arc<Net>,
}

impl Wire {
    /// Carries a request and its answer, unless the link there or back is cut.
    fn carry<F>(
        &self,
        to: u64,
        ask: impl FnOnce(ShardHandle) -> F,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>>
    where
        F: Future<Output = Result<Bytes, TransportError>> + Send + 'static,
    {
        let (from, net) = (self.from, Arc::clone(&self.net));
        let lost = || TransportError::Unknown("the wire is cut".into());
        if net.is_cut(from, to) {
            // A real network reports a loss after a while, if ever.
            return async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(lost())
            }
            .boxed();
        }
        match net.node(to) {
            Ok(node) => {
                let answer = ask(node);
                async move {
                    let answer = answer.await;
                    let late = *net.late.lock();
                    if !late.is_zero() {
                        tokio::time::sleep(late).await;
                    }
                    if net.is_cut(to, from) { Err(lost()) } else { answer }
                }
                .boxed()
            }
            Err(error) => std::future::ready(Err(error)).boxed(),
        }
    }
}

fn unknown(error: crate::PeerMessageError) -> TransportError {
    TransportError::Unknown(error.to_string())
}

impl PeerTransport for Wire {
    fn gone(&self) -> watch::Receiver<GoneNodes> {
        self.net.gone.lock().entry(self.from).or_default().subscribe()
    }

    fn pre_vote_support(&self, to: u64) -> PreVoteSupport {
        if self.net.node(to).is_err() {
            PreVoteSupport::Unreachable
        } else if self.net.old.lock().contains(&to) {
            PreVoteSupport::No
        } else {
            PreVoteSupport::Yes
        }
    }

    fn disk_space(&self, of: u64) -> DiskSpace {
        if self.net.low.lock().contains(&of) {
            DiskSpace::Low
        } else {
            DiskSpace::Enough
        }
    }

    fn raft(&self, to: u64, shard: u32, payload: Bytes) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        assert_eq!(shard, SHARD);
        self.carry(to, |node| {
            node.handle_raft(payload).map(|answer| answer.map_err(unknown))
        })
    }

    fn snapshot(
        &self,
        to: u64,
        _shard: u32,
        header: Bytes,
        data: BoxStream<'static, Result<Bytes, io::Error>>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        self.carry(to, |node| async move {
            node.handle_snapshot(header, data).await.map_err(unknown)
        })
    }

    fn forward(
        &self,
        to: u64,
        _shard: u32,
        payload: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        if let Some(held_up) = &mut *self.net.held_up.lock() {
            let (let_go, gone_on) = oneshot::channel();
            let node = self.net.node(to);
            let arrives = tokio::spawn(async move {
                if let (Ok(()), Ok(node)) = (gone_on.await, node) {
                    node.handle_forward(payload).await;
                }
            });
            held_up.push(HeldUp { let_go, arrives });
            return std::future::ready(Err(TransportError::Unknown("it is held up".into()))).boxed();
        }
        self.carry(to, move |node| async move {
            let answer = tokio::time::timeout(timeout, node.handle_forward(payload)).await;
            answer.map_err(|_| TransportError::Unknown("no answer in time".into()))
        })
    }
}

/// Generation of the replicas that come after the founders.
pub(super) const LATER: u32 = 1;

/// Disk of a node.
enum TestDisk {
    Memory(FaultDisk),
    Folder(tempfile::TempDir),
}

pub(super) struct Cluster {
    pub(super) net: Arc<Net>,
    pub(super) options: ShardOptions,
    disks: BTreeMap<u64, TestDisk>,
    logs: BTreeMap<u64, Log>,
}

fn small_options() -> ShardOptions {
    let founders = BTreeSet::from([1, 2, 3]);
    ShardOptions::new(SHARD, 1, founders, LedgerOptions::default())
}

impl Cluster {
    /// Starts three nodes on disks in memory.
    pub(super) async fn start() -> Self {
        Self::start_with(|_| ()).await
    }

    pub(super) async fn start_with(change: impl FnOnce(&mut ShardOptions)) -> Self {
        let disks = (1..=3)
            .map(|node| (node, TestDisk::Memory(FaultDisk::new(node))))
            .collect();
        Self::start_on(disks, change).await
    }

    /// Starts three nodes whose leader stays, however starved the machine is. Only seconds of silence bring
    /// an election, and no replica stands any more, since all have followed the leader.
    pub(super) async fn start_with_a_lasting_leader() -> Self {
        let cluster = Self::start_with(|options| {
            options.election_timeout_min_ms = 5_000;
            options.election_timeout_max_ms = 6_000;
        })
        .await;
        cluster.elect(1).await;
        cluster.must(receive("in-all-replicas", 1)).await;
        cluster.agree().await;
        cluster
    }

    /// Makes a node stand for election at once.
    pub(super) async fn elect(&self, node: u64) {
        let candidate = self.node(node).replica_for_tests();
        candidate.raft.trigger().elect(false).await.unwrap();
    }

    /// Starts three nodes on real folders.
    pub(super) async fn start_in_folders() -> Self {
        let disks = (1..=3)
            .map(|node| (node, TestDisk::Folder(tempfile::tempdir().unwrap())))
            .collect();
        Self::start_on(disks, |_| ()).await
    }

    /// Prepares three nodes on disks in memory, and starts none of them.
    pub(super) fn prepare(change: impl FnOnce(&mut ShardOptions)) -> Self {
        let disks = (1..=3)
            .map(|node| (node, TestDisk::Memory(FaultDisk::new(node))))
            .collect();
        Self::prepare_on(disks, change)
    }

    fn prepare_on(disks: BTreeMap<u64, TestDisk>, change: impl FnOnce(&mut ShardOptions)) -> Self {
        let mut options = small_options();
        change(&mut options);
        Self {
            net: Arc::default(),
            options,
            disks,
            logs: BTreeMap::new(),
        }
    }

    async fn start_on(disks: BTreeMap<u64, TestDisk>, change: impl FnOnce(&mut ShardOptions)) -> Self {
        let mut cluster = Self::prepare_on(disks, change);
        for node in 1..=3 {
            cluster.start_node(node).await;
        }
        cluster
    }

    /// Starts one more node on a disk in memory. It has no part in the shard until the leader gives it one.
    pub(super) async fn start_newcomer(&mut self, node: u64) -> ShardHandle {
        self.disks.insert(node, TestDisk::Memory(FaultDisk::new(node)));
        self.start_node(node).await
    }

    pub(super) async fn start_node(&mut self, node: u64) -> ShardHandle {
        self.try_start_node(node).await.unwrap()
    }

    pub(super) async fn try_start_node(&mut self, node: u64) -> Result<ShardHandle, StartError> {
        let stores = self.open(node);
        let log = stores.log.clone();
        let mut options = ShardOptions {
            node_id: node,
            ..self.options.clone()
        };
        // A replica that comes later waits until the leader speaks to it.
        if !options.founders.contains(&node) {
            options.founders.clear();
            options.generation = LATER;
        }
        let wire = Wire {
            from: node,
            net: Arc::clone(&self.net),
        };
        let handle = match start(options, stores, Arc::new(wire)).await {
            Ok(handle) => handle,
            Err(error) => {
                log.close().unwrap();
                return Err(error);
            }
        };
        self.net.nodes.lock().insert(node, handle.clone());
        self.logs.insert(node, log);
        Ok(handle)
    }

    /// Returns the shard as a node without a replica sees it.
    pub(super) fn outside(&self, node: u64) -> ShardHandle {
        let wire = Wire {
            from: node,
            net: Arc::clone(&self.net),
        };
        ShardHandle::elsewhere(SHARD, node, Arc::new(wire))
    }

    fn open(&self, node: u64) -> ShardStores {
        let disk: Arc<dyn Disk> = match &self.disks[&node] {
            TestDisk::Memory(disk) => Arc::new(disk.clone()),
            TestDisk::Folder(folder) => Arc::new(RealDisk::open(folder.path()).unwrap()),
        };
        let log_options = LogOptions {
            segment_bytes: 16 << 20,
            max_record_bytes: 7 << 20,
            ..LogOptions::default()
        };
        let (log, _) = Log::open(Arc::clone(&disk), log_options).unwrap();
        let snapshots = SnapshotStore::open(Arc::clone(&disk), SHARD).unwrap();
        let (changes, _) = ChangeLog::open(disk, SHARD, ChangeLogOptions::default()).unwrap();
        ShardStores {
            log,
            group: SHARD,
            snapshots,
            changes,
        }
    }

    /// Plants a ledger on a node that does not run.
    pub(super) fn plant(&self, node: u64, seed: Seed<'_>) -> Result<(), SeedError> {
        let stores = self.open(node);
        let planted = plant(SHARD, &stores, &self.options.founders, seed);
        stores.log.close().unwrap();
        planted
    }

    /// Makes a node that does not run lose power.
    pub(super) fn lose_power(&mut self, node: u64) {
        let crashed = self.fault_disk(node).crash();
        self.disks.insert(node, TestDisk::Memory(crashed));
    }

    pub(super) fn node(&self, node: u64) -> ShardHandle {
        self.net.node(node).unwrap()
    }

    pub(super) fn running(&self) -> Vec<ShardHandle> {
        self.net.nodes.lock().values().cloned().collect()
    }

    /// Stops a node in an orderly way.
    pub(super) async fn stop_node(&mut self, node: u64) {
        let handle = self.node(node);
        handle.stop().await;
        self.net.nodes.lock().remove(&node);
        self.logs.remove(&node).unwrap().close().unwrap();
    }

    /// Crashes a node by a loss of power: writes that were not synced may be gone.
    pub(super) async fn crash_node(&mut self, node: u64) {
        let handle = self.net.nodes.lock().remove(&node).unwrap();
        if let Some(TestDisk::Memory(disk)) = self.disks.get_mut(&node) {
            *disk = disk.crash();
        }
        handle.crash().await;
        self.logs.remove(&node).unwrap().close().ok();
    }

    pub(super) fn fault_disk(&self, node: u64) -> FaultDisk {
        match &self.disks[&node] {
            TestDisk::Memory(disk) => disk.clone(),
            TestDisk::Folder(_) => panic!("node {node} is on a real disk"),
        }
    }

    /// Waits until all running nodes agree on a leader that runs.
    pub(super) async fn leader(&self) -> u64 {
        let mut found = None;
        eventually("there is a leader", || {
            let running = self.running();
            let mut leaders = running.iter().map(ShardHandle::leader);
            found = leaders
                .next()
                .flatten()
                .filter(|leader| self.net.nodes.lock().contains_key(leader));
            found.is_some() && leaders.all(|leader| leader == found)
        })
        .await;
        found.unwrap()
    }

    pub(super) async fn follower(&self) -> u64 {
        let leader = self.leader().await;
        self.running()
            .iter()
            .map(|node| node.status().node_id)
            .find(|node| *node != leader)
            .unwrap()
    }

    pub(super) async fn submit(&self, node: u64, command: Command) -> SubmitResult {
        self.node(node)
            .submit(vec![command], deadline())
            .await
            .pop()
            .unwrap()
    }

    /// Submits one command through any node. It must succeed.
    pub(super) async fn must(&self, command: Command) {
        let node = self.running().remove(0).status().node_id;
        let result = self.submit(node, command).await;
        assert!(matches!(result, Ok(Ok(_))), "{result:?}");
    }

    pub(super) async fn read(&self, node: u64, query: Query) -> Answer {
        self.node(node)
            .query(query, Freshness::Linearizable, deadline())
            .await
            .unwrap()
    }

    pub(super) async fn cell(&self, node: u64, name: &str) -> CellView {
        one_cell(self.read(node, cells(name)).await.reply)
    }

    /// Waits until all running replicas have applied the same entries, and checks that their states are
    /// equal.
    pub(super) async fn agree(&self) {
        let running = self.running();
        eventually("all replicas are equally far", || {
            let far: BTreeSet<u64> = running.iter().map(|node| node.status().applied_index).collect();
            let last = running.iter().map(|node| node.status().last_log_index).max();
            far.len() == 1 && far.first().copied() == last
        })
        .await;
        let mut digests = BTreeSet::new();
        for node in &running {
            let answer = node
                .query(Query::Digest, Freshness::Stale, deadline())
                .await
                .unwrap();
            let QueryReply::Digest(digest) = answer.reply else {
                panic!("not a digest")
            };
            digests.insert((digest, answer.last_seq));
        }
        assert_eq!(digests.len(), 1, "the replicas differ");
        for node in &running {
            check_changes(node);
        }
    }

    pub(super) async fn stop(mut self) {
        // All at once and without a handover: the more patient a cluster is, the longer each node takes to
        // end.
        let nodes = std::mem::take(&mut *self.net.nodes.lock());
        join_all(nodes.values().map(ShardHandle::crash)).await;
        for log in std::mem::take(&mut self.logs).into_values() {
            log.close().unwrap();
        }
    }
}

/// Reads every change from the first one here to the last: there is no gap, and entries are whole. An entry
/// may be read in several parts.
pub(super) fn check_changes(node: &ShardHandle) {
    let reader = node.changes().unwrap();
    let mut next = reader.first_seq();
    let last = node.status().last_seq;
    let mut left_of_entry = 0;
    while next <= last {
        let changes = reader.read(next, 4096).unwrap();
        assert!(!changes.is_empty(), "nothing at {next} of {last}");
        for change in &changes {
            assert_eq!(change.seq, next, "a gap");
            next += 1;
            if change.entry_offset == 0 {
                assert_eq!(left_of_entry, 0, "a torn entry before {next}");
                left_of_entry = change.entry_changes;
            }
            assert_eq!(
                change.entry_offset,
                change.entry_changes - left_of_entry,
                "a torn entry"
            );
            left_of_entry -= 1;
        }
    }
    assert_eq!(left_of_entry, 0, "a torn entry at the end");
}
