//! One node: real shards on a simulated machine. It has a runtime and a time of its own, so a crash is dropping them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream};
use holdfast_ledger::{LedgerOptions, Query, QueryReply};
use holdfast_shard::{
    Freshness, Host, PeerMessageError, PeerTransport, ShardHandle, ShardOptions, ShardStores, Threads,
    TransportError, seeded, start_on,
};
use holdfast_storage::{
    ChangeLog, ChangeLogOptions, Disk, FaultDisk, Log, LogOptions, SnapshotStore, Writer,
};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::runtime::{Builder, RngSeed, Runtime, UnhandledPanic};
use tokio::task::LocalSet;

use crate::check::Kept;
use crate::network::{Channel, Network, Question, Reply};
use crate::orders::Orders;
use crate::plan::Plan;
use crate::record::Record;
use crate::requests;
use crate::tail;
use crate::time::NodeClock;

/// How long a snapshot's sender waits between two chunks.
const CHUNK_PAUSE: Duration = Duration::from_millis(1);

/// A machine and what runs on it, if anything does.
pub struct Node {
    id: u64,
    seed: u64,
    plan: Arc<Plan>,
    network: Network,
    record: Record,
    cursors: tail::Cursors,
    /// Its clock.
    pub clock: NodeClock,
    /// Its disk; another handle after each loss of power.
    pub disk: FaultDisk,
    /// Additional milliseconds that a sync takes.
    pub slow_disk_ms: Arc<AtomicU64>,
    /// Until when its process does not run, in milliseconds since the beginning.
    pub frozen_until_ms: u64,
    /// Whether its disk was told to fail it since it last lost power, so that it may stop by itself.
    pub disk_may_fail: bool,
    boots: u64,
    steps: u64,
    running: Option<Running>,
}

/// What of a node can be asked.
#[derive(Default)]
struct Services {
    shards: BTreeMap<u32, ShardHandle>,
    /// Once all shards run.
    orders: Option<Orders>,
}

type Shared = Arc<Mutex<Services>>;

/// What a crash takes away. The tasks go before the runtime they are on.
struct Running {
    local: LocalSet,
    runtime: Runtime,
    services: Shared,
    died: Arc<Mutex<Option<String>>>,
    behind_ms: u64,
}

