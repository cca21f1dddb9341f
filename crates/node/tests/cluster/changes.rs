//! The change stream, from every node.

use holdfast_api::v1::{self, Reason};
use tonic::Code;

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_are_contiguous_and_the_same_on_every_node_and_a_follower_sees_new_ones() {
    let cluster = TestCluster::start().await;
    let shard = cluster
        .receive(0, "A", 100)
        .await
        .receipt
        .unwrap()
        .position
        .unwrap()
        .shard;
    for index in 0..30 {
        cluster
            .reservations(index % 3)
            .reserve(reserve(&id(), "A", 1))
            .await
            .unwrap();
    }
    let positions = v1::GetPositionsRequest {};
    let positions = cluster
        .changes(1)
        .get_positions(positions)
        .await
        .unwrap()
        .into_inner()
        .shards;
    assert_eq!(positions.len(), 4);
    let position = positions[shard as usize];
    assert_eq!(
        (position.shard, position.first_seq, position.last_seq),
        (shard, 1, 31)
    );

    let mut seen = Vec::new();
    for index in 0..3 {
        let changes = eventually("the replica has applied all", || async {
            Some(cluster.all_changes(index, shard).await).filter(|changes| changes.len() == 31)
        })
        .await;
        assert!(
            changes
                .iter()
                .zip(1..)
                .all(|(change, seq)| change.seq == seq && change.shard == shard)
        );
        seen.push(changes);
    }
    assert!(seen[0] == seen[1] && seen[1] == seen[2]);

    let request = v1::TailChangesRequest {
        shard,
        from_seq: 30,
        follow: true,
        ..Default::default()
    };
    let mut stream = cluster
        .changes(2)
        .tail_changes(request)
        .await
        .unwrap()
        .into_inner();
    let reservation = id();
    cluster
        .reservations(0)
        .reserve(reserve(&reservation, "A", 1))
        .await
        .unwrap();
    let mut followed = Vec::new();
    within_patience("the follower sees the new change", async {
        while followed.len() < 3 {
            followed.extend(
                stream
                    .message()
                    .await
                    .unwrap()
                    .expect("the stream goes on")
                    .changes,
            );
        }
    })
    .await;
    assert_eq!(
        followed.iter().map(|change| change.seq).collect::<Vec<_>>(),
        [30, 31, 32]
    );
    assert_eq!(
        followed[2].reservation.as_ref().unwrap().reservation_id,
        reservation
    );
    assert_eq!(followed[2].cause.as_ref().unwrap().operation_id, reservation);
    assert_eq!(followed[2].cause.as_ref().unwrap().principal, "anonymous");
    drop(stream);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_filter_lets_through_only_what_was_asked_for_and_says_how_far_it_looked() {
    let cluster = TestCluster::start().await;
    let shard = cluster
        .receive(0, "A", 100)
        .await
        .receipt
        .unwrap()
        .position
        .unwrap()
        .shard;
    let wanted = id();
    for reservation in [id(), wanted.clone(), id()] {
        cluster
            .reservations(0)
            .reserve(reserve(&reservation, "A", 1))
            .await
            .unwrap();
    }
    let tail = async |request: v1::TailChangesRequest| {
        let mut stream = cluster
            .changes(0)
            .tail_changes(request)
            .await
            .unwrap()
            .into_inner();
        let (mut changes, mut through_seq) = (Vec::new(), 0);
        while let Some(message) = stream.message().await.unwrap() {
            through_seq = message.through_seq;
            changes.extend(message.changes);
        }
        (
            changes.iter().map(|change| change.seq).collect::<Vec<_>>(),
            through_seq,
        )
    };
    // The read is linearizable, so node 0's replica has surely applied what it leads or follows.
    eventually("the replica has applied all", || async {
        (cluster.all_changes(0, shard).await.len() == 4).then_some(())
    })
    .await;
    let by_reservation = v1::TailChangesRequest {
        shard,
        reservation_id: wanted,
        ..Default::default()
    };
    assert_eq!(tail(by_reservation).await, (vec![3], 4));
    let by_sku = v1::TailChangesRequest {
        shard,
        sku: "A".into(),
        from_seq: 2,
        ..Default::default()
    };
    assert_eq!(tail(by_sku).await, (vec![2, 3, 4], 4));
    let by_other_sku = v1::TailChangesRequest {
        shard,
        sku: "B".into(),
        ..Default::default()
    };
    assert_eq!(tail(by_other_sku).await, (vec![], 4));
    let beyond = v1::TailChangesRequest {
        shard,
        from_seq: 1_000,
        ..Default::default()
    };
    assert_eq!(tail(beyond).await, (vec![], 0));
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_names_its_cluster_and_who_has_read_another_one_is_refused() {
    let cluster = TestCluster::start_with(1, |_| {}).await;
    cluster.receive(0, "A", 1).await;
    let positions = cluster.changes(0).get_positions(v1::GetPositionsRequest {}).await;
    let v1::GetPositionsResponse { shards, cluster_id } = positions.unwrap().into_inner();
    let request = |shard, cluster_id: &[u8]| v1::TailChangesRequest {
        shard,
        cluster_id: cluster_id.to_vec().into(),
        ..Default::default()
    };
    let mut seen = 0;
    for position in shards {
        let stream = cluster
            .changes(0)
            .tail_changes(request(position.shard, &cluster_id))
            .await;
        let mut stream = stream.unwrap().into_inner();
        while let Some(message) = stream.message().await.unwrap() {
            assert_eq!(message.cluster_id, cluster_id);
            seen += message.changes.len();
        }
    }
    assert_eq!(seen, 1);
    let mut other = cluster_id.to_vec();
    other[0] ^= 1;
    for (wrong, why) in [
        (&other[..], Reason::OtherCluster),
        (&other[..15], Reason::InvalidRequest),
    ] {
        let status = cluster
            .changes(0)
            .tail_changes(request(0, wrong))
            .await
            .unwrap_err();
        assert_eq!(reason(&status), why, "{status:?}");
    }
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn change_streams_have_a_limit_that_is_told() {
    let cluster = TestCluster::start_with(1, |config| config.limits.change_streams = 1).await;
    let request = v1::TailChangesRequest {
        follow: true,
        ..Default::default()
    };
    let first = cluster.changes(0).tail_changes(request.clone()).await.unwrap();
    let status = cluster
        .changes(0)
        .tail_changes(request.clone())
        .await
        .unwrap_err();
    assert_eq!(
        (status.code(), reason(&status)),
        (Code::ResourceExhausted, Reason::Overloaded)
    );
    drop(first);
    eventually("the place is free again", || async {
        cluster
            .changes(0)
            .tail_changes(request.clone())
            .await
            .ok()
            .map(|_| ())
    })
    .await;
    cluster.stop_all().await;
}
