//! Small stories with one claim each. The property tests in `tests/` cover the rest.

mod backorder;
mod consumers;
mod deficit;
mod edges;
mod forgetting;
mod late;
mod names;
mod occurred;
mod orders;
mod recorded;
mod references;
mod replacing;
mod reserving;
mod rules;
mod sealing;
mod sizes;
mod sourcing;
mod time;
mod transfer_commands;

use crate::*;

/// A ledger whose log the test writes.
pub(crate) struct Story {
    pub(crate) ledger: Ledger,
    pub(crate) changes: Vec<Change>,
    index: u64,
    now_ms: u64,
    next_id: u64,
    /// The entries of its log, recorded for later versions to read.
    entries: Vec<Vec<u8>>,
}

impl Drop for Story {
    fn drop(&mut self) {
        recorded::take(std::mem::take(&mut self.entries));
    }
}

pub(crate) const START_MS: u64 = 1_800_000_000_000;

pub(crate) fn sku(name: &str) -> Sku {
    Sku::new(name).unwrap()
}

pub(crate) fn warehouse(name: &str) -> WarehouseId {
    WarehouseId::new(name).unwrap()
}

pub(crate) fn storefront(name: &str) -> StorefrontId {
    StorefrontId::new(name).unwrap()
}

pub(crate) fn line(name: &str, quantity: i64, source: Source) -> ReserveLine {
    ReserveLine {
        sku: sku(name),
        quantity,
        source,
    }
}

pub(crate) fn id_at(time_ms: u64, number: u64) -> OperationId {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&time_ms.to_be_bytes()[2..]);
    bytes[6] = 0x70;
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes[8] = 0x80 | bytes[8] & 0x3f;
    OperationId::from_slice(&bytes).unwrap()
}

impl Story {
    pub(crate) fn new() -> Self {
        Self {
            ledger: Ledger::new(LedgerOptions::default()),
            changes: Vec::new(),
            index: 0,
            now_ms: START_MS,
            next_id: 0,
            entries: Vec::new(),
        }
    }

