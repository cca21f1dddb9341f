//! `holdfast explain`: every decision about one reservation.

use futures::TryStreamExt as _;
use futures::future::try_join_all;
use holdfast_changes::explain::{Decision, decision, replaced_hold};
use holdfast_client::{Client, v1};
use serde_json::json;
use uuid::Uuid;

use super::changes::streams;
use crate::arguments::ReservationArgs;
use crate::context::Context;
use crate::render;

/// Arguments of `holdfast explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast explain 01936f3e-6a00-7000-8000-000000000000")]
pub(crate) struct Args {
    #[command(flatten)]
    reservation: ReservationArgs,
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let client = context.client()?;
    let id = args.reservation.reservation;
    let shard = match args.reservation.shard {
        Some(shard) => Some(shard),
        None => shard_of(client, &args.reservation).await?,
    };
    let mut positions = streams::positions(client, shard).await?;
    let mut decisions = decisions_of_all(client, &positions, id).await?;
    if shard.is_some() && decisions.iter().any(|decision| decision.home.is_some()) {
        // The order has parts in other shards.
        positions = streams::positions(client, None).await?;
        decisions = decisions_of_all(client, &positions, id).await?;
    }
    for position in positions.iter().filter(|position| position.first_seq > 1) {
        context.output.note(format!(
            "shard {}: the nodes begin with change {} (after a restore), and earlier decisions are not shown",
            position.shard, position.first_seq
        ));
    }
    if decisions.is_empty() {
        let read =
            |position: &v1::ShardPosition| (position.last_seq + 1).saturating_sub(position.first_seq.max(1));
        let read: u64 = positions.iter().map(read).sum();
        anyhow::bail!(
            "there is no reservation {id} in {read} changes of {} shards: it was never granted \
             (a refused request leaves no trace), or the id is wrong",
            positions.len()
        );
    }
    decisions.sort_by_key(|decision| (decision.log_time_ms, decision.shard, decision.seq));
    let replaced_by = replaced_by(client, &decisions).await?;
    let replaces = replaces(client, &decisions, id).await?;
    if context.json {
        context.output.json(&json!({
            "reservation_id": id,
            "replaces": replaces,
            "replaced_by": replaced_by,
            "decisions": decisions,
        }))?;
        return Ok(());
    }
    context.output.line(format!("reservation {id}"))?;
    if let Some(old) = replaces {
        context
            .output
            .line(format!("it took the place of hold {old} in one step"))?;
    }
    for decision in &decisions {
        print(decision, context)?;
    }
    if let Some(new) = replaced_by {
        context
            .output
            .line(format!("reservation {new} took its place in one step"))?;
    }
    Ok(())
}

/// Returns the reservation whose Reserve ended this hold. The operation that released the hold made that
/// reservation in the same entry.
async fn replaced_by(client: &Client, decisions: &[Decision]) -> anyhow::Result<Option<Uuid>> {
    let released = decisions
        .iter()
        .find(|decision| decision.kind == "released" && is_of_decider(decision));
    let Some(released) = released else {
        return Ok(None);
    };
    let by = released.operation_id.as_deref();
    let Some(by) = by.and_then(|id| Uuid::try_parse(id).ok()) else {
        return Ok(None);
    };
    let entry = entry_of(client, released).await?;
    let is_of_it = |change: &v1::Change| {
        let effect = change.reservation.as_ref();
        effect.is_some_and(|effect| effect.reservation_id == by.as_bytes()[..])
    };
    Ok(entry.iter().any(is_of_it).then_some(by))
}

/// Returns the hold that this reservation's Reserve ended, in the same entry.
async fn replaces(client: &Client, decisions: &[Decision], id: Uuid) -> anyhow::Result<Option<Uuid>> {
    let own = id.to_string();
    let is_own = |decision: &&Decision| {
        is_of_decider(decision)
            && matches!(decision.kind, "reserved" | "confirmed")
            && decision.operation_id.as_deref() == Some(&own)
    };
    let Some(held) = decisions.iter().find(is_own) else {
        return Ok(None);
    };
    let entry = entry_of(client, held).await?;
    Ok(entry
        .iter()
        .find_map(|change| replaced_hold(change, id.as_bytes())))
}

/// Returns whether the shard of this decision made it itself. Other shards of an order repeat the decision of
/// the home.
fn is_of_decider(decision: &Decision) -> bool {
    decision.home.is_none_or(|home| home == decision.shard)
}

/// Returns all changes of the entry that made a decision.
async fn entry_of(client: &Client, decision: &Decision) -> anyhow::Result<Vec<v1::Change>> {
    let first_seq = decision.seq - u64::from(decision.entry_offset);
    let last_seq = first_seq + u64::from(decision.entry_changes.max(1)) - 1;
    let request = v1::TailChangesRequest {
        shard: decision.shard,
        from_seq: first_seq,
        ..v1::TailChangesRequest::default()
    };
    let mut messages = streams::through(client, request, last_seq);
    let mut changes = Vec::new();
    while let Some(message) = messages.try_next().await? {
        let of_entry = message.changes.into_iter();
        changes.extend(of_entry.filter(|change| change.log_index == decision.log_index));
    }
    Ok(changes)
}

/// Returns the shard of the reservation, as long as the cluster remembers it. A closed reservation is
/// forgotten after some time, its changes are not.
async fn shard_of(client: &Client, reservation: &ReservationArgs) -> anyhow::Result<Option<u32>> {
    let request = v1::GetReservationRequest {
        reservation: reservation.key(),
        consistency: v1::Consistency::Stale.into(),
    };
    match client.get_reservation(request).await {
        Ok(answer) => Ok(answer.reservation.map(|reservation| reservation.shard)),
        Err(error) if error.reason().is_some() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn decisions_of_all(
    client: &Client,
    positions: &[v1::ShardPosition],
    reservation: Uuid,
) -> anyhow::Result<Vec<Decision>> {
    let shards = positions
        .iter()
        .map(|position| decisions_of(client, position, reservation));
    Ok(try_join_all(shards).await?.into_iter().flatten().collect())
}

async fn decisions_of(
    client: &Client,
    position: &v1::ShardPosition,
    reservation: Uuid,
) -> anyhow::Result<Vec<Decision>> {
    let request = v1::TailChangesRequest {
        shard: position.shard,
        from_seq: position.first_seq,
        reservation_id: holdfast_client::id_bytes(reservation),
        ..v1::TailChangesRequest::default()
    };
    let mut messages = streams::through(client, request, position.last_seq);
    let mut decisions = Vec::new();
    while let Some(message) = messages.try_next().await? {
        decisions.extend(message.changes.iter().filter_map(decision));
    }
    Ok(decisions)
}

fn print(decision: &Decision, context: &Context) -> std::io::Result<()> {
    let Decision {
        kind,
        shard,
        seq,
        log_index,
        state,
        home,
        ..
    } = decision;
    let time = render::time(decision.log_time_ms);
    let role = match home {
        None => String::new(),
        Some(home) if home == shard => ", the order's home".to_owned(),
        Some(home) => format!(", part of an order of shard {home}"),
    };
    context.output.line(format!(
        "{time}  {kind}, now {state}  (shard {shard}{role}, change {seq}, log index {log_index})"
    ))?;
    let mut sentence = decision.sentence.clone();
    if *state == "held" {
        sentence.push_str(&format!(
            "; the hold lasts until {}",
            render::time(decision.expires_at_ms)
        ));
    }
    if let Some(occurred_at_ms) = decision.occurred_at_ms {
        sentence.push_str(&format!("; it happened at {}", render::time(occurred_at_ms)));
    }
    context.output.line(format!("    {sentence}"))
}
