//! One node: real shards on a simulated machine. It has a runtime and a time of its own, so a crash drops
//! both.

mod boot;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use holdfast_ledger::{Query, QueryReply};
use holdfast_orders::Orders;
use holdfast_shard::{
    Freshness, GivenVote, Host, PeerMessageError, PeerTransport, ReplicaId, Role, ShardHandle, ShardOptions,
    ShardStores, StartError, Step, Target, Threads, TransportError, seeded,
};
use holdfast_storage::{
    ChangeLog, ChangeLogError, ChangeLogOptions, Disk, FaultDisk, GroupId, Log, LogError, LogOptions,
    SnapshotError, SnapshotStore, Writer,
};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::{Builder, RngSeed, Runtime, UnhandledPanic};
use tokio::task::LocalSet;

use crate::check::Kept;
use crate::directory::Directory;
use crate::network::{Channel, Network, Question, Reply};
use crate::plan::Plan;
use crate::record::Record;
use crate::requests;
use crate::tail;
use crate::time::NodeClock;
use boot::{Boot, is_damage, replica};

/// Time that a snapshot's sender waits between two chunks.
const CHUNK_PAUSE: Duration = Duration::from_millis(1);

/// A machine, and the process on it if one runs.
pub struct Node {
    id: u64,
    seed: u64,
    plan: Arc<Plan>,
    network: Network,
    record: Record,
    cursors: tail::Cursors,
    /// Clock of the machine.
    pub clock: NodeClock,
    /// Disk of the machine; another handle after each loss of power.
    pub disk: FaultDisk,
    /// Additional milliseconds that a sync takes.
    pub slow_disk_ms: Arc<AtomicU64>,
    /// Whether the power is cut at the first change of the disk after the node gave a vote.
    pub power_ends_with_a_vote: Arc<AtomicBool>,
    /// Time until which the process does not run, in milliseconds since the beginning.
    pub frozen_until_ms: u64,
    /// Whether the disk was told to fail since the last loss of power, so that the process may stop by
    /// itself.
    pub disk_may_fail: bool,
    /// Whether bits of the disk were flipped that nobody has found yet.
    pub disk_may_be_damaged: bool,
    directory: Directory,
    /// Generations of the node's replicas, by shard. They are as durable as the node's own facts, and are
    /// lost with the disk.
    seats: Seats,
    /// Whether the log was seen with a mark. This is as durable as the generations.
    log_is_marked: Arc<AtomicBool>,
    boots: u64,
    disks: u64,
    steps: u64,
    running: Option<Running>,
}

/// The generation of a node's replica, by shard.
type Seats = Arc<Mutex<BTreeMap<u32, u32>>>;

/// The reason why a process cannot go on.
#[derive(Debug, Clone)]
pub struct Death {
    /// Reason that the process gave.
    pub why: String,
    /// Whether the process found bytes on its disk that are not what was written.
    pub is_damage: bool,
}

/// The parts of a node that can be asked.
#[derive(Default)]
struct Services {
    shards: BTreeMap<u32, ShardHandle>,
    /// Orders, available once all shards run.
    orders: Option<Orders>,
}

type Shared = Arc<Mutex<Services>>;

/// The parts that a crash takes away. The tasks are dropped before the runtime that they run on.
struct Running {
    local: LocalSet,
    runtime: Runtime,
    services: Shared,
    died: Arc<Mutex<Option<Death>>>,
    behind_ms: u64,
}

impl Node {
    /// Makes a machine with an empty disk, which is not started.
    pub fn new(
        id: u64,
        plan: Arc<Plan>,
        clock: NodeClock,
        network: Network,
        record: Record,
        cursors: tail::Cursors,
        directory: Directory,
    ) -> Self {
        let seed = plan.seed_for("node", id);
        let founded = (0..plan.shards).filter(|_| id <= plan.nodes);
        let seats = Arc::new(Mutex::new(founded.map(|shard| (shard, 0)).collect()));
        Self {
            id,
            seed,
            plan,
            network,
            record,
            cursors,
            clock,
            disk: FaultDisk::new(seed),
            slow_disk_ms: Arc::default(),
            power_ends_with_a_vote: Arc::default(),
            frozen_until_ms: 0,
            disk_may_fail: false,
            disk_may_be_damaged: false,
            directory,
            seats,
            log_is_marked: Arc::default(),
            boots: 0,
            disks: 0,
            steps: 0,
            running: None,
        }
    }