    /// Begins a story whose first entry adopts these rules.
    pub(crate) fn by(rules: Rules) -> Self {
        let mut story = Self::new();
        story.act(Action::AdoptRules { rules }).unwrap();
        story
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub(crate) fn wait(&mut self, ms: u64) {
        self.now_ms += ms;
        self.entry(Vec::new());
    }

    pub(crate) fn later(&mut self, ms: u64) -> &mut Self {
        self.now_ms += ms;
        self
    }

    pub(crate) fn command(&mut self, action: Action) -> Command {
        self.next_id += 1;
        Command {
            operation_id: id_at(self.now_ms, self.next_id),
            principal: Principal::new("tester").unwrap(),
            reference: Reference::new("doc-1").unwrap(),
            reason: CallerReason::new("test").unwrap(),
            details: Details::default(),
            action,
        }
    }

    pub(crate) fn entry(&mut self, commands: Vec<Command>) -> Vec<Outcome> {
        self.index += 1;
        let entry = Entry {
            log_time_ms: self.now_ms,
            commands,
        };
        self.entries.push(encode_entry(&entry));
        let applied = self.ledger.apply(self.index, &entry).unwrap();
        self.ledger.check().unwrap();
        self.changes.extend(applied.changes);
        applied.outcomes
    }

    pub(crate) fn send(&mut self, command: &Command) -> Outcome {
        self.entry(vec![command.clone()]).remove(0)
    }

    pub(crate) fn act(&mut self, action: Action) -> Outcome {
        let command = self.command(action);
        self.send(&command)
    }

    pub(crate) fn receive(&mut self, name: &str, at: &str, quantity: i64) -> Outcome {
        self.act(Action::Receive {
            sku: sku(name),
            warehouse: warehouse(at),
            quantity,
            supply_id: None,
        })
    }

    pub(crate) fn count(&mut self, name: &str, at: &str, counted: i64, as_of_seq: Option<u64>) -> Outcome {
        self.act(Action::Count {
            sku: sku(name),
            warehouse: warehouse(at),
            counted,
            as_of_seq,
        })
    }

    pub(crate) fn reserve_command(&mut self, lines: Vec<ReserveLine>, mode: ReserveMode) -> Command {
        self.command(Action::Reserve {
            storefront: storefront("web"),
            lines,
            ttl_ms: 60_000,
            mode,
            sourcing: Sourcing::AsGiven,
        })
    }

    /// Holds units from any warehouse. Fails the test if not all of them can be held.
    pub(crate) fn hold(&mut self, name: &str, quantity: i64) -> ReservationId {
        let command =
            self.reserve_command(vec![line(name, quantity, Source::Any)], ReserveMode::AllOrNothing);
        self.send(&command).unwrap();
        command.operation_id
    }

    pub(crate) fn pool(&mut self, name: &str, at: &str, whose: &str, target: i64) -> Outcome {
        let (sku, warehouse, storefront) = (sku(name), warehouse(at), storefront(whose));
        self.act(Action::AllocatePool {
            sku,
            warehouse,
            storefront,
            target,
        })
    }

    pub(crate) fn commit(&mut self, reservation_id: ReservationId) -> Outcome {
        self.act(Action::Commit { reservation_id })
    }

    pub(crate) fn cell(&self, name: &str, at: &str) -> CellView {
        let query = Query::Cells {
            sku: sku(name),
            warehouse: Some(warehouse(at)),
        };
        match self.ledger.query(&query).unwrap() {
            QueryReply::Cells(mut cells) => cells.remove(0),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn view(&self, reservation_id: ReservationId) -> Option<ReservationView> {
        match self.ledger.query(&Query::Reservation { reservation_id }).unwrap() {
            QueryReply::Reservation(view) => view,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn state(&self, id: ReservationId) -> Option<ReservationState> {
        self.view(id).map(|view| view.state)
    }
}

#[test]
fn a_reservation_goes_from_hold_to_shipment_and_on_hand_falls_only_then() {
    let mut story = Story::new();
    story.receive("tea", "east", 10).unwrap();
    let id = story.hold("tea", 4);
    let cell = story.cell("tea", "east");
    assert_eq!(
        (cell.on_hand, cell.free, cell.held, cell.committed),
        (10, 6, 4, 0)
    );
    story.commit(id).unwrap();
    let cell = story.cell("tea", "east");
    assert_eq!(
        (cell.on_hand, cell.free, cell.held, cell.committed),
        (10, 6, 0, 4)
    );
    let shipped = story
        .act(Action::Ship {
            reservation_id: id,
            lines: vec![],
        })
        .unwrap();
    assert!(matches!(
        shipped,
        Success::Transitioned {
            state: Some(ReservationState::Shipped),
            ..
        }
    ));
    let cell = story.cell("tea", "east");
    assert_eq!((cell.on_hand, cell.free, cell.held, cell.committed), (6, 6, 0, 0));
    assert!(story.changes.iter().map(|change| change.seq).eq(1..=4));
}

#[test]
fn a_hold_that_ran_out_is_sellable_again_and_cannot_be_committed() {
    let mut story = Story::new();
    story.receive("tea", "east", 1).unwrap();
    let id = story.hold("tea", 1);
    assert_eq!(story.ledger.next_due_ms(), Some(story.now_ms() + 60_000));
    story.wait(59_999);
    assert_eq!(story.state(id), Some(ReservationState::Held));
    story.wait(1);
    assert_eq!(story.state(id), Some(ReservationState::Expired));
    assert!(matches!(story.commit(id), Err(Refusal::Expired { .. })));
    let expiry = &story.changes[2];
    assert_eq!(
        (expiry.kind, expiry.cause.operation_id),
        (ChangeKind::Expired, None)
    );
    assert_eq!(expiry.cause.reference.as_str(), "doc-1");
    story.hold("tea", 1);
}

#[test]
fn an_operation_takes_effect_once_and_is_answered_alike_ever_after() {
    let mut story = Story::new();
    story.receive("tea", "east", 5).unwrap();
    let reserve = story.reserve_command(vec![line("tea", 2, Source::Any)], ReserveMode::AllOrNothing);
    let first = story.send(&reserve).unwrap();
    let Success::Reserved {
        position,
        expires_at_ms,
        lines,
        replayed: false,
    } = first
    else {
        panic!("{first:?}")
    };
    let again = Ok(Success::Reserved {
        position,
        expires_at_ms,
        lines,
        replayed: true,
    });
    let id = reserve.operation_id;
    let extend = story.later(10).command(Action::Extend {
        reservation_id: id,
        ttl_ms: 1,
    });
    let Ok(Success::Transitioned {
        position: at,
        expires_at_ms: ends,
        ..
    }) = story.send(&extend)
    else {
        panic!()
    };
    assert_eq!(ends, expires_at_ms, "an extension never shortens a hold");
    story
        .later(10)
        .act(Action::Extend {
            reservation_id: id,
            ttl_ms: 90_000,
        })
        .unwrap();
    story.commit(id).unwrap();
    story.later(100);
    assert_eq!(story.send(&reserve), again);
    let state = Some(ReservationState::Held);
    let first = Ok(Success::Transitioned {
        position: at,
        expires_at_ms: ends,
        state,
        replayed: true,
    });
    assert_eq!(story.send(&extend), first);
    let mut other = reserve.clone();
    other.reference = Reference::new("doc-2").unwrap();
    assert_eq!(story.send(&other), Err(Refusal::OperationIdReused));
    other = reserve;
    other.principal = Principal::new("another").unwrap();
    assert_eq!(story.send(&other), again, "who asks is not part of the body");
    assert_eq!(story.cell("tea", "east").committed, 2);
}
