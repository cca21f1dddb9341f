//! Sinks over real processes: runners, nodes and Redis are killed in turn while buyers go on. At the end the
//! view equals the ledger and the archive proves itself.

use std::process::Child;

use anyhow::{Result, ensure};
use holdfast_test_redis::{AppendFsync, Options, Server};
use holdfast_tests::accounts::{account_for, stock};
use holdfast_tests::load::Crowd;
use holdfast_tests::{Cluster, Shards, wait_for};
use nix::sys::signal::Signal;
use serde_json::Value;

/// The rounds in which each process is killed once. The soak of the project runs more.
const ROUNDS: usize = 3;

struct Sinks {
    config: String,
    archive: String,
}

impl Sinks {
    /// Writes a configuration with a view and an archive.
    fn of(cluster: &Cluster, redis: &Server) -> Result<Self> {
        let archive = cluster.folder().join("lake").display().to_string();
        let config = cluster.folder().join("sinks.toml");
        let view = format!(
            "[sinks.view]\ntype = \"redis\"\nurl = \"{}\"\ntimeout = \"1s\"\n",
            redis.url()
        );
        let files = "rows_per_file = 200\nperiod = \"1s\"\nmax_wait = \"200ms\"\n";
        let lake = format!("[sinks.lake]\ntype = \"archive\"\nplace = \"{archive}\"\n{files}");
        std::fs::write(&config, view + &lake)?;
        Ok(Self {
            config: config.display().to_string(),
            archive,
        })
    }

    fn run(&self, cluster: &Cluster) -> Result<Child> {
        cluster.start_holdfast(&["sinks", "run", "--config", &self.config])
    }

    /// Returns the sum of the positions of a sink over all shards; None while it cannot be asked.
    fn position(&self, cluster: &Cluster, sink: &str) -> Option<u64> {
        let status = ["sinks", "status", "--config", &self.config, "--sink", sink];
        let status = cluster.holdfast_json(&status).ok()?;
        let shards = status["shards"].as_array()?;
        shards.iter().map(|shard| shard["through_seq"].as_u64()).sum()
    }

    /// Waits until both sinks have got further.
    async fn moved(&self, cluster: &Cluster) -> Result<()> {
        for sink in ["view", "lake"] {
            let mut before = None;
            wait_for(&format!("the sink {sink} goes on"), || {
                let at = self.position(cluster, sink);
                let moved = before.is_some() && at > before;
                before = before.or(at);
                async move { moved.then_some(()) }
            })
            .await?;
        }
        Ok(())
    }

    /// Waits until no sink lacks a change.
    async fn caught_up(&self, cluster: &Cluster) -> Result<()> {
        wait_for("all sinks have everything", || async {
            let status = cluster
                .holdfast_json(&["sinks", "status", "--config", &self.config])
                .ok()?;
            let shards = status["shards"].as_array()?;
            shards.iter().all(|shard| shard["lag_changes"] == 0).then_some(())
        })
        .await
    }
}

fn kill(process: &mut Child) -> Result<()> {
    process.kill()?;
    process.wait()?;
    Ok(())
}

