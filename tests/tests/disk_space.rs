//! Disks that fill up: new requests are refused before anything is lost, promised ones go on, and reads work
//! to the end.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use holdfast_api::v1;
use holdfast_client::{Client, ClientError};
use holdfast_tests::{Cluster, Shards, requests, wait_for};
use nix::sys::signal::Signal;
use nix::sys::statvfs::statvfs;

const MIB: u64 = 1 << 20;
/// More bytes than any disk has. With this threshold a node's disk is low, however much space it has.
const MORE_THAN_THERE_IS: u64 = 1 << 50;

/// Bytes of the ballast of a node on a small disk, and of what is left of it when the disk is full.
const BALLAST: u64 = 32 * MIB;
const KEPT: u64 = 8 * MIB;

/// Units of each SKU: more than a test reserves while it waits to be refused.
const UNITS: i64 = 1_000_000;

const SKUS: [&str; 4] = ["SKU-1", "SKU-2", "SKU-3", "SKU-4"];

/// Writes lines into the `[storage]` section of a node's configuration, in place of the ballast's line.
fn configure(cluster: &Cluster, node: usize, storage: &str) -> Result<()> {
    let path = cluster.config(node);
    let config = std::fs::read_to_string(&path)?;
    let (before, after) = config.split_once("[storage]\n").context("no storage")?;
    let (_, after) = after.split_once("\n\n").context("no end of storage")?;
    let segments = "log_segment = \"32MiB\"\nchange_segment = \"4MiB\"\n";
    std::fs::write(path, format!("{before}[storage]\n{segments}{storage}\n\n{after}"))?;
    Ok(())
}

/// Sets the space below which a node's disk is low, and starts the node again if it runs.
async fn low_below(cluster: &mut Cluster, node: usize, bytes: u64) -> Result<()> {
    configure(
        cluster,
        node,
        &format!("ballast = \"0B\"\nlow_space = \"{bytes}B\""),
    )?;
    if cluster.running().contains(&node) {
        cluster.end(node, Signal::SIGTERM)?;
        cluster.spawn(node)?;
        cluster.ready().await?;
    }
    Ok(())
}

fn is_low_space<T>(answer: &Result<T, ClientError>) -> bool {
    let reason = answer.as_ref().err().and_then(ClientError::reason);
    reason == Some(v1::Reason::LowSpace)
}

async fn reserve(client: &Client, sku: &str) -> Result<Bytes> {
    let request = requests::reserve(sku, 1);
    let id = requests::id_of(request.operation.as_ref());
    client.reserve(request).await?;
    Ok(id)
}

/// Waits until a reserve is accepted, and releases it again.
async fn reserves_are_taken(client: &Client) -> Result<()> {
    for sku in SKUS {
        let id = wait_for("a reserve is taken", || async { reserve(client, sku).await.ok() }).await?;
        client.release(release(&id)).await?;
    }
    Ok(())
}

fn release(id: &Bytes) -> v1::ReleaseRequest {
    v1::ReleaseRequest {
        operation: Some(requests::operation()),
        reservation: requests::key(id),
    }
}

/// Returns the units on hand of a SKU, by a linearizable read.
async fn on_hand(client: &Client, sku: &str) -> Result<i64> {
    let request = v1::GetStockRequest {
        sku: sku.to_owned(),
        ..Default::default()
    };
    let cells = client.get_stock(request).await?.cells;
    Ok(cells.first().context("no cell")?.on_hand)
}

