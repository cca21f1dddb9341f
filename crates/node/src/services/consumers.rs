//! Registered consumers of the change stream: each is a fact of every shard.

use futures::future::{join_all, try_join_all};
use holdfast_api::limits::MAX_POSITIONS;
use holdfast_api::reasons;
use holdfast_api::v1::{self, Reason, Refusal};
use holdfast_guard::audit;
use holdfast_guard::policy::Touched;
use holdfast_guard::verb::Verb;
use holdfast_ledger::{Action, ConsumerName, ConsumerView, Query, QueryReply, Success};
use holdfast_shard::{Answer, Freshness};
use tokio::time::{Duration, Instant};

use crate::api::{Api, wrong_reply};
use crate::mapping::inbound::Taken;
use crate::mapping::{consumers as mapping, outbound};
use crate::security::Caller;
use crate::validation;

/// The longest time in which a shard is asked where archives are, for a refusal that names them.
const ARCHIVES_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) async fn register(
    api: &Api,
    caller: &Caller,
    request: v1::RegisterConsumerRequest,
    deadline: Instant,
) -> Result<v1::RegisterConsumerResponse, Refusal> {
    let taken = mapping::register(request)?;
    let asks_for_required = matches!(
        taken.command.action,
        Action::RegisterConsumer { required: true, .. }
    );
    allow_change(api, caller, &taken, asks_for_required, deadline).await?;
    let receipts = in_every_shard(api, caller, taken, "registered", deadline).await?;
    Ok(v1::RegisterConsumerResponse { receipts })
}

pub(super) async fn remove(
    api: &Api,
    caller: &Caller,
    request: v1::RemoveConsumerRequest,
    deadline: Instant,
) -> Result<v1::RemoveConsumerResponse, Refusal> {
    let taken = mapping::remove(request)?;
    allow_change(api, caller, &taken, false, deadline).await?;
    let receipts = in_every_shard(api, caller, taken, "removed", deadline).await?;
    Ok(v1::RemoveConsumerResponse { receipts })
}

pub(super) async fn advance(
    api: &Api,
    caller: &Caller,
    request: v1::AdvanceConsumerRequest,
    deadline: Instant,
) -> Result<v1::AdvanceConsumerResponse, Refusal> {
    api.allow(caller, Verb::Changes, &Touched::Everything, &Touched::Everything)?;
    validation::count("positions", request.positions.len(), 1, MAX_POSITIONS)?;
    let mut commands = Vec::with_capacity(request.positions.len());
    for position in &request.positions {
        api.router.shard("positions.shard", position.shard)?;
        if commands.iter().any(|(shard, _)| *shard == position.shard) {
            return Err(reasons::invalid(format!(
                "positions: shard {} is named twice",
                position.shard
            )));
        }
        let command = mapping::advance(
            &request.name,
            &request.location,
            position.through_seq,
            &caller.principal,
        )?;
        api.router.check_rules(position.shard, &command)?;
        commands.push((position.shard, command));
    }
    let advances = commands.into_iter().map(|(shard, command)| async move {
        let results = api.router.handle(shard).submit(vec![command], deadline).await;
        match results.into_iter().next() {
            Some(Ok(Ok(_))) => Ok(()),
            Some(Ok(Err(refusal))) => Err(in_shard(shard, outbound::refusal(refusal))),
            Some(Err(error)) => Err(outbound::submit_error(shard, &error)),
            None => Err(reasons::refusal(Reason::Internal, "the shard gave no result")),
        }
    });
    // Every shard is told, even when one of them refuses.
    join_all(advances)
        .await
        .into_iter()
        .collect::<Result<Vec<()>, Refusal>>()?;
    Ok(v1::AdvanceConsumerResponse {})
}

pub(super) async fn list(
    api: &Api,
    caller: &Caller,
    deadline: Instant,
) -> Result<v1::ListConsumersResponse, Refusal> {
    // Consumers are about streams, and say nothing about their content.
    api.allow(caller, Verb::Changes, &Touched::Nothing, &Touched::Nothing)?;
    let of_shards = of_every_shard(api, deadline).await?;
    let mut consumers: Vec<v1::Consumer> = Vec::new();
    for (shard, last_seq, of_shard) in of_shards {
        consumers.extend(
            of_shard
                .into_iter()
                .map(|view| outbound_consumer(shard, last_seq, view)),
        );
    }
    consumers.sort_by(|a, b| (&a.name, a.shard).cmp(&(&b.name, b.shard)));
    Ok(v1::ListConsumersResponse { consumers })
}

/// Returns the refusal of changes that no node has any more. It names the archives that have them.
pub(super) async fn dropped(api: &Api, shard: u32, from_seq: u64) -> Refusal {
    let archives = archives(api, shard).await;
    let places: Vec<String> = archives
        .iter()
        .map(|archive| format!("`{}` (consumer `{}`)", archive.location, archive.consumer))
        .collect();
    let read_from = match places.is_empty() {
        true => "read them from an archive".to_owned(),
        false => format!("read them from the archive {}", places.join(" or ")),
    };
    let message = format!("shard {shard}: no node has the changes from {from_seq} on any more: {read_from}");
    Refusal {
        archives,
        ..reasons::refusal(Reason::PositionTooOld, message)
    }
}

