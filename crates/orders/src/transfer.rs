//! Transfers over several shards. They leave by an order, all or nothing, and arrive shard by shard.
//!
//! Nothing can undo the committed order of a transfer. A later failure is therefore reported as an unknown
//! outcome, or as a part that is not done. The same request again goes on.

use std::collections::BTreeMap;

use futures::future::join_all;
use holdfast_ledger::{
    Action, Command, Coordinator, Query, QueryReply, Refusal, ReservationState, Success, TransferId,
    TransferLine, TransferOrder, TransferView,
};
use holdfast_shard::{Freshness, SubmitError};
use tokio::time::Instant;

use super::{AsOf, OrderError, Orders, receipt, unanswered};

/// The lines of one shard, each with its number in the request.
type Share = Vec<(u32, TransferLine)>;

impl Orders {
    /// Makes a transfer leave: reserves, commits, and makes each shard dispatch its part. Returns the shard
    /// that answers.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub async fn transfer_out(
        &self,
        order: TransferOrder,
        coordinator: Coordinator,
        deadline: Instant,
    ) -> Result<(u32, Success), OrderError> {
        let home = coordinator.home();
        self.reserve(coordinator, deadline).await?;
        match self.submit(home, order.commit, deadline).await {
            Ok(_) => {}
            Err(OrderError::Refused(Refusal::WrongState { state })) if is_committed(state) => {}
            Err(OrderError::Refused(refusal)) => return Err(refusal.into()),
            Err(_) => return Err(unknown(home)),
        }
        match self
            .fulfil(order.dispatch, &AsOf::default(), home, deadline)
            .await
        {
            Ok((shard, success)) => Ok((shard, stocked(success))),
            Err(OrderError::Refused(refusal)) => Err(OrderError::Undispatched { refusal }),
            Err(partly @ OrderError::Partly { .. }) => Err(partly),
            Err(_) => Err(unknown(home)),
        }
    }

    /// Makes every shard of a transfer do its part of a TransferIn or CloseTransfer.
    pub(super) async fn arrive(
        &self,
        command: Command,
        as_of: &AsOf,
        deadline: Instant,
    ) -> Result<(u32, Success), OrderError> {
        let (id, lines) = match &command.action {
            Action::TransferIn {
                transfer_id, lines, ..
            } => (*transfer_id, lines.clone()),
            Action::CloseTransfer { transfer_id } => (*transfer_id, Vec::new()),
            _ => return Err(OrderError::WrongAnswer { shard: 0 }),
        };
        let parts = self.transfers(id, Freshness::Linearizable, deadline).await?;
        let Some(home) = parts.first().and_then(|(_, part)| part.home) else {
            return Err(Refusal::UnknownTransfer.into());
        };
        let mut shares: BTreeMap<u32, Share> = BTreeMap::new();
        if lines.is_empty() {
            shares.extend(parts.iter().map(|(shard, _)| (*shard, Share::new())));
        }
        for (number, line) in (0..).zip(lines.iter().cloned()) {
            let shard = self.shard_of(&line.sku);
            shares.entry(shard).or_default().push((number, line));
        }
        let mut commands = Vec::with_capacity(shares.len());
        for (shard, share) in &shares {
            let mut part_of = Command {
                action: Action::OfPart(Box::new(with_lines(&command.action, share))),
                ..command.clone()
            };
            part_of.details.as_of_seq = as_of.of_one_of(*shard, shares.len())?;
            commands.push((*shard, part_of));
        }
        let done = commands
            .into_iter()
            .map(|(shard, part_of)| self.submit(shard, part_of, deadline));
        let results = join_all(done).await;
        conclude(home, shares.into_iter().zip(results), lines.is_empty())
    }

    /// Reads each shard's part of a transfer over several shards. The result is empty when no shard has a
    /// part.
    async fn transfers(
        &self,
        transfer_id: TransferId,
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<Vec<(u32, TransferView)>, OrderError> {
        let reads = (0..).zip(self.shards.iter()).map(|(shard, handle)| async move {
            let query = Query::Transfer { transfer_id };
            match handle.query(query, freshness, deadline).await {
                Ok(answer) => match answer.reply {
                    QueryReply::Transfer(view) => Ok(view.map(|view| (shard, view))),
                    _ => Err(OrderError::WrongAnswer { shard }),
                },
                Err(error) => Err(OrderError::Query { shard, error }),
            }
        });
        let parts: Result<Vec<_>, OrderError> = join_all(reads).await.into_iter().collect();
        let parts = parts?.into_iter().flatten();
        let parts: Vec<_> = parts.filter(|(_, view)| view.home.is_some()).collect();
        let is_one = parts.iter().all(|(_, part)| part.home == parts[0].1.home);
        if is_one {
            return Ok(parts);
        }
        Err(OrderError::Ambiguous {
            id: transfer_id,
            shards: parts.into_iter().map(|(shard, _)| shard).collect(),
        })
    }

    /// Reads a transfer over several shards as a whole, with its home. Each part is read at a moment of its
    /// own. Returns None when there is no such transfer.
    ///
    /// # Errors
    /// See [`OrderError`].
    pub async fn whole_transfer(
        &self,
        transfer_id: TransferId,
        freshness: Freshness,
        deadline: Instant,
    ) -> Result<Option<(u32, TransferView)>, OrderError> {
        let parts = self.transfers(transfer_id, freshness, deadline).await?;
        Ok(joined(parts.into_iter().map(|(_, part)| part)).and_then(|whole| Some((whole.home?, whole))))
    }
}

