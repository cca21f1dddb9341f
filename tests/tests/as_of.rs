//! Reads of the past at the command line: the nodes and an archive show what live reads showed then.

use anyhow::{Context as _, Result, ensure};
use holdfast_tests::{Cluster, Shards};
use serde_json::Value;

const SKU: &str = "SKU-1";

/// The answers of live reads at one moment.
struct Moment {
    shard: u64,
    change_seq: u64,
    log_time_ms: u64,
    cells: Value,
    reservation: Value,
}

impl Moment {
    fn look(cluster: &Cluster, reservation: &str) -> Result<Self> {
        let stock = cluster.holdfast_json(&["stock", "get", SKU])?;
        let position = &stock["read"]["position"];
        let number = |value: &Value| value.as_u64().context("a number");
        let got = cluster.holdfast(&["get", reservation, "--json"])?;
        let got: Value = serde_json::from_slice(&got.stdout).unwrap_or_default();
        Ok(Self {
            shard: number(&position["shard"])?,
            change_seq: number(&stock["read"]["change_seq"])?,
            log_time_ms: number(&position["log_time_ms"])?,
            cells: stock["cells"].clone(),
            reservation: got["reservation"].clone(),
        })
    }

    fn position(&self) -> String {
        format!("{}:{}", self.shard, self.change_seq)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_moment_of_a_sale_is_told_afterwards_as_it_was_seen_live() -> Result<()> {
    let cluster = Cluster::start(Shards(2)).await?;
    let reservation = uuid::Uuid::now_v7().to_string();
    let id = reservation.as_str();
    let steps: [&[&str]; 8] = [
        &[
            "stock",
            "receive",
            SKU,
            "--warehouse",
            "LDN-1",
            "--quantity",
            "10",
        ],
        &[
            "stock",
            "pool",
            SKU,
            "--warehouse",
            "LDN-1",
            "--storefront",
            "web",
            "--target",
            "2",
        ],
        &["reserve", "SKU-1=4", "--storefront", "web", "--operation-id", id],
        &["stock", "receive", SKU, "--warehouse", "NYC-1", "--quantity", "3"],
        // Half of the history is in an archive, and the rest is only on the nodes.
        &["commit", id],
        &["ship", id, "--line", "0=3"],
        &["cancel", id],
        &["return", id, "--line", "0=1"],
    ];
    let mut seen = Vec::new();
    for (at, step) in steps.iter().enumerate() {
        if at == 4 {
            let exported = cluster.holdfast(&["changes", "export", "--to", "lake"])?;
            ensure!(exported.status.success(), "{exported:?}");
        }
        cluster.holdfast_json(step)?;
        seen.push(Moment::look(&cluster, id)?);
    }
    for (at, moment) in seen.iter().enumerate() {
        let mut asked = vec![moment.position()];
        // A time stands for the last change that has it.
        if seen
            .get(at + 1)
            .is_none_or(|next| next.log_time_ms > moment.log_time_ms)
        {
            asked.push(moment.log_time_ms.to_string());
        }
        for when in &asked {
            for source in [&[][..], &["--archive", "lake"]] {
                let stock = [&["stock", "get", SKU, "--as-of", when], source].concat();
                let told = cluster.holdfast_json(&stock)?;
                ensure!(
                    told["cells"] == moment.cells,
                    "{stock:?}: {told}, live was {}",
                    moment.cells
                );
                ensure!(
                    told["as_of"]["position"]["seq"] == moment.change_seq,
                    "{stock:?}: {told}"
                );
                ensure!(told["as_of"]["entry_complete"] == true, "{stock:?}: {told}");

                let get = [&["get", id, "--as-of", when], source].concat();
                if moment.reservation.is_null() {
                    let refused = cluster.holdfast(&get)?;
                    let says = String::from_utf8_lossy(&refused.stderr).into_owned();
                    ensure!(
                        refused.status.code() == Some(1) && says.contains("by then"),
                        "{get:?}: {says}"
                    );
                    continue;
                }
                let told = cluster.holdfast_json(&get)?;
                let parts = told["parts"].as_array().context("parts")?;
                ensure!(parts.len() == 1, "{get:?}: {told}");
                let live = &moment.reservation;
                ensure!(
                    parts[0]["reservation"] == *live,
                    "{get:?}: {told}, live was {live}"
                );
            }
        }
    }
    let last = seen.last().context("there were moments")?;
    for (when, says) in [
        (format!("{}:{}", last.shard, last.change_seq + 1), "has no change"),
        (format!("{}:1", 1 - last.shard), "is in shard"),
        ("9:1".to_owned(), "shard"),
        ("2020-01-01T00:00:00Z".to_owned(), "is later, at log time"),
        ("2999-01-01T00:00:00Z".to_owned(), "has not come yet"),
    ] {
        let refused = cluster.holdfast(&["stock", "get", SKU, "--as-of", &when])?;
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        ensure!(
            refused.status.code() == Some(1) && text.contains(says),
            "{when}: {text}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_answers_for_what_it_has_when_no_node_runs() -> Result<()> {
    let mut cluster = Cluster::start(Shards(1)).await?;
    for _ in 0..3 {
        cluster.holdfast_json(&["stock", "receive", SKU, "--warehouse", "LDN-1", "--quantity", "5"])?;
    }
    let exported = cluster.holdfast(&["changes", "export", "--to", "lake"])?;
    ensure!(exported.status.success(), "{exported:?}");
    cluster.kill_all()?;
    let as_of = |when| {
        [
            "stock",
            "get",
            SKU,
            "--as-of",
            when,
            "--archive",
            "lake",
            "--deadline-ms",
            "500",
        ]
    };
    let told = cluster.holdfast_json(&as_of("0:2"))?;
    ensure!(told["cells"][0]["free"] == 10, "{told}");
    let refused = cluster.holdfast(&as_of("0:4"))?;
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    ensure!(
        refused.status.code() == Some(1) && text.contains("no node"),
        "{text}"
    );
    Ok(())
}
