//! Checks of imports: every row is accounted for, and the ledger has what the rows say.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use holdfast_api::v1;
use holdfast_client::Client;
use holdfast_tests::Cluster;
use serde_json::Value;

use crate::naive::{Units, naive_change, naive_orders, naive_rows};

/// Mapping of the files in these tests.
pub(crate) const MAPPING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/mappings/online-retail.toml");

/// Returns what each reservation got, by the change streams: the invoice, and units by SKU. Units of an order
/// that came to nothing are not in it.
pub(crate) async fn reserved(client: &Client) -> Result<BTreeMap<Vec<u8>, (String, Units)>> {
    let mut reservations: BTreeMap<Vec<u8>, (String, Units)> = BTreeMap::new();
    for position in client.get_positions(v1::GetPositionsRequest {}).await?.shards {
        let mut answers = std::pin::pin!(client.tail_changes(position.shard, 1, false));
        while let Some(answer) = answers.next().await {
            for change in answer?.changes {
                let sign = match change.kind() {
                    v1::ChangeKind::Reserved | v1::ChangeKind::Prepared => 1,
                    v1::ChangeKind::Aborted => -1,
                    _ => continue,
                };
                let effect = change.reservation.context("no reservation")?;
                let (invoice, units) = reservations.entry(effect.reservation_id.to_vec()).or_default();
                if sign > 0 {
                    *invoice = change.cause.unwrap_or_default().reference;
                }
                *units.entry(change.sku).or_default() += sign * effect.quantity;
            }
        }
    }
    reservations.retain(|_, (_, units)| units.values().any(|units| *units != 0));
    Ok(reservations)
}

/// Checks that each granted invoice is one reservation with all its units, in whichever shards, and that a
/// refused one is no reservation at all. It is for imports with all or nothing.
pub(crate) async fn check_whole(cluster: &Cluster, imports: &[(&Path, &Value)]) -> Result<()> {
    let mut expected = BTreeMap::new();
    for (file, summary) in imports {
        let orders = naive_orders(&naive_rows(file)?, &rejects(summary)?)?;
        ensure!(
            summary["orders"].as_u64() == Some(orders.len() as u64),
            "{summary}"
        );
        let granted = orders.into_iter().filter(|(_, (granted, _))| *granted);
        expected.extend(granted.map(|(invoice, (_, units))| (invoice, units)));
    }
    let mut found = BTreeMap::new();
    for (invoice, units) in reserved(&cluster.client()?).await?.into_values() {
        ensure!(
            found.insert(invoice.clone(), with_units(units)).is_none(),
            "invoice {invoice} was granted twice"
        );
    }
    for (invoice, units) in &expected {
        ensure!(
            found.get(invoice) == Some(units),
            "invoice {invoice}: {:?} instead of {units:?}",
            found.get(invoice)
        );
    }
    ensure!(found.len() == expected.len(), "something else was granted");
    Ok(())
}

/// Checks that `verify` finds nothing and that no order over several shards is left undecided.
pub(crate) fn check_settled(cluster: &Cluster) -> Result<Value> {
    let report = cluster.verify()?;
    ensure!(report["orders"]["prepared"] == 0, "{report}");
    Ok(report)
}

/// Reads the rejects file: row numbers and reasons.
pub(crate) fn rejects(summary: &Value) -> Result<BTreeMap<u64, String>> {
    let path = summary["rejects_file"].as_str().context("no rejects file")?;
    let mut reader = csv::Reader::from_path(path)?;
    let mut rejects = BTreeMap::new();
    for record in reader.records() {
        let record = record?;
        ensure!(
            rejects.insert(record[0].parse()?, record[2].to_owned()).is_none(),
            "row {} twice",
            &record[0]
        );
    }
    Ok(rejects)
}

/// A lock for tests that keep three nodes busy for a minute or more. Side by side they would starve each
/// other past every deadline.
pub(crate) static ONE_AT_A_TIME: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Imports a file. Every row must be accounted for.
pub(crate) fn import(cluster: &Cluster, file: &Path, arguments: &[&str]) -> Result<Value> {
    let name = file.file_stem().context("no name")?.to_string_lossy();
    let state = cluster.folder().join(format!("{name}.state.json"));
    let file = file.to_string_lossy();
    let state = state.to_string_lossy();
    // On a busy machine an order may take longer than a buyer would wait.
    let patient = ["--deadline-ms", "60000", "--mapping", MAPPING];
    let command = ["import", "orders", &file, "--state", &state];
    let summary = cluster.holdfast_json(&[&command[..], &patient, arguments].concat())?;
    check_accounted(&summary)?;
    Ok(summary)
}

