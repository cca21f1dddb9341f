//! One shard of the model: the real ledger, and the digest that tells two states apart.

use holdfast_ledger::{
    Action, Applied, CellView, Command, Decision, Entry, Ledger, LedgerOptions, OrderReply, OrderStep,
    OrderWork, Outcome, Position, Query, QueryReply, ReservationId, ReservationState, Rules, ShardNumber,
    Standing, Success,
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::scope::{self, START_MS};

/// A ledger and the end of its log.
#[derive(Debug, Clone)]
pub(crate) struct Shard {
    pub(crate) ledger: Ledger,
    number: ShardNumber,
    units: i64,
    log_index: u64,
    /// A number that is equal for ledgers that behave alike.
    pub(crate) digest: u64,
}

/// The part of an order in one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) state: ReservationState,
    /// The incarnation of the part; 0 for a plain hold.
    pub(crate) incarnation: u64,
}

impl Shard {
    /// Makes a shard with this many units of its one SKU.
    pub(crate) fn stocked(number: ShardNumber, units: i64, rules: Rules) -> Result<Self, String> {
        let mut shard = Self {
            ledger: Ledger::with_rules(LedgerOptions::default(), rules),
            number,
            units,
            log_index: 0,
            digest: 0,
        };
        let receive = Action::Receive {
            sku: scope::sku(number),
            warehouse: scope::warehouse(),
            supply_id: None,
            quantity: units,
        };
        shard.entry(START_MS, vec![scope::command(0, receive)])?;
        Ok(shard)
    }

    /// Returns the answer to a command that would change nothing, without an entry for it, as a real shard
    /// does.
    pub(crate) fn preview(&self, command: &Command) -> Option<Outcome> {
        self.ledger
            .preview(self.ledger.log_time_ms(), command)
            .map(without_position)
    }

    /// Applies one entry of the log, and checks the ledger in full. Log time only goes forward.
    pub(crate) fn entry(&mut self, log_time_ms: u64, commands: Vec<Command>) -> Result<Applied, String> {
        self.log_index += 1;
        let entry = Entry {
            log_time_ms,
            commands,
        };
        let mut applied = self
            .ledger
            .apply(self.log_index, &entry)
            .map_err(|violation| violation.to_string())?;
        self.ledger.check().map_err(|violation| violation.to_string())?;
        self.check_units()?;
        applied.outcomes = applied.outcomes.into_iter().map(without_position).collect();
        self.digest = self.digest()?;
        Ok(applied)
    }

    /// Checks that every unit is still there, in exactly one place: nothing ships here.
    fn check_units(&self) -> Result<(), String> {
        let cell = self.cell().ok_or("the cell is gone")?;
        let placed = cell.free + cell.held + cell.committed;
        if cell.on_hand == self.units && placed == self.units && cell.deficit == 0 {
            Ok(())
        } else {
            Err(format!("{} units were received: {cell:?}", self.units))
        }
    }

    pub(crate) fn cell(&self) -> Option<CellView> {
        let sku = scope::sku(self.number);
        match self.ledger.query(&Query::Cells { sku, warehouse: None }) {
            Ok(QueryReply::Cells(mut cells)) => cells.pop(),
            _ => None,
        }
    }

    /// Hashes a snapshot without the index of the last entry and the number of the last change. Future
    /// indexes and numbers are higher than all that are remembered, and only whether two of them are equal
    /// matters.
    fn digest(&self) -> Result<u64, String> {
        let bytes = self.ledger.encode();
        let error = |error: postcard::Error| error.to_string();
        let (_, mut rest) = postcard::take_from_bytes::<u8>(&bytes).map_err(error)?;
        if self.ledger.rules() > Rules::First {
            (_, rest) = postcard::take_from_bytes::<Rules>(rest).map_err(error)?;
        }
        let (_, rest) = postcard::take_from_bytes::<LedgerOptions>(rest).map_err(error)?;
        let ((_, log_time_ms, _), rest) =
            postcard::take_from_bytes::<(Option<u64>, u64, u64)>(rest).map_err(error)?;
        Ok(xxh3_64_with_seed(rest, log_time_ms))
    }

    /// Returns the work of the shard's resolver.
    pub(crate) fn work(&self) -> OrderWork {
        match self.ledger.query(&Query::OrderWork { limit: 100 }) {
            Ok(QueryReply::OrderWork(work)) => work,
            _ => OrderWork::default(),
        }
    }

    /// Returns the part of the order with this id and home; without a home, the plain hold with this id.
    pub(crate) fn part(&self, reservation_id: ReservationId, home: Option<ShardNumber>) -> Option<Part> {
        let Ok(QueryReply::Reservation(Some(view))) =
            self.ledger.query(&Query::Reservation { reservation_id })
        else {
            return None;
        };
        let named = view.order.as_ref().map(|order| order.home);
        (named == home).then(|| Part {
            state: view.state,
            incarnation: view.order.map_or(0, |order| order.incarnation),
        })
    }

    /// Returns the state of an order at its home, or none when the order is not known (any more). It asks
    /// with a decision on attempt 0. That attempt never exists, so nothing is decided.
    pub(crate) fn standing(&self, id: ReservationId) -> Option<Standing> {
        let ask = OrderStep::Decide {
            attempt: 0,
            decision: Decision::Abort,
        };
        match self.preview(&scope::step(id, ask)) {
            Some(Ok(Success::Order {
                reply: OrderReply::Decided(standing) | OrderReply::DecidedBefore(standing),
                ..
            })) if standing != (Standing::Aborted { attempt: 0 }) => Some(standing),
            _ => None,
        }
    }

    /// Returns whether it is too late for an order with this id to begin.
    pub(crate) fn is_too_old(&self, id: ReservationId) -> bool {
        let window_ms = self.ledger.options().operation_window_ms;
        self.ledger.log_time_ms() > id.time_ms().saturating_add(window_ms)
    }
}

/// Removes the position of a step's answer, which nobody uses.
fn without_position(outcome: Outcome) -> Outcome {
    let nowhere = Position {
        log_index: 0,
        log_time_ms: 0,
    };
    outcome.map(|success| match success {
        Success::Order { reply, .. } => Success::Order {
            position: nowhere,
            reply,
        },
        other => other,
    })
}