fn equal(compared: &Value) -> bool {
    compared["comparison"]["differences"] == 0
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_runners_leaders_and_servers_leave_a_view_and_an_archive_equal_to_the_ledger() -> Result<()> {
    let mut cluster = Cluster::start(Shards(2)).await?;
    let mut redis = Server::start_with(Options {
        append_fsync: Some(AppendFsync::Always),
        ..Options::default()
    })?;
    let sinks = Sinks::of(&cluster, &redis)?;
    let client = cluster.client()?;
    let skus = stock(&client, 24).await?;
    let crowd = Crowd::start(&client, 4, &skus, 1)?;
    // Two runners at once do no harm.
    let mut runners = [sinks.run(&cluster)?, sinks.run(&cluster)?];
    sinks.moved(&cluster).await?;
    for round in 0..ROUNDS {
        let runner = &mut runners[round % 2];
        kill(runner)?;
        *runner = sinks.run(&cluster)?;
        sinks.moved(&cluster).await?;

        redis.kill()?;
        redis.restart()?;
        sinks.moved(&cluster).await?;

        let leader = cluster.leader(0).await?;
        cluster.end(leader, Signal::SIGKILL)?;
        cluster.spawn(leader)?;
        cluster.ready().await?;
        sinks.moved(&cluster).await?;
    }
    let seen = crowd.stop().await?;
    account_for(&client, &skus, seen).await?;
    sinks.caught_up(&cluster).await?;
    let compared =
        cluster.holdfast_json(&["sinks", "compare", "--config", &sinks.config, "--sink", "view"])?;
    ensure!(equal(&compared), "{compared}");
    ensure!(compared["comparison"]["cells"].as_u64() >= Some(24), "{compared}");
    for runner in &mut runners {
        ensure!(runner.try_wait()?.is_none(), "a runner ended by itself");
        kill(runner)?;
    }
    let proof = cluster.holdfast_json(&["archive", "verify", "--archive", &sinks.archive])?;
    ensure!(proof["faults"].as_array().is_none_or(Vec::is_empty), "{proof}");
    let drilled = cluster
        .operate(&["archive", "drill", "--archive", &sinks.archive])
        .await?;
    ensure!(drilled["equal"] == true, "{drilled}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_rebuilt_beside_the_live_one_while_buyers_go_on() -> Result<()> {
    let cluster = Cluster::start(Shards(2)).await?;
    let redis = Server::start()?;
    let sinks = Sinks::of(&cluster, &redis)?;
    let client = cluster.client()?;
    let skus = stock(&client, 24).await?;
    let policy = [
        "stock",
        "policy",
        &skus[0],
        "--storefront",
        "outlet",
        "--may-borrow",
        "false",
    ];
    cluster.holdfast_json(&policy)?;
    let crowd = Crowd::start(&client, 4, &skus, 1)?;
    let mut runner = sinks.run(&cluster)?;
    let live = || redis.ask::<Option<u64>>(&["HGET", "{holdfast}:live", "generation"]);
    wait_for("the first view is live", || async { live().ok().flatten() }).await?;

    let rebuild = [
        "sinks",
        "rebuild",
        "--config",
        &sinks.config,
        "--sink",
        "view",
        "--keep-old",
        "1s",
    ];
    let rebuilt = cluster.operate(&rebuild).await?;
    ensure!(rebuilt["live"] == true, "{rebuilt}");
    ensure!(live()? == rebuilt["generation"].as_u64(), "{rebuilt}");
    sinks.moved(&cluster).await?;
    let seen = crowd.stop().await?;
    account_for(&client, &skus, seen).await?;
    sinks.caught_up(&cluster).await?;
    let compared =
        cluster.holdfast_json(&["sinks", "compare", "--config", &sinks.config, "--sink", "view"])?;
    ensure!(equal(&compared), "{compared}");
    let old: Vec<String> = redis.ask(&["KEYS", "holdfast:1:*"])?;
    ensure!(old.is_empty(), "{} keys of the older view are left", old.len());
    kill(&mut runner)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_whose_target_says_no_stops_alone_and_goes_on_when_it_is_mended() -> Result<()> {
    let cluster = Cluster::start(Shards(1)).await?;
    let redis = Server::start()?;
    let sinks = Sinks::of(&cluster, &redis)?;
    let client = cluster.client()?;
    let skus = stock(&client, 4).await?;
    // Another program uses a key of the view.
    let cell = format!("holdfast:1:{{0000}}:sku:{}", skus[0]);
    let _: String = redis.ask(&["SET", &cell, "mine"])?;
    let mut runner = sinks.run(&cluster)?;
    wait_for("the archive has the stock", || async {
        sinks.position(&cluster, "lake").filter(|at| *at > 0)
    })
    .await?;
    let told = cluster.holdfast_json(&["sinks", "status", "--config", &sinks.config, "--sink", "view"])?;
    ensure!(told["shards"][0]["lag_changes"].as_u64() > Some(0), "{told}");
    let removed: u64 = redis.ask(&["DEL", &cell])?;
    ensure!(removed == 1, "the key was written over");
    sinks.caught_up(&cluster).await?;
    wait_for("the cluster knows its sinks as consumers", || async {
        let consumers = cluster.holdfast_json(&["changes", "consumers", "list"]).ok()?;
        let consumers = consumers["consumers"].as_array()?;
        let known = |name: &str| {
            let through_seq =
                consumers.iter().find(|consumer| consumer["name"] == name)?["through_seq"].as_u64();
            through_seq.filter(|through_seq| *through_seq > 0)
        };
        known("lake").and(known("view"))
    })
    .await?;
    kill(&mut runner)
}
