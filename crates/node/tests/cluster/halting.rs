//! A shard whose replicas all meet an entry that they cannot apply, and the operator's way out. The defect is
//! planted, so this needs the feature `faults`: `cargo test -p holdfast-node --features faults --test cluster
//! halting`.

use holdfast_api::v1;
use holdfast_shard::defect::MARK;

use crate::support::{TestCluster, eventually, id, key, operation_with, reason, reserve, retried};
use crate::surface::get;

/// Returns a SKU of each of two shards.
fn skus() -> [String; 2] {
    let of = |shard: u16| {
        let names = (0..).map(|number| format!("sku-{number}"));
        let mut names = names.filter(|name| {
            let slot = holdfast_api::slots::slot_of(name);
            slot / (holdfast_api::slots::SLOTS / 2) == shard
        });
        names.next().unwrap()
    };
    [of(0), of(1)]
}

async fn halts(cluster: &TestCluster, index: usize) -> Vec<(u32, v1::Halt)> {
    let status = cluster
        .cluster(index)
        .get_node_status(v1::GetNodeStatusRequest {})
        .await
        .unwrap()
        .into_inner();
    let halted = status.replicas.into_iter();
    halted
        .filter_map(|replica| Some((replica.shard, replica.halt?)))
        .collect()
}

fn decide(shard: u32, log_index: u64, dry_run: bool) -> v1::DecideEntryRequest {
    v1::DecideEntryRequest {
        shard,
        log_index,
        rule: "refuse".to_owned(),
        dry_run,
        without_unreachable: false,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_cannot_apply_an_entry_stops_alone_and_goes_on_when_an_operator_has_it_refused() {
    let mut cluster = TestCluster::start_with(3, |config| config.shards.count = 2).await;
    let [broken, sound] = skus();
    for sku in [&broken, &sound] {
        cluster.receive(0, sku, 50).await;
    }
    let held = id();
    cluster
        .reservations(1)
        .reserve(reserve(&held, &broken, 20))
        .await
        .unwrap();

    let mut breaking = reserve(&id(), &broken, 5);
    if let Some(operation) = &mut breaking.operation {
        operation.reference = format!("{MARK}-node");
    }
    let mut call = tonic::Request::new(breaking.clone());
    call.set_timeout(std::time::Duration::from_secs(2));
    cluster.reservations(0).reserve(call).await.unwrap_err();
    let halt = eventually("all three replicas of the shard are halted", || async {
        let mut all = Vec::new();
        for index in 0..3 {
            all.extend(halts(&cluster, index).await);
        }
        let (shard, first) = all.first()?.clone();
        assert_eq!(shard, 0);
        (all.len() == 3).then_some(first)
    })
    .await;
    assert_eq!(halt.named[0].kind, "Reserve");
    assert!(halt.what.contains(MARK), "{halt:?}");

    // The other shard and all nodes go on.
    cluster.receive(2, &sound, 5).await;
    for index in 0..3 {
        assert!(
            cluster.node(index).is_ready(),
            "an orchestrator must not end node {index}"
        );
    }
    let http = cluster.node(0).http_address();
    let (_, ready) = get(http, "/readyz").await;
    assert!(
        ready.contains("ready") && ready.contains("shard 0 is halted"),
        "{ready}"
    );
    let (_, metrics) = get(http, "/metrics").await;
    assert!(
        metrics.contains("holdfast_replica_halted{shard=\"0\"} 1"),
        "{metrics}"
    );
    assert!(
        metrics.contains("holdfast_replica_halted{shard=\"1\"} 0"),
        "{metrics}"
    );

    // Nothing is decided while a member does not answer.
    cluster.stop(2).await;
    let refused = cluster
        .admin(0)
        .decide_entry(decide(0, halt.log_index, false))
        .await;
    assert_eq!(reason(&refused.unwrap_err()), v1::Reason::NoLeader);
    cluster.start_again(2).await;
    let planned = eventually("all members answer", || async {
        let planned = cluster
            .admin(0)
            .decide_entry(decide(0, halt.log_index, true))
            .await;
        let planned = planned.ok()?.into_inner();
        (planned.unreachable_node_ids.is_empty() && planned.halted_node_ids.len() == 3).then_some(planned)
    })
    .await;
    assert!(!planned.decided);
    assert_eq!(planned.halt.unwrap().log_index, halt.log_index);
    let other = cluster
        .admin(1)
        .decide_entry(decide(0, halt.log_index + 1, true))
        .await;
    assert_eq!(reason(&other.unwrap_err()), v1::Reason::WrongState);
    assert_eq!(halts(&cluster, 0).await.len(), 1, "a dry run changes nothing");

    let decided = retried(|| {
        let mut admin = cluster.admin(1);
        async move { admin.decide_entry(decide(0, halt.log_index, false)).await }
    });
    assert!(decided.await.unwrap().decided);
    eventually("no replica is halted", || async {
        for index in 0..3 {
            if !halts(&cluster, index).await.is_empty() {
                return None;
            }
        }
        Some(())
    })
    .await;
    let cell = cluster.cell(0, &broken).await;
    assert_eq!(
        (cell.free, cell.held),
        (30, 20),
        "what was acknowledged is there, what broke the ledger is not"
    );
    let commit = v1::CommitRequest {
        operation: operation_with(id()),
        reservation: key(&held),
    };
    retried(|| {
        let (mut client, commit) = (cluster.reservations(2), commit.clone());
        async move { client.commit(commit).await }
    })
    .await
    .unwrap();

    // Every node decides the entry in the same way when it starts again.
    for index in 0..3 {
        cluster.stop(index).await;
        cluster.start_again(index).await;
    }
    cluster.ready().await;
    for index in 0..3 {
        assert!(halts(&cluster, index).await.is_empty());
        let cell = cluster.cell(index, &broken).await;
        assert_eq!((cell.free, cell.committed), (30, 20));
    }
    cluster.stop_all().await;
}
