//! The metrics on `/metrics` about the node's resources, its peers, and the domain.

use std::collections::BTreeMap;

use holdfast_api::v1;

use crate::support::*;
use crate::surface::get;

/// Returns every sample of one node's page by its name with labels.
async fn samples(cluster: &TestCluster, index: usize) -> BTreeMap<String, f64> {
    let (code, text) = get(cluster.node(index).http_address(), "/metrics").await;
    assert_eq!(code, 200);
    let lines = text.lines().filter(|line| line.starts_with("holdfast_"));
    let samples = lines.filter_map(|line| line.rsplit_once(' '));
    samples
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

fn sum(samples: &BTreeMap<String, f64>, name: &str) -> f64 {
    let of_name = |sample: &&String| sample.split('{').next() == Some(name);
    let found: Vec<f64> = samples
        .iter()
        .filter(|(sample, _)| of_name(sample))
        .map(|(_, value)| *value)
        .collect();
    assert!(!found.is_empty(), "{name} is missing");
    found.into_iter().sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_tells_of_its_disk_its_log_and_its_process() {
    let cluster = TestCluster::start().await;
    let before = samples(&cluster, 0).await;
    cluster.receive(0, "A", 5).await;
    // The connection is open as long as this client exists.
    let mut client = cluster.cluster(0);
    client.get_topology(v1::GetTopologyRequest {}).await.unwrap();
    let after = samples(&cluster, 0).await;

    let disk = |name: &str| sum(&after, name);
    assert!(disk("holdfast_data_disk_size_bytes") >= disk("holdfast_data_disk_available_bytes"));
    assert!(disk("holdfast_data_disk_available_bytes") > 0.0);
    assert!(
        sum(&after, "holdfast_log_written_bytes_total") > sum(&before, "holdfast_log_written_bytes_total")
    );
    let syncs = "holdfast_log_sync_duration_seconds_count";
    assert!(sum(&after, syncs) > sum(&before, syncs));
    assert!(sum(&after, "holdfast_log_sync_duration_seconds_sum") > 0.0);
    let slowest = "holdfast_log_sync_duration_seconds_bucket{le=\"+Inf\"}";
    assert_eq!(after[slowest], after[syncs], "every sync is in a bucket");

    assert!(sum(&after, "holdfast_process_resident_memory_bytes") > f64::from(1 << 20));
    assert!(sum(&after, "holdfast_process_start_time_seconds") > 1.7e9);
    assert!(sum(&after, "holdfast_process_open_fds") < sum(&after, "holdfast_process_max_fds"));
    assert!(sum(&after, "holdfast_process_cpu_seconds_total") > 0.0);
    assert!(after["holdfast_connections{port=\"client\"}"] >= 1.0);
    drop(client);
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_tells_whether_it_is_ready_whom_it_reaches_and_what_it_has() {
    let mut cluster = TestCluster::start().await;
    eventually("node 1 reaches both others", || async {
        let samples = samples(&cluster, 0).await;
        let reached = |peer| samples[&format!("holdfast_peer_reachable{{peer=\"{peer}\"}}")] == 1.0;
        (reached(2) && reached(3) && samples["holdfast_ready"] == 1.0).then_some(())
    })
    .await;
    eventually("each shard has one leader", || async {
        let mut leaders = 0.0;
        for index in 0..3 {
            leaders += samples(&cluster, index).await["holdfast_leaders"];
        }
        (leaders == 4.0).then_some(())
    })
    .await;
    let all = samples(&cluster, 0).await;
    assert_eq!(all["holdfast_replicas"], 4.0);
    assert_eq!(all["holdfast_replica_voters{shard=\"3\"}"], 3.0);
    assert_eq!(sum(&all, "holdfast_shard_waiting_commands"), 0.0);
    assert_eq!(sum(&all, "holdfast_shard_invariant_violations_total"), 0.0);

    cluster.stop(1).await;
    cluster.stop(2).await;
    eventually("node 1 misses the others", || async {
        let samples = samples(&cluster, 0).await;
        let gone = samples["holdfast_peer_reachable{peer=\"2\"}"] == 0.0;
        (gone && samples["holdfast_ready"] == 0.0).then_some(())
    })
    .await;
    cluster.stop_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_tells_of_deficits_and_of_change_streams() {
    let cluster = TestCluster::start().await;
    let shard = cluster
        .receive(0, "A", 10)
        .await
        .receipt
        .unwrap()
        .position
        .unwrap()
        .shard;
    cluster
        .reservations(0)
        .reserve(reserve(&id(), "A", 7))
        .await
        .unwrap();
    let count = v1::CountRequest {
        operation: operation(),
        sku: "A".into(),
        warehouse: "W1".into(),
        counted: 4,
        as_of_seq: None,
    };
    cluster.stock(0).count(count).await.unwrap();
    eventually("the missing units are told", || async {
        let samples = samples(&cluster, 1).await;
        let of_shard = |name: &str| samples[&format!("holdfast_replica_deficit_{name}{{shard=\"{shard}\"}}")];
        ((of_shard("cells"), of_shard("units")) == (1.0, 3.0)).then_some(())
    })
    .await;

    let idle = samples(&cluster, 0).await;
    assert_eq!(idle["holdfast_change_streams"], 0.0);
    assert!(!idle.contains_key(&format!(
        "holdfast_change_stream_lag_seconds{{shard=\"{shard}\"}}"
    )));
    let request = v1::TailChangesRequest {
        shard,
        from_seq: 1,
        follow: true,
        ..Default::default()
    };
    let mut stream = cluster
        .changes(0)
        .tail_changes(request)
        .await
        .unwrap()
        .into_inner();
    stream.message().await.unwrap().unwrap();
    eventually("the stream has sent everything", || async {
        let samples = samples(&cluster, 0).await;
        let lag = |unit: &str| samples[&format!("holdfast_change_stream_lag_{unit}{{shard=\"{shard}\"}}")];
        let done = samples["holdfast_change_streams"] == 1.0;
        (done && lag("changes") == 0.0 && lag("seconds") == 0.0).then_some(())
    })
    .await;
    drop(stream);
    eventually("the stream has ended", || async {
        (samples(&cluster, 0).await["holdfast_change_streams"] == 0.0).then_some(())
    })
    .await;
    cluster.stop_all().await;
}