/// Returns the places of the required consumers that have one. None is known when the shard does not answer.
async fn archives(api: &Api, shard: u32) -> Vec<v1::ArchiveLocation> {
    let deadline = Instant::now() + ARCHIVES_TIMEOUT;
    let answer = api
        .query(shard, Query::Consumers, Freshness::Stale, deadline)
        .await;
    let views = answer.and_then(views).unwrap_or_default();
    let archives = views
        .into_iter()
        .filter(|view| view.required && !view.location.as_str().is_empty());
    archives
        .map(|view| v1::ArchiveLocation {
            consumer: view.name.into(),
            location: view.location.into(),
        })
        .collect()
}

fn views(answer: Answer) -> Result<Vec<ConsumerView>, Refusal> {
    match answer.reply {
        QueryReply::Consumers(views) => Ok(views),
        other => Err(wrong_reply(&other)),
    }
}

/// Returns the consumers of each shard, with the shard's last change.
async fn of_every_shard(api: &Api, deadline: Instant) -> Result<Vec<(u32, u64, Vec<ConsumerView>)>, Refusal> {
    let asked = api.router.shards().iter().map(|handle| async move {
        let shard = handle.shard();
        let answer = api
            .query(shard, Query::Consumers, Freshness::Linearizable, deadline)
            .await?;
        Ok((shard, answer.last_seq, views(answer)?))
    });
    try_join_all(asked).await
}

/// Checks that the caller may register or remove the consumer that a command names. With a required one, history
/// may be held back or lost, so that is an administrator's act.
async fn allow_change(
    api: &Api,
    caller: &Caller,
    taken: &Taken,
    asks_for_required: bool,
    deadline: Instant,
) -> Result<(), Refusal> {
    let (name, what) = match &taken.command.action {
        Action::RegisterConsumer { name, .. } => (name, "register_consumer"),
        Action::RemoveConsumer { name } => (name, "remove_consumer"),
        _ => return Err(reasons::refusal(Reason::Internal, "this is not about a consumer")),
    };
    if asks_for_required {
        api.allow_admin(caller)?;
    } else {
        api.allow(caller, Verb::Changes, &Touched::Everything, &Touched::Everything)?;
        let is_required = |view: &ConsumerView| view.required && view.name == *name;
        let of_shards = of_every_shard(api, deadline).await?;
        if of_shards
            .iter()
            .any(|(_, _, views)| views.iter().any(is_required))
        {
            api.allow_admin(caller)?;
        }
    }
    audit::about_consumer(caller.asker(), what, name, asks_for_required);
    Ok(())
}

/// Lets every shard decide a command. When some shards do not, the request can be repeated with its id.
async fn in_every_shard(
    api: &Api,
    caller: &Caller,
    taken: Taken,
    done: &str,
    deadline: Instant,
) -> Result<Vec<v1::Receipt>, Refusal> {
    let mut taken = taken;
    taken.command.principal = caller.principal.clone();
    for handle in api.router.shards().iter() {
        api.router.check_rules(handle.shard(), &taken.command)?;
    }
    let name = name_of(&taken.command.action).cloned();
    let decided = api.router.shards().iter().map(|handle| {
        let taken = taken.clone();
        async move {
            let shard = handle.shard();
            let result = api.submit(shard, vec![taken], deadline).await.pop();
            (shard, result)
        }
    });
    let decided = join_all(decided).await;
    let count = decided.len();
    let mut receipts = Vec::with_capacity(count);
    let mut obstacle = None;
    for (shard, result) in decided {
        match result {
            Some(Ok((
                _,
                Success::Stocked {
                    position, replayed, ..
                },
            ))) => {
                receipts.extend(outbound::receipt(shard, position, replayed));
            }
            Some(Ok(_)) | None => {
                obstacle.get_or_insert((
                    shard,
                    reasons::refusal(Reason::Internal, "the shard gave no receipt"),
                ));
            }
            Some(Err(refusal)) => {
                obstacle.get_or_insert((shard, refusal));
            }
        }
    }
    match obstacle {
        None => Ok(receipts),
        Some((shard, refusal)) if receipts.is_empty() => Err(in_shard(shard, refusal)),
        Some((shard, refusal)) => {
            let name = name.as_ref().map_or("", ConsumerName::as_str);
            let message = format!(
                "the consumer `{name}` is {done} in {} of {count} shards, repeat the request: shard {shard}: {}",
                receipts.len(),
                refusal.message
            );
            Err(Refusal { message, ..refusal })
        }
    }
}

fn name_of(action: &Action) -> Option<&ConsumerName> {
    match action {
        Action::RegisterConsumer { name, .. } | Action::RemoveConsumer { name } => Some(name),
        _ => None,
    }
}

fn in_shard(shard: u32, refusal: Refusal) -> Refusal {
    Refusal {
        message: format!("shard {shard}: {}", refusal.message),
        ..refusal
    }
}

fn outbound_consumer(shard: u32, last_seq: u64, view: ConsumerView) -> v1::Consumer {
    v1::Consumer {
        name: view.name.into(),
        shard,
        required: view.required,
        location: view.location.into(),
        through_seq: view.through_seq,
        advanced_at_ms: view.advanced_at_ms,
        lag_changes: last_seq.saturating_sub(view.through_seq),
    }
}
