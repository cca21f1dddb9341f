//! `holdfast cluster decide-entry`: decides an entry that no replica of a shard can apply.

use anyhow::bail;
use clap::ValueEnum;
use holdfast_client::{AdminClient, v1};
use serde_json::{Value, json};

use crate::context::Context;
use crate::render;

/// Arguments of `holdfast cluster decide-entry`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Nothing of the entry was acknowledged to anybody: each replica stopped in front of it. With the rule `refuse` every command of the entry is refused without effect, alike on all replicas; a caller who repeats one has it decided anew. A version that can apply the entry needs no rule: upgrade all nodes to it, and they go on. See cluster/runbooks/replica-halted.md.\n\nExamples:\n  holdfast cluster decide-entry --shard 3 --index 18204 --rule refuse         # shows what it would refuse\n  holdfast cluster decide-entry --shard 3 --index 18204 --rule refuse --yes"
)]
pub(super) struct Args {
    /// Shard whose replicas are halted
    #[arg(long)]
    shard: u32,
    /// The entry at which its replicas are halted
    #[arg(long, value_name = "LOG-INDEX")]
    index: u64,
    /// How the entry is decided
    #[arg(long)]
    rule: Rule,
    /// Decide it; without this, only say what would be decided
    #[arg(long)]
    yes: bool,
    /// Decide although some members do not answer; they must not have applied the entry
    #[arg(long)]
    without_unreachable: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Rule {
    /// Every command of the entry is refused without effect
    Refuse,
}

impl Rule {
    fn name(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
        }
    }
}

pub(super) async fn run(args: &Args, admin: &AdminClient, context: &Context) -> anyhow::Result<()> {
    let request = |dry_run| v1::DecideEntryRequest {
        shard: args.shard,
        log_index: args.index,
        rule: args.rule.name().to_owned(),
        dry_run,
        without_unreachable: args.without_unreachable,
    };
    let planned = admin.decide_entry(request(true)).await?;
    if !context.json {
        show(args, &planned, context)?;
    }
    if !args.yes {
        if context.json {
            context.output.json(&answer_json(args, &planned))?;
        }
        bail!("nothing was decided: add --yes to have all replicas refuse this entry");
    }
    let decided = admin.decide_entry(request(false)).await?;
    if context.json {
        context.output.json(&answer_json(args, &decided))?;
    } else {
        context.output.line(format!(
            "entry {} of shard {} is refused, and the shard goes on",
            args.index, args.shard
        ))?;
    }
    Ok(())
}

fn show(args: &Args, planned: &v1::DecideEntryResponse, context: &Context) -> anyhow::Result<()> {
    let output = &context.output;
    output.line(format!(
        "shard {} is {}",
        args.shard,
        planned.halt.as_ref().map(describe).unwrap_or_default()
    ))?;
    output.line(format!("halted nodes: {:?}", planned.halted_node_ids))?;
    if !planned.unreachable_node_ids.is_empty() {
        output.line(format!(
            "nodes that do not answer: {:?}; none of them may have applied the entry",
            planned.unreachable_node_ids
        ))?;
    }
    Ok(())
}

/// Describes a halt in words.
pub(super) fn describe(halt: &v1::Halt) -> String {
    let named: Vec<String> = halt
        .named
        .iter()
        .map(|command| format!("{} {}", command.kind, render::id(&command.operation_id)))
        .collect();
    let more = if halt.commands > named.len() as u64 {
        ", ..."
    } else {
        ""
    };
    let commands = match halt.commands {
        0 => String::new(),
        count => format!("; {count} commands: {}{more}", named.join(", ")),
    };
    format!(
        "halted at entry {} ({}): {}{commands}",
        halt.log_index, halt.cause, halt.what
    )
}

pub(super) fn halt_json(halt: &v1::Halt) -> Value {
    let named = halt
        .named
        .iter()
        .map(|command| json!({ "kind": command.kind, "operation_id": render::id(&command.operation_id) }));
    json!({
        "log_index": halt.log_index,
        "cause": halt.cause,
        "what": halt.what,
        "log_time_ms": halt.log_time_ms,
        "commands": halt.commands,
        "named": named.collect::<Vec<_>>(),
    })
}

fn answer_json(args: &Args, answer: &v1::DecideEntryResponse) -> Value {
    json!({
        "shard": args.shard,
        "rule": args.rule.name(),
        "decided": answer.decided,
        "halt": answer.halt.as_ref().map(halt_json),
        "halted_node_ids": answer.halted_node_ids,
        "unreachable_node_ids": answer.unreachable_node_ids,
    })
}
