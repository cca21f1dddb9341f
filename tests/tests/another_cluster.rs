//! An archive, a cursor and the state of an import are refused by every cluster but their own, by name.

use anyhow::{Result, ensure};
use holdfast_api::v1;
use holdfast_tests::{Cluster, ClusterOptions};

const ORDERS: &str =
    "InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID\n1,A1,2,2031-03-01,1.0,7\n";

async fn start() -> Result<Cluster> {
    Cluster::start_with(ClusterOptions {
        shards: 2,
        nodes: 1,
        ..ClusterOptions::default()
    })
    .await
}

async fn id(cluster: &Cluster) -> Result<String> {
    let positions = cluster
        .client()?
        .get_positions(v1::GetPositionsRequest {})
        .await?;
    Ok(uuid::Uuid::from_slice(&positions.cluster_id)?.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_a_cursor_and_an_import_of_another_cluster_are_refused_by_name() -> Result<()> {
    let one = start().await?;
    let folder = one.folder();
    let path = |name: &str| folder.join(name).display().to_string();
    let (orders, state) = (path("orders.csv"), path("state.json"));
    std::fs::write(&orders, ORDERS)?;
    let (lake, cursor) = (path("lake"), path("cursor.json"));
    let import = ["import", "orders", &orders, "--state", &state];
    let export = ["changes", "export", "--to", &lake];
    let tail = ["changes", "tail", "--cursor", &cursor];
    let as_of = [
        "stock",
        "get",
        "A1",
        "--as-of",
        "2099-01-01T00:00:00Z",
        "--archive",
        &lake,
    ];
    let all: [&[&str]; 3] = [&import, &export, &tail];
    for _ in 0..2 {
        for command in all {
            let done = one.holdfast(command)?;
            ensure!(done.status.success(), "{command:?}: {done:?}");
        }
    }
    let other = start().await?;
    let (own, others) = (id(&one).await?, id(&other).await?);
    // The other cluster is at the same place and has another history, as after `dev --fresh`.
    other.holdfast_json(&["stock", "receive", "A1", "--warehouse", "UK-1", "--quantity", "5"])?;
    for command in [&import[..], &export, &tail, &as_of] {
        let done = other.holdfast(command)?;
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        ensure!(
            done.status.code() == Some(1),
            "{command:?} ended with {}: {said}",
            done.status
        );
        ensure!(
            said.contains(&own) && said.contains(&others),
            "{command:?} does not name the clusters: {said}"
        );
    }
    // The refused commands have lost nothing.
    for command in all {
        let done = one.holdfast(command)?;
        ensure!(done.status.success(), "{command:?}: {done:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_exports_at_once_leave_one_archive() -> Result<()> {
    let cluster = start().await?;
    let lake = cluster.folder().join("lake").display().to_string();
    let follow = |rows: &str, wait: &str| {
        let export = ["changes", "export", "--to", &lake, "--follow"];
        cluster.start_holdfast(&[&export[..], &["--rows-per-file", rows, "--max-wait", wait]].concat())
    };
    let mut exports = [follow("3", "30ms")?, follow("5", "50ms")?];
    for number in 0..60 {
        let units = (number + 1).to_string();
        let sku = format!("A{}", number % 7);
        cluster.holdfast_json(&[
            "stock",
            "receive",
            &sku,
            "--warehouse",
            "UK-1",
            "--quantity",
            &units,
        ])?;
    }
    for export in &mut exports {
        ensure!(export.try_wait()?.is_none(), "an export ended by itself");
        let id = nix::unistd::Pid::from_raw(export.id().cast_signed());
        nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGTERM)?;
    }
    for export in &mut exports {
        ensure!(export.wait()?.success(), "an export failed");
    }
    cluster.holdfast_json(&["changes", "export", "--to", &lake])?;
    let report = cluster.holdfast_json(&["verify", "--archive", &lake])?;
    ensure!(report["ok"] == true && report["changes"] == 60, "{report}");
    Ok(())
}
