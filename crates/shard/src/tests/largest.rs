//! Tests of every kind of command in its largest legal form: applied, recorded, read again, built into
//! snapshots and installed from them, on every replica.

use std::collections::BTreeMap;

use holdfast_ledger::limits::{MAX_CELL_POOLS, MAX_LINES, MAX_ORDER_CELLS, MAX_PREFERENCES, swept_changes};
use holdfast_ledger::{
    Action, Bucket, CallerReason, Command, Details, Disposition, OperationId, Principal, Reference,
    ReserveLine, ReserveMode, ReturnOf, Sku, Source, Sourcing, StorefrontId, SupplyId, TransferLine,
    WarehouseId,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::cluster::{Cluster, check_changes, deadline, eventually};
use super::commands::{new_id, success};
use crate::limits::{ENTRY_CHANGES, MAX_RECORD_BYTES, RECORD_CHANGES};
use crate::{ShardHandle, codec};

/// Sizes of the commands.
#[derive(Debug, Clone, Copy)]
struct Shape {
    /// Lines of an order, and of a transfer.
    lines: usize,
    /// Warehouses from which an order takes each of its lines. Lines times warehouses is at most
    /// [`MAX_ORDER_CELLS`].
    warehouses: usize,
    /// Orders that take one unit in each line.
    orders: usize,
    /// Pools of the one cell that is adjusted and counted.
    pools: usize,
    /// Milliseconds that holds live which nobody settles.
    ttl_ms: u64,
}

const LARGEST: Shape = Shape {
    lines: MAX_LINES,
    warehouses: MAX_ORDER_CELLS / MAX_LINES,
    orders: 16,
    pools: MAX_CELL_POOLS,
    ttl_ms: 1,
};

fn shapes() -> impl Strategy<Value = Shape> {
    let of = |lines: usize| {
        let warehouses = prop_oneof![Just((MAX_ORDER_CELLS / lines).min(MAX_PREFERENCES)), Just(1)];
        let pools = prop_oneof![Just(1usize), 2..MAX_CELL_POOLS];
        (Just(lines), warehouses, 1..8usize, pools, 1..500u64)
    };
    let lines = prop_oneof![Just(1), Just(MAX_LINES), 2..MAX_LINES];
    lines
        .prop_flat_map(of)
        .prop_map(|(lines, warehouses, orders, pools, ttl_ms)| Shape {
            lines,
            warehouses,
            orders,
            pools,
            ttl_ms,
        })
}

/// Makes a name of the greatest length.
fn long(prefix: &str, number: usize, bytes: usize) -> String {
    format!("{prefix}{number:0>width$}", width = bytes - prefix.len())
}

/// Makes a SKU of the greatest length in bytes, mostly of letters that take two bytes.
fn sku(number: usize) -> Sku {
    const DIGITS: usize = 8;
    let letters = "ö".repeat((Sku::MAX_BYTES - DIGITS) / "ö".len());
    Sku::new(long(&letters, number, Sku::MAX_BYTES)).unwrap()
}

fn warehouse(number: usize) -> WarehouseId {
    WarehouseId::new(long("w", number, WarehouseId::MAX_BYTES)).unwrap()
}

fn storefront(number: usize) -> StorefrontId {
    StorefrontId::new(long("f", number, StorefrontId::MAX_BYTES)).unwrap()
}

fn command(action: Action) -> Command {
    Command {
        operation_id: new_id(),
        principal: Principal::new(long("p", 0, Principal::MAX_BYTES)).unwrap(),
        reference: Reference::new(long("r", 0, Reference::MAX_BYTES)).unwrap(),
        reason: CallerReason::new(long("y", 0, CallerReason::MAX_BYTES)).unwrap(),
        details: Details::default(),
        action,
    }
}

fn receive(number: usize, place: usize, quantity: i64) -> Command {
    let supply_id = SupplyId::new(long("u", number, SupplyId::MAX_BYTES)).unwrap();
    command(Action::Receive {
        sku: sku(number),
        warehouse: warehouse(place),
        quantity,
        supply_id: Some(supply_id),
    })
}

impl Shape {
    fn each_cell(self) -> impl Iterator<Item = (usize, usize)> {
        (0..self.lines).flat_map(move |line| (0..self.warehouses).map(move |place| (line, place)))
    }

    fn order(self, quantity: i64, ttl_ms: u64, source: &Source) -> Command {
        let line = |line| ReserveLine {
            sku: sku(line),
            quantity,
            source: source.clone(),
        };
        command(Action::Reserve {
            storefront: storefront(0),
            lines: (0..self.lines).map(line).collect(),
            ttl_ms,
            mode: ReserveMode::AllOrNothing,
            sourcing: Sourcing::AsGiven,
        })
    }

    /// Makes an order of one unit in one line.
    fn narrow(self, ttl_ms: u64) -> Command {
        self.order(1, ttl_ms, &Source::Warehouse(warehouse(0)))
    }

    /// Makes the order that takes from every cell, each of which has one unit left. Its lines have all
    /// preferences that a line may have.
    fn widest(self, ttl_ms: u64) -> Command {
        let preferred = (0..MAX_PREFERENCES).map(warehouse).collect();
        let units = i64::try_from(self.warehouses).unwrap();
        self.order(units, ttl_ms, &Source::Preference(preferred))
    }

    fn transfer_out(self) -> Command {
        let line = |line| TransferLine {
            sku: sku(line),
            quantity: 1,
        };
        command(Action::TransferOut {
            lines: (0..self.lines).map(line).collect(),
            from: warehouse(0),
            to: warehouse(self.warehouses),
            expected_at_ms: 1,
        })
    }
}

/// Submits all commands at once through a follower. All must succeed. Returns their ids.
async fn all(cluster: &Cluster, node: u64, commands: Vec<Command>) -> Vec<OperationId> {
    let ids = commands.iter().map(|command| command.operation_id).collect();
    let names: Vec<&str> = commands.iter().map(|command| command.action.name()).collect();
    let results = cluster.node(node).submit(commands, deadline()).await;
    for (result, name) in results.iter().zip(names) {
        assert!(success(result).is_some(), "{name}: {result:?}");
    }
    ids
}

fn each(ids: &[OperationId], action: impl Fn(OperationId) -> Action) -> Vec<Command> {
    ids.iter().map(|id| command(action(*id))).collect()
}

/// Plays all kinds of commands that callers have.
async fn play(cluster: &Cluster, node: u64, shape: Shape) {
    let Shape { orders, .. } = shape;
    let one_each = || -> Vec<Command> {
        shape
            .each_cell()
            .map(|(line, place)| receive(line, place, 1))
            .collect()
    };
    let units = i64::try_from(orders).unwrap();
    let enough = (0..shape.lines).map(|line| receive(line, 0, 2 * units));
    let committed = |reservation_id| Action::Commit { reservation_id };

    // These are the widest orders, one for each way that an order ends.
    let mut widest = Vec::new();
    for _ in 0..2 {
        all(cluster, node, one_each()).await;
        widest.extend(all(cluster, node, vec![shape.widest(3_600_000)]).await);
    }
    all(cluster, node, one_each()).await;
    let expiring = shape.widest(shape.ttl_ms);
    all(cluster, node, vec![expiring]).await;
    all(cluster, node, enough.collect()).await;
    let many = (0..orders).map(|_| shape.narrow(3_600_000));
    let mut ids = all(cluster, node, many.collect()).await;
    all(
        cluster,
        node,
        (0..orders.div_ceil(8))
            .map(|_| shape.narrow(shape.ttl_ms))
            .collect(),
    )
    .await;
    ids.extend(&widest);

    let extended = |reservation_id| Action::Extend {
        reservation_id,
        ttl_ms: 7_200_000,
    };
    all(cluster, node, each(&ids, extended)).await;
    // All at once make more changes than one entry may plan for.
    all(cluster, node, each(&ids, committed)).await;
    let (shipped, cancelled) = ids.split_at(ids.len() / 2);
    let shipping = each(shipped, |reservation_id| Action::Ship {
        reservation_id,
        lines: Vec::new(),
    });
    let cancelling = each(cancelled, |reservation_id| Action::Cancel {
        reservation_id,
        lines: Vec::new(),
    });
    all(cluster, node, shipping.into_iter().chain(cancelling).collect()).await;
    let returning = |reservation_id| Action::Return {
        of: ReturnOf::Reservation {
            reservation_id,
            lines: Vec::new(),
        },
        disposition: Disposition::Restock,
    };
    all(cluster, node, each(shipped, returning)).await;

    let moved = all(cluster, node, vec![shape.transfer_out(), shape.transfer_out()]).await;
    let arriving = command(Action::TransferIn {
        transfer_id: moved[0],
        lines: Vec::new(),
        disposition: Disposition::QualityHold,
    });
    let closing = command(Action::CloseTransfer {
        transfer_id: moved[1],
    });
    all(cluster, node, vec![arriving, closing]).await;

    // In one cell with many pools, an Adjust down and a Count take from each pool.
    let (sku, place) = (sku(shape.lines), warehouse(0));
    all(cluster, node, vec![receive(shape.lines, 0, 10_000)]).await;
    let pool = |number| {
        command(Action::AllocatePool {
            sku: sku.clone(),
            warehouse: place.clone(),
            storefront: storefront(number),
            target: 2,
        })
    };
    all(cluster, node, (0..shape.pools).map(pool).collect()).await;
    let pooled = i64::try_from(shape.pools).unwrap();
    let take = command(Action::Adjust {
        sku: sku.clone(),
        warehouse: place.clone(),
        delta: pooled - 10_000,
    });
    let count = command(Action::Count {
        sku: sku.clone(),
        warehouse: place.clone(),
        counted: 1,
        as_of_seq: None,
    });
    let bucket = command(Action::MoveBucket {
        sku,
        warehouse: place,
        from: Bucket::Free,
        to: Bucket::Damaged,
        quantity: 1,
    });
    all(cluster, node, vec![receive(shape.lines, 1, 1), take, count]).await;
    all(cluster, node, vec![receive(shape.lines, 0, 5), bucket]).await;
}

/// Checks the sizes of what a replica has recorded.
fn check_sizes(handle: &ShardHandle) {
    let reader = handle.changes().unwrap();
    let mut changes = Vec::new();
    while (changes.len() as u64) < handle.status().last_seq {
        changes.extend(reader.read(changes.len() as u64 + 1, 1 << 20).unwrap());
    }
    let mut entries: BTreeMap<u64, usize> = BTreeMap::new();
    for change in &changes {
        *entries.entry(change.log_index).or_default() += 1;
    }
    let most = ENTRY_CHANGES + swept_changes(MAX_LINES);
    for (index, made) in entries {
        assert!(made <= most, "entry {index} made {made} changes");
    }
    for record in changes.chunks(RECORD_CHANGES) {
        let bytes = codec::encode(record).unwrap().len();
        assert!(bytes <= MAX_RECORD_BYTES, "a record of {bytes} bytes");
    }
}

async fn holds(shape: Shape) {
    let mut cluster = Cluster::start_with(|options| {
        options.election_timeout_min_ms = 5_000;
        options.election_timeout_max_ms = 6_000;
        options.snapshot_every_entries = 20;
        options.keep_entries_for_laggards = 1;
        options.snapshot_chunk_bytes = 64 << 10;
    })
    .await;
    let leader = cluster.leader().await;
    let (behind, through) = match leader {
        1 => (2, 3),
        2 => (3, 1),
        _ => (1, 2),
    };
    all(&cluster, through, vec![receive(shape.lines, 0, 1)]).await;
    cluster.agree().await;
    let reached = cluster.node(behind).status().applied_index;
    cluster.stop_node(behind).await;
    play(&cluster, through, shape).await;
    let node = cluster.node(leader);
    eventually("nothing is held any more", || {
        node.status().live_reservations == 0
    })
    .await;
    cluster.agree().await;
    check_sizes(&node);
    while node.status().purged_index <= reached + 1 {
        all(&cluster, through, vec![receive(shape.lines, 0, 1)]).await;
    }

    // A replica that was away gets everything by a snapshot, and one that dies has everything on its disk.
    let back = cluster.start_node(behind).await;
    eventually("the snapshot is installed", || {
        back.metrics().snapshots_installed > 0
    })
    .await;
    cluster.agree().await;
    check_sizes(&back);
    for node in [behind, through] {
        cluster.crash_node(node).await;
        check_changes(&cluster.start_node(node).await);
        cluster.agree().await;
    }
    cluster.stop().await;
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn what_is_as_large_as_the_limits_allow_is_applied_recorded_and_installed() {
    runtime().block_on(holds(LARGEST));
}

#[test]
fn so_is_what_is_large_in_another_way() {
    let config = Config {
        cases: 2,
        max_shrink_iters: 8,
        ..Config::default()
    };
    TestRunner::new(config)
        .run(&shapes(), |shape| {
            runtime().block_on(holds(shape));
            Ok(())
        })
        .unwrap();
}
