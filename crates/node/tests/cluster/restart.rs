//! Nodes that stop and start again.

use holdfast_api::v1;
use holdfast_node::{Node, StartError};

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_after_the_leader_stops_and_it_comes_back_with_everything() {
    let mut cluster = TestCluster::start().await;
    let shard = cluster
        .receive(0, "A", 1_000)
        .await
        .receipt
        .unwrap()
        .position
        .unwrap()
        .shard;
    let mut acknowledged = Vec::new();
    for _ in 0..20 {
        let reservation = id();
        cluster
            .reservations(0)
            .reserve(reserve(&reservation, "A", 1))
            .await
            .unwrap();
        acknowledged.push(reservation);
    }
    let leader = cluster.topology(0).await.shards[shard as usize].leader_node_id;
    let leader = usize::try_from(leader).unwrap() - 1;
    cluster.stop(leader).await;
    let others: Vec<usize> = (0..3).filter(|index| *index != leader).collect();
    for turn in 0..20 {
        let reservation = id();
        let client = cluster.reservations(others[turn % 2]);
        retried(|| {
            let (mut client, request) = (client.clone(), reserve(&reservation, "A", 1));
            async move { client.reserve(request).await }
        })
        .await
        .unwrap();
        acknowledged.push(reservation);
    }
    cluster.start_again(leader).await;
    cluster.ready().await;
    for reservation in &acknowledged {
        let request = v1::GetReservationRequest {
            reservation: key(reservation),
            consistency: 0,
        };
        let found = cluster
            .reservations(leader)
            .get_reservation(request)
            .await
            .unwrap()
            .into_inner();
        assert_eq!(found.reservation.unwrap().state(), v1::ReservationState::Held);
    }
    let changes = eventually("the replica has caught up", || async {
        Some(cluster.all_changes(leader, shard).await).filter(|changes| changes.len() == 41)
    })
    .await;
    assert!(changes.iter().zip(1..).all(|(change, seq)| change.seq == seq));
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_whole_cluster_comes_back_from_its_disks() {
    let mut cluster = TestCluster::start().await;
    cluster.receive(0, "A", 50).await;
    let reservation = id();
    cluster
        .reservations(1)
        .reserve(reserve(&reservation, "A", 5))
        .await
        .unwrap();
    for index in 0..3 {
        cluster.stop(index).await;
    }
    for index in 0..3 {
        cluster.start_again(index).await;
    }
    cluster.ready().await;
    let cell = cluster.cell(2, "A").await;
    assert_eq!((cell.on_hand, cell.free, cell.held), (50, 45, 5));
    // The same request gets its first outcome again.
    let again = cluster
        .reservations(2)
        .reserve(reserve(&reservation, "A", 5))
        .await
        .unwrap()
        .into_inner();
    assert!(again.receipt.unwrap().replayed);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_folder_refuses_another_node_and_another_shard_count() {
    let mut cluster = TestCluster::start_with(1, |_| {}).await;
    let config = cluster.config(0);
    cluster.stop(0).await;
    let mut other_shards = config.clone();
    other_shards.shards.count = 8;
    let mut other_node = config.clone();
    other_node.node.node_id = 9;
    other_node.peers.clear();
    for wrong in [other_shards, other_node] {
        match Node::start(wrong).await {
            Err(StartError::Stores(error)) => assert!(error.to_string().contains("belongs to"), "{error}"),
            Err(error) => panic!("refused for another reason: {error}"),
            Ok(_) => panic!("started on another node's folder"),
        }
    }
    cluster.start_again(0).await;
    cluster.ready().await;
    cluster.stop_all().await;
}