/// Joins the lines of all parts. The transfer began with its first part, and is closed when all parts are.
fn joined(parts: impl Iterator<Item = TransferView>) -> Option<TransferView> {
    parts.reduce(|mut whole, part| {
        whole.created_at_ms = whole.created_at_ms.min(part.created_at_ms);
        let is_open = whole.closed_at_ms == 0 || part.closed_at_ms == 0;
        let closed_at_ms = whole.closed_at_ms.max(part.closed_at_ms);
        whole.closed_at_ms = if is_open { 0 } else { closed_at_ms };
        whole.lines.extend(part.lines);
        whole
    })
}

fn is_committed(state: ReservationState) -> bool {
    matches!(
        state,
        ReservationState::Committed | ReservationState::Shipped | ReservationState::Cancelled
    )
}

fn unknown(shard: u32) -> OrderError {
    OrderError::Submit {
        shard,
        error: SubmitError::OutcomeUnknown,
    }
}

/// Turns the answer of a dispatch into the one that the caller of a TransferOut expects.
fn stocked(dispatched: Success) -> Success {
    match dispatched {
        Success::Transitioned {
            position, replayed, ..
        } => Success::Stocked {
            position,
            replayed,
            cell: None,
        },
        other => other,
    }
}

fn with_lines(action: &Action, share: &[(u32, TransferLine)]) -> Action {
    let mut action = action.clone();
    if let Action::TransferIn { lines, .. } = &mut action {
        *lines = share.iter().map(|(_, line)| line.clone()).collect();
    }
    action
}

/// Puts the line's number in the request into a shard's refusal.
fn renumbered(refusal: Refusal, share: &[(u32, TransferLine)]) -> Refusal {
    match refusal {
        Refusal::ExceedsLine {
            line,
            requested,
            available,
        } => Refusal::ExceedsLine {
            line: share.get(line as usize).map_or(line, |(number, _)| *number),
            requested,
            available,
        },
        other => other,
    }
}

fn conclude(
    home: u32,
    results: impl Iterator<Item = ((u32, Share), Result<Success, OrderError>)>,
    everything: bool,
) -> Result<(u32, Success), OrderError> {
    let mut done: Vec<(u32, Success)> = Vec::new();
    let mut closed: Option<Refusal> = None;
    let mut refused: Option<(u32, Refusal)> = None;
    let mut errors = Vec::new();
    for ((shard, share), result) in results {
        match result {
            Ok(success) => done.push((shard, success)),
            // Everything in this shard arrived before.
            Err(OrderError::Refused(refusal @ Refusal::TransferClosed)) if everything => {
                closed = Some(refusal)
            }
            Err(OrderError::Refused(refusal)) => {
                refused.get_or_insert((shard, renumbered(refusal, &share)));
            }
            Err(error) => errors.push(error),
        }
    }
    if let Some(error) = unanswered(errors, !done.is_empty()) {
        return Err(error);
    }
    let shards: Vec<u32> = done.iter().map(|(shard, _)| *shard).collect();
    match (refused, receipt(home, done)) {
        (None, Some(first)) => Ok(first),
        (None, None) => Err(closed.unwrap_or(Refusal::UnknownTransfer).into()),
        (Some((_, refusal)), None) => Err(refusal.into()),
        (Some((shard, refusal)), Some(_)) => Err(OrderError::Partly {
            done: shards,
            shard,
            refusal,
        }),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_ledger::{Position, Sku};

    use super::*;

    fn success(replayed: bool) -> Result<Success, OrderError> {
        Ok(Success::Stocked {
            position: Position {
                log_index: 1,
                log_time_ms: 1,
            },
            replayed,
            cell: None,
        })
    }

    fn results(
        all: Vec<(u32, Result<Success, OrderError>)>,
    ) -> impl Iterator<Item = ((u32, Share), Result<Success, OrderError>)> {
        let line = |number: u32| {
            let sku = Sku::new(format!("{number}")).unwrap();
            (number, TransferLine { sku, quantity: 1 })
        };
        all.into_iter()
            .map(move |(shard, result)| ((shard, vec![line(shard), line(shard + 10)]), result))
    }

    #[test]
    fn copies_of_one_arrival_have_the_receipt_of_the_home_and_one_of_them_was_first() {
        for (elsewhere, at_home) in [(true, false), (false, true), (true, true)] {
            let answer = conclude(
                1,
                results(vec![(0, success(elsewhere)), (1, success(at_home))]),
                true,
            );
            assert!(
                matches!(answer, Ok((1, Success::Stocked { replayed, .. })) if replayed == at_home),
                "{answer:?}"
            );
        }
        let without_home = conclude(7, results(vec![(1, success(false)), (2, success(true))]), true);
        assert!(
            matches!(without_home, Ok((1, Success::Stocked { replayed: false, .. }))),
            "{without_home:?}"
        );
    }

    #[test]
    fn a_part_that_arrived_before_is_no_obstacle_to_everything_but_to_what_is_named() {
        let closed = || Err(OrderError::Refused(Refusal::TransferClosed));
        let rest = conclude(0, results(vec![(0, closed()), (1, success(false))]), true);
        assert!(matches!(rest, Ok((1, _))), "{rest:?}");
        let nothing = conclude(0, results(vec![(0, closed()), (1, closed())]), true);
        assert_eq!(nothing, Err(OrderError::Refused(Refusal::TransferClosed)));
        let named = conclude(0, results(vec![(0, closed()), (1, success(false))]), false);
        let partly = OrderError::Partly {
            done: vec![1],
            shard: 0,
            refusal: Refusal::TransferClosed,
        };
        assert_eq!(named, Err(partly));
    }

    #[test]
    fn a_refused_line_has_its_number_in_the_request() {
        let exceeds = |line| Refusal::ExceedsLine {
            line,
            requested: 3,
            available: 2,
        };
        let refused = conclude(0, results(vec![(4, Err(exceeds(1).into()))]), false);
        assert_eq!(refused, Err(exceeds(14).into()));
    }
}