#[tokio::test(flavor = "multi_thread")]
async fn while_disks_are_low_new_things_are_refused_and_what_was_promised_goes_on() -> Result<()> {
    let mut cluster = Cluster::start(Shards(2)).await?;
    let client = cluster.client()?;
    for sku in SKUS {
        client.receive(requests::receive(sku, UNITS)).await?;
    }
    let (paid, given_back) = (reserve(&client, SKUS[0]).await?, reserve(&client, SKUS[1]).await?);
    let over_both = requests::order(&SKUS);
    let over_both_id = requests::id_of(over_both.operation.as_ref());
    client.reserve(over_both.clone()).await?;
    let short = v1::ReserveRequest {
        ttl_ms: 2_000,
        ..requests::reserve(SKUS[2], 3)
    };
    let short_id = requests::id_of(short.operation.as_ref());
    client.reserve(short).await?;
    // This ends when the nodes run again, unless they are very slow to stop.
    cluster.kill_all()?;
    for node in 0..cluster.len() {
        low_below(&mut cluster, node, MORE_THAN_THERE_IS).await?;
        cluster.spawn(node)?;
    }
    cluster.ready().await?;

    for sku in SKUS {
        let refused = client.reserve(requests::reserve(sku, 1)).await;
        ensure!(is_low_space(&refused), "{sku}: {refused:?}");
    }
    let refused = client.reserve(requests::order(&SKUS)).await;
    ensure!(is_low_space(&refused), "{refused:?}");
    let refused = client.receive(requests::receive(SKUS[0], 1)).await;
    ensure!(is_low_space(&refused), "{refused:?}");

    // An operation that took effect before is answered with its first outcome.
    let again = client.reserve(over_both).await?;
    ensure!(again.receipt.is_some_and(|receipt| receipt.replayed));
    client.commit(requests::commit(&paid)).await?;
    client.release(release(&given_back)).await?;
    client.commit(requests::commit(&over_both_id)).await?;
    wait_for("the hold expires", || async {
        let answer = client.get_reservation(requests::get(&short_id)).await.ok()?;
        let state = answer.reservation?.state();
        (state == v1::ReservationState::Expired).then_some(())
    })
    .await?;
    ensure!(on_hand(&client, SKUS[0]).await? == UNITS);
    let status = cluster.holdfast_json(&["cluster", "status"])?;
    ensure!(status["nodes"][0]["status"]["disk"]["state"] == "low", "{status}");

    for node in 0..cluster.len() {
        low_below(&mut cluster, node, 16 * MIB).await?;
    }
    reserves_are_taken(&client).await?;
    cluster.verify()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_with_enough_space_takes_nothing_new_while_its_followers_have_little() -> Result<()> {
    let mut cluster = Cluster::start(Shards(1)).await?;
    let client = cluster.client()?;
    for sku in SKUS {
        client.receive(requests::receive(sku, UNITS)).await?;
    }
    let leader = cluster.leader(0).await?;
    let followers: Vec<usize> = (0..cluster.len()).filter(|node| *node != leader).collect();
    low_below(&mut cluster, followers[0], MORE_THAN_THERE_IS).await?;
    ensure!(
        cluster.leader(0).await? == leader,
        "another leader: nothing is shown"
    );
    // The other follower and the leader are a quorum.
    reserves_are_taken(&client).await?;
    // A follower that is away is in no quorum.
    cluster.end(followers[1], Signal::SIGTERM)?;
    wait_for("reserves are refused", || async {
        is_low_space(&client.reserve(requests::reserve(SKUS[0], 1)).await).then_some(())
    })
    .await?;
    ensure!(
        cluster.leader(0).await? == leader,
        "another leader: nothing is shown"
    );
    cluster.spawn(followers[1])?;
    cluster.ready().await?;
    reserves_are_taken(&client).await?;
    cluster.verify()?;
    Ok(())
}

/// A file system in memory for the data of each node, which the test can fill. It needs the right to mount.
struct SmallDisks(Vec<PathBuf>);

impl SmallDisks {
    const SIZE_MIB: u64 = 256;

    /// Mounts the file systems. Returns none where mounting is not allowed.
    fn mount(cluster: &Cluster) -> Result<Option<Self>> {
        let mut disks = Self(Vec::new());
        for node in 0..cluster.len() {
            let folder = cluster.folder().join(format!("node-{}", node + 1));
            std::fs::create_dir_all(&folder)?;
            let size = format!("size={}m", Self::SIZE_MIB);
            let mounted = Command::new("mount")
                .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
                .arg(&folder)
                .output()?;
            if !mounted.status.success() {
                return Ok(None);
            }
            disks.0.push(folder);
        }
        Ok(Some(disks))
    }

    fn available(folder: &Path) -> Result<u64> {
        let disk = statvfs(folder)?;
        Ok(disk.blocks_available() * disk.fragment_size())
    }

    /// Fills each disk until only this many bytes are left.
    fn leave(&self, bytes: u64) -> Result<()> {
        for folder in &self.0 {
            self::fill(
                &folder.join("of-others"),
                Self::available(folder)?.saturating_sub(bytes),
            )?;
        }
        Ok(())
    }

    fn empty(&self) -> Result<()> {
        for folder in &self.0 {
            std::fs::remove_file(folder.join("of-others"))?;
        }
        Ok(())
    }

    /// Returns whether the ballast of each node has this many bytes.
    fn have_ballast(&self, bytes: u64) -> bool {
        let held = |folder: &PathBuf| std::fs::metadata(folder.join("ballast")).map_or(0, |file| file.len());
        self.0.iter().all(|folder| held(folder) == bytes)
    }
}

/// Makes a file longer, with blocks that are really allocated.
fn fill(path: &Path, bytes: u64) -> Result<()> {
    let file = File::options().create(true).append(true).open(path)?;
    let length = file.metadata()?.len();
    if bytes > 0 {
        nix::fcntl::posix_fallocate(&file, i64::try_from(length)?, i64::try_from(bytes)?)?;
    }
    Ok(())
}

impl Drop for SmallDisks {
    fn drop(&mut self) {
        for folder in &self.0 {
            // The nodes may still have files open there.
            let _ = Command::new("umount").arg("-l").arg(folder).output();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::print_stderr, reason = "a test that shows nothing has to say so")]
async fn nodes_whose_disks_are_full_start_and_answer_reads_and_go_on_when_there_is_room() -> Result<()> {
    let mut cluster = Cluster::prepare(Shards(2)).await?;
    let Some(disks) = SmallDisks::mount(&cluster)? else {
        eprintln!("not shown: this needs the right to mount a file system");
        return Ok(());
    };
    for node in 0..cluster.len() {
        let bounds = format!("ballast = \"{BALLAST}B\"\nlow_space = \"64MiB\"");
        configure(&cluster, node, &bounds)?;
    }
    cluster.launch().await?;
    let client = cluster.client()?;
    for sku in SKUS {
        client.receive(requests::receive(sku, UNITS)).await?;
    }
    let (first, second) = (reserve(&client, SKUS[0]).await?, reserve(&client, SKUS[1]).await?);
    ensure!(disks.have_ballast(BALLAST));

    disks.leave(50 * MIB)?;
    wait_for("reserves are refused", || async {
        is_low_space(&client.reserve(requests::reserve(SKUS[0], 1)).await).then_some(())
    })
    .await?;
    client.commit(requests::commit(&first)).await?;
    ensure!(
        disks.have_ballast(BALLAST),
        "the ballast went while there was space"
    );

    disks.leave(10 * MIB)?;
    wait_for("the ballast is given up", || async {
        disks.have_ballast(KEPT).then_some(())
    })
    .await?;
    client.commit(requests::commit(&second)).await?;

    // Only the space that is kept for a start is left. It is enough for one start after the other.
    for _ in 0..2 {
        cluster.kill_all()?;
        disks.leave(0)?;
        for node in 0..cluster.len() {
            cluster.spawn(node)?;
        }
        cluster.ready().await?;
        for sku in SKUS {
            ensure!(on_hand(&client, sku).await? == UNITS);
        }
        ensure!(is_low_space(&client.reserve(requests::reserve(SKUS[0], 1)).await));
    }

    disks.empty()?;
    reserves_are_taken(&client).await?;
    wait_for("there is a ballast again", || async {
        disks.have_ballast(BALLAST).then_some(())
    })
    .await?;
    cluster.verify()?;
    Ok(())
}
