//! Ship, Cancel, Return and Dispatch of an order over several shards. Each shard does its own part.
//!
//! Nothing can undo a committed order, so its parts need no common decision. When one shard refuses its part,
//! the others have done theirs. When the same request comes again, those answer as before, and the one that
//! refused decides anew.

use std::collections::BTreeMap;

use futures::future::join_all;
use holdfast_ledger::{
    About, Action, Command, LineQuantity, Refusal, ReservationState, ReservationView, ReturnOf, Success,
};
use holdfast_shard::Freshness;
use tokio::time::Instant;

use super::{
    AsOf, OrderError, Orders, receipt, unanswered,
    view::{Parts, combined, is_before_commit},
};

impl Orders {
    pub(super) async fn fulfil(
        &self,
        command: Command,
        as_of: &AsOf,
        home: u32,
        deadline: Instant,
    ) -> Result<(u32, Success), OrderError> {
        let About::Reservation(id, lines) = command.action.concerns().about else {
            return Err(OrderError::WrongAnswer { shard: home });
        };
        let parts = self.parts(id, home, Freshness::Linearizable, deadline).await?;
        let parts = parts.ok_or(Refusal::UnknownReservation)?;
        match parts.state() {
            None => return Err(Refusal::UnknownReservation.into()),
            Some(state) if is_before_commit(state) => return Err(Refusal::WrongState { state }.into()),
            Some(_) => {}
        }
        let shares = shares(&parts, lines)?;
        self.have_follow(&parts, &shares, deadline).await?;
        let mut commands = Vec::with_capacity(shares.len());
        for (shard, lines) in &shares {
            let mut part_of = Command {
                action: Action::OfPart(Box::new(with_lines(&command.action, lines.clone()))),
                ..command.clone()
            };
            part_of.details.as_of_seq = as_of.of_one_of(*shard, shares.len())?;
            commands.push((*shard, part_of));
        }
        let done = commands
            .into_iter()
            .map(|(shard, part_of)| self.submit(shard, part_of, deadline));
        let results: BTreeMap<u32, Result<Success, OrderError>> =
            shares.keys().copied().zip(join_all(done).await).collect();
        conclude(&parts, results, lines.is_empty())
    }

    /// Tells a participant about the commit if it has not heard of it yet.
    async fn have_follow(
        &self,
        parts: &Parts,
        shares: &BTreeMap<u32, Vec<LineQuantity>>,
        deadline: Instant,
    ) -> Result<(), OrderError> {
        let behind = |part: &ReservationView| {
            matches!(part.state, ReservationState::Prepared | ReservationState::Held)
        };
        let told = parts
            .parts
            .iter()
            .filter(|(shard, part)| shares.contains_key(shard) && behind(part))
            .filter_map(|(shard, part)| {
                let order = part.order.as_ref()?;
                let asked = (order.attempt, order.incarnation);
                Some(self.inquire(parts.home, *shard, part.reservation_id, asked, deadline))
            });
        join_all(told).await.into_iter().collect()
    }
}

fn with_lines(action: &Action, part: Vec<LineQuantity>) -> Action {
    let mut action = action.clone();
    if let Action::Ship { lines, .. }
    | Action::Cancel { lines, .. }
    | Action::Return {
        of: ReturnOf::Reservation { lines, .. },
        ..
    } = &mut action
    {
        *lines = part;
    }
    action
}

/// Returns the lines that each shard must process. When no lines are named, each shard processes all of its
/// own.
fn shares(parts: &Parts, lines: &[LineQuantity]) -> Result<BTreeMap<u32, Vec<LineQuantity>>, Refusal> {
    if lines.is_empty() {
        // The home may have no line.
        let has_lines = |part: &ReservationView| !part.lines.is_empty();
        let some_have = parts.parts.iter().any(|(_, part)| has_lines(part));
        let concerned = parts
            .parts
            .iter()
            .filter(|(_, part)| has_lines(part) || !some_have);
        return Ok(concerned.map(|(shard, _)| (*shard, Vec::new())).collect());
    }
    let shard_of_line: BTreeMap<u32, u32> = parts
        .parts
        .iter()
        .flat_map(|(shard, part)| part.lines.iter().map(move |line| (line.line, *shard)))
        .collect();
    let mut shares: BTreeMap<u32, Vec<LineQuantity>> = BTreeMap::new();
    for line in lines {
        let unknown = Refusal::ExceedsLine {
            line: line.line,
            requested: line.quantity,
            available: 0,
        };
        let shard = shard_of_line.get(&line.line).ok_or(unknown)?;
        shares.entry(*shard).or_default().push(line.clone());
    }
    Ok(shares)
}

