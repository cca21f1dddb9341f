//! The start of a process: it opens its disk, takes its replicas and follows the directory.

use super::*;

/// The parts that a process needs to start.
#[derive(Clone)]
pub(super) struct Boot {
    pub(super) node: u64,
    pub(super) seed: u64,
    pub(super) plan: Arc<Plan>,
    pub(super) network: Network,
    pub(super) record: Record,
    pub(super) cursors: tail::Cursors,
    pub(super) host_clock: NodeClock,
    pub(super) disk: FaultDisk,
    pub(super) slow_disk_ms: Arc<AtomicU64>,
    pub(super) votes: Votes,
    pub(super) directory: Directory,
    pub(super) seats: Seats,
    pub(super) log_is_marked: Arc<AtomicBool>,
    pub(super) services: Shared,
    pub(super) died: Arc<Mutex<Option<Death>>>,
}

impl Boot {
    pub(super) async fn run(self) -> Result<()> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let log_options = LogOptions {
            segment_bytes: 4 * self.plan.max_record_bytes,
            max_record_bytes: self.plan.max_record_bytes,
            cache_bytes_per_group: self.plan.log_cache_bytes,
            writer: Writer::Caller,
            expects_mark: self.log_is_marked.load(Ordering::Relaxed),
        };
        let (log, report) = Log::open(Arc::clone(&disk), log_options).context("log")?;
        self.log_is_marked.fetch_or(report.is_marked, Ordering::Relaxed);
        let syncing = sync_disk(log.clone(), self.seed, Arc::clone(&self.slow_disk_ms));
        tokio::task::spawn_local(syncing);
        let seats = self.seats.lock().clone();
        for (shard, generation) in &seats {
            let vote = log.state(group(*shard, *generation)).vote;
            let vote = vote.and_then(|vote| GivenVote::in_log(&vote));
            self.record
                .vote_found(replica(self.node, *generation), *shard, vote);
        }
        for shard in 0..self.plan.shards {
            let wire = Wire {
                network: self.network.clone(),
                votes: self.votes.clone(),
            };
            let handle = ShardHandle::elsewhere(shard, self.node, Arc::new(wire));
            if let Some(generation) = seats.get(&shard) {
                self.take_seat(&handle, *generation, &log).await?;
            }
            let (died, fatal) = (Arc::clone(&self.died), handle.fatal());
            tokio::task::spawn_local(async move {
                let death = Death {
                    why: fatal.await,
                    is_damage: false,
                };
                died.lock().get_or_insert(death);
            });
            // No fault of a disk explains an entry that cannot be applied.
            let (record, halted, node) = (self.record.clone(), handle.halted(), self.node);
            tokio::task::spawn_local(async move {
                let halt = halted.await;
                record.violation(format!("node {node}, shard {shard}: {halt}"));
            });
            self.services.lock().shards.insert(shard, handle);
        }
        let handles: Vec<ShardHandle> = self.services.lock().shards.values().cloned().collect();
        let orders = Orders::new(handles.clone().into());
        for shard in 0..self.plan.shards {
            let orders = orders.clone();
            tokio::task::spawn_local(async move { orders.resolve(shard).await });
        }
        self.services.lock().orders = Some(orders);
        self.follow_the_directory(&handles, &log).await
    }

    /// Takes and leaves seats as the directory says, and moves the replicas of shards that this node leads to
    /// where they belong. Ends with an error only.
    async fn follow_the_directory(&self, handles: &[ShardHandle], log: &Log) -> Result<()> {
        let mut random = SmallRng::seed_from_u64(self.seed ^ 0xd1);
        loop {
            let pause_ms = random.random_range(20..300);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            for handle in handles {
                let placement = self.directory.placement(handle.shard());
                let holders = placement.replicas.union(&placement.former);
                handle.set_holders(holders.copied().collect());
                let here = handle.replica_id();
                let wanted = self.directory.runs(handle.shard(), self.node);
                if here != wanted {
                    if here.is_some() {
                        handle.leave_seat().await;
                        self.seats.lock().remove(&handle.shard());
                    }
                    if let Some(wanted) = wanted {
                        self.seats.lock().insert(handle.shard(), wanted.generation);
                        self.take_seat(handle, wanted.generation, log).await?;
                    }
                }
                if !placement.is_complete() && handle.leads() {
                    let target = Target {
                        voters: placement.replicas.clone(),
                        learners: BTreeSet::new(),
                    };
                    if let Ok(Step::Reached) = handle.step_towards(&target).await {
                        self.directory.placed(handle.shard(), &placement.replicas);
                    }
                }
            }
        }
    }

    async fn take_seat(&self, handle: &ShardHandle, generation: u32, log: &Log) -> Result<()> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let shard = handle.shard();
        let change_options = ChangeLogOptions {
            segment_bytes: 128 << 10,
            max_record_bytes: 2 * self.plan.max_record_bytes,
            index_every_bytes: 8 << 10,
        };
        let group = group(shard, generation);
        let stores = ShardStores {
            log: log.clone(),
            group,
            snapshots: SnapshotStore::open(Arc::clone(&disk), group).context("snapshots")?,
            changes: ChangeLog::open(disk, group, change_options).context("changes")?.0,
        };
        let founders = (1..=self.plan.nodes).filter(|_| generation == 0).collect();
        let options = ShardOptions {
            generation,
            max_entry_commands: self.plan.max_entry_commands,
            max_entry_bytes: self.plan.max_entry_bytes,
            snapshot_every_entries: self.plan.snapshot_every_entries,
            keep_entries_for_laggards: self.plan.keep_entries_for_laggards,
            snapshot_chunk_bytes: 512,
            ..ShardOptions::new(shard, self.node, founders, self.plan.ledger.clone())
        };
        let host = Host {
            wall_clock: self.host_clock.wall_clock(),
            threads: Threads::Caller,
            observer: Some(self.record.observer(self.node, shard)),
        };
        handle.take_seat(host, options, stores).await?;
        let reader = tail::follow(
            self.node,
            shard,
            handle.changes().context("it has no replica")?,
            self.cursors.clone(),
            self.record.clone(),
        );
        tokio::task::spawn_local(reader);
        Ok(())
    }
}

/// Returns the part of the log that a replica has, which is also the name of its files. Each replica has its
/// own, so that a later one finds nothing of an earlier one.
fn group(shard: u32, generation: u32) -> GroupId {
    generation << 8 | shard
}

pub(super) fn replica(node: u64, generation: u32) -> ReplicaId {
    ReplicaId {
        generation,
        ..ReplicaId::founder(node)
    }
}

/// Returns whether a start failed because bytes on disk are not what was written.
pub(super) fn is_damage(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref().is_some_and(LogError::is_damage)
            || cause.downcast_ref().is_some_and(SnapshotError::is_damage)
            || cause.downcast_ref().is_some_and(ChangeLogError::is_damage)
            || matches!(cause.downcast_ref(), Some(StartError::Damaged { .. }))
    })
}
