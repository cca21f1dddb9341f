//! Nodes that join, leave, and come back without their disk.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use holdfast_api::v1;
use tonic::Code;

use crate::support::*;

const SHARDS: u32 = 4;

async fn placement(cluster: &TestCluster, index: usize) -> v1::GetPlacementResponse {
    let request = v1::GetPlacementRequest {};
    let placement = cluster.admin(index).get_placement(request).await;
    placement.unwrap().into_inner()
}

/// Waits until every shard has three replicas on some of these nodes, and no replica is on its way.
async fn placed_on(cluster: &TestCluster, nodes: &[u64]) -> v1::GetPlacementResponse {
    let nodes: BTreeSet<u64> = nodes.iter().copied().collect();
    eventually("replicas are where they belong", || async {
        let now = placement(cluster, 0).await;
        let there = !now.balancing
            && now.shards.len() == SHARDS as usize
            && now.shards.iter().all(|shard| {
                shard.former_node_ids.is_empty()
                    && shard.node_ids.len() == 3
                    && shard.node_ids.iter().all(|node| nodes.contains(node))
            });
        there.then_some(now)
    })
    .await
}

async fn add(cluster: &TestCluster, node_id: u64) {
    // The node introduces itself to each member, whether its configuration lists the member or not: any of
    // them may lead the directory.
    for member in placement(cluster, 0).await.members {
        let index = member.node_id as usize - 1;
        if cluster.nodes[index].is_none() {
            continue;
        }
        eventually("the node has introduced itself", || async {
            let now = placement(cluster, index).await;
            let waits = now.waiting.iter().any(|waiting| waiting.node_id == node_id);
            waits.then_some(())
        })
        .await;
    }
    let request = v1::AddNodeRequest {
        node_id,
        ..Default::default()
    };
    // The directory's leader may not have heard of the founding yet.
    eventually("the node is added", || async {
        cluster.admin(0).add_node(request).await.ok()
    })
    .await;
}

/// Makes thirty reservations through one node, and returns their ids.
async fn thirty_grants(cluster: &TestCluster, index: usize) -> Vec<Bytes> {
    let mut acknowledged = Vec::new();
    let client = cluster.reservations(index);
    for turn in 0..30 {
        let reservation = id();
        retried(|| {
            let request = reserve(&reservation, &format!("SKU-{}", turn % 12), 1);
            let mut client = client.clone();
            async move { client.reserve(request).await }
        })
        .await
        .unwrap();
        acknowledged.push(reservation);
    }
    acknowledged
}

async fn drain(cluster: &TestCluster, node_ids: &[u64]) -> Result<v1::PlacementChange, tonic::Status> {
    let request = v1::DrainNodeRequest {
        node_ids: node_ids.to_vec(),
        ..Default::default()
    };
    let change = cluster.admin(0).drain_node(request).await?;
    Ok(change.into_inner())
}

/// Repeats a drain until it is decided. The node that decides may hear from another node later than the node
/// that reported it.
async fn decided_drain(cluster: &TestCluster, node_ids: &[u64]) -> v1::PlacementChange {
    eventually("the drain is decided", || async {
        drain(cluster, node_ids).await.ok()
    })
    .await
}

/// Reserves without a pause through the first three nodes until `stop` is set, and returns what was
/// acknowledged.
fn keep_reserving(cluster: &TestCluster, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<Vec<Bytes>> {
    let clients: Vec<_> = (0..3).map(|index| cluster.reservations(index)).collect();
    let stop = Arc::clone(stop);
    tokio::spawn(async move {
        let mut acknowledged = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let (turn, reservation) = (acknowledged.len(), id());
            let sku = format!("SKU-{}", turn % 12);
            retried(|| {
                let (mut client, request) = (clients[turn % 3].clone(), reserve(&reservation, &sku, 1));
                async move { client.reserve(request).await }
            })
            .await
            .unwrap();
            acknowledged.push(reservation);
        }
        acknowledged
    })
}

/// Checks that each acknowledged reservation is there once, through every node, and that every node serves
/// every change from the first on.
async fn check(cluster: &TestCluster, acknowledged: &[Bytes], stocked: usize) {
    for index in 0..cluster.nodes.len() {
        if cluster.nodes[index].is_none() {
            continue;
        }
        let mut reserved = BTreeSet::new();
        let mut changes = 0;
        for shard in 0..SHARDS {
            // A follower's replica may be a moment behind.
            let all = eventually("the changes are there", || async {
                let last_seq = cluster
                    .changes(index)
                    .get_positions(v1::GetPositionsRequest {})
                    .await
                    .ok()?
                    .into_inner()
                    .shards[shard as usize]
                    .last_seq;
                let all = cluster.all_changes(index, shard).await;
                (all.len() as u64 == last_seq).then_some(all)
            })
            .await;
            for (seq, change) in (1..).zip(&all) {
                assert_eq!(change.seq, seq, "shard {shard} through node {}", index + 1);
                if change.kind() == v1::ChangeKind::Reserved {
                    let made = change.reservation.as_ref().unwrap();
                    assert!(reserved.insert(made.reservation_id.clone()), "twice");
                }
            }
            changes += all.len();
        }
        let expected: BTreeSet<Bytes> = acknowledged.iter().cloned().collect();
        assert_eq!(reserved, expected, "through node {}", index + 1);
        assert_eq!(changes, acknowledged.len() + stocked);
    }
}

