//! `holdfast explain`: every decision about one reservation.

use futures::TryStreamExt as _;
use futures::future::try_join_all;
use holdfast_changes::explain::{Decision, decision};
use holdfast_client::{Client, v1};
use serde_json::json;

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
    let mut decisions = decisions_of_all(client, &positions, &args.reservation).await?;
    if shard.is_some() && decisions.iter().any(|decision| decision.home.is_some()) {
        // The order has parts in other shards.
        positions = streams::positions(client, None).await?;
        decisions = decisions_of_all(client, &positions, &args.reservation).await?;
    }
    for position in positions.iter().filter(|position| position.first_seq > 1) {
        context.output.note(format!(
            "shard {}: the nodes begin with change {} (after a restore), what was decided before is not shown",
            position.shard, position.first_seq
        ));
    }
    if decisions.is_empty() {
        let read =
            |position: &v1::ShardPosition| (position.last_seq + 1).saturating_sub(position.first_seq.max(1));
        let read: u64 = positions.iter().map(read).sum();
        anyhow::bail!(
            "there is no reservation {id} in {read} changes of {} shards: it was never granted \
             (a refused request leaves no trace), or the id is another one",
            positions.len()
        );
    }
    decisions.sort_by_key(|decision| (decision.log_time_ms, decision.shard, decision.seq));
    if context.json {
        context
            .output
            .json(&json!({ "reservation_id": id, "decisions": decisions }))?;
        return Ok(());
    }
    context.output.line(format!("reservation {id}"))?;
    for decision in &decisions {
        print(decision, context)?;
    }
    Ok(())
}

/// The shard that has it, while it is remembered. A closed one is forgotten one day, its changes are not.
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
    reservation: &ReservationArgs,
) -> anyhow::Result<Vec<Decision>> {
    let shards = positions
        .iter()
        .map(|position| decisions_of(client, position, reservation));
    Ok(try_join_all(shards).await?.into_iter().flatten().collect())
}

async fn decisions_of(
    client: &Client,
    position: &v1::ShardPosition,
    reservation: &ReservationArgs,
) -> anyhow::Result<Vec<Decision>> {
    let request = v1::TailChangesRequest {
        shard: position.shard,
        from_seq: position.first_seq,
        reservation_id: holdfast_client::id_bytes(reservation.reservation),
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
    context.output.line(format!("    {sentence}"))
}
