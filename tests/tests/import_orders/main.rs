//! `holdfast import orders` on real processes: always with an invented shop's file, and with real shops'
//! files if they are there.
//!
//! `naive.rs` works out what the ledger must hold by a second reading of the file, which shares no code with
//! the import.

mod checks;
mod killed;
mod naive;
mod real_shop;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use holdfast_api::v1;
use holdfast_tests::{Cluster, Shards, wait_for};
use nix::sys::signal::Signal;

use checks::{MAPPING, ONE_AT_A_TIME, check_again, check_settled, check_stock, check_whole, import};
use killed::import_under_kills;

const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/orders/orders.csv");

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_file_is_accounted_for_row_by_row_and_again_is_a_no_op() -> Result<()> {
    let cluster = Cluster::start(Shards(4)).await?;
    let file = Path::new(FIXTURE);
    let first = import(&cluster, file, &[])?;
    check_stock(&cluster, &[(file, &first)]).await?;
    check_whole(&cluster, &[(file, &first)]).await?;
    check_again(&cluster, file, &first, &[]).await?;
    // Other options for the same import are refused before anything is sent.
    let state = first["state_file"].as_str().context("state")?;
    let other = cluster.holdfast(&[
        "import",
        "orders",
        FIXTURE,
        "--mapping",
        MAPPING,
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
    // Without its state file, the import finds its operations in the change stream.
    std::fs::remove_file(state)?;
    check_again(&cluster, file, &first, &[]).await?;
    cluster.verify()?;
    Ok(())
}

/// Writes an invented shop's orders of four lines, with cancellations.
fn many_orders(cluster: &Cluster) -> Result<PathBuf> {
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
    Ok(file)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_killed_in_the_middle_goes_on_and_nothing_happens_twice() -> Result<()> {
    let _turn = ONE_AT_A_TIME.lock().await;
    let cluster = Cluster::start(Shards(4)).await?;
    let file = many_orders(&cluster)?;
    let client = cluster.client()?;
    let arguments = ["--initial-stock", "share:0.7"];
    let path = file.to_string_lossy().into_owned();
    let state = cluster
        .folder()
        .join("many.state.json")
        .to_string_lossy()
        .into_owned();
    for (signal, at_least) in [(Signal::SIGKILL, 200), (Signal::SIGINT, 2_000)] {
        let begin = [
            "import",
            "orders",
            &path,
            "--state",
            &state,
            "--mapping",
            MAPPING,
            "--deadline-ms",
            "60000",
            "--json",
        ];
        let mut process = cluster.start_holdfast(&[&begin[..], &arguments].concat())?;
        let begun = wait_for("changes of the import", || {
            let ended = process.try_wait().ok().flatten();
            let client = client.clone();
            async move {
                if ended.is_some() {
                    return Some(ended);
                }
                let positions = client.get_positions(v1::GetPositionsRequest {}).await.ok()?;
                (positions.shards.iter().map(|at| at.last_seq).sum::<u64>() >= at_least).then_some(None)
            }
        });
        let ended = begun.await?;
        ensure!(ended.is_none(), "it ended before it was stopped: {ended:?}");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(process.id().cast_signed()), signal)?;
        ensure!(
            !process.wait()?.success(),
            "it ended well although it was stopped"
        );
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
    check_whole(&cluster, &[(&file, &first)]).await?;
    check_again(&cluster, &file, &first, &arguments).await?;
    check_settled(&cluster)?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_goes_on_over_killed_leaders_and_every_order_is_whole() -> Result<()> {
    let _turn = ONE_AT_A_TIME.lock().await;
    let mut cluster = Cluster::start(Shards(4)).await?;
    let file = many_orders(&cluster)?;
    let arguments = ["--initial-stock", "share:0.7"];
    let kills = import_under_kills(&mut cluster, 4, &file, &arguments).await?;
    ensure!(kills >= 3, "the import ended after {kills} kills");
    let summary = import(&cluster, &file, &arguments)?;
    ensure!(summary["operations"]["applied"] == 0, "{summary}");
    ensure!(
        summary["rejected"]["insufficient_stock"].as_u64() > Some(0)
            && summary["orders_over_several_shards"].as_u64() > Some(1_000),
        "{summary}"
    );
    check_stock(&cluster, &[(&file, &summary)]).await?;
    check_whole(&cluster, &[(&file, &summary)]).await?;
    check_settled(&cluster)?;
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
    let open_quote = write(
        "quote.csv",
        b"InvoiceNo,StockCode,Quantity,InvoiceDate,UnitPrice,CustomerID,Description\n1,A,1,2031-03-01,1,7,\"TAPE\n2,B,1,2031-03-01,1,7,\"LAMP\"\n",
    )?;
    let no_mapping = write("mapping.toml", b"[columns]\nsku = \"a\"\n")?;
    let cases: [(&[&str], &str); 13] = [
        (&["no-such-file.csv"], "no-such-file.csv"),
        (&["."], "folder"),
        (&[&empty], "empty"),
        (&[&other], "InvoiceNo"),
        (&[&binary], "InvoiceNo"),
        (&[&open_quote], "line 2 is not closed"),
        (&[&orders, "--mapping", &no_mapping], "document"),
        (&[&orders, "--mapping", "no-such.toml"], "no-such.toml"),
        // The file has a field over two lines, which the plain mapping does not accept.
        (&[&orders], "line_breaks_in_fields"),
        (&[&orders, "--initial-stock", "share:2"], "0 to 1"),
        (&[&orders, "--warehouses", "UK 1"], "warehouse"),
        (&[&orders, "--warehouses", "A,A"], "twice"),
        (
            &[&orders, "--mapping", MAPPING, "--rejects", &orders],
            "three files",
        ),
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
