//! A ledger of the newest rules that takes one command after another.

use holdfast_ledger::*;

use crate::generate::{DraftEntry, START_MS, Writer, id_at, options};

pub(crate) struct Story {
    pub(crate) ledger: Ledger,
    index: u64,
}

impl Story {
    pub(crate) fn new() -> Self {
        Self {
            ledger: Ledger::with_rules(options(), Rules::NEWEST),
            index: 0,
        }
    }

    pub(crate) fn send(&mut self, details: Details, action: Action) -> (OperationId, Outcome) {
        self.index += 1;
        let command = Command {
            operation_id: id_at(START_MS, self.index),
            principal: Principal::new("tester").unwrap(),
            reference: Reference::new("doc-1").unwrap(),
            reason: CallerReason::new("test").unwrap(),
            details,
            action,
        };
        let entry = Entry {
            log_time_ms: START_MS,
            commands: vec![command.clone()],
        };
        let weight = self.ledger.weigh(&command, |_| 0);
        let mut applied = self.ledger.apply(self.index, &entry).unwrap();
        self.ledger.check().unwrap();
        assert!(
            applied.changes.len() <= weight,
            "{command:?} makes {:?}",
            applied.changes
        );
        (command.operation_id, applied.outcomes.remove(0))
    }

    pub(crate) fn act(&mut self, action: Action) -> Outcome {
        self.send(Details::default(), action).1
    }

    pub(crate) fn act_as_of(&mut self, seq: u64, action: Action) -> Outcome {
        let details = Details {
            as_of_seq: Some(seq),
            ..Details::default()
        };
        self.send(details, action).1
    }

    /// Holds units for the storefront `web`, from any warehouse.
    pub(crate) fn hold(&mut self, sku: &str, quantity: i64) -> ReservationId {
        let action = Action::Reserve {
            storefront: StorefrontId::new("web").unwrap(),
            lines: vec![ReserveLine {
                sku: Sku::new(sku).unwrap(),
                quantity,
                source: Source::Any,
            }],
            ttl_ms: 1_000_000,
            mode: ReserveMode::AllOrNothing,
            sourcing: Sourcing::AsGiven,
        };
        let (id, outcome) = self.send(Details::default(), action);
        outcome.unwrap();
        id
    }

    /// Returns the first cell of a SKU.
    pub(crate) fn cell(&self, sku: &str) -> CellView {
        let query = Query::Cells {
            sku: Sku::new(sku).unwrap(),
            warehouse: None,
        };
        match self.ledger.query(&query).unwrap() {
            QueryReply::Cells(mut cells) => cells.remove(0),
            other => panic!("{other:?}"),
        }
    }
}

/// Applies every command in an entry of its own. Calls `look` with the ledger before and after it.
pub(crate) fn each(drafts: &[DraftEntry], mut look: impl FnMut(&Entry, &Ledger, (&Ledger, &Applied))) {
    let mut ledger = Ledger::with_rules(options(), Rules::NEWEST);
    let mut writer = Writer::new();
    let mut index = 0;
    for draft in drafts {
        let Entry {
            log_time_ms,
            commands,
        } = writer.entry(draft);
        for command in commands {
            let alone = |commands| Entry {
                log_time_ms,
                commands,
            };
            ledger.apply(index + 1, &alone(Vec::new())).unwrap();
            let before = ledger.clone();
            let entry = alone(vec![command]);
            let applied = ledger.apply(index + 2, &entry).unwrap();
            index += 2;
            writer.learn(&entry, &applied);
            look(&entry, &before, (&ledger, &applied));
        }
    }
}