    /// Returns the node's number.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Returns whether the process exists.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts the process.
    ///
    /// # Errors
    /// When the operating system gives it no runtime.
    pub fn start(&mut self) -> Result<()> {
        self.boots += 1;
        let seed = self.seed.wrapping_add(self.boots << 32);
        let runtime = Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .rng_seed(RngSeed::from_bytes(&seed.to_le_bytes()))
            .unhandled_panic(UnhandledPanic::ShutdownRuntime)
            .build()?;
        let local = LocalSet::new();
        let (services, died) = (Shared::default(), Arc::new(Mutex::new(None)));
        let boot = Boot {
            node: self.id,
            seed,
            plan: Arc::clone(&self.plan),
            network: self.network.clone(),
            record: self.record.clone(),
            cursors: self.cursors.clone(),
            host_clock: self.clock.clone(),
            disk: self.disk.clone(),
            slow_disk_ms: Arc::clone(&self.slow_disk_ms),
            votes: self.votes(),
            directory: self.directory.clone(),
            seats: Arc::clone(&self.seats),
            log_is_marked: Arc::clone(&self.log_is_marked),
            services: Arc::clone(&services),
            died: Arc::clone(&died),
        };
        local.spawn_local(async move {
            let died = Arc::clone(&boot.died);
            if let Err(error) = boot.run().await {
                died.lock().get_or_insert(Death {
                    why: format!("it did not start: {error:#}"),
                    is_damage: is_damage(&error),
                });
            }
        });
        self.running = Some(Running {
            local,
            runtime,
            services,
            died,
            behind_ms: 0,
        });
        Ok(())
    }

