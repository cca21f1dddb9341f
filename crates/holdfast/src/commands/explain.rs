//! `holdfast explain`: every decision about one reservation.

use futures::TryStreamExt as _;
use futures::future::try_join_all;
use holdfast_changes::archive::Archive;
use holdfast_changes::explain::{Decision, decision, replaced_hold};
use holdfast_client::{Client, id_bytes, v1};
use serde_json::json;
use uuid::Uuid;

use super::changes::{older, streams};
use crate::arguments::ReservationArgs;
use crate::context::Context;
use crate::render;

/// Arguments of `holdfast explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  holdfast explain 01936f3e-6a00-7000-8000-000000000000")]
pub(crate) struct Args {
    #[command(flatten)]
    reservation: ReservationArgs,
    /// Archived Parquet files (a folder, file:///folder or s3://bucket/prefix) with the changes that the nodes
    /// have dropped. When left out, a registered archive is read
    #[arg(long, value_name = "URL|FOLDER")]
    archive: Option<String>,
}

/// The history of the cluster: what its nodes have, and the archive of what they have dropped.
struct History<'a> {
    client: &'a Client,
    positions: Vec<v1::ShardPosition>,
    older: Option<Archive>,
}

impl<'a> History<'a> {
    /// Finds where the streams of one shard or of all begin and end, and the archive of what comes before.
    async fn of(args: &Args, shard: Option<u32>, context: &'a Context) -> anyhow::Result<Self> {
        let client = context.client()?;
        let positions = streams::positions(client, shard).await?;
        let older = older::archive(context, &positions, args.archive.as_deref()).await?;
        Ok(Self {
            client,
            positions,
            older,
        })
    }

    /// Returns the changes of a shard from one to another that a filter lets through.
    async fn changes(
        &self,
        request: v1::TailChangesRequest,
        last_seq: u64,
        keep: impl Fn(&v1::Change) -> bool,
    ) -> anyhow::Result<Vec<v1::Change>> {
        let (shard, mut next_seq) = (request.shard, request.from_seq.max(1));
        let mut changes = Vec::new();
        let of_shard = self.positions.iter().find(|position| position.shard == shard);
        let dropped = of_shard.is_some_and(|position| next_seq < position.first_seq);
        if let Some(archive) = self.older.as_ref().filter(|_| dropped) {
            let mut chain = archive.chain(shard).await?;
            while let Some(file) = chain.next().await? {
                if file.last_seq < next_seq || file.first_seq > last_seq {
                    continue;
                }
                next_seq = file.last_seq + 1;
                let wanted = |change: &v1::Change| (request.from_seq..=last_seq).contains(&change.seq);
                let read = archive.read(&file).await?.into_iter();
                changes.extend(read.filter(|change| wanted(change) && keep(change)));
            }
        }
        let first_seq = of_shard.map_or(1, |position| position.first_seq);
        let request = v1::TailChangesRequest {
            from_seq: next_seq.max(first_seq),
            ..request
        };
        let mut messages = streams::through(self.client, request, last_seq);
        while let Some(message) = messages.try_next().await? {
            changes.extend(message.changes.into_iter().filter(&keep));
        }
        Ok(changes)
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> anyhow::Result<()> {
    let client = context.client()?;
    let id = args.reservation.reservation;
    let shard = match args.reservation.shard {
        Some(shard) => Some(shard),
        None => shard_of(client, &args.reservation).await?,
    };
    let mut history = History::of(&args, shard, context).await?;
    let mut decisions = decisions_of_all(&history, id).await?;
    if shard.is_some() && decisions.iter().any(|decision| decision.home.is_some()) {
        // The order has parts in other shards.
        history = History::of(&args, None, context).await?;
        decisions = decisions_of_all(&history, id).await?;
    }
    let positions = &history.positions;
    let begins_late = |position: &&v1::ShardPosition| position.first_seq > 1 && history.older.is_none();
    for position in positions.iter().filter(begins_late) {
        context.output.note(format!(
            "shard {}: the nodes begin with change {}, no archive of the changes before it is registered, and earlier \
             decisions are not shown",
            position.shard, position.first_seq
        ));
    }
    if decisions.is_empty() {
        let read = |position: &v1::ShardPosition| match history.older {
            Some(_) => position.last_seq,
            None => (position.last_seq + 1).saturating_sub(position.first_seq.max(1)),
        };
        let read: u64 = positions.iter().map(read).sum();
        anyhow::bail!(
            "there is no reservation {id} in {read} changes of {} shards: it was never granted \
             (a refused request leaves no trace), or the id is wrong",
            positions.len()
        );
    }
    decisions.sort_by_key(|decision| (decision.log_time_ms, decision.shard, decision.seq));
    let replaced_by = replaced_by(&history, &decisions).await?;
    let replaces = replaces(&history, &decisions, id).await?;
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
async fn replaced_by(history: &History<'_>, decisions: &[Decision]) -> anyhow::Result<Option<Uuid>> {
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
    let entry = entry_of(history, released).await?;
    let is_of_it = |change: &v1::Change| {
        let effect = change.reservation.as_ref();
        effect.is_some_and(|effect| effect.reservation_id == by.as_bytes()[..])
    };
    Ok(entry.iter().any(is_of_it).then_some(by))
}

/// Returns the hold that this reservation's Reserve ended, in the same entry.
async fn replaces(history: &History<'_>, decisions: &[Decision], id: Uuid) -> anyhow::Result<Option<Uuid>> {
    let own = id.to_string();
    let is_own = |decision: &&Decision| {
        is_of_decider(decision)
            && matches!(decision.kind, "reserved" | "confirmed")
            && decision.operation_id.as_deref() == Some(&own)
    };
    let Some(held) = decisions.iter().find(is_own) else {
        return Ok(None);
    };
    let entry = entry_of(history, held).await?;
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
async fn entry_of(history: &History<'_>, decision: &Decision) -> anyhow::Result<Vec<v1::Change>> {
    let first_seq = decision.seq - u64::from(decision.entry_offset);
    let last_seq = first_seq + u64::from(decision.entry_changes.max(1)) - 1;
    let request = v1::TailChangesRequest {
        shard: decision.shard,
        from_seq: first_seq,
        ..v1::TailChangesRequest::default()
    };
    let is_of_entry = |change: &v1::Change| change.log_index == decision.log_index;
    history.changes(request, last_seq, is_of_entry).await
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

async fn decisions_of_all(history: &History<'_>, reservation: Uuid) -> anyhow::Result<Vec<Decision>> {
    let shards = history
        .positions
        .iter()
        .map(|position| decisions_of(history, position, reservation));
    Ok(try_join_all(shards).await?.into_iter().flatten().collect())
}

async fn decisions_of(
    history: &History<'_>,
    position: &v1::ShardPosition,
    reservation: Uuid,
) -> anyhow::Result<Vec<Decision>> {
    let request = v1::TailChangesRequest {
        shard: position.shard,
        from_seq: 1,
        reservation_id: id_bytes(reservation),
        ..v1::TailChangesRequest::default()
    };
    let is_of_it = |change: &v1::Change| {
        let effect = change.reservation.as_ref();
        effect.is_some_and(|effect| effect.reservation_id == reservation.as_bytes()[..])
    };
    let changes = history.changes(request, position.last_seq, is_of_it).await?;
    Ok(changes.iter().filter_map(decision).collect())
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
