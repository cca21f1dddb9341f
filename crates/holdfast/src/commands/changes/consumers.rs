//! `holdfast changes consumers`: who reads the change stream, and how far.

use clap::Subcommand;
use holdfast_changes::archive::whole_place;
use holdfast_client::v1;
use serde_json::{Value, json};

use crate::arguments::OperationArgs;
use crate::context::Context;
use crate::failure::Usage;
use crate::render;

/// Arguments of `holdfast changes consumers`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Nodes keep every change that a required consumer has not passed. What all required consumers have passed, and
what is older than `storage.history`, is dropped. Without a required consumer nothing is dropped.

Examples:
  holdfast changes consumers list
  holdfast changes consumers register archive --required --location s3://bucket/archive
  holdfast changes consumers remove archive --yes"
)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

/// Subcommands of `holdfast changes consumers`.
#[derive(Debug, Subcommand)]
enum Action {
    /// Show the registered consumers, and how far each is behind
    #[command(
        after_help = "Examples:\n  holdfast changes consumers list\n  holdfast changes consumers list --json"
    )]
    List,
    /// Register a consumer in every shard, or change one
    Register(RegisterArgs),
    /// Remove a consumer from every shard
    Remove(RemoveArgs),
}

#[derive(Debug, clap::Args)]
#[command(
    after_help = "A consumer that is registered again at the same location keeps its position. At another location it begins anew.

Examples:
  holdfast changes consumers register redis
  holdfast changes consumers register archive --required --location /var/lib/holdfast/archive"
)]
struct RegisterArgs {
    /// Name of the consumer
    name: String,
    /// Keep every change on the nodes until this consumer has passed it
    #[arg(long)]
    required: bool,
    /// Place to which it brings the changes; for an archive its URL or folder, without user or password. A
    /// folder is registered with its whole path
    #[arg(
        long,
        default_value = "",
        hide_default_value = true,
        value_name = "URL|FOLDER"
    )]
    location: String,
    /// Make a required consumer not required, or move it. Nodes may then drop what it has not passed
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    operation: OperationArgs,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast changes consumers remove archive --yes")]
struct RemoveArgs {
    /// Name of the consumer
    name: String,
    /// Remove it. Nodes may then drop what it has not passed
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    operation: OperationArgs,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    match args.action {
        Action::List => list(context).await,
        Action::Register(args) => register(args, context).await,
        Action::Remove(args) => remove(args, context).await,
    }
}

async fn list(context: &Context) -> anyhow::Result<()> {
    let request = v1::ListConsumersRequest {};
    let consumers = context.client()?.list_consumers(request).await?.consumers;
    if context.json {
        let consumers: Vec<Value> = consumers.iter().map(consumer_json).collect();
        return Ok(context.output.json(&json!({ "consumers": consumers }))?);
    }
    if consumers.is_empty() {
        return Ok(context
            .output
            .line("no consumer is registered, so nodes keep every change")?);
    }
    let row = |consumer: &v1::Consumer| {
        vec![
            consumer.name.clone(),
            consumer.shard.to_string(),
            if consumer.required { "yes" } else { "no" }.to_owned(),
            consumer.through_seq.to_string(),
            consumer.lag_changes.to_string(),
            render::time(consumer.advanced_at_ms),
            consumer.location.clone(),
        ]
    };
    let rows: Vec<Vec<String>> = consumers.iter().map(row).collect();
    let headers = [
        "CONSUMER",
        "SHARD",
        "REQUIRED",
        "THROUGH",
        "BEHIND",
        "LAST ADVANCE",
        "LOCATION",
    ];
    Ok(context.output.table(&headers, &rows)?)
}

async fn register(args: RegisterArgs, context: &Context) -> anyhow::Result<()> {
    let client = context.client()?;
    let location = whole_place(&args.location)?;
    if !args.yes {
        let known = client
            .list_consumers(v1::ListConsumersRequest {})
            .await?
            .consumers;
        let gives_up = |consumer: &&v1::Consumer| {
            consumer.name == args.name
                && consumer.required
                && (!args.required || consumer.location != location)
        };
        if let Some(consumer) = known.iter().find(gives_up) {
            return Err(Usage(format!(
                "`{}` is required, and its location is `{}`. Nodes may drop what it has not passed once it is not required, \
                 and it begins anew at another location: say --yes if you mean it",
                args.name, consumer.location
            ))
            .into());
        }
    }
    let operation = args.operation.start();
    let request = v1::RegisterConsumerRequest {
        operation: operation.message(),
        name: args.name.clone(),
        required: args.required,
        location,
    };
    let answer = client.register_consumer(request).await;
    let answer = answer.map_err(|error| operation.failed(error))?;
    print("registered", &args.name, operation.id, &answer.receipts, context)
}

async fn remove(args: RemoveArgs, context: &Context) -> anyhow::Result<()> {
    if !args.yes {
        return Err(Usage(format!(
            "nodes may drop what `{}` has not passed once it is removed: say --yes if you mean it",
            args.name
        ))
        .into());
    }
    let operation = args.operation.start();
    let request = v1::RemoveConsumerRequest {
        operation: operation.message(),
        name: args.name.clone(),
    };
    let answer = context.client()?.remove_consumer(request).await;
    let answer = answer.map_err(|error| operation.failed(error))?;
    print("removed", &args.name, operation.id, &answer.receipts, context)
}

fn print(
    done: &str,
    name: &str,
    operation_id: uuid::Uuid,
    receipts: &[v1::Receipt],
    context: &Context,
) -> anyhow::Result<()> {
    if context.json {
        let receipts: Vec<Value> = receipts
            .iter()
            .map(|receipt| render::receipt(Some(receipt)))
            .collect();
        let answer = json!({ "operation_id": operation_id.to_string(), "receipts": receipts });
        return Ok(context.output.json(&answer)?);
    }
    Ok(context.output.line(format!(
        "{done}: `{name}` in {} shards, operation {operation_id}",
        receipts.len()
    ))?)
}

fn consumer_json(consumer: &v1::Consumer) -> Value {
    json!({
        "name": consumer.name,
        "shard": consumer.shard,
        "required": consumer.required,
        "location": consumer.location,
        "through_seq": consumer.through_seq,
        "advanced_at_ms": consumer.advanced_at_ms,
        "lag_changes": consumer.lag_changes,
    })
}