    /// Lets one millisecond pass.
    pub fn step(&mut self, now_ms: u64) {
        self.steps += 1;
        let seed = self
            .seed
            .wrapping_add(self.steps.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let votes = self.votes();
        let Some(running) = &mut self.running else {
            self.network.deliver(self.id, None);
            return;
        };
        if now_ms < self.frozen_until_ms {
            running.behind_ms += 1;
            return;
        }
        let behind = Duration::from_millis(std::mem::take(&mut running.behind_ms));
        let (id, network, services) = (self.id, &self.network, &running.services);
        let step = async {
            if !behind.is_zero() {
                tokio::time::advance(behind).await;
            }
            network.deliver(
                id,
                Some(&mut |question, reply| receive(services, &votes, question, reply)),
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        let step = seeded(seed, running.local.run_until(step));
        running.runtime.block_on(step);
    }

    fn votes(&self) -> Votes {
        Votes {
            node: self.id,
            record: self.record.clone(),
            disk: self.disk.clone(),
            seats: Arc::clone(&self.seats),
            power_ends: Arc::clone(&self.power_ends_with_a_vote),
        }
    }

    /// Returns whether the node leads a shard, as far as the node knows.
    pub fn leads(&self, shard: u32) -> bool {
        let role = self.inspect(|shards| shards.get(&shard).map(|shard| shard.status().role));
        role.flatten() == Some(Role::Leader)
    }

    /// Returns why the process cannot go on, if that is so.
    pub fn died(&self) -> Option<Death> {
        self.running
            .as_ref()
            .and_then(|running| running.died.lock().clone())
    }

    /// Ends the process at once. What it wrote stays in the page cache.
    pub fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            let _runtime = running.runtime.enter();
            drop(running.local);
            *running.services.lock() = Services::default();
        }
        self.frozen_until_ms = 0;
    }

    /// Cuts the power. What was not synced may be gone.
    pub fn lose_power(&mut self) {
        self.kill();
        self.disk = self.disk.crash();
        self.disk_may_fail = false;
        self.power_ends_with_a_vote.store(false, Ordering::Relaxed);
    }

    /// Stops the node and puts an empty disk in place of its own. Its replicas know nothing any more, so it
    /// gets new ones.
    pub fn lose_disk(&mut self) {
        self.lose_power();
        self.disks += 1;
        self.disk = FaultDisk::new(self.seed.wrapping_add(self.disks));
        self.disk_may_be_damaged = false;
        self.seats.lock().clear();
        self.log_is_marked.store(false, Ordering::Relaxed);
        self.directory.replace_disk(self.id);
    }

    /// Returns whether the node has exactly the replicas that the directory wants it to have.
    pub fn has_its_replicas(&self) -> bool {
        let seats = self.seats.lock();
        (0..self.plan.shards).all(|shard| {
            let wanted = self.directory.runs(shard, self.id);
            wanted.map(|replica| replica.generation) == seats.get(&shard).copied()
        })
    }

    /// Asks the node's shards something, at the node's own time. Returns none when they do not run.
    pub fn inspect<T>(&self, look: impl FnOnce(&BTreeMap<u32, ShardHandle>) -> T) -> Option<T> {
        let running = self.running.as_ref()?;
        let _runtime = running.runtime.enter();
        let services = running.services.lock();
        services.orders.as_ref().map(|_| look(&services.shards))
    }
}

impl Node {
    /// Returns what the node holds of a shard: its change log and the digest of its ledger.
    ///
    /// # Errors
    /// When the node is not running, or cannot read what it holds.
    pub fn kept(&mut self, shard: u32) -> Result<Kept> {
        self.steps += 1;
        let running = self.running.as_ref().context("it is down")?;
        let handle = running
            .services
            .lock()
            .shards
            .get(&shard)
            .cloned()
            .context("it is starting")?;
        let look = async {
            let soon = tokio::time::Instant::now() + Duration::from_secs(1);
            handle.query(Query::Digest, Freshness::Stale, soon).await
        };
        let answer = seeded(self.steps, running.local.run_until(look));
        let answer = running.runtime.block_on(answer)?;
        let QueryReply::Digest(digest) = answer.reply else {
            bail!("not a digest: {:?}", answer.reply);
        };
        let reader = handle.changes().context("it has no replica")?;
        let mut kept = Kept {
            changes: Vec::new(),
            first_seq: reader.first_seq(),
            last_seq: reader.last_seq(),
            digest,
        };
        let mut next = kept.first_seq;
        while next <= kept.last_seq {
            let read = reader.read(next, 64 << 10)?;
            next = read.last().context("it has fewer changes than it says")?.seq + 1;
            kept.changes.extend(read);
        }
        Ok(kept)
    }
}

/// Does the work of a log's writer thread: takes all that waits, writes and syncs it, after the time that a
/// disk takes.
async fn sync_disk(log: Log, seed: u64, slow_disk_ms: Arc<AtomicU64>) {
    let mut random = SmallRng::seed_from_u64(seed);
    loop {
        let slow_ms = slow_disk_ms.load(Ordering::Relaxed);
        let sync_ms = random.random_range(1..=2) + slow_ms;
        tokio::time::sleep(Duration::from_millis(sync_ms)).await;
        log.drain();
    }
}

fn unknown(error: PeerMessageError) -> TransportError {
    TransportError::Unknown(error.to_string())
}

/// An observer that notes the votes which a node gives, and may cut the node's power right after one.
#[derive(Clone)]
struct Votes {
    node: u64,
    record: Record,
    disk: FaultDisk,
    seats: Seats,
    power_ends: Arc<AtomicBool>,
}

impl Votes {
    /// Notes that a message with this vote leaves the node.
    fn given(&self, shard: u32, vote: Option<GivenVote>) {
        let generation = self.seats.lock().get(&shard).copied();
        let (Some(vote), Some(generation)) = (vote.filter(|_| self.disk.has_power()), generation) else {
            return;
        };
        self.record
            .vote_given(replica(self.node, generation), shard, vote);
        if self.power_ends.swap(false, Ordering::Relaxed) {
            self.disk.cut_power_after(0);
        }
    }
}

/// Takes a message and arranges its answer.
fn receive(services: &Shared, votes: &Votes, question: Question, reply: Reply) {
    let disk = &votes.disk;
    let number = match &question {
        Question::Ask { shard, .. } | Question::Snapshot { shard, .. } => *shard,
    };
    let (shard, orders) = {
        let services = services.lock();
        (services.shards.get(&number).cloned(), services.orders.clone())
    };
    let Some(shard) = shard else {
        reply.send(Some(disk), Err(TransportError::NotSent("it is starting".into())));
        return;
    };
    let disk = disk.clone();
    match question {
        Question::Ask {
            channel: Channel::Raft,
            payload,
            ..
        } => {
            // The message is handed over before the next one is looked at. Only the answer is waited for.
            let answer = shard.handle_raft(payload);
            let votes = votes.clone();
            tokio::task::spawn_local(async move {
                let answer = answer.await.map_err(unknown);
                votes.given(number, answer.as_deref().ok().and_then(GivenVote::in_answer));
                reply.send(Some(&disk), answer);
            });
        }
        Question::Ask { channel, payload, .. } => {
            tokio::task::spawn_local(async move {
                let answer = match channel {
                    Channel::Client => requests::serve(&shard, orders.as_ref(), &payload).await,
                    Channel::Raft | Channel::Forward => shard.handle_forward(payload).await,
                };
                reply.send(Some(&disk), Ok(answer));
            });
        }
        Question::Snapshot { header, chunks, .. } => {
            tokio::task::spawn_local(async move {
                let chunks = stream::unfold(chunks, async |mut chunks| {
                    chunks.recv().await.map(|chunk| (chunk, chunks))
                });
                let answer = shard.handle_snapshot(header, chunks.boxed()).await;
                reply.send(Some(&disk), answer.map_err(unknown));
            });
        }
    }
}

/// The connection of a replica to its peers.
struct Wire {
    network: Network,
    votes: Votes,
}

impl Wire {
    fn ask(
        &self,
        to: u64,
        channel: Channel,
        shard: u32,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        if !self.votes.disk.has_power() {
            return Box::pin(std::future::pending());
        }
        if channel == Channel::Raft {
            self.votes.given(shard, GivenVote::in_request(&payload));
        }
        self.network.ask((self.votes.node, to), channel, shard, payload)
    }
}

impl PeerTransport for Wire {
    fn raft(&self, to: u64, shard: u32, payload: Bytes) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        self.ask(to, Channel::Raft, shard, payload)
    }

    fn snapshot(
        &self,
        to: u64,
        shard: u32,
        header: Bytes,
        mut data: BoxStream<'static, Result<Bytes, std::io::Error>>,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        if !self.votes.disk.has_power() {
            return Box::pin(std::future::pending());
        }
        let (mut way, answer) = self.network.open_snapshot((self.votes.node, to), shard, header);
        Box::pin(async move {
            let sending = async move {
                while let Some(chunk) = data.next().await {
                    if !way.send_chunk(chunk) {
                        break;
                    }
                    tokio::time::sleep(CHUNK_PAUSE).await;
                }
            };
            futures::join!(sending, answer).1
        })
    }

    fn forward(
        &self,
        to: u64,
        shard: u32,
        payload: Bytes,
        timeout: Duration,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        let answer = self.ask(to, Channel::Forward, shard, payload);
        Box::pin(async move {
            match tokio::time::timeout(timeout, answer).await {
                Ok(answer) => answer,
                Err(_) => Err(TransportError::Unknown("no answer in time".into())),
            }
        })
    }
}