async fn stock(cluster: &TestCluster) -> usize {
    for sku in 0..12 {
        cluster.receive(0, &format!("SKU-{sku}"), 1_000_000).await;
    }
    12
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_become_five_and_three_again_while_orders_come_in() {
    let mut cluster = TestCluster::start_with(3, |config| config.shards.count = SHARDS).await;
    let stocked = stock(&cluster).await;
    let stop = Arc::new(AtomicBool::new(false));
    let orders = keep_reserving(&cluster, &stop);

    for node_id in [4, 5] {
        let index = cluster.start_newcomer().await;
        assert!(
            !cluster.node(index).is_ready(),
            "it has no part in the cluster yet"
        );
        add(&cluster, node_id).await;
    }
    let now = placed_on(&cluster, &[1, 2, 3, 4, 5]).await;
    for member in &now.members {
        assert!(
            (2..=3).contains(&member.replicas),
            "12 replicas on 5 nodes: {member:?}"
        );
    }
    cluster.ready().await;
    // A node without a replica of a shard still takes requests for it.
    for index in 0..5 {
        for sku in 0..12 {
            assert_eq!(cluster.cell(index, &format!("SKU-{sku}")).await.warehouse, "W1");
        }
    }

    decided_drain(&cluster, &[4, 5]).await;
    placed_on(&cluster, &[1, 2, 3]).await;
    for node_id in [4, 5] {
        let request = v1::RemoveNodeRequest {
            node_id,
            dry_run: false,
        };
        cluster.admin(0).remove_node(request).await.unwrap();
    }
    eventually("the directory has three members", || async {
        (placement(&cluster, 0).await.members.len() == 3).then_some(())
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    let acknowledged = orders.await.unwrap();
    assert!(acknowledged.len() > 20, "{} orders only", acknowledged.len());
    cluster.stop(3).await;
    cluster.stop(4).await;
    check(&cluster, &acknowledged, stocked).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_disk_comes_back_as_somebody_who_learns_first() {
    let mut cluster = TestCluster::start_with(3, |config| config.shards.count = SHARDS).await;
    let stocked = stock(&cluster).await;
    cluster.stop(2).await;
    cluster.wipe(2);
    let stop = Arc::new(AtomicBool::new(false));
    let mut acknowledged = thirty_grants(&cluster, 1).await;
    cluster.start_again(2).await;
    let orders = keep_reserving(&cluster, &stop);
    eventually("it has replicas under new numbers", || async {
        let status = cluster
            .cluster(2)
            .get_node_status(v1::GetNodeStatusRequest {})
            .await;
        let replicas = status.ok()?.into_inner().replicas;
        let all_new = replicas.iter().all(|replica| {
            replica.generation > 0 && (replica.role == "follower" || replica.role == "leader")
        });
        (replicas.len() == SHARDS as usize && all_new).then_some(())
    })
    .await;
    placed_on(&cluster, &[1, 2, 3]).await;
    stop.store(true, Ordering::Relaxed);
    acknowledged.extend(orders.await.unwrap());
    cluster.ready().await;
    check(&cluster, &acknowledged, stocked).await;

    // The two nodes that were never wiped may stop now, one after the other: the third has all data, and a
    // vote.
    cluster.stop(0).await;
    let client = cluster.reservations(2);
    let reservation = id();
    retried(|| {
        let (mut client, request) = (client.clone(), reserve(&reservation, "SKU-0", 1));
        async move { client.reserve(request).await }
    })
    .await
    .unwrap();
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_there_is_not_ended_by_another_that_was_started_with_its_number() {
    let mut cluster = TestCluster::start_with(3, |config| config.shards.count = SHARDS).await;
    let stocked = stock(&cluster).await;
    let impostor = cluster.start_impostor_of(2).await;
    for index in 0..3 {
        eventually("the others have heard of it", || async {
            let waiting = placement(&cluster, index).await.waiting;
            (index == 2 || waiting.iter().any(|waiting| waiting.node_id == 3)).then_some(())
        })
        .await;
    }
    // Without node 2 a grant needs the real node 3.
    cluster.stop(1).await;
    let acknowledged = thirty_grants(&cluster, 2).await;
    // A node that is away is not replaced either while the others are too few without it: the impostor of
    // node 2 has to wait.
    let second = cluster.start_impostor_of(1).await;
    eventually("node 1 has heard of it", || async {
        let waiting = placement(&cluster, 0).await.waiting;
        waiting.iter().any(|waiting| waiting.node_id == 2).then_some(())
    })
    .await;
    let status = cluster
        .cluster(2)
        .get_node_status(v1::GetNodeStatusRequest {})
        .await;
    let replicas = status.unwrap().into_inner().replicas;
    assert!(
        replicas.len() == SHARDS as usize && replicas.iter().all(|replica| replica.generation == 0),
        "node 3 has other replicas than it began with: {replicas:?}"
    );
    let ended = futures::FutureExt::now_or_never(cluster.node(2).fatal());
    assert_eq!(ended, None, "node 3 must not go on");
    cluster.stop(2).await;
    within_patience("the impostors stop", async {
        impostor.stop().await.unwrap();
        second.stop().await.unwrap();
    })
    .await;
    cluster.start_again(1).await;
    cluster.start_again(2).await;
    cluster.ready().await;
    check(&cluster, &acknowledged, stocked).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_node_is_replaced_by_another() {
    let mut cluster = TestCluster::start_with(3, |config| config.shards.count = SHARDS).await;
    let stocked = stock(&cluster).await;
    cluster.stop(2).await;
    let refused = eventually("the others have noticed", || async {
        let refused = drain(&cluster, &[3]).await.err();
        // The node that gets the request may not have heard of the founding yet.
        refused.filter(|status| !status.message().contains("not founded"))
    })
    .await;
    assert_eq!(
        refused.code(),
        Code::InvalidArgument,
        "there is nobody to replace it: {refused:?}"
    );
    assert!(refused.message().contains("add a node first"), "{refused:?}");

    cluster.start_newcomer().await;
    add(&cluster, 4).await;
    decided_drain(&cluster, &[3]).await;
    placed_on(&cluster, &[1, 2, 4]).await;
    let request = v1::RemoveNodeRequest {
        node_id: 3,
        dry_run: false,
    };
    assert!(
        cluster
            .admin(0)
            .remove_node(request)
            .await
            .unwrap()
            .into_inner()
            .changed
    );
    cluster.ready().await;
    check(&cluster, &[], stocked).await;

    // A removed node does not come back as if nothing had happened.
    cluster.start_again(2).await;
    eventually("it knows that it is out", || async {
        (!cluster.node(2).is_ready()).then_some(())
    })
    .await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_may_be_asked_for_again_while_the_node_it_needs_is_away() {
    let mut cluster = TestCluster::start_with(3, |config| config.shards.count = SHARDS).await;
    cluster.start_newcomer().await;
    let request = v1::AddNodeRequest {
        node_id: 4,
        without_rebalance: true,
        dry_run: false,
    };
    eventually("the node is let in and heard", || async {
        cluster.admin(0).add_node(request).await.ok()?;
        let now = placement(&cluster, 0).await;
        let heard = |member: &v1::Member| member.node_id == 4 && member.reachable;
        now.members.iter().any(heard).then_some(())
    })
    .await;
    decided_drain(&cluster, &[2]).await;
    cluster.stop(3).await;
    assert!(
        !drain(&cluster, &[2]).await.unwrap().changed,
        "it is decided already"
    );
    cluster.start_again(3).await;
    placed_on(&cluster, &[1, 3, 4]).await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_refused_and_a_dry_run_changes_nothing() {
    let mut cluster = TestCluster::start_with(3, |config| config.shards.count = SHARDS).await;
    let before = eventually("the directory is there", || async {
        let now = placement(&cluster, 0).await;
        (now.members.len() == 3).then_some(now)
    })
    .await;
    let mut admin = cluster.admin(0);
    let unknown = v1::AddNodeRequest {
        node_id: 9,
        ..Default::default()
    };
    let refused = admin.add_node(unknown).await.unwrap_err();
    assert!(
        refused.message().contains("has not introduced itself"),
        "{refused:?}"
    );
    for node_id in [3, 9] {
        let refused = drain(&cluster, &[node_id]).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    let remove = v1::RemoveNodeRequest {
        node_id: 3,
        dry_run: false,
    };
    let refused = admin.remove_node(remove).await.unwrap_err();
    assert!(refused.message().contains("drain it first"), "{refused:?}");

    cluster.start_newcomer().await;
    let planned = eventually("the node has introduced itself", || async {
        let request = v1::AddNodeRequest {
            node_id: 4,
            dry_run: true,
            ..Default::default()
        };
        cluster.admin(0).add_node(request).await.ok()
    })
    .await
    .into_inner();
    assert!(!planned.changed);
    assert_eq!(planned.moves.len(), 3, "12 replicas on 4 nodes: {planned:?}");
    assert!(planned.moves.iter().all(|planned| planned.to_node_id == 4));
    let now = placement(&cluster, 0).await;
    assert_eq!(
        (now.version, now.members, now.shards),
        (before.version, before.members, before.shards)
    );
    cluster.stop_all().await;
}
