//! Nodes whose files are not what was written: nothing acknowledged is lost, and a node that has forgotten
//! does not vote.

use std::path::Path;

use anyhow::{Result, ensure};
use holdfast_tests::accounts::{account_for, stock};
use holdfast_tests::load::Crowd;
use holdfast_tests::{Cluster, Region, Shards, wait_for};
use nix::sys::signal::Signal;

/// Starts a cluster that builds snapshots often.
async fn cluster() -> Result<Cluster> {
    let mut cluster = Cluster::prepare(Shards(2)).await?;
    for node in 0..cluster.len() {
        let path = cluster.config(node);
        let config = std::fs::read_to_string(&path)?;
        let config = config.replace("[raft]\n", "[raft]\nsnapshot_every_entries = 100\n");
        std::fs::write(path, config)?;
    }
    cluster.launch().await?;
    Ok(cluster)
}

async fn grants(crowd: &Crowd, more: u64) -> Result<()> {
    let before = crowd.grants();
    wait_for("more grants", || async {
        (crowd.grants() >= before + more).then_some(())
    })
    .await
}

/// Kills all nodes while buyers order, damages one of them, and starts them again.
async fn damaged_after_a_kill(
    cluster: &mut Cluster,
    crowd: &Crowd,
    node: usize,
    region: Region,
) -> Result<()> {
    after_a_kill(cluster, crowd, node, region, |cluster| {
        cluster.damage(node, region).map(drop)
    })
    .await
}