impl Node {
    /// A machine with an empty disk, not started.
    pub fn new(
        id: u64,
        plan: Arc<Plan>,
        clock: NodeClock,
        network: Network,
        record: Record,
        cursors: tail::Cursors,
    ) -> Self {
        let seed = plan.seed_for("node", id);
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
            frozen_until_ms: 0,
            disk_may_fail: false,
            boots: 0,
            steps: 0,
            running: None,
        }
    }

    /// Its number.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Whether its process exists.
    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// Starts its process.
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
            services: Arc::clone(&services),
            died: Arc::clone(&died),
        };
        local.spawn_local(async move {
            let died = Arc::clone(&boot.died);
            if let Err(error) = boot.run().await {
                died.lock().get_or_insert(format!("it did not start: {error:#}"));
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

    /// One millisecond passes.
    pub fn step(&mut self, now_ms: u64) {
        self.steps += 1;
        let seed = self
            .seed
            .wrapping_add(self.steps.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let Some(running) = &mut self.running else {
            self.network.deliver(self.id, None);
            return;
        };
        if now_ms < self.frozen_until_ms {
            running.behind_ms += 1;
            return;
        }
        let behind = Duration::from_millis(std::mem::take(&mut running.behind_ms));
        let (id, network, disk, services) = (self.id, &self.network, &self.disk, &running.services);
        let step = async {
            if !behind.is_zero() {
                tokio::time::advance(behind).await;
            }
            network.deliver(
                id,
                Some(&mut |question, reply| receive(services, disk, question, reply)),
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        };
        let step = seeded(seed, running.local.run_until(step));
        running.runtime.block_on(step);
    }

    /// Why its process cannot go on, if that is so.
    pub fn died(&self) -> Option<String> {
        self.running
            .as_ref()
            .and_then(|running| running.died.lock().clone())
    }

    /// Its process ends without a word; what it wrote stays in the page cache.
    pub fn kill(&mut self) {
        if let Some(running) = self.running.take() {
            let _runtime = running.runtime.enter();
            drop(running.local);
            *running.services.lock() = Services::default();
        }
        self.frozen_until_ms = 0;
    }

    /// Its power fails; what was not synced may be gone.
    pub fn lose_power(&mut self) {
        self.kill();
        self.disk = self.disk.crash();
        self.disk_may_fail = false;
    }

    /// Asks its shards something, at its own time. None when they do not run.
    pub fn inspect<T>(&self, look: impl FnOnce(&BTreeMap<u32, ShardHandle>) -> T) -> Option<T> {
        let running = self.running.as_ref()?;
        let _runtime = running.runtime.enter();
        let services = running.services.lock();
        services.orders.as_ref().map(|_| look(&services.shards))
    }
}

impl Node {
    /// What it holds of a shard: its change log and the digest of its ledger.
    ///
    /// # Errors
    /// When it is not running, or cannot read what it holds.
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

/// What a process needs to come up.
struct Boot {
    node: u64,
    seed: u64,
    plan: Arc<Plan>,
    network: Network,
    record: Record,
    cursors: tail::Cursors,
    host_clock: NodeClock,
    disk: FaultDisk,
    slow_disk_ms: Arc<AtomicU64>,
    services: Shared,
    died: Arc<Mutex<Option<String>>>,
}

impl Boot {
    async fn run(self) -> Result<()> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let log_options = LogOptions {
            segment_bytes: 256 << 10,
            max_record_bytes: 96 << 10,
            cache_bytes_per_group: self.plan.log_cache_bytes,
            writer: Writer::Caller,
        };
        let (log, _) = Log::open(Arc::clone(&disk), log_options).context("log")?;
        let syncing = sync_disk(log.clone(), self.seed, Arc::clone(&self.slow_disk_ms));
        tokio::task::spawn_local(syncing);
        for shard in 0..self.plan.shards {
            let handle = self.start_shard(shard, &log, &disk).await?;
            let (died, fatal) = (Arc::clone(&self.died), handle.fatal());
            tokio::task::spawn_local(async move {
                let why = fatal.await;
                died.lock().get_or_insert(why);
            });
            let reader = tail::follow(
                self.node,
                shard,
                handle.changes().context("it has no replica")?,
                self.cursors.clone(),
                self.record.clone(),
            );
            tokio::task::spawn_local(reader);
            self.services.lock().shards.insert(shard, handle);
        }
        let handles: Vec<ShardHandle> = self.services.lock().shards.values().cloned().collect();
        let orders = Orders::new(handles.into());
        for shard in 0..self.plan.shards {
            let orders = orders.clone();
            tokio::task::spawn_local(async move { orders.resolve(shard).await });
        }
        self.services.lock().orders = Some(orders);
        Ok(())
    }

    async fn start_shard(&self, shard: u32, log: &Log, disk: &Arc<dyn Disk>) -> Result<ShardHandle> {
        let change_options = ChangeLogOptions {
            segment_bytes: 128 << 10,
            max_record_bytes: 96 << 10,
            index_every_bytes: 8 << 10,
        };
        let stores = ShardStores {
            log: log.clone(),
            group: shard,
            snapshots: SnapshotStore::open(Arc::clone(disk), shard).context("snapshots")?,
            changes: ChangeLog::open(Arc::clone(disk), shard, change_options)
                .context("changes")?
                .0,
        };
        let founders = (1..=self.plan.nodes).collect();
        let options = ShardOptions {
            max_entry_commands: 32,
            max_entry_bytes: 16 << 10,
            snapshot_every_entries: self.plan.snapshot_every_entries,
            keep_entries_for_laggards: self.plan.keep_entries_for_laggards,
            snapshot_chunk_bytes: 512,
            ..ShardOptions::new(shard, self.node, founders, LedgerOptions::default())
        };
        let host = Host {
            wall_clock: self.host_clock.wall_clock(),
            threads: Threads::Caller,
            observer: Some(self.record.observer(self.node, shard)),
        };
        let wire = Wire {
            node: self.node,
            network: self.network.clone(),
            disk: self.disk.clone(),
        };
        Ok(start_on(host, options, stores, Arc::new(wire)).await?)
    }
}

/// Does what a log's writer thread would: takes all that waits, writes and syncs it, after the time a disk takes.
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

/// Takes a message and sees to its answer.
fn receive(services: &Shared, disk: &FaultDisk, question: Question, reply: Reply) {
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
            // Handed over before the next message is looked at; only the answer is waited for.
            let answer = shard.handle_raft(payload);
            tokio::task::spawn_local(async move {
                let answer = answer.await.map_err(unknown);
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

/// A replica's way to its peers.
struct Wire {
    node: u64,
    network: Network,
    disk: FaultDisk,
}

impl Wire {
    fn ask(
        &self,
        to: u64,
        channel: Channel,
        shard: u32,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, TransportError>> {
        if !self.disk.has_power() {
            return Box::pin(std::future::pending());
        }
        self.network.ask((self.node, to), channel, shard, payload)
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
        if !self.disk.has_power() {
            return Box::pin(std::future::pending());
        }
        let (mut way, answer) = self.network.open_snapshot((self.node, to), shard, header);
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