pub(crate) fn check_accounted(summary: &Value) -> Result<()> {
    let count = |name: &str| {
        summary[name]
            .as_u64()
            .with_context(|| format!("{name} in {summary}"))
    };
    ensure!(summary["finished"] == true, "{summary}");
    ensure!(
        count("rows_imported")? + count("rows_rejected")? == count("rows_read")?,
        "{summary}"
    );
    ensure!(
        rejects(summary)?.len() as u64 == count("rows_rejected")?,
        "{summary}"
    );
    Ok(())
}

/// Returns the stock on hand by SKU, over all warehouses.
pub(crate) async fn on_hand(client: &Client) -> Result<Units> {
    let mut units = Units::new();
    let mut answers = std::pin::pin!(client.list_stock(v1::ListStockRequest::default()));
    while let Some(answer) = answers.next().await {
        for cell in answer?.cells {
            ensure!(
                cell.held == 0 && cell.committed == 0 && cell.deficit == 0,
                "{cell:?}"
            );
            *units.entry(cell.sku).or_default() += cell.on_hand;
        }
    }
    Ok(units)
}

/// Returns the units received by SKU, from the change streams.
pub(crate) async fn received(client: &Client) -> Result<Units> {
    let mut units = Units::new();
    for position in client.get_positions(v1::GetPositionsRequest {}).await?.shards {
        let mut answers = std::pin::pin!(client.tail_changes(position.shard, 1, false));
        while let Some(answer) = answers.next().await {
            for change in answer?.changes {
                if change.kind() == v1::ChangeKind::Received {
                    let on_hand = change
                        .moves
                        .iter()
                        .find(|moved| moved.bucket() == v1::Bucket::OnHand);
                    *units.entry(change.sku).or_default() += on_hand.map_or(0, |moved| moved.delta);
                }
            }
        }
    }
    Ok(units)
}

pub(crate) fn add(left: &Units, right: &Units) -> Units {
    let mut sum = left.clone();
    for (sku, units) in right {
        *sum.entry(sku.clone()).or_default() += units;
    }
    sum
}

/// Removes the SKUs that have no units, which a listing may or may not show.
pub(crate) fn with_units(units: Units) -> Units {
    units.into_iter().filter(|(_, units)| *units != 0).collect()
}

/// Checks that the stock on hand is what was received plus the sum of the rows of these files, without the
/// rejected rows.
pub(crate) async fn check_stock(cluster: &Cluster, imports: &[(&Path, &Value)]) -> Result<Units> {
    let client = cluster.client()?;
    let mut expected = received(&client).await?;
    for (file, summary) in imports {
        let except = rejects(summary)?.into_keys().collect();
        expected = add(&expected, &naive_change(&naive_rows(file)?, &except));
    }
    let live = with_units(on_hand(&client).await?);
    ensure!(live == with_units(expected), "the ledger and the files differ");
    ensure!(live.values().all(|units| *units > 0), "stock below zero");
    Ok(live)
}

/// Checks that a second import does nothing: it has the same account, and makes no change in any stream.
pub(crate) async fn check_again(
    cluster: &Cluster,
    file: &Path,
    first: &Value,
    arguments: &[&str],
) -> Result<()> {
    let client = cluster.client()?;
    let positions = async || anyhow::Ok(client.get_positions(v1::GetPositionsRequest {}).await?.shards);
    let last_seqs =
        |shards: Vec<v1::ShardPosition>| shards.into_iter().map(|at| at.last_seq).collect::<Vec<_>>();
    let before = last_seqs(positions().await?);
    let again = import(cluster, file, arguments)?;
    ensure!(
        last_seqs(positions().await?) == before,
        "importing again changed something: {again}"
    );
    for same in [
        "rows_read",
        "rows_imported",
        "rows_rejected",
        "rejected",
        "reservations",
        "units",
    ] {
        ensure!(again[same] == first[same], "{same}: {again} after {first}");
    }
    ensure!(again["operations"]["applied"] == 0, "{again}");
    Ok(())
}