/// Kills all nodes while buyers order, once one of them has something in a region. Then it does something to
/// that node's files and starts the nodes again.
async fn after_a_kill(
    cluster: &mut Cluster,
    crowd: &Crowd,
    node: usize,
    region: Region,
    damage: impl FnOnce(&Cluster) -> Result<()>,
) -> Result<()> {
    grants(crowd, 200).await?;
    wait_for("there is something to damage", || async {
        cluster.damageable(node, region).ok()
    })
    .await?;
    cluster.kill_all()?;
    damage(cluster)?;
    for node in 0..cluster.len() {
        cluster.spawn(node)?;
    }
    cluster.ready().await?;
    grants(crowd, 50).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_a_damaged_log_forgets_nothing_it_confirmed_and_gets_its_replicas_again() -> Result<()> {
    let mut cluster = cluster().await?;
    let client = cluster.client()?;
    let skus = stock(&client, 8).await?;
    let crowd = Crowd::start(&client, 16, &skus, 1)?;
    for (node, region) in [(0, Region::LastBatch), (1, Region::Log), (0, Region::LastBatch)] {
        let before = cluster.put_aside(node);
        damaged_after_a_kill(&mut cluster, &crowd, node, region).await?;
        ensure!(cluster.put_aside(node) == before + 1, "{region:?} went unseen");
        cluster.has_new_replicas(node).await?;
    }
    let seen = crowd.stop().await?;
    account_for(&client, &skus, seen).await?;
    cluster.verify()?;
    Ok(())
}

const SNAPSHOTS: &str = "all snapshots";

/// An action that loses files below the data folder of a node.
type Loses = fn(&Path) -> std::io::Result<()>;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_log_or_snapshots_are_gone_does_not_vote_with_what_is_left() -> Result<()> {
    let mut cluster = cluster().await?;
    let client = cluster.client()?;
    let skus = stock(&client, 8).await?;
    let crowd = Crowd::start(&client, 16, &skus, 1)?;
    let losses: [(&str, Loses); 4] = [
        ("the log's folder", |data| {
            std::fs::remove_dir_all(data.join("log"))
        }),
        // This is like a disk of its own that is not mounted.
        ("all in the log's folder", |data| {
            std::fs::read_dir(data.join("log"))?.try_for_each(|file| std::fs::remove_file(file?.path()))
        }),
        ("the mark", |data| {
            std::fs::remove_file(data.join("log/synced.mark"))
        }),
        (SNAPSHOTS, |data| {
            std::fs::read_dir(data.join("snapshots"))?
                .try_for_each(|group| std::fs::remove_dir_all(group?.path()))
        }),
    ];
    for (round, (what, lose)) in losses.into_iter().enumerate() {
        let node = round % 2;
        let before = cluster.put_aside(node);
        after_a_kill(&mut cluster, &crowd, node, Region::Snapshot, |cluster| {
            Ok(lose(&cluster.data_folder(node))?)
        })
        .await?;
        // The log may still have what the snapshots held.
        if what != SNAPSHOTS {
            ensure!(cluster.put_aside(node) == before + 1, "nobody missed {what}");
            cluster.has_new_replicas(node).await?;
        }
    }
    let seen = crowd.stop().await?;
    account_for(&client, &skus, seen).await?;
    cluster.verify()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_snapshot_a_change_log_or_the_facts_loses_nothing() -> Result<()> {
    let mut cluster = cluster().await?;
    let client = cluster.client()?;
    let skus = stock(&client, 8).await?;
    let crowd = Crowd::start(&client, 16, &skus, 1)?;
    for (node, region) in [(0, Region::Snapshot), (1, Region::Changes), (2, Region::Facts)] {
        damaged_after_a_kill(&mut cluster, &crowd, node, region).await?;
    }
    let seen = crowd.stop().await?;
    account_for(&client, &skus, seen).await?;
    cluster.verify()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_majority_gives_nothing_up_and_says_what_to_do() -> Result<()> {
    let mut cluster = Cluster::start(Shards(1)).await?;
    let client = cluster.client()?;
    let skus = stock(&client, 4).await?;
    let crowd = Crowd::start(&client, 8, &skus, 1)?;
    grants(&crowd, 100).await?;
    cluster.kill_all()?;
    let damages = [
        cluster.damage(0, Region::LastBatch)?,
        cluster.damage(1, Region::LastBatch)?,
    ];
    for node in 0..cluster.len() {
        cluster.spawn(node)?;
    }
    for node in [0, 1] {
        let status = cluster.ended(node).await?;
        ensure!(!status.success(), "node {node} ended as if all were well");
        let said = cluster.log(node);
        ensure!(said.contains("does not start on damaged data"), "{said}");
        ensure!(said.contains("cluster/runbooks/damaged-data.md"), "{said}");
        ensure!(cluster.put_aside(node) == 0);
    }
    for damage in damages {
        damage.flip()?;
    }
    for node in [0, 1] {
        cluster.spawn(node)?;
    }
    cluster.ready().await?;
    grants(&crowd, 50).await?;
    let seen = crowd.stop().await?;
    account_for(&client, &skus, seen).await?;
    cluster.verify()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_disk_that_comes_back_while_others_stop_and_start_is_replaced_in_the_end() -> Result<()> {
    let mut cluster = Cluster::start(Shards(1)).await?;
    let client = cluster.client()?;
    let skus = stock(&client, 4).await?;
    let crowd = Crowd::start(&client, 8, &skus, 1)?;
    grants(&crowd, 100).await?;
    cluster.kill_all()?;
    cluster.damage(0, Region::LastBatch)?;
    // Only one other node is there, and no quorum can do without the damaged one yet.
    cluster.spawn(0)?;
    cluster.spawn(1)?;
    wait_for("node 1 asks in vain", || async {
        cluster
            .log(0)
            .contains("do not answer for every shard")
            .then_some(())
    })
    .await?;
    ensure!(cluster.put_aside(0) == 0);
    cluster.spawn(2)?;
    cluster.ready().await?;
    ensure!(cluster.put_aside(0) == 1);
    cluster.end(0, Signal::SIGKILL)?;
    cluster.spawn(0)?;
    cluster.ready().await?;
    grants(&crowd, 50).await?;
    let seen = crowd.stop().await?;
    account_for(&client, &skus, seen).await?;
    cluster.verify()?;
    Ok(())
}
