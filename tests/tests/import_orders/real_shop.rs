//! The files of a real shop, if they are there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use holdfast_tests::{Cluster, Shards, orders};

use crate::checks::{
    ONE_AT_A_TIME, check_again, check_settled, check_stock, check_whole, import, on_hand, rejects, with_units,
};
use crate::killed::import_under_kills;
use crate::naive::{Units, is_fee, naive_rows, naive_sold_by_day};

/// Builds the warehouse anew from the archived changes. Returns the path of its database.
fn build_warehouse(cluster: &Cluster) -> Result<PathBuf> {
    let folder = cluster.folder();
    let lake = folder.join("lake").to_string_lossy().into_owned();
    cluster.holdfast_json(&["changes", "export", "--format", "parquet", "--to", &lake])?;
    let listed = cluster.holdfast(&["stock", "list", "--format", "csv"])?;
    ensure!(listed.status.success(), "{listed:?}");
    let stock = folder.join("ledger_stock.csv");
    std::fs::write(&stock, listed.stdout)?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let database = folder.join("warehouse.duckdb");
    let built = Command::new("python3")
        .arg(root.join("warehouse/build.py"))
        .args(["--changes", &lake])
        .arg("--ledger-stock")
        .arg(&stock)
        .arg("--database")
        .arg(&database)
        .output()?;
    ensure!(
        built.status.success(),
        "the warehouse was not built: {}",
        String::from_utf8_lossy(&built.stderr)
    );
    Ok(database)
}

/// Asks the warehouse for units by name.
fn units(database: &Path, query: &str) -> Result<Units> {
    let program = "import duckdb, json, sys\n\
                   rows = duckdb.connect(sys.argv[1], read_only=True).execute(sys.argv[2]).fetchall()\n\
                   print(json.dumps(dict(rows)))";
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let rows = Command::new(root.join("target/warehouse-venv/bin/python"))
        .args(["-c", program])
        .arg(database)
        .arg(query)
        .output()?;
    ensure!(rows.status.success(), "{}", String::from_utf8_lossy(&rows.stderr));
    Ok(serde_json::from_slice(&rows.stdout)?)
}

/// Stock on hand by SKU.
const STOCK_CURRENT: &str = "select sku, sum(on_hand)::bigint from marts.stock_current group by sku";

/// Units sold by business day.
const SOLD_BY_DAY: &str = "select business_date::varchar, sum(units_sold)::bigint from marts.fct_daily_movements \
                           where units_sold > 0 group by business_date";

#[tokio::test(flavor = "multi_thread")]
async fn the_orders_of_a_real_shop_end_in_the_warehouse_unit_by_unit() -> Result<()> {
    let _turn = ONE_AT_A_TIME.lock().await;
    let Some(folder) = orders::real_orders() else {
        eprintln!("skipped: no real orders; name their folder in HOLDFAST_ACCEPTANCE_DATA");
        return Ok(());
    };
    let files = ["orders-2010-12.csv", "orders-2011-01.csv"].map(|name| folder.join(name));
    let cluster = Cluster::start(Shards(4)).await?;
    let mut summaries = Vec::new();
    for file in &files {
        let summary = import(&cluster, file, &[])?;
        // With enough stock nothing is rejected but fees.
        let fees = naive_rows(file)?.into_iter().filter(|row| is_fee(&row.sku));
        let fees: BTreeMap<u64, String> = fees.map(|row| (row.number, "not_stock".to_owned())).collect();
        ensure!(rejects(&summary)? == fees, "{summary}");
        summaries.push(summary);
    }
    ensure!(
        summaries[0]["rows_read"] == 42_481 && summaries[1]["rows_read"] == 35_147,
        "{summaries:?}"
    );
    let imports = [(&*files[0], &summaries[0]), (&*files[1], &summaries[1])];
    let live = check_stock(&cluster, &imports).await?;
    check_whole(&cluster, &imports).await?;
    for (file, summary) in imports {
        check_again(&cluster, file, summary, &[]).await?;
    }
    let report = check_settled(&cluster)?;
    let over_several_shards: u64 = summaries
        .iter()
        .filter_map(|summary| summary["orders_over_several_shards"].as_u64())
        .sum();
    ensure!(
        report["orders"]["orders"].as_u64() == Some(over_several_shards) && over_several_shards > 2_000,
        "{over_several_shards} orders over several shards: {report}"
    );
    let database = build_warehouse(&cluster)?;
    ensure!(
        with_units(units(&database, STOCK_CURRENT)?) == live,
        "stock_current and the files differ"
    );
    let mut sold = Units::new();
    for (file, summary) in imports {
        for (day, quantity) in naive_sold_by_day(&naive_rows(file)?, &rejects(summary)?) {
            *sold.entry(day).or_default() += quantity;
        }
    }
    ensure!(sold.len() > 30, "the files are of few days: {sold:?}");
    ensure!(
        units(&database, SOLD_BY_DAY)? == sold,
        "units sold by business day, and by the orders' own days, differ"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_orders_of_a_real_shop_are_whole_whichever_leaders_are_killed() -> Result<()> {
    let _turn = ONE_AT_A_TIME.lock().await;
    let Some(folder) = orders::real_orders() else {
        eprintln!("skipped: no real orders; name their folder in HOLDFAST_ACCEPTANCE_DATA");
        return Ok(());
    };
    let file = folder.join("orders-2010-12.csv");
    let mut cluster = Cluster::start(Shards(4)).await?;
    let kills = import_under_kills(&mut cluster, 4, &file, &[]).await?;
    ensure!(kills >= 10, "the import ended after {kills} kills");
    let summary = import(&cluster, &file, &[])?;
    ensure!(summary["operations"]["applied"] == 0, "{summary}");
    check_stock(&cluster, &[(&file, &summary)]).await?;
    check_whole(&cluster, &[(&file, &summary)]).await?;
    check_settled(&cluster)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_shop_with_too_little_stock_sells_out_and_never_oversells() -> Result<()> {
    let _turn = ONE_AT_A_TIME.lock().await;
    let Some(folder) = orders::real_orders() else {
        eprintln!("skipped: no real orders; name their folder in HOLDFAST_ACCEPTANCE_DATA");
        return Ok(());
    };
    let file = folder.join("orders-2011-01.csv");
    let cluster = Cluster::start(Shards(4)).await?;
    let arguments = [
        "--initial-stock",
        "share:0.8",
        "--mode",
        "best-effort",
        "--warehouses",
        "UK-1,UK-2",
    ];
    let summary = import(&cluster, &file, &arguments)?;
    let reasons = summary["rejected"].as_object().context("reasons")?;
    ensure!(
        reasons.contains_key("insufficient_stock") && reasons.contains_key("partly_filled"),
        "{summary}"
    );
    let live: i64 = on_hand(&cluster.client()?).await?.values().sum();
    let units = |name: &str| {
        summary["units"][name]
            .as_i64()
            .with_context(|| format!("{name} in {summary}"))
    };
    let left = units("received")? - units("sold")?
        + units("cancelled")?
        + units("returned")?
        + units("adjusted_up")?
        - units("adjusted_down")?;
    ensure!(live == left, "{live} units are there, {left} are accounted for");
    check_again(&cluster, &file, &summary, &arguments).await?;
    check_settled(&cluster)?;
    Ok(())
}
