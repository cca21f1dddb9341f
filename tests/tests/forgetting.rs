//! Clusters whose nodes have dropped their oldest changes, because an archive has them.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _};
use holdfast_api::v1;
use holdfast_client::{Client, ClientError};
use holdfast_tests::accounts::stock;
use holdfast_tests::load::Crowd;
use holdfast_tests::{Cluster, Shards, requests, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;

const SKU: &str = "SKU-OLD";
const SHARD: u32 = 0;

/// Starts a cluster of one shard with small segments, whose nodes keep one second.
async fn cluster() -> Result<Cluster> {
    let mut cluster = Cluster::prepare(Shards(1)).await?;
    keep_one_second(&cluster)?;
    cluster.launch().await?;
    Ok(cluster)
}

fn keep_one_second(cluster: &Cluster) -> Result<()> {
    for node in 0..cluster.len() {
        let path = cluster.config(node);
        let config = std::fs::read_to_string(&path)?;
        let small = config.replace(
            "change_segment = \"4MiB\"\n",
            "change_segment = \"64KiB\"\nhistory = \"1s\"\n",
        );
        ensure!(small != config, "the configuration has other segments: {config}");
        std::fs::write(path, small)?;
    }
    Ok(())
}

fn archive(cluster: &Cluster) -> String {
    cluster.folder().join("lake").display().to_string()
}

async fn register(cluster: &Cluster) -> Result<()> {
    let location = archive(cluster);
    let register = ["changes", "consumers", "register", "archive", "--required"];
    cluster
        .operate(&[&register[..], &["--location", &location]].concat())
        .await?;
    Ok(())
}

async fn position(client: &Client) -> Result<v1::ShardPosition> {
    let positions = client.get_positions(v1::GetPositionsRequest {}).await?;
    positions.shards.first().copied().context("there is a shard")
}

/// Archives what there is, and says so. Returns the last change that was archived for certain.
async fn archive_all(cluster: &Cluster, client: &Client) -> Result<u64> {
    let through_seq = position(client).await?.last_seq;
    let location = archive(cluster);
    cluster.operate(&["changes", "export", "--to", &location]).await?;
    client
        .advance_consumer(v1::AdvanceConsumerRequest {
            name: "archive".to_owned(),
            location,
            positions: vec![v1::ConsumerPosition {
                shard: SHARD,
                through_seq,
            }],
        })
        .await?;
    Ok(through_seq)
}

async fn receive_many(client: &Client, count: usize) -> Result<()> {
    let receives = futures::stream::iter(0..count).map(|number| async move {
        let sku = format!("SKU-{}", number % 50);
        client.receive(requests::receive(&sku, 1)).await
    });
    receives.buffer_unordered(100).try_collect::<Vec<_>>().await?;
    Ok(())
}

/// Lets time pass until every node has dropped its oldest changes. Log time goes on only with entries.
async fn dropped(cluster: &Cluster, client: &Client) -> Result<()> {
    wait_for("all nodes drop their oldest changes", || async {
        client.receive(requests::receive("SKU-LATER", 1)).await.ok()?;
        let begins = first_seqs(cluster).await.ok()?;
        (begins.len() == cluster.len() && begins.iter().all(|first_seq| *first_seq > 1)).then_some(())
    })
    .await
}

/// Returns the first change that each replica can serve.
async fn first_seqs(cluster: &Cluster) -> Result<Vec<u64>> {
    let status = cluster.operate(&["cluster", "status"]).await?;
    let nodes = status["nodes"].as_array().context("nodes")?;
    let of_node = |node: &Value| node["status"]["replicas"][0]["first_change_seq"].as_u64();
    Ok(nodes.iter().filter_map(of_node).collect())
}

fn change_log_bytes(cluster: &Cluster, node: usize) -> Result<u64> {
    let mut bytes = 0;
    for group in std::fs::read_dir(cluster.data_folder(node).join("changes"))? {
        for file in std::fs::read_dir(group?.path())? {
            // A file may be dropped meanwhile.
            bytes += file?.metadata().map_or(0, |metadata| metadata.len());
        }
    }
    Ok(bytes)
}

fn largest_change_log(cluster: &Cluster) -> Result<u64> {
    let bytes = (0..cluster.len()).map(|node| change_log_bytes(cluster, node));
    let bytes: Vec<u64> = bytes.collect::<Result<_>>()?;
    bytes.into_iter().max().context("there are nodes")
}

/// A cluster that has dropped its first changes, and what was seen of them.
struct Old {
    cluster: Cluster,
    client: Client,
    /// The cells of the SKU after this change.
    cells: Value,
    seq: u64,
    reservation: String,
}

async fn old() -> Result<Old> {
    let cluster = cluster().await?;
    let client = cluster.client()?;
    client.receive(requests::receive(SKU, 10)).await?;
    let reservation = uuid::Uuid::now_v7().to_string();
    let reserve = [
        "reserve",
        "SKU-OLD=4",
        "--storefront",
        "web",
        "--operation-id",
        &reservation,
    ];
    cluster.operate(&reserve).await?;
    let seen = cluster.operate(&["stock", "get", SKU]).await?;
    let seq = seen["read"]["change_seq"].as_u64().context("a position")?;
    cluster.operate(&["release", &reservation]).await?;
    register(&cluster).await?;
    receive_many(&client, 1_500).await?;
    archive_all(&cluster, &client).await?;
    dropped(&cluster, &client).await?;
    Ok(Old {
        cells: seen["cells"].clone(),
        cluster,
        client,
        seq,
        reservation,
    })
}

impl Old {
    /// Asks for the first changes in every way.
    async fn answers_for_its_first_days(&self) -> Result<()> {
        let cluster = &self.cluster;
        let at = format!("{SHARD}:{}", self.seq);
        let told = cluster.operate(&["stock", "get", SKU, "--as-of", &at]).await?;
        ensure!(told["cells"] == self.cells, "{told}, live was {}", self.cells);
        let told = cluster
            .operate(&["get", &self.reservation, "--as-of", &at])
            .await?;
        let state = &told["parts"][0]["reservation"]["state"];
        ensure!(state == "held", "{told}");
        let told = cluster.operate(&["explain", &self.reservation]).await?;
        let kinds: Vec<&str> = told["decisions"]
            .as_array()
            .context("decisions")?
            .iter()
            .filter_map(|decision| decision["kind"].as_str())
            .collect();
        ensure!(kinds == ["reserved", "released"], "{told}");
        let report = cluster.operate(&["verify"]).await?;
        let last_seq = position(&self.client).await?.last_seq;
        ensure!(report["ok"] == true, "{report}");
        let verified = report["shards"][0]["changes"].as_u64();
        ensure!(
            verified.is_none_or(|changes| changes <= last_seq && changes >= 1_500),
            "{report}"
        );
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_has_dropped_its_first_days_answers_for_them_from_the_archive() -> Result<()> {
    let mut old = old().await?;
    old.answers_for_its_first_days().await?;
    let position = position(&old.client).await?;
    ensure!(position.first_seq > old.seq, "{position:?}");

    // A stream that begins earlier is told where the archive is.
    let mut tail = std::pin::pin!(old.client.tail_changes(SHARD, 1, false));
    let refusal = match tail.next().await {
        Some(Err(ClientError::Refused(refusal))) => refusal,
        other => anyhow::bail!("{other:?}"),
    };
    ensure!(refusal.reason() == v1::Reason::PositionTooOld, "{refusal:?}");
    let location = archive(&old.cluster);
    ensure!(refusal.message.contains(&location), "{refusal:?}");
    let named: Vec<&str> = refusal.archives.iter().map(|one| one.location.as_str()).collect();
    ensure!(named == [location.as_str()], "{refusal:?}");
    let mut tail = std::pin::pin!(old.client.tail_changes(SHARD, position.first_seq, false));
    let first = tail.next().await.context("an answer")??;
    ensure!(
        first
            .changes
            .first()
            .is_some_and(|change| change.seq == position.first_seq)
    );

    // Nodes that start again know where their history begins.
    old.cluster.kill_all()?;
    for node in 0..old.cluster.len() {
        old.cluster.spawn(node)?;
    }
    old.cluster.ready().await?;
    ensure!(
        first_seqs(&old.cluster)
            .await?
            .iter()
            .all(|first_seq| *first_seq > 1)
    );
    old.answers_for_its_first_days().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_with_an_empty_disk_joins_a_cluster_that_has_dropped_its_first_days() -> Result<()> {
    let mut old = old().await?;
    let node = 2;
    old.cluster.end(node, Signal::SIGKILL)?;
    old.cluster.wipe(node)?;
    old.cluster.spawn(node)?;
    old.cluster.ready().await?;
    old.cluster.has_new_replicas(node).await?;
    let last_seq = position(&old.client).await?.last_seq;
    let others = *first_seqs(&old.cluster).await?.iter().min().context("nodes")?;
    wait_for("the new replica has what the others have", || async {
        let begins = first_seqs(&old.cluster).await.ok()?;
        let own = *begins.get(node)?;
        (own > 1 && own >= others && own < last_seq).then_some(())
    })
    .await?;
    old.answers_for_its_first_days().await?;
    let config = old.cluster.config(node).display().to_string();
    let examined = old.cluster.holdfast(&["doctor", "--config", &config])?;
    let text = String::from_utf8_lossy(&examined.stdout).into_owned();
    ensure!(text.contains("is sound"), "{text}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_a_cluster_that_has_dropped_its_first_days_is_restored() -> Result<()> {
    let old = old().await?;
    let place = old.cluster.folder().join("backups").display().to_string();
    let named = ["--name", "one"];
    old.cluster
        .operate(&[&["backup", "create", "--to", &place], &named[..]].concat())
        .await?;
    let stock = old.cluster.operate(&["stock", "get", SKU]).await?;

    let mut restored = Cluster::prepare(Shards(1)).await?;
    keep_one_second(&restored)?;
    for node in 0..restored.len() {
        let config = restored.config(node).display().to_string();
        let from = [
            "backup", "restore", "--from", &place, "--name", "one", "--config", &config,
        ];
        restored.operate(&from).await?;
    }
    restored.launch().await?;
    let again = restored.operate(&["stock", "get", SKU]).await?;
    ensure!(again["cells"] == stock["cells"], "{again}, it was {stock}");
    let consumers = restored.operate(&["changes", "consumers", "list"]).await?;
    let consumer = &consumers["consumers"][0];
    ensure!(
        consumer["name"] == "archive" && consumer["required"] == true,
        "{consumers}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_used_by_change_logs_stays_flat_under_load() -> Result<()> {
    let cluster = cluster().await?;
    let client = cluster.client()?;
    let skus = stock(&client, 8).await?;
    register(&cluster).await?;
    let crowd = Crowd::start(&client, 16, &skus, 1)?;
    crowd.more_grants(1_000).await?;
    // So far, nothing is archived and nothing was dropped.
    let written = position(&client).await?;
    ensure!(written.first_seq == 1, "{written:?}");
    let bytes_a_change = largest_change_log(&cluster)? as f64 / written.last_seq as f64;

    let mut kept = Vec::new();
    while kept.len() < 10 || position(&client).await?.last_seq < 10 * written.last_seq {
        archive_all(&cluster, &client).await?;
        kept.push(largest_change_log(&cluster)?);
        ensure!(kept.len() < 500, "the buyers are slow: {kept:?}");
    }
    crowd.stop().await?;
    archive_all(&cluster, &client).await?;
    let all_bytes = bytes_a_change * position(&client).await?.last_seq as f64;
    let later = &kept[kept.len() / 2..];
    let most = later.iter().copied().max().context("sizes")?;
    println!("{all_bytes:.0} bytes of changes were written to each node; change logs kept {kept:?}");
    ensure!((most as f64) < all_bytes / 2.0, "{kept:?} of {all_bytes}");

    // Without load, little is left.
    wait_for("only the last segments are left", || async {
        client.receive(requests::receive(SKU, 1)).await.ok()?;
        archive_all(&cluster, &client).await.ok()?;
        (largest_change_log(&cluster).ok()? < 4 * (64 << 10)).then_some(())
    })
    .await?;
    cluster.verify()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_required_consumer_has_not_passed_stays_until_it_is_no_longer_required() -> Result<()> {
    let cluster = cluster().await?;
    let client = cluster.client()?;
    register(&cluster).await?;
    cluster
        .operate(&["changes", "consumers", "register", "kafka", "--required"])
        .await?;
    receive_many(&client, 1_000).await?;
    archive_all(&cluster, &client).await?;
    // The archive has everything, and another consumer has nothing.
    for _ in 0..30 {
        client.receive(requests::receive(SKU, 1)).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    ensure!(first_seqs(&cluster).await? == [1, 1, 1]);
    let careless = cluster.holdfast(&["changes", "consumers", "register", "kafka"])?;
    let says = String::from_utf8_lossy(&careless.stderr).into_owned();
    ensure!(!careless.status.success() && says.contains("--yes"), "{says}");
    let careless = cluster.holdfast(&["changes", "consumers", "remove", "kafka"])?;
    ensure!(!careless.status.success());
    cluster
        .operate(&["changes", "consumers", "remove", "kafka", "--yes"])
        .await?;
    dropped(&cluster, &client).await
}
