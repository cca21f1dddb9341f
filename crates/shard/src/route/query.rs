//! Queries on their way to an answer.

use holdfast_ledger::{Ledger, Position, Query};
use tokio::time::Instant;

use super::{Origin, Route, submit::millis};
use crate::forward::{ForwardReply, ForwardRequest};
use crate::local_shard::LocalShard;
use crate::metrics::add;
use crate::proposer::RETRY_AFTER_MS;
use crate::raft_types::LogId;
use crate::read_gate::NotConfirmed;
use crate::replica::Replica;
use crate::replica_id::node_of;
use crate::{Answer, Freshness, QueryError, codec};

pub(crate) async fn query(
    place: &LocalShard,
    query: Query,
    freshness: Freshness,
    deadline: Instant,
) -> Result<Answer, QueryError> {
    loop {
        let running = place.running();
        let answer = match (freshness, &running) {
            (Freshness::Stale, Some(running)) => stale(&running.replica, query.clone()).await,
            // Without a replica, this node has no state that could answer stale.
            (Freshness::Linearizable, _) | (Freshness::Stale, None) => {
                let from = Origin::of(place, running.as_ref());
                linearizable(from, || place.has_changed(running.as_ref()), &query, deadline).await
            }
        };
        match answer {
            // This node has lost its replica or got another one.
            Err(QueryError::Stopped) if place.has_changed(running.as_ref()) && Instant::now() < deadline => {}
            answer => return answer,
        }
    }
}

async fn stale(replica: &Replica, query: Query) -> Result<Answer, QueryError> {
    if replica.is_silent() {
        return Err(QueryError::Stopped);
    }
    let age_ms = replica.age_ms();
    add(&replica.counters.reads_stale, 1);
    answer(replica, query, age_ms).await
}

async fn linearizable(
    from: Origin<'_>,
    elsewhere: impl Fn() -> bool,
    query: &Query,
    deadline: Instant,
) -> Result<Answer, QueryError> {
    let mut route = Route::new(from);
    let mut leader_seen = false;
    while Instant::now() < deadline {
        if from.is_stopped() || elsewhere() {
            return Err(QueryError::Stopped);
        }
        if let Some(leader) = route.next() {
            leader_seen = true;
            let asked = async {
                match from.here() {
                    Some(replica) if leader == replica.options.raft_id() => {
                        confirmed(replica, query, deadline).await
                    }
                    _ => ask_there(from, leader, query, deadline).await,
                }
            };
            let said = tokio::select! {
                said = asked => said,
                () = route.deposed(leader) => ReadOutcome::Nothing,
                () = tokio::time::sleep_until(deadline) => break,
            };
            match said {
                ReadOutcome::Answer(answer) => {
                    route.led(leader);
                    return answer;
                }
                ReadOutcome::NotLeader(says) => route.not_leader(leader, says),
                ReadOutcome::Nothing => route.not_leader(leader, None),
            }
        }
        route.pause(deadline).await;
    }
    Err(if leader_seen {
        QueryError::Deadline
    } else {
        QueryError::NoLeader
    })
}

/// Answer of the replica that was asked.
pub(super) enum ReadOutcome {
    Answer(Result<Answer, QueryError>),
    NotLeader(Option<u64>),
    Nothing,
}

/// Answers here, once it is certain that everything acknowledged is in the ledger.
pub(super) async fn confirmed(replica: &Replica, query: &Query, deadline: Instant) -> ReadOutcome {
    let confirmed = tokio::time::timeout_at(deadline, replica.gate.confirm()).await;
    match confirmed {
        Ok(Ok(())) => {
            add(&replica.counters.reads_confirmed, 1);
            ReadOutcome::Answer(answer(replica, query.clone(), 0).await)
        }
        Ok(Err(NotConfirmed::NotLeader(leader))) => ReadOutcome::NotLeader(leader),
        Ok(Err(NotConfirmed::NoQuorum)) | Err(_) => ReadOutcome::Nothing,
        Ok(Err(NotConfirmed::Overloaded)) => ReadOutcome::Answer(Err(QueryError::Overloaded {
            retry_after_ms: RETRY_AFTER_MS,
        })),
        Ok(Err(NotConfirmed::Stopped)) => ReadOutcome::Answer(Err(QueryError::Stopped)),
    }
}

async fn ask_there(from: Origin<'_>, leader: u64, query: &Query, deadline: Instant) -> ReadOutcome {
    let timeout = from
        .attempt_until(deadline)
        .saturating_duration_since(Instant::now());
    let request = ForwardRequest::Query {
        query: query.clone(),
        timeout_ms: millis(timeout),
    };
    let Ok(payload) = codec::encode(&request) else {
        return ReadOutcome::Nothing;
    };
    add(&from.counters().forwards_sent, 1);
    let answer = from
        .transport()
        .forward(node_of(leader), from.shard(), payload, timeout)
        .await;
    match answer.map(|answer| codec::decode::<ForwardReply>(&answer)) {
        // That replica stops, and not this one: another replica will lead.
        Ok(Ok(ForwardReply::Query(Err(QueryError::Stopped | QueryError::Deadline)))) => ReadOutcome::Nothing,
        Ok(Ok(ForwardReply::Query(answer))) => ReadOutcome::Answer(answer),
        Ok(Ok(ForwardReply::NotLeader { leader })) => ReadOutcome::NotLeader(leader),
        Ok(_) | Err(_) => ReadOutcome::Nothing,
    }
}

/// Answers from the ledger as it is. Queries that read the whole ledger get a copy, on a thread where
/// blocking is allowed, so that nothing waits for them.
async fn answer(replica: &Replica, query: Query, age_ms: u64) -> Result<Answer, QueryError> {
    let reads_everything = matches!(query, Query::Digest | Query::Deficits { .. });
    let (ledger, applied) = {
        let state = replica.state.read().await;
        // A replica that died or was halted while it applied an entry has a ledger between two entries.
        if replica.is_silent() {
            return Err(QueryError::Stopped);
        }
        if !reads_everything {
            return read(&state.ledger, state.applied, &query, age_ms);
        }
        (state.ledger.clone(), state.applied)
    };
    let threads = replica.host.threads;
    let answer = threads
        .blocking(move || Ok(read(&ledger, applied, &query, age_ms)))
        .await;
    answer.unwrap_or(Err(QueryError::Stopped))
}

fn read(ledger: &Ledger, applied: Option<LogId>, query: &Query, age_ms: u64) -> Result<Answer, QueryError> {
    let reply = ledger.query(query).map_err(QueryError::Refused)?;
    let log_index = applied.map_or(0, |applied| applied.index);
    let position = Position {
        log_index,
        log_time_ms: ledger.log_time_ms(),
    };
    Ok(Answer {
        reply,
        position,
        last_seq: ledger.last_seq(),
        age_ms,
    })
}
