//! `holdfast dev`: three nodes as three child processes on loopback, to try things out.
//!
//! `folder.rs` is the data folder and the configurations in it, `children.rs` the processes.

mod children;
mod folder;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use holdfast_client::{Client, ClientOptions};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use crate::context::Context;
use crate::output::Output;
use children::Children;
use folder::{Layout, Member};

/// Longest time until every shard has a leader.
const READY_WITHIN: Duration = Duration::from_secs(60);
const ASK_EVERY: Duration = Duration::from_millis(100);

/// Arguments of `holdfast dev`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast dev\n  holdfast dev --fresh --shards 2\n  holdfast dev --json --data-dir /tmp/holdfast-dev --base-port 8411\n\nCtrl-C stops the nodes; their data stays for the next time. A node that dies is not started again by itself:\n`holdfast serve --config data/dev/node-1.toml` does that."
)]
pub(crate) struct Args {
    /// Where the nodes keep configuration, data and logs
    #[arg(long, value_name = "FOLDER", default_value = "data/dev")]
    data_dir: PathBuf,
    /// How many nodes, 1 to 7; only used when the folder is made
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=7))]
    nodes: u64,
    /// How many shards, 1 to 64; only used when the folder is made
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    shards: u32,
    /// Port of the first node for clients; the next ports are for peers, for HTTP and for operators, and each
    /// further node starts 10 higher
    #[arg(long, value_name = "PORT", default_value_t = 7411, value_parser = clap::value_parser!(u16).range(1..=65_400))]
    base_port: u16,
    /// Empty the folder first; refused for a folder that this command did not make
    #[arg(long)]
    fresh: bool,
    /// Show everything the nodes log, not only warnings
    #[arg(long)]
    verbose: bool,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let mut stop = StopSignals::listen()?;
    let layout = Layout {
        nodes: args.nodes,
        shards: args.shards,
        base_port: args.base_port,
    };
    let members = folder::prepare(&args.data_dir, layout, args.fresh)?;
    let output = context.output;
    let mut children = Children::default();
    for member in &members {
        children.start(member, args.verbose, output)?;
    }
    output.note(format!(
        "{} nodes are starting, their data is in {}",
        members.len(),
        args.data_dir.display()
    ));
    let ended = tokio::select! {
        ended = watch(&mut children, &members, &args, output) => ended,
        () = stop.wait() => {
            output.note("stopping the nodes");
            Ok(())
        }
    };
    let stopped = tokio::select! {
        stopped = children.stop() => stopped,
        () = stop.wait() => children.kill(),
    };
    ended.and(stopped)
}

/// Waits until the nodes are ready and reports it, then waits until all of them have died.
async fn watch(
    children: &mut Children,
    members: &[Member],
    args: &Args,
    output: Output,
) -> anyhow::Result<()> {
    tokio::select! {
        ready = ready(members) => ready?,
        (member, how) = children.next_death() => {
            anyhow::bail!("node {} did not start ({how}); the end of its log {}:\n{}", member.node_id, member.log.display(), member.log_end());
        }
    }
    announce(children, members, args, output)?;
    loop {
        let (member, how) = children.next_death().await;
        let left = children.alive();
        if output.is_json() {
            // The reader may have closed our output after the first line.
            let _ = output.json(
                &json!({ "event": "node_died", "node_id": member.node_id, "status": how, "alive": left }),
            );
        }
        output.note(format!(
            "node {} died ({how}), {left} of {} are left; start it again with: holdfast serve --config {}",
            member.node_id,
            members.len(),
            member.config.display()
        ));
        if left == 0 {
            anyhow::bail!(
                "all nodes have died; their logs are in {}",
                args.data_dir.display()
            );
        }
    }
}

/// Waits until each node answers and knows a leader for each shard.
async fn ready(members: &[Member]) -> anyhow::Result<()> {
    let deadline = Instant::now() + READY_WITHIN;
    for member in members {
        let client = Client::new(ClientOptions::new([format!("http://{}", member.client_address)]))?
            .with_deadline(Duration::from_secs(1));
        loop {
            let waiting_for = match client.refresh_topology().await {
                Ok(topology) => match topology
                    .shards
                    .iter()
                    .filter(|shard| shard.leader_node_id == 0)
                    .count()
                {
                    0 if !topology.shards.is_empty() => break,
                    leaderless => format!("{leaderless} shards have no leader yet"),
                },
                Err(error) => error.to_string(),
            };
            if Instant::now() > deadline {
                anyhow::bail!(
                    "node {} is not ready after {} s: {waiting_for}; its log is {}",
                    member.node_id,
                    READY_WITHIN.as_secs(),
                    member.log.display()
                );
            }
            tokio::time::sleep(ASK_EVERY).await;
        }
    }
    Ok(())
}

fn announce(children: &Children, members: &[Member], args: &Args, output: Output) -> anyhow::Result<()> {
    if output.is_json() {
        let nodes: Vec<serde_json::Value> = members
            .iter()
            .map(|member| {
                json!({
                    "node_id": member.node_id,
                    "pid": children.pid(member.node_id),
                    "client_address": member.client_address,
                    "peer_address": member.peer_address,
                    "http_address": member.http_address,
                    "admin_address": member.admin_address,
                    "config": member.config,
                    "data": member.data,
                    "log": member.log,
                })
            })
            .collect();
        output.json(&json!({ "event": "ready", "data_dir": args.data_dir, "nodes": nodes }))?;
        return Ok(());
    }
    let rows: Vec<Vec<String>> = members
        .iter()
        .map(|member| {
            vec![
                member.node_id.to_string(),
                children
                    .pid(member.node_id)
                    .map_or_else(|| "-".to_owned(), |pid| pid.to_string()),
                member.client_address.clone(),
                format!("http://{}/metrics", member.http_address),
                member.admin_address.clone(),
                member.log.display().to_string(),
            ]
        })
        .collect();
    output.line("")?;
    output.table(&["NODE", "PID", "CLIENTS", "METRICS", "ADMIN", "LOG"], &rows)?;
    let endpoints: Vec<String> = members
        .iter()
        .map(|member| format!("http://{}", member.client_address))
        .collect();
    output.line("\nReady. Try, in another terminal:")?;
    if args.base_port != 7411 {
        output.line(format!("  export HOLDFAST_ENDPOINTS={}", endpoints.join(",")))?;
    }
    if let Some(first) = members.first() {
        output.line(format!("  export HOLDFAST_ADMIN_ADDRESS={}", first.admin_address))?;
    }
    output.line(
        "  holdfast stock receive SHIRT-1 --warehouse LONDON --quantity 100\n  \
         holdfast reserve SHIRT-1=2\n  \
         holdfast stock get SHIRT-1\n  \
         holdfast changes tail\n  \
         holdfast cluster status\n  \
         holdfast cluster transfer-leader 0\n\
         Ctrl-C stops the nodes; their data stays.",
    )?;
    Ok(())
}

/// Listeners for SIGINT and SIGTERM.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?,
            terminate: signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
