//! Bad arguments of the command line.

use anyhow::{Result, ensure};
use holdfast_api::v1;
use holdfast_tests::{Cluster, Shards, requests};

#[tokio::test(flavor = "multi_thread")]
async fn bad_arguments_of_the_command_line_are_told_and_change_nothing() -> Result<()> {
    let cluster = Cluster::start(Shards(1)).await?;
    cluster.client()?.receive(requests::receive("SKU-1", 10)).await?;
    let unknown = uuid::Uuid::now_v7().to_string();
    let usage = 2;
    let refused = 1;
    for (arguments, exit_code, says) in [
        (&["stock", "receive", "SKU-1"][..], usage, "required"),
        (
            &[
                "stock",
                "receive",
                "SKU-1",
                "--warehouse",
                "LDN-1",
                "--quantity",
                "many",
            ],
            usage,
            "many",
        ),
        (
            &[
                "stock",
                "receive",
                "SKU–1",
                "--warehouse",
                "LDN-1",
                "--quantity",
                "1",
            ],
            refused,
            "sku",
        ),
        (
            &[
                "stock",
                "receive",
                "SKU-1",
                "--warehouse",
                "LDN-1",
                "--quantity",
                "99999999999999999999",
            ],
            usage,
            "quantity",
        ),
        (&["reserve", "--storefront", "web"], usage, "required"),
        (&["reserve", "SKU-1", "--storefront", "web"], usage, "="),
        (&["reserve", "SKU-1=11", "--storefront", "web"], refused, "10"),
        (
            &["reserve", "SKU-1=1", "--storefront", "web", "--ttl", "soon"],
            usage,
            "soon",
        ),
        (&["commit", "not-a-uuid"], usage, "not-a-uuid"),
        (&["commit", &unknown], refused, "reservation"),
        (&["explain", &unknown], refused, "reservation"),
        (&["changes", "tail", "--shard", "77"], refused, "shard"),
        (
            &["config", "check", "no-such-file.toml"],
            refused,
            "no-such-file.toml",
        ),
        (
            &["serve", "--config", "no-such-file.toml"],
            refused,
            "no-such-file.toml",
        ),
        (
            &["import", "orders", "no-such-file.csv"],
            refused,
            "no-such-file.csv",
        ),
        (&["no-such-command"], usage, "no-such-command"),
    ] {
        let output = cluster.holdfast(arguments)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.code() == Some(exit_code),
            "holdfast {arguments:?} ended with {}: {said}",
            output.status
        );
        ensure!(
            said.contains(says),
            "holdfast {arguments:?} does not say {says:?}: {said}"
        );
        ensure!(
            !said.contains("panicked"),
            "holdfast {arguments:?} panicked: {said}"
        );
    }
    let positions = cluster
        .client()?
        .get_positions(v1::GetPositionsRequest {})
        .await?;
    ensure!(positions.shards[0].last_seq == 1, "{positions:?}");
    Ok(())
}
