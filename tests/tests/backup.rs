//! A backup of a cluster at work, and a new cluster that begins with it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use futures::TryStreamExt as _;
use holdfast_api::v1;
use holdfast_api::v1::take_request::Step;
use holdfast_api::v1::take_response::Answer;
use holdfast_client::Client;
use holdfast_tests::accounts::{STOCK, stock};
use holdfast_tests::load::{Crowd, Seen};
use holdfast_tests::{Cluster, Shards, requests, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;

/// The cells and the state digest of each shard, by shard.
type Listing = BTreeMap<u32, (Vec<v1::Cell>, String)>;

async fn listing(client: &Client) -> Result<Listing> {
    let mut all = Listing::new();
    for shard in client.refresh_topology().await?.shards {
        let request = v1::ListStockRequest {
            shard: Some(shard.shard),
            consistency: v1::Consistency::Linearizable.into(),
        };
        let mut messages = std::pin::pin!(client.list_stock(request));
        let mut cells = Vec::new();
        let mut digest = String::new();
        while let Some(message) = messages.try_next().await? {
            cells.extend(message.cells);
            digest.extend(message.state_digest.iter().map(|byte| format!("{byte:02x}")));
        }
        cells.sort_by(|a, b| (&a.sku, &a.warehouse).cmp(&(&b.sku, &b.warehouse)));
        all.insert(shard.shard, (cells, digest));
    }
    Ok(all)
}

fn shards(report: &Value) -> Result<&Vec<Value>> {
    report["shards"].as_array().context("no shards are reported")
}

fn place(cluster: &Cluster) -> String {
    cluster.folder().join("backups").display().to_string()
}

fn create(cluster: &Cluster, name: &str) -> Result<Value> {
    let made = cluster.holdfast_json(&["backup", "create", "--to", &place(cluster), "--name", name])?;
    Ok(made["backup"].clone())
}

fn verify(cluster: &Cluster, name: &str) -> Result<Value> {
    cluster.holdfast_json(&["backup", "verify", "--from", &place(cluster), "--name", name])
}

fn restore(from: &str, name: &str, into: &Cluster, node: usize) -> Result<Value> {
    let config = into.config(node).display().to_string();
    into.holdfast_json(&[
        "backup", "restore", "--from", from, "--name", name, "--config", &config,
    ])
}

/// Copies an archive of this cluster up to one of its backups.
fn cut_archive(of: &Cluster, name: &str, archive: &str, to: &str) -> Result<Value> {
    let backup = ["--from", &place(of), "--name", name];
    of.holdfast_json(
        &[
            &["backup", "cut-archive"],
            &backup[..],
            &["--archive", archive, "--to", to],
        ]
        .concat(),
    )
}

/// Runs a command that must fail. Returns its message.
fn refused(cluster: &Cluster, arguments: &[&str]) -> Result<String> {
    let output = cluster.holdfast(arguments)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(
        output.status.code() == Some(1),
        "{arguments:?} ended with {}: {said}",
        output.status
    );
    Ok(said)
}

/// Makes a new cluster that began with a backup.
async fn restored(from: &Cluster, name: &str, shards: Shards) -> Result<Cluster> {
    let mut cluster = Cluster::prepare(shards).await?;
    for node in 0..cluster.len() {
        restore(&place(from), name, &cluster, node)?;
    }
    cluster.launch().await?;
    Ok(cluster)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_cluster_has_the_same_digests_and_answers_and_goes_on() -> Result<()> {
    let cluster = Cluster::start(Shards(4)).await?;
    let client = cluster.client()?;
    let skus = stock(&client, 12).await?;
    let crowd = Crowd::start(&client, 8, &skus, 3)?;
    wait_for("100 orders", || async { (crowd.grants() >= 100).then_some(()) }).await?;
    let seen = crowd.stop().await?;
    let committed = &seen.granted[0];
    client.commit(requests::commit(committed)).await?;
    let repeated = requests::order(&[&skus[0], &skus[1], &skus[2], &skus[3]]);
    let first = client.reserve(repeated.clone()).await?;
    // Orders under way between the shards change them until they are settled.
    let before = wait_for("nothing moves any more", || async {
        let (one, two) = (listing(&client).await.ok()?, listing(&client).await.ok()?);
        let report = create_quietly(&cluster).ok()?;
        let settled = shards(&report)
            .ok()?
            .iter()
            .all(|shard| shard["prepared_reservations"] == 0 && shard["unsettled_orders"] == 0);
        (settled && one == two && listing(&client).await.ok()? == one).then_some(one)
    })
    .await?;

    let manifest = create(&cluster, "quiet")?;
    let copies = shards(&manifest)?;
    for copy in copies {
        let shard = u32::try_from(copy["shard"].as_u64().context("a number")?)?;
        ensure!(copy["state_digest"] == before[&shard].1.as_str(), "{copy}");
    }
    ensure!(verify(&cluster, "quiet")?["ok"] == true);

    let new = restored(&cluster, "quiet", Shards(4)).await?;
    let new_client = new.client()?;
    ensure!(
        listing(&new_client).await? == before,
        "another state was restored"
    );

    let again = new_client.reserve(repeated).await?;
    let replayed = again.receipt.as_ref().is_some_and(|receipt| receipt.replayed);
    ensure!(replayed && again.lines == first.lines, "{again:?}");
    let reservation = new_client.get_reservation(requests::get(committed)).await?;
    let state = reservation.reservation.unwrap_or_default().state();
    ensure!(state == v1::ReservationState::Committed, "{state:?}");

    // The numbers of changes and the indexes of the log continue those of the backup.
    new_client.receive(requests::receive(&skus[0], 1)).await?;
    let shard = new_client.shard_of(&skus[0]).await?;
    let positions = new_client.get_positions(v1::GetPositionsRequest {}).await?;
    let position = positions.shards.iter().find(|position| position.shard == shard);
    let position = position.context("the shard has a position")?;
    let last_seq = copies[shard as usize]["last_seq"].as_u64().context("a number")?;
    ensure!(
        position.first_seq == last_seq + 1,
        "{position:?} after {last_seq}"
    );
    let mut tail = std::pin::pin!(new_client.tail_changes(shard, last_seq + 1, false));
    let changes = tail.try_next().await?.context("a change")?.changes;
    ensure!(changes[0].seq == last_seq + 1);
    ensure!(Some(changes[0].log_index) > copies[shard as usize]["log_index"].as_u64());

    // The archive continues too, once it is cut at the backup: it is whole, and right by the arithmetic of
    // `verify`.
    client.receive(requests::receive(&skus[0], 5)).await?;
    let (old_lake, new_lake) = ("lake", new.folder().join("lake").display().to_string());
    cluster.holdfast_json(&["changes", "export", "--to", old_lake])?;
    let cut = || cut_archive(&cluster, "quiet", old_lake, &new_lake);
    cut()?;
    new.holdfast_json(&["changes", "export", "--to", &new_lake])?;
    let report = new.holdfast_json(&["verify", "--archive", &new_lake])?;
    ensure!(report["ok"] == true, "{report}");
    // The two histories part at the backup, and neither can continue in the other's archive.
    let said = refused(&cluster, &["changes", "export", "--to", &new_lake])?;
    ensure!(said.contains("holds the history of cluster"), "{said}");
    let old_lake_in_full = cluster.folder().join(old_lake).display().to_string();
    let said = refused(&new, &["changes", "export", "--to", &old_lake_in_full])?;
    ensure!(said.contains("cut-archive"), "{said}");
    let again = cut();
    ensure!(
        again.is_err(),
        "an archive that went on was taken for one that ends with the backup"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_into_a_restored_cluster_knows_from_the_archive_what_was_imported_before() -> Result<()> {
    const HEADER: &str = "InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID\n";
    let order = |number: u32| format!("{number},A{number},2,2031-03-01,1.0,7\n");
    let cluster = Cluster::start(Shards(2)).await?;
    let folder = cluster.folder();
    let path = |name: &str| folder.join(name).display().to_string();
    let (first, second) = (path("first.csv"), path("second.csv"));
    std::fs::write(&first, [HEADER, &order(1), &order(2)].concat())?;
    std::fs::write(&second, [HEADER, &order(2), &order(3)].concat())?;
    cluster.holdfast_json(&["import", "orders", &first, "--state", &path("first.json")])?;
    let (lake, cut) = (path("lake"), path("cut"));
    cluster.holdfast_json(&["changes", "export", "--to", &lake])?;
    create(&cluster, "quiet")?;
    let new = restored(&cluster, "quiet", Shards(2)).await?;
    let state = path("second.json");
    let import = ["import", "orders", &second, "--state", &state];
    let said = refused(&new, &import)?;
    ensure!(said.contains("name it with --archive"), "{said}");
    // The old cluster's own archive has another history.
    let said = refused(&new, &[&import[..], &["--archive", &lake]].concat())?;
    ensure!(said.contains("holds the history of cluster"), "{said}");
    cut_archive(&cluster, "quiet", &lake, &cut)?;
    let summary = new.holdfast_json(&[&import[..], &["--archive", &cut]].concat())?;
    ensure!(
        summary["documents_brought_before"] == 1 && summary["rows_imported"] == 2,
        "{summary}"
    );
    // The fixed stock of the second order's article was sold once.
    let stock = new.holdfast_json(&["stock", "get", "A2"])?;
    ensure!(stock["cells"][0]["on_hand"] == 0, "{stock}");
    new.holdfast_json(&["changes", "export", "--to", &cut])?;
    let report = new.holdfast_json(&["verify", "--archive", &cut])?;
    ensure!(report["ok"] == true, "{report}");
    Ok(())
}

/// Creates a backup without output and returns what `backup verify` says of it. The backup is removed again.
fn create_quietly(cluster: &Cluster) -> Result<Value> {
    create(cluster, "probe")?;
    let report = verify(cluster, "probe");
    std::fs::remove_dir_all(Path::new(&place(cluster)).join("backups/probe"))?;
    report
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_in_a_backup_of_a_busy_cluster_are_whole_or_not_there() -> Result<()> {
    let mut cluster = Cluster::start(Shards(4)).await?;
    let client = cluster.client()?;
    let skus = stock(&client, 16).await?;
    let crowd = Crowd::start(&client, 16, &skus, 5)?;
    wait_for("50 orders", || async { (crowd.grants() >= 50).then_some(()) }).await?;
    let names = ["first", "second", "third"];
    let mut acknowledged_before = Vec::new();
    for name in names {
        let before = crowd.grants();
        acknowledged_before.push(before);
        create(&cluster, name)?;
        ensure!(verify(&cluster, name)?["ok"] == true);
        wait_for("orders go on", || async {
            (crowd.grants() >= before + 50).then_some(())
        })
        .await?;
    }
    // The death of a leader during a backup costs one attempt.
    let leader = cluster.leader(2).await?;
    cluster.end(leader, Signal::SIGKILL)?;
    create(&cluster, "after-a-kill")?;
    ensure!(verify(&cluster, "after-a-kill")?["ok"] == true);
    let seen = crowd.stop().await?;

    let new = restored(&cluster, "third", Shards(4)).await?;
    let new_client = new.client()?;
    drop(cluster);
    let held = settle(&new, &new_client, &skus, &seen).await?;
    ensure!(
        held >= acknowledged_before[2],
        "{held} orders are there, {} were acknowledged before the backup was asked for",
        acknowledged_before[2]
    );
    // The cluster still sells, over all shards.
    for turn in 0..8 {
        let wanted: Vec<&str> = (0..5)
            .map(|line| skus[(turn * 3 + line) % skus.len()].as_str())
            .collect();
        new_client.reserve(requests::order(&wanted)).await?;
    }
    Ok(())
}

/// Returns where each shard's changes end, answered by a quorum.
async fn last_changes(client: &Client) -> Result<BTreeMap<u32, u64>> {
    let positions = client.get_positions(v1::GetPositionsRequest {}).await?;
    let last = |position: v1::ShardPosition| (position.shard, position.last_seq);
    Ok(positions.shards.into_iter().map(last).collect())
}

/// Holds all shards, sends an order over several of them meanwhile, and cuts. Returns none when the shards
/// did not stand still.
async fn cut_with_an_order_waiting(client: &Client, skus: &[String]) -> Result<Option<()>> {
    let topology = client.refresh_topology().await?;
    let mut sessions = Vec::new();
    for node in &topology.nodes {
        let led = |shard: &&v1::Shard| shard.leader_node_id == node.node_id;
        let shards: Vec<u32> = topology
            .shards
            .iter()
            .filter(led)
            .map(|shard| shard.shard)
            .collect();
        if !shards.is_empty() {
            let address = client.admin_address_of(node).context("its admin port is told")?;
            let session = client.backup_session(&address).await?;
            session.step(Step::Freeze(v1::FreezeShards { shards })).await?;
            sessions.push(session);
        }
    }
    for session in &mut sessions {
        if session.answer().await.is_err() {
            return Ok(None);
        }
    }
    let before = last_changes(client).await?;
    let (buyer, skus) = (client.clone(), skus.to_vec());
    let order = tokio::spawn(async move {
        let wanted: Vec<&str> = skus.iter().map(String::as_str).collect();
        buyer.reserve(requests::order(&wanted)).await
    });
    // These are rounds to a quorum of each shard, in which the order would have been held.
    for _ in 0..5 {
        last_changes(client).await?;
    }
    let mut cut = BTreeMap::new();
    let mut stood_still = true;
    for session in &mut sessions {
        session.step(Step::Cut(v1::CutShards {})).await.ok();
    }
    for session in &mut sessions {
        match session.answer().await {
            Ok(Answer::Cut(answer)) => {
                cut.extend(
                    answer
                        .shards
                        .into_iter()
                        .map(|shard| (shard.shard, shard.last_seq)),
                );
            }
            _ => stood_still = false,
        }
    }
    order.await??;
    if !stood_still {
        return Ok(None);
    }
    ensure!(
        cut == before,
        "a cut at {cut:?} of shards that stood at {before:?}"
    );
    Ok(Some(()))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_comes_while_all_shards_are_held_is_in_no_copy_and_is_held_afterwards() -> Result<()> {
    let cluster = Cluster::start(Shards(4)).await?;
    let client = cluster.client()?;
    let skus = stock(&client, 8).await?;
    // On a very busy machine a lease may run out. Then there is no copy at all, and the test tries again.
    wait_for("the shards stood still and were copied", || async {
        cut_with_an_order_waiting(&client, &skus).await.transpose()
    })
    .await?
}

/// Waits until nothing is undecided any more. Then each order is there with all its lines or with none, and
/// the held units are those of the orders. Returns how many orders are there.
async fn settle(cluster: &Cluster, client: &Client, skus: &[String], seen: &Seen) -> Result<u64> {
    wait_for("nothing stays prepared or unsettled", || async {
        let report = create_quietly(cluster).ok()?;
        let done = |shard: &Value| shard["prepared_reservations"] == 0 && shard["unsettled_orders"] == 0;
        shards(&report).ok()?.iter().all(done).then_some(())
    })
    .await?;
    let (mut orders, mut units) = (0, 0);
    let unknown = seen
        .unknown
        .iter()
        .map(|request| requests::id_of(request.operation.as_ref()));
    for id in seen.granted.iter().cloned().chain(unknown) {
        let reservation = match client.get_reservation(requests::get(&id)).await {
            Ok(answer) => answer.reservation.unwrap_or_default(),
            Err(error) if error.reason() == Some(v1::Reason::UnknownReservation) => continue,
            Err(error) => return Err(error.into()),
        };
        match reservation.state() {
            v1::ReservationState::Held => {
                ensure!(reservation.lines.len() == 5, "{reservation:?}");
                ensure!(
                    reservation.lines.iter().all(|line| line.held == 1),
                    "{reservation:?}"
                );
                orders += 1;
                units += 5;
            }
            v1::ReservationState::Released => {
                ensure!(
                    reservation.lines.iter().all(|line| line.held == 0),
                    "{reservation:?}"
                );
            }
            _ => anyhow::bail!("{reservation:?}"),
        }
    }
    let mut held = 0;
    for sku in skus {
        let request = v1::GetStockRequest {
            sku: sku.clone(),
            ..Default::default()
        };
        for cell in client.get_stock(request).await?.cells {
            ensure!(
                cell.on_hand == STOCK && cell.free + cell.held == STOCK,
                "{cell:?}"
            );
            held += cell.held;
        }
    }
    ensure!(held == units, "{held} units are held, {units} by orders");
    Ok(orders)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_unfinished_or_meant_for_another_cluster_is_not_restored() -> Result<()> {
    let cluster = Cluster::start(Shards(2)).await?;
    let client = cluster.client()?;
    stock(&client, 4).await?;
    create(&cluster, "good")?;
    let from = place(&cluster);
    let again = refused(&cluster, &["backup", "create", "--to", &from, "--name", "good"])?;
    ensure!(again.contains("a backup good exists already"), "{again}");

    let file = Path::new(&from).join("backups/good/0001.ledger");
    let good = std::fs::read(&file)?;
    let mut bad = good.clone();
    let middle = bad.len() / 2;
    bad[middle] ^= 0x04;
    std::fs::write(&file, &bad)?;
    let target = Cluster::prepare(Shards(2)).await?;
    let config = target.config(0).display().to_string();
    let said = refused(&cluster, &["backup", "verify", "--from", &from, "--name", "good"])?;
    ensure!(said.contains("0001.ledger is damaged"), "{said}");
    let into = [
        "backup", "restore", "--from", &from, "--name", "good", "--config", &config,
    ];
    let said = refused(&target, &into)?;
    ensure!(said.contains("0001.ledger is damaged"), "{said}");
    std::fs::write(&file, &good)?;

    let manifest = Path::new(&from).join("backups/good/manifest.json");
    let hidden = manifest.with_extension("elsewhere");
    std::fs::rename(&manifest, &hidden)?;
    let said = refused(&target, &into)?;
    ensure!(said.contains("begun and not finished"), "{said}");
    let listed = cluster.holdfast_json(&["backup", "list", "--from", &from])?;
    ensure!(listed["backups"][0]["state"] == "unfinished", "{listed}");
    std::fs::rename(&hidden, &manifest)?;

    let own = cluster.config(0).display().to_string();
    let said = refused(
        &cluster,
        &[
            "backup", "restore", "--from", &from, "--name", "good", "--config", &own,
        ],
    )?;
    ensure!(
        said.contains("node.cluster_id must be an id of its own"),
        "{said}"
    );
    let other_count = Cluster::prepare(Shards(3)).await?;
    let config = other_count.config(0).display().to_string();
    let said = refused(
        &cluster,
        &[
            "backup", "restore", "--from", &from, "--name", "good", "--config", &config,
        ],
    )?;
    ensure!(said.contains("set shards.count to 2"), "{said}");
    let in_use = Cluster::start(Shards(2)).await?;
    let config = in_use.config(0).display().to_string();
    let said = refused(
        &cluster,
        &[
            "backup", "restore", "--from", &from, "--name", "good", "--config", &config,
        ],
    )?;
    ensure!(said.contains("in use by another process"), "{said}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_which_not_every_node_was_restored_does_not_begin() -> Result<()> {
    let cluster = Cluster::start(Shards(2)).await?;
    let skus = stock(&cluster.client()?, 4).await?;
    create(&cluster, "good")?;
    let mut target = Cluster::prepare(Shards(2)).await?;
    restore(&place(&cluster), "good", &target, 0)?;
    for node in 0..target.len() {
        target.spawn(node)?;
    }
    wait_for("the nodes tell why they do not speak to each other", || async {
        let told = |node| {
            target
                .log(node)
                .contains("restore every node of a new cluster from the same backup")
        };
        (told(0) && told(1)).then_some(())
    })
    .await?;
    // The two nodes that began empty founded a cluster without the first one. Alone, the first one has no
    // quorum.
    target.end(1, Signal::SIGKILL)?;
    target.end(2, Signal::SIGKILL)?;
    let client = target.client()?.with_deadline(std::time::Duration::from_secs(2));
    let error = client.receive(requests::receive(&skus[0], 1)).await;
    ensure!(error.is_err(), "a node alone took {error:?}");

    // Nothing is restored into a folder that is not empty, even when its node does not run.
    let config = target.config(1).display().to_string();
    let from = place(&cluster);
    let said = refused(
        &target,
        &[
            "backup", "restore", "--from", &from, "--name", "good", "--config", &config,
        ],
    )?;
    ensure!(said.contains("is not empty"), "{said}");
    Ok(())
}
