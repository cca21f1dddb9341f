//! `holdfast import orders` on real processes: an invented shop's file always, real shops' files where they are.
//!
//! What the ledger must hold is worked out here by a second, naive reading of the file, which shares no code with the import.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt as _;
use holdfast_client::Client;
use holdfast_proto::v1;
use holdfast_tests::{Cluster, Shards, orders, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/orders/orders.csv");

/// Units by SKU.
type Units = BTreeMap<String, i64>;

/// A row as the naive reading sees it.
struct NaiveRow {
    number: u64,
    invoice: String,
    sku: String,
    quantity: i64,
    price: f64,
    customer: String,
}

/// Every row that has eight UTF-8 fields and a whole quantity; the files' columns stand in the documented order.
fn naive_rows(path: &Path) -> Result<Vec<NaiveRow>> {
    let mut rows = Vec::new();
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_path(path)?;
    for (index, record) in reader.byte_records().enumerate() {
        let record = record?;
        let fields: Vec<&str> = record
            .iter()
            .map_while(|field| std::str::from_utf8(field).ok())
            .collect();
        let [invoice, sku, _, quantity, _, price, customer, _] = fields[..] else {
            continue;
        };
        let Ok(quantity) = quantity.parse() else { continue };
        rows.push(NaiveRow {
            number: index as u64 + 1,
            invoice: invoice.to_owned(),
            sku: sku.to_uppercase(),
            quantity,
            price: price.parse()?,
            customer: customer.to_owned(),
        });
    }
    Ok(rows)
}

fn is_fee(sku: &str) -> bool {
    let fees = ["POST", "DOT", "M", "D", "S", "C2", "BANK CHARGES", "AMAZONFEE"];
    fees.contains(&sku) || sku.starts_with("GIFT")
}

/// What stock on hand changes by, by SKU, when all rows but these take effect.
fn naive_change(rows: &[NaiveRow], except: &BTreeSet<u64>) -> Units {
    let mut rows_of_invoice: BTreeMap<&str, u32> = BTreeMap::new();
    for row in rows {
        *rows_of_invoice.entry(&row.invoice).or_default() += 1;
    }
    let mut change = Units::new();
    for row in rows.iter().filter(|row| !except.contains(&row.number)) {
        let alone = rows_of_invoice[row.invoice.as_str()] == 1;
        let units = if row.invoice.starts_with('C') {
            row.quantity.abs()
        } else if row.quantity < 0 || (alone && row.price == 0.0 && row.customer.is_empty()) {
            row.quantity
        } else {
            -row.quantity
        };
        *change.entry(row.sku.clone()).or_default() += units;
    }
    change
}

/// The rejects file: row numbers and reasons.
fn rejects(summary: &Value) -> Result<BTreeMap<u64, String>> {
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

/// Imports a file; every row must be accounted for.
fn import(cluster: &Cluster, file: &Path, arguments: &[&str]) -> Result<Value> {
    let name = file.file_stem().context("no name")?.to_string_lossy();
    let state = cluster.folder().join(format!("{name}.state.json"));
    let file = file.to_string_lossy();
    let state = state.to_string_lossy();
    let summary =
        cluster.holdfast_json(&[&["import", "orders", &file, "--state", &state], arguments].concat())?;
    check_accounted(&summary)?;
    Ok(summary)
}

fn check_accounted(summary: &Value) -> Result<()> {
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

/// Stock on hand by SKU, over all warehouses.
async fn on_hand(client: &Client) -> Result<Units> {
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

/// Units received by SKU, from the change streams.
async fn received(client: &Client) -> Result<Units> {
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

fn add(left: &Units, right: &Units) -> Units {
    let mut sum = left.clone();
    for (sku, units) in right {
        *sum.entry(sku.clone()).or_default() += units;
    }
    sum
}

/// Without the SKUs that have nothing, which a listing may or may not show.
fn with_units(units: Units) -> Units {
    units.into_iter().filter(|(_, units)| *units != 0).collect()
}

/// Stock on hand must be what was received plus what the rows of these files, but for the rejected ones, come to.
async fn check_stock(cluster: &Cluster, imports: &[(&Path, &Value)]) -> Result<Units> {
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

/// A second import is a no-op: same account, no change in any stream.
async fn check_again(cluster: &Cluster, file: &Path, first: &Value, arguments: &[&str]) -> Result<()> {
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

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_file_is_accounted_for_row_by_row_and_again_is_a_no_op() -> Result<()> {
    let cluster = Cluster::start(Shards(4)).await?;
    let file = Path::new(FIXTURE);
    let first = import(&cluster, file, &[])?;
    check_stock(&cluster, &[(file, &first)]).await?;
    check_again(&cluster, file, &first, &[]).await?;
    // Other options for the same import are refused, before anything is sent.
    let state = first["state_file"].as_str().context("state")?;
    let other = cluster.holdfast(&[
        "import",
        "orders",
        FIXTURE,
        "--state",
        state,
        "--initial-stock",
        "none",
    ])?;
    ensure!(!other.status.success());
    ensure!(
        String::from_utf8_lossy(&other.stderr).contains("--initial-stock enough"),
        "{other:?}"
    );
    // Without its state file the import knows itself by the change stream.
    std::fs::remove_file(state)?;
    check_again(&cluster, file, &first, &[]).await?;
    cluster.verify()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_killed_in_the_middle_goes_on_and_nothing_happens_twice() -> Result<()> {
    let cluster = Cluster::start(Shards(4)).await?;
    let file = cluster.folder().join("many.csv");
    let mut text =
        String::from("InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country\n");
    for invoice in 0..1500_u32 {
        for line in 0..4 {
            let (sku, quantity, customer) = ((invoice * 7 + line * 13) % 97, invoice % 5 + 1, invoice % 31);
            text.push_str(&format!(
                "{invoice},SKU-{sku},,{quantity},2031-03-{:02},1.0,{customer},X\n",
                invoice / 100 + 1
            ));
        }
        if invoice % 9 == 8 {
            let (sku, quantity, customer) = ((invoice * 7) % 97, invoice % 5 + 1, invoice % 31);
            text.push_str(&format!(
                "C{invoice},SKU-{sku},,-{quantity},2031-03-{:02},1.0,{customer},X\n",
                invoice / 100 + 1
            ));
        }
    }
    std::fs::write(&file, text)?;
    let client = cluster.client()?;
    let arguments = ["--initial-stock", "share:0.7"];
    let path = file.to_string_lossy().into_owned();
    let state = cluster
        .folder()
        .join("many.state.json")
        .to_string_lossy()
        .into_owned();
    for (signal, at_least) in [(Signal::SIGKILL, 200), (Signal::SIGINT, 2_000)] {
        let begin = ["import", "orders", &path, "--state", &state, "--json"];
        let mut process = cluster.start_holdfast(&[&begin[..], &arguments].concat())?;
        let begun = wait_for("changes of the import", || async {
            let positions = client.get_positions(v1::GetPositionsRequest {}).await.ok()?;
            (positions.shards.iter().map(|at| at.last_seq).sum::<u64>() >= at_least).then_some(())
        });
        begun.await?;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(process.id().cast_signed()), signal)?;
        ensure!(!process.wait()?.success(), "it ended before it was stopped");
    }
    let first = import(&cluster, &file, &arguments)?;
    ensure!(
        first["operations"]["skipped"].as_u64() > Some(0),
        "nothing was left to resume from: {first}"
    );
    ensure!(
        first["rejected"]["insufficient_stock"].as_u64() > Some(0),
        "nothing sold out: {first}"
    );
    check_stock(&cluster, &[(&file, &first)]).await?;
    check_again(&cluster, &file, &first, &arguments).await?;
    cluster.verify()?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_no_orders_are_refused_and_change_nothing() -> Result<()> {
    let cluster = Cluster::start(Shards(1)).await?;
    let write = |name: &str, bytes: &[u8]| -> Result<String> {
        let path = cluster.folder().join(name);
        std::fs::write(&path, bytes)?;
        Ok(path.to_string_lossy().into_owned())
    };
    let orders = write("orders.csv", &std::fs::read(FIXTURE)?)?;
    let empty = write("empty.csv", b"")?;
    let other = write("other.csv", b"a,b\n1,2\n")?;
    let binary = write("binary.csv", &[0xff, 0x00, 0xfe])?;
    let cases: [(&[&str], &str); 9] = [
        (&["no-such-file.csv"], "no-such-file.csv"),
        (&["."], "folder"),
        (&[&empty], "columns"),
        (&[&other], "InvoiceNo"),
        (&[&binary], "columns"),
        (&[&orders, "--initial-stock", "share:2"], "0 to 1"),
        (&[&orders, "--warehouses", "UK 1"], "warehouse"),
        (&[&orders, "--warehouses", "A,A"], "twice"),
        (&[&orders, "--rejects", &orders], "three files"),
    ];
    for (arguments, text) in cases {
        let output = cluster.holdfast(&[&["import", "orders"], arguments].concat())?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(
            !output.status.success() && error.contains(text),
            "{arguments:?}: {error}"
        );
        ensure!(!error.contains("panicked"), "{arguments:?}: {error}");
    }
    ensure!(
        std::fs::read(&orders)? == std::fs::read(FIXTURE)?,
        "the orders were overwritten"
    );
    let positions = cluster
        .client()?
        .get_positions(v1::GetPositionsRequest {})
        .await?;
    ensure!(
        positions.shards.iter().all(|at| at.last_seq == 0),
        "{positions:?}"
    );
    Ok(())
}

/// Stock on hand by SKU as the warehouse's mart has it, built anew from the archived changes.
fn stock_current(cluster: &Cluster) -> Result<Units> {
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
    let query = "import duckdb, json, sys\n\
                 rows = duckdb.connect(sys.argv[1], read_only=True).execute(\n\
                 'select sku, sum(on_hand)::bigint from marts.stock_current group by sku').fetchall()\n\
                 print(json.dumps(dict(rows)))";
    let rows = Command::new(root.join("target/warehouse-venv/bin/python"))
        .args(["-c", query])
        .arg(&database)
        .output()?;
    ensure!(rows.status.success(), "{}", String::from_utf8_lossy(&rows.stderr));
    Ok(serde_json::from_slice(&rows.stdout)?)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_orders_of_a_real_shop_end_in_the_warehouse_unit_by_unit() -> Result<()> {
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
    for (file, summary) in imports {
        check_again(&cluster, file, summary, &[]).await?;
    }
    cluster.verify()?;
    ensure!(
        with_units(stock_current(&cluster)?) == live,
        "stock_current and the files differ"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_shop_with_too_little_stock_sells_out_and_never_oversells() -> Result<()> {
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
    cluster.verify()?;
    Ok(())
}
