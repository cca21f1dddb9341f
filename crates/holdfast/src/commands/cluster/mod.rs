//! `holdfast cluster`: shows and changes members, replicas and leaders.

mod adopting;
mod change;
mod deciding;
mod placement;
mod status;

use std::time::Duration;

use clap::Subcommand;
use holdfast_client::{AdminClient, v1};
use serde_json::json;

use crate::arguments::duration;
use crate::context::Context;

/// Arguments of `holdfast cluster`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast cluster status\n  holdfast cluster placement\n  holdfast cluster add 4\n  holdfast cluster drain 3 --dry-run\n  holdfast cluster drain 3 --remove\n  holdfast cluster transfer-leader 0 --to 2 --admin-address 127.0.0.1:7414\n  holdfast cluster adopt-rules --dry-run\n  holdfast cluster decide-entry --shard 3 --index 18204 --rule refuse"
)]
pub(crate) struct Args {
    /// Admin ports of nodes, as host:port, separated by commas; one is enough. `status` does not need them
    #[arg(
        long,
        global = true,
        env = "HOLDFAST_ADMIN_ADDRESS",
        value_delimiter = ',',
        value_name = "HOST:PORT,...",
        default_value = "127.0.0.1:7304"
    )]
    admin_address: Vec<String>,
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Show nodes, shards, leaders, and how far each replica is
    Status(StatusArgs),
    /// Show the members, the nodes that wait to be members, and where replicas are and should be
    Placement(PlacementArgs),
    /// Take in a node that has introduced itself, and move replicas to it
    Add(AddArgs),
    /// Move the replicas of nodes to others
    Drain(DrainArgs),
    /// Forget a node that has no replicas
    Remove(RemoveArgs),
    /// Spread replicas evenly over nodes and zones
    Rebalance(RebalanceArgs),
    /// Hand a shard's leadership to another node
    TransferLeader(TransferArgs),
    /// Have every shard decide by the newest rules, after all nodes are upgraded
    AdoptRules(adopting::Args),
    /// Refuse an entry that no replica of a shard can apply, so that the shard goes on
    DecideEntry(deciding::Args),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast cluster status\n  holdfast cluster status --json")]
struct StatusArgs {}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast cluster placement\n  holdfast cluster placement --json")]
struct PlacementArgs {}

/// Options of a change.
#[derive(Debug, Clone, Copy, clap::Args)]
struct How {
    /// Say what would be moved, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Return when the change is decided, not when every replica has moved
    #[arg(long)]
    no_wait: bool,
    /// How long to wait for nodes and replicas, such as 30m
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30m")]
    timeout: Duration,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A new node is started with the nodes of the cluster in its `peers`; it introduces itself and waits.\n\nExamples:\n  holdfast cluster add 4\n  holdfast cluster add 4 5 --dry-run\n  holdfast cluster add --up-to 5         # all of 1 to 5, waiting until each has introduced itself"
)]
struct AddArgs {
    /// Ids of the nodes
    #[arg(
        value_name = "NODE",
        required_unless_present = "up_to",
        conflicts_with = "up_to"
    )]
    nodes: Vec<u64>,
    /// All nodes from 1 to this one; waits until each has introduced itself
    #[arg(long, value_name = "NODE", value_parser = clap::value_parser!(u64).range(1..=64))]
    up_to: Option<u64>,
    /// Leave replicas where they are, except for shards that have too few
    #[arg(long)]
    no_rebalance: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A node that is lost for good is drained too: its replicas are made again on other nodes.\n\nExamples:\n  holdfast cluster drain 3\n  holdfast cluster drain 3 --remove\n  holdfast cluster drain --above 3 --remove   # before the cluster shrinks to nodes 1 to 3\n  holdfast cluster drain 3 --undo"
)]
struct DrainArgs {
    /// Ids of the nodes
    #[arg(
        value_name = "NODE",
        required_unless_present = "above",
        conflicts_with = "above"
    )]
    nodes: Vec<u64>,
    /// All members with a higher id than this one
    #[arg(long, value_name = "NODE")]
    above: Option<u64>,
    /// Forget the nodes once they have no replicas
    #[arg(long, conflicts_with_all = ["no_wait", "undo"])]
    remove: bool,
    /// Undo it: the nodes may have replicas again
    #[arg(long)]
    undo: bool,
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast cluster remove 3\n  holdfast cluster remove 3 --dry-run")]
struct RemoveArgs {
    /// Ids of the nodes
    #[arg(value_name = "NODE", required = true)]
    nodes: Vec<u64>,
    /// Say whether it could be done, and change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast cluster rebalance --dry-run\n  holdfast cluster rebalance")]
struct RebalanceArgs {
    #[command(flatten)]
    how: How,
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  holdfast cluster transfer-leader 0\n  holdfast cluster transfer-leader 0 --to 2 --admin-address 127.0.0.1:7414"
)]
struct TransferArgs {
    /// Shard whose leader changes
    shard: u32,
    /// Node that should lead; when left out, the cluster chooses
    #[arg(long, value_name = "NODE", default_value_t = 0, hide_default_value = true)]
    to: u64,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let admin = context.admin(&args.admin_address)?;
    match args.command {
        ClusterCommand::Status(StatusArgs {}) => status::status(context).await,
        ClusterCommand::Placement(PlacementArgs {}) => placement::show(&admin, context).await,
        ClusterCommand::Add(args) => change::add(&args, &admin, context).await,
        ClusterCommand::Drain(args) => change::drain(&args, &admin, context).await,
        ClusterCommand::Remove(args) => change::remove(&args.nodes, args.dry_run, &admin, context).await,
        ClusterCommand::Rebalance(args) => change::rebalance(args.how, &admin, context).await,
        ClusterCommand::TransferLeader(args) => transfer(&args, &admin, context).await,
        ClusterCommand::AdoptRules(args) => adopting::run(&args, &admin, context).await,
        ClusterCommand::DecideEntry(args) => deciding::run(&args, &admin, context).await,
    }
}

async fn transfer(args: &TransferArgs, admin: &AdminClient, context: &Context) -> anyhow::Result<()> {
    let request = v1::TransferLeaderRequest {
        shard: args.shard,
        to_node_id: args.to,
    };
    let answer = admin.transfer_leader(request).await?;
    if context.json {
        context
            .output
            .json(&json!({ "shard": args.shard, "leader_node_id": answer.leader_node_id }))?;
    } else {
        context.output.line(format!(
            "shard {} is led by node {}",
            args.shard, answer.leader_node_id
        ))?;
    }
    Ok(())
}
