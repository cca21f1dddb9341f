//! The final answers to the caller.

use std::collections::BTreeMap;

use super::{Coordinator, End, Phase, Progress, Refused};
use crate::{
    Action, GrantedLine, Position, Refusal, ShardNumber, Shortage, Success, ledger::merged_lines,
    order::Standing,
};

impl Coordinator {
    pub(super) fn replay(&mut self, standing: Standing) -> Progress {
        let Standing::Decided {
            attempt,
            position,
            first_expires_at_ms,
            incarnations,
            ..
        } = standing
        else {
            return Progress::default();
        };
        self.pending.clear();
        self.refused.clear();
        self.attempt = attempt;
        let known = |shard: &ShardNumber| incarnations.get(shard).copied();
        self.prepared
            .retain(|shard, part| known(shard) == Some(part.incarnation));
        let missing: Vec<ShardNumber> = incarnations
            .keys()
            .copied()
            .filter(|shard| !self.prepared.contains_key(shard))
            .collect();
        self.phase = Phase::Replaying {
            position,
            expires_at_ms: first_expires_at_ms,
            shards: incarnations.into_keys().collect(),
        };
        let mut send = Vec::with_capacity(missing.len());
        for shard in missing {
            send.push(self.prepare(shard));
        }
        if send.is_empty() {
            self.replayed()
        } else {
            Progress::send(send)
        }
    }

    pub(super) fn replayed(&mut self) -> Progress {
        let Phase::Replaying {
            position,
            expires_at_ms,
            shards,
        } = &self.phase
        else {
            return Progress::default();
        };
        if let Some(silent) = self.refused.keys().next() {
            let silent = *silent;
            self.phase = Phase::Over;
            return Progress::end(End::Unknown(silent));
        }
        if shards.iter().all(|shard| self.prepared.contains_key(shard)) {
            let (position, expires_at_ms) = (*position, *expires_at_ms);
            self.granted(position, expires_at_ms, true)
        } else {
            Progress::default()
        }
    }

    pub(super) fn granted(&mut self, position: Position, expires_at_ms: u64, replayed: bool) -> Progress {
        self.phase = Phase::Over;
        let mut by_line: BTreeMap<u32, GrantedLine> = std::mem::take(&mut self.prepared)
            .into_values()
            .flat_map(|part| part.lines)
            .map(|line| (line.line, line))
            .collect();
        let Action::Reserve { lines, .. } = &self.request.action else {
            return Progress::default();
        };
        // A best-effort answer names the lines of shards that had nothing too.
        for (line, sku, requested) in merged_lines(lines).unwrap_or_default() {
            by_line.entry(line).or_insert_with(|| GrantedLine {
                line,
                sku: sku.clone(),
                requested,
                granted: 0,
                allocations: Vec::new(),
            });
        }
        Progress::end(End::Outcome(Ok(Success::Reserved {
            position,
            replayed,
            expires_at_ms,
            lines: by_line.into_values().collect(),
        })))
    }

    /// Ends without a hold, with the most telling reason: first a wrong request, then a silent shard, then a
    /// shortage.
    pub(super) fn refuse(&mut self) -> Progress {
        self.phase = Phase::Over;
        let mut shortages: Vec<Shortage> = Vec::new();
        let mut contended = self.refused.is_empty();
        let mut short_for_good = false;
        let mut silent = None;
        for (shard, refused) in &self.refused {
            match refused {
                Refused::By(Refusal::InsufficientStock(short)) => {
                    short_for_good = true;
                    shortages.extend(short.iter().cloned());
                }
                Refused::By(Refusal::Contended(short)) => {
                    contended = true;
                    shortages.extend(short.iter().cloned());
                }
                Refused::By(Refusal::OrderAborted { .. }) => contended = true,
                Refused::By(other) => return Progress::end(End::Outcome(Err(other.clone()))),
                Refused::Silent(_) => silent = silent.or(Some(*shard)),
            }
        }
        shortages.sort_by_key(|shortage| shortage.line);
        Progress::end(match silent {
            Some(shard) if !short_for_good => End::Unavailable(shard),
            None if contended && !short_for_good => End::Outcome(Err(Refusal::Contended(shortages))),
            _ => End::Outcome(Err(Refusal::InsufficientStock(shortages))),
        })
    }
}