fn conclude(
    parts: &Parts,
    results: BTreeMap<u32, Result<Success, OrderError>>,
    everything: bool,
) -> Result<(u32, Success), OrderError> {
    let mut states: BTreeMap<u32, ReservationState> = parts
        .parts
        .iter()
        .map(|(shard, part)| (*shard, part.state))
        .collect();
    let mut done: Vec<(u32, Success)> = Vec::new();
    let mut refused: Option<(u32, Refusal)> = None;
    let mut errors = Vec::new();
    for (shard, result) in results {
        match result {
            Ok(success) => {
                if let Success::Transitioned {
                    state: Some(state), ..
                } = &success
                {
                    states.insert(shard, *state);
                }
                done.push((shard, success));
            }
            Err(OrderError::Refused(refusal)) => {
                let has_nothing_left = everything && matches!(refusal, Refusal::WrongState { .. });
                let worse = refused
                    .as_ref()
                    .is_none_or(|(_, first)| matches!(first, Refusal::WrongState { .. }));
                if worse && !(has_nothing_left && refused.is_some()) {
                    refused = Some((shard, refusal));
                }
            }
            Err(error) => errors.push(error),
        }
    }
    if let Some(error) = unanswered(errors, !done.is_empty()) {
        return Err(error);
    }
    let all_else_had_nothing = everything
        && refused
            .as_ref()
            .is_none_or(|(_, refusal)| matches!(refusal, Refusal::WrongState { .. }));
    let shards: Vec<u32> = done.iter().map(|(shard, _)| *shard).collect();
    let Some((shard, first)) = receipt(parts.home, done) else {
        let (_, refusal) = refused.unwrap_or((parts.home, Refusal::UnknownReservation));
        return Err(refusal.into());
    };
    match refused {
        Some((shard, refusal)) if !all_else_had_nothing => Err(OrderError::Partly {
            done: shards,
            shard,
            refusal,
        }),
        _ => Ok((shard, whole(first, combined(states.into_values())))),
    }
}

/// Puts the state of the whole order into one shard's answer.
fn whole(of_part: Success, state: ReservationState) -> Success {
    match of_part {
        Success::Transitioned {
            position, replayed, ..
        } => Success::Transitioned {
            position,
            replayed,
            state: Some(state),
            expires_at_ms: 0,
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use holdfast_ledger::Position;

    use super::*;
    use crate::view::tests::part;

    fn parts(states: [ReservationState; 2]) -> Parts {
        Parts {
            home: 1,
            parts: (0..)
                .zip(states)
                .map(|(shard, state)| (shard, part(state, Some(1))))
                .collect(),
        }
    }

    fn shipped(log_index: u64, replayed: bool) -> Result<Success, OrderError> {
        Ok(Success::Transitioned {
            position: Position {
                log_index,
                log_time_ms: 1,
            },
            replayed,
            state: Some(ReservationState::Shipped),
            expires_at_ms: 0,
        })
    }

    #[test]
    fn copies_of_one_ship_have_one_receipt_and_one_of_them_was_first() {
        let parts = parts([ReservationState::Committed; 2]);
        // One copy was first in shard 0, the other one in shard 1.
        let mut copies = [(false, true), (true, false)].map(|(in_first, in_home)| {
            let results = BTreeMap::from([(0, shipped(7, in_first)), (1, shipped(9, in_home))]);
            conclude(&parts, results, true).unwrap()
        });
        let first = (
            1,
            Success::Transitioned {
                position: Position {
                    log_index: 9,
                    log_time_ms: 1,
                },
                replayed: false,
                state: Some(ReservationState::Shipped),
                expires_at_ms: 0,
            },
        );
        assert_eq!(copies[1], first);
        if let Success::Transitioned { replayed, .. } = &mut copies[0].1 {
            assert!(std::mem::replace(replayed, false), "the other one is a replay");
        }
        assert_eq!(copies[0], first);
    }

    #[test]
    fn a_home_that_has_nothing_left_leaves_the_receipt_to_the_first_other_shard() {
        let parts = parts([ReservationState::Committed, ReservationState::Cancelled]);
        let nothing = Refusal::WrongState {
            state: ReservationState::Cancelled,
        };
        let results = BTreeMap::from([(0, shipped(7, false)), (1, Err(nothing.into()))]);
        let (shard, success) = conclude(&parts, results, true).unwrap();
        assert_eq!(shard, 0);
        assert!(matches!(success, Success::Transitioned { replayed: false, .. }));
    }
}
