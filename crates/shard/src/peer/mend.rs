//! Repair of a replica's change history while it runs: reads all of it once, and fetches from peers what is
//! damaged or missing.

use std::io;
use std::time::Duration;

use tokio::sync::watch;

use super::History;

/// Pause between two segments that are checked, so that the disk is free for more urgent work.
const CHECK_PAUSE: Duration = Duration::from_millis(500);

/// Pause before peers that did not answer are asked again.
const RETRY_PAUSE: Duration = Duration::from_secs(5);

/// Checks and mends the history once, and ends when nothing is missing that a peer has. `others` names the
/// nodes to ask.
pub(crate) async fn mend(
    history: History,
    others: impl Fn() -> Vec<u64>,
    mut stopped: watch::Receiver<bool>,
) {
    let mending = async {
        if let Err(error) = check(&history).await {
            tracing::error!(shard = history.shard, %error, "the change history could not be checked");
        }
        loop {
            let begun_at = history.changes.begins_at();
            if fill(&history, &others()).await == Outcome::Done {
                break;
            }
            // What was given up needs no pause: the rest may be filled now.
            if history.changes.begins_at() == begun_at {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
        }
    };
    tokio::select! {
        () = mending => {}
        _ = stopped.wait_for(|stop| *stop) => {}
    }
}

async fn check(history: &History) -> io::Result<()> {
    let mut checked = 0;
    let next = |checked| move |first_seq: &u64| *first_seq > checked;
    while let Some(first_seq) = history.changes.segment_starts().into_iter().find(next(checked)) {
        let changes = history.changes.clone();
        let check = move || changes.check_segment(first_seq).map_err(io::Error::other);
        history.threads.in_background(check).await?;
        checked = first_seq;
        tokio::time::sleep(CHECK_PAUSE).await;
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// Nothing is missing, or no peer has it.
    Done,
    /// A peer did not answer.
    AskAgain,
}

/// Asks each node for what is missing.
async fn fill(history: &History, others: &[u64]) -> Outcome {
    let mut outcome = Outcome::Done;
    if !history.changes.gaps().is_empty() && others.is_empty() {
        // Raft has not reported yet who the others are.
        return Outcome::AskAgain;
    }
    for node in others {
        for gap in history.changes.gaps() {
            match history.fill_from(*node, gap.clone()).await {
                Ok(filled) if filled > 0 => tracing::warn!(
                    shard = history.shard,
                    node,
                    from_seq = gap.start,
                    changes = filled,
                    "changes that were missing here came from a peer"
                ),
                Ok(_) => {}
                Err(why) => {
                    tracing::debug!(
                        shard = history.shard,
                        node,
                        why,
                        "this peer sent none of the missing changes"
                    );
                    outcome = Outcome::AskAgain;
                }
            }
        }
    }
    let Some(gap) = history.changes.gaps().into_iter().next() else {
        return Outcome::Done;
    };
    match give_up(history, others, gap.start).await {
        true => Outcome::AskAgain,
        false => outcome,
    }
}

/// Gives up what a peer has dropped of the oldest gap, which begins with a change. Returns whether anything was
/// given up.
async fn give_up(history: &History, others: &[u64], gap_from: u64) -> bool {
    let mut dropped_before: Option<u64> = None;
    for node in others {
        let begins_at = history
            .begin_of(*node)
            .await
            .filter(|begins_at| *begins_at > gap_from);
        dropped_before = begins_at
            .map(|at| dropped_before.map_or(at, |least| least.min(at)))
            .or(dropped_before);
    }
    let Some(begins_at) = dropped_before else {
        return false;
    };
    match history.give_up_before(begins_at).await {
        Ok(given_up) => {
            tracing::info!(
                shard = history.shard,
                begins_at,
                "the history before this change is in the archive only"
            );
            given_up
        }
        Err(why) => {
            tracing::error!(shard = history.shard, why, "the history could not be shortened");
            false
        }
    }
}
