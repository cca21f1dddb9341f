//! As-of reads over real gRPC: over several shards, and where only other nodes have the changes.

use holdfast_api::v1::{self, Reason};
use tonic::Status;

use crate::support::*;

type At = v1::get_reservation_as_of_request::At;
type StockAt = v1::get_stock_as_of_request::At;

async fn reservation_as_of(
    cluster: &TestCluster,
    index: usize,
    reservation: Option<v1::ReservationKey>,
    at: Option<At>,
) -> Result<Vec<v1::ReservationPart>, Status> {
    let request = v1::GetReservationAsOfRequest { reservation, at };
    let answer = cluster.history(index).get_reservation_as_of(request).await?;
    Ok(answer.into_inner().parts)
}

async fn stock_as_of(
    cluster: &TestCluster,
    index: usize,
    sku: &str,
    at: StockAt,
) -> Result<v1::GetStockAsOfResponse, Status> {
    let request = v1::GetStockAsOfRequest {
        sku: sku.into(),
        warehouse: String::new(),
        at: Some(at),
    };
    Ok(cluster
        .history(index)
        .get_stock_as_of(request)
        .await?
        .into_inner())
}

fn now_ms() -> u64 {
    let since_epoch = std::time::UNIX_EPOCH.elapsed().unwrap();
    u64::try_from(since_epoch.as_millis()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_order_over_several_shards_is_told_with_the_part_of_each() {
    let cluster = TestCluster::start().await;
    let skus: Vec<String> = ('A'..='H').map(String::from).collect();
    for sku in &skus {
        cluster.receive(0, sku, 5).await;
    }
    let order = id();
    let mut request = reserve(&order, "A", 2);
    request.lines = skus
        .iter()
        .map(|sku| v1::ReserveLine {
            sku: sku.clone(),
            quantity: 2,
            source: None,
        })
        .collect();
    cluster.reservations(0).reserve(request).await.unwrap();
    let commit = v1::CommitRequest {
        operation: operation(),
        reservation: key(&order),
    };
    cluster.reservations(1).commit(commit).await.unwrap();

    let parts = eventually("every shard has heard of the commit", || async {
        let parts = reservation_as_of(&cluster, 2, key(&order), Some(At::LogTimeMs(now_ms()))).await;
        let parts = parts.unwrap();
        let committed = |part: &v1::ReservationPart| {
            part.reservation.as_ref().unwrap().state() == v1::ReservationState::Committed
        };
        parts.iter().all(committed).then_some(parts)
    })
    .await;
    assert!(parts.len() > 1, "the SKUs are in one shard only");
    let home = parts[0].home.expect("an order over several shards has a home");
    let mut lines = Vec::new();
    for part in &parts {
        assert_eq!(part.home, Some(home));
        let position = part.as_of.unwrap().position.unwrap();
        let reservation = part.reservation.as_ref().unwrap();
        assert_eq!(reservation.shard, position.shard);
        lines.extend(reservation.lines.clone());

        // The same part, read by its position, and then as it was before the commit.
        let at = Some(At::Position(position));
        let again = reservation_as_of(&cluster, 0, key(&order), at).await.unwrap();
        assert_eq!((again.len(), &again[0].reservation), (1, &part.reservation));
        let changes = cluster.all_changes(0, position.shard).await;
        let of_order = |change: &&v1::Change| {
            let effect = change.reservation.as_ref();
            effect.is_some_and(|effect| effect.reservation_id == order)
        };
        let mut of_order = changes.iter().filter(of_order);
        let first = of_order.next().unwrap();
        assert_eq!(first.kind(), v1::ChangeKind::Prepared);
        let last_prepared = of_order
            .take_while(|change| change.kind() == v1::ChangeKind::Prepared)
            .last()
            .unwrap_or(first);
        let prepared_at = |seq| {
            let shard = position.shard;
            Some(At::Position(v1::ChangePosition { shard, seq }))
        };
        let prepared = reservation_as_of(&cluster, 0, key(&order), prepared_at(last_prepared.seq)).await;
        let prepared = prepared.unwrap().remove(0).reservation.unwrap();
        assert_eq!(prepared.state(), v1::ReservationState::Prepared);
        assert!(
            prepared
                .lines
                .iter()
                .all(|line| (line.held, line.committed) == (2, 0))
        );
        let before = reservation_as_of(&cluster, 0, key(&order), prepared_at(first.seq - 1)).await;
        assert_eq!(reason(&before.unwrap_err()), Reason::UnknownReservation);
    }
    lines.sort_by_key(|line| line.line);
    let live = v1::GetReservationRequest {
        reservation: key(&order),
        consistency: 0,
    };
    let live = cluster
        .reservations(1)
        .get_reservation(live)
        .await
        .unwrap()
        .into_inner();
    assert_eq!(lines, live.reservation.unwrap().lines);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_that_are_on_other_nodes_only_are_read_there() {
    let mut cluster = TestCluster::start_with(3, |config| {
        config.shards.count = 1;
        config.raft.snapshot_every_entries = 100;
    })
    .await;
    const ARRIVALS: u64 = 230;
    for _ in 0..ARRIVALS {
        cluster.receive(0, "A", 1).await;
    }
    let snapshot = || async {
        let request = v1::GetNodeStatusRequest {};
        let status = cluster
            .cluster(2)
            .get_node_status(request)
            .await
            .unwrap()
            .into_inner();
        status.replicas[0].snapshot_index
    };
    eventually("node 3 has a snapshot", || async {
        (snapshot().await >= 100).then_some(())
    })
    .await;
    // Its changes are lost, and those that the snapshot covers are not derived again.
    let changes = cluster.config(2).node.data_dir.join("changes");
    cluster.stop(2).await;
    std::fs::remove_dir_all(changes).unwrap();
    cluster.start_again(2).await;
    cluster.ready().await;
    eventually("node 3 has caught up", || async {
        let request = v1::GetNodeStatusRequest {};
        let status = cluster.cluster(2).get_node_status(request).await.unwrap();
        (status.into_inner().replicas[0].change_seq == ARRIVALS).then_some(())
    })
    .await;
    // Asks like another node, to get only what node 3 has itself.
    let mut positions = tonic::Request::new(v1::GetPositionsRequest {});
    positions
        .metadata_mut()
        .insert("holdfast-proxied", "1".parse().unwrap());
    let positions = cluster.changes(2).get_positions(positions).await.unwrap();
    let local = positions.into_inner().shards[0].first_seq;
    assert!(local > 1, "node 3 still has all changes");
    for seq in [1, local - 1, local, ARRIVALS] {
        let at = StockAt::Position(v1::ChangePosition { shard: 0, seq });
        let told = stock_as_of(&cluster, 2, "A", at).await.unwrap();
        assert_eq!(told.cells[0].on_hand, i64::try_from(seq).unwrap());
    }
    // Alone it does not have the beginning, and reports that.
    cluster.stop(0).await;
    cluster.stop(1).await;
    let at = StockAt::Position(v1::ChangePosition {
        shard: 0,
        seq: ARRIVALS,
    });
    let refused = stock_as_of(&cluster, 2, "A", at).await.unwrap_err();
    assert_eq!(reason(&refused), Reason::NoLeader, "{refused:?}");
    assert!(
        refused.message().contains("no node that can be reached"),
        "{refused:?}"
    );
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moments_that_cannot_be_told_are_refused_with_the_reason() {
    let cluster = TestCluster::start_with(1, |config| config.shards.count = 2).await;
    let position = cluster
        .receive(0, "A", 1)
        .await
        .receipt
        .unwrap()
        .position
        .unwrap();
    let at = |shard, seq| StockAt::Position(v1::ChangePosition { shard, seq });
    let other = 1 - position.shard;
    for (at, refused) in [
        (at(position.shard, 2), Reason::PositionInFuture),
        (at(position.shard, u64::MAX), Reason::PositionInFuture),
        (at(position.shard, 0), Reason::InvalidRequest),
        (at(other, 1), Reason::InvalidRequest),
        (at(9, 1), Reason::InvalidRequest),
        (StockAt::LogTimeMs(now_ms() + 3_600_000), Reason::PositionInFuture),
        (StockAt::LogTimeMs(u64::MAX), Reason::PositionInFuture),
        (
            StockAt::LogTimeMs(position.log_time_ms - 1),
            Reason::PositionTooOld,
        ),
        (StockAt::LogTimeMs(0), Reason::PositionTooOld),
    ] {
        let status = stock_as_of(&cluster, 0, "A", at).await.unwrap_err();
        assert_eq!(reason(&status), refused, "{at:?}: {status:?}");
    }
    let told = stock_as_of(&cluster, 0, "A", StockAt::LogTimeMs(position.log_time_ms))
        .await
        .unwrap();
    assert_eq!(told.cells[0].on_hand, 1);
    let malformed = |sku: &str, warehouse: &str, at| v1::GetStockAsOfRequest {
        sku: sku.into(),
        warehouse: warehouse.into(),
        at,
    };
    for request in [
        malformed("", "", Some(StockAt::LogTimeMs(1))),
        malformed("A", "no spaces", Some(StockAt::LogTimeMs(1))),
        malformed("A", "", None),
    ] {
        let status = cluster
            .history(0)
            .get_stock_as_of(request.clone())
            .await
            .unwrap_err();
        assert_eq!(reason(&status), Reason::InvalidRequest, "{request:?}: {status:?}");
    }
    let known = id();
    let hinted = |shard| {
        key(&known).map(|key| v1::ReservationKey {
            shard: Some(shard),
            ..key
        })
    };
    let now = || Some(At::LogTimeMs(position.log_time_ms));
    let first = Some(At::Position(v1::ChangePosition {
        shard: position.shard,
        seq: 1,
    }));
    for (reservation, at, refused) in [
        (None, now(), Reason::InvalidRequest),
        (
            key(&bytes::Bytes::from_static(b"short")),
            now(),
            Reason::InvalidRequest,
        ),
        (key(&known), None, Reason::InvalidRequest),
        (hinted(9), now(), Reason::InvalidRequest),
        (hinted(other), first, Reason::InvalidRequest),
        (key(&known), now(), Reason::UnknownReservation),
        (key(&known), first, Reason::UnknownReservation),
    ] {
        let status = reservation_as_of(&cluster, 0, reservation.clone(), at)
            .await
            .unwrap_err();
        assert_eq!(reason(&status), refused, "{reservation:?} {at:?}: {status:?}");
    }
    cluster.stop_all().await;
}
