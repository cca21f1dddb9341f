//! Log time leaps while thousands of things are due. Forgetting them takes several entries, and every state
//! in between is right.

use holdfast_ledger::*;
use proptest::{collection::vec, prelude::*, sample::select};

use crate::generate::{START_MS, id_at, options};

/// One step of a log.
#[derive(Debug, Clone)]
enum Step {
    /// One entry with many commands of one kind.
    Many(Kind, usize),
    /// A leap of log time, in milliseconds.
    Leap(u64),
    /// Entries without commands, as a leader makes them when something is due.
    Empty(usize),
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Reserve,
    Release,
    Commit,
    Ship,
    Adjust,
    TransferOut,
    TransferIn,
    Begin,
    Hold,
    Abort,
    Inquire,
    Prepare,
    SettleAbort,
    Acknowledge,
    /// Repeats the last commands of all kinds.
    Again,
}

const KINDS: [Kind; 15] = [
    Kind::Reserve,
    Kind::Release,
    Kind::Commit,
    Kind::Ship,
    Kind::Adjust,
    Kind::TransferOut,
    Kind::TransferIn,
    Kind::Begin,
    Kind::Hold,
    Kind::Abort,
    Kind::Inquire,
    Kind::Prepare,
    Kind::SettleAbort,
    Kind::Acknowledge,
    Kind::Again,
];

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // These are around the windows and retentions of the generated options, and far beyond all of them.
    let leap = select(vec![
        0, 1, 3_999, 9_999, 10_000, 10_001, 25_001, 60_000, 90_000_000,
    ]);
    let step = prop_oneof![
        8 => (select(&KINDS[..]), 1..1_600_usize).prop_map(|(kind, count)| Step::Many(kind, count)),
        4 => leap.prop_map(Step::Leap),
        3 => (1..4_usize).prop_map(Step::Empty),
    ];
    // Most later steps are about holds, so the holds come first.
    (1_000..1_600_usize, vec(step, 4..16)).prop_map(|(holds, rest)| {
        let first = [
            Step::Many(Kind::Reserve, holds),
            Step::Many(Kind::Begin, holds / 2),
        ];
        first.into_iter().chain(rest).collect()
    })
}

/// A log under construction. It makes the commands of a step from the earlier commands.
struct Log {
    ledger: Ledger,
    index: u64,
    now_ms: u64,
    number: u64,
    sent: Vec<Command>,
    reserved: Vec<OperationId>,
    transferred: Vec<OperationId>,
    /// Orders, each with the incarnation of the home's units.
    begun: Vec<(OperationId, u64)>,
    prepared: Vec<(OperationId, u64)>,
}

impl Log {
    fn new() -> Self {
        let mut log = Self {
            ledger: Ledger::with_rules(options(), Rules::NEWEST),
            index: 0,
            now_ms: START_MS,
            number: 0,
            sent: Vec::new(),
            reserved: Vec::new(),
            transferred: Vec::new(),
            begun: Vec::new(),
            prepared: Vec::new(),
        };
        let stock = log.new_command(Action::Receive {
            sku: sku(),
            warehouse: warehouse("east"),
            quantity: 1_000_000,
            supply_id: None,
        });
        log.entry(vec![stock]);
        log
    }

    fn command(&self, operation_id: OperationId, action: Action) -> Command {
        Command {
            operation_id,
            principal: Principal::new("tester").unwrap(),
            reference: Reference::default(),
            reason: CallerReason::new("test").unwrap(),
            details: Details::default(),
            action,
        }
    }

    fn new_command(&mut self, action: Action) -> Command {
        self.number += 1;
        self.command(id_at(self.now_ms, self.number), action)
    }

    fn many(&mut self, kind: Kind, count: usize) -> Vec<Command> {
        let last = |ids: &[OperationId]| ids.iter().rev().take(count).copied().collect::<Vec<_>>();
        let pairs = |ids: &[(OperationId, u64)]| ids.iter().rev().take(count).copied().collect::<Vec<_>>();
        let reserved = last(&self.reserved);
        let mut on_reserved = |action: fn(OperationId) -> Action| -> Vec<Command> {
            reserved.iter().map(|id| self.new_command(action(*id))).collect()
        };
        match kind {
            Kind::Reserve => (0..count).map(|_| self.new_command(reserve())).collect(),
            Kind::Release => on_reserved(|reservation_id| Action::Release { reservation_id }),
            Kind::Commit => on_reserved(|reservation_id| Action::Commit { reservation_id }),
            Kind::Ship => on_reserved(|reservation_id| Action::Ship {
                reservation_id,
                lines: vec![],
            }),
            Kind::Adjust => (0..count).map(|_| self.new_command(adjust())).collect(),
            Kind::TransferOut => (0..count).map(|_| self.new_command(transfer_out())).collect(),
            Kind::TransferIn => {
                let arrival = |transfer_id| Action::TransferIn {
                    transfer_id,
                    lines: vec![],
                    disposition: Disposition::Restock,
                };
                let ids = last(&self.transferred);
                ids.into_iter().map(|id| self.new_command(arrival(id))).collect()
            }
            Kind::Begin => (0..count).map(|_| self.new_command(step(begin()))).collect(),
            Kind::Prepare => (0..count).map(|_| self.new_command(step(prepare()))).collect(),
            Kind::Inquire => (0..count).map(|_| self.new_command(step(inquire()))).collect(),
            Kind::Hold => {
                let hold = |(id, incarnation)| self.command(id, step(hold(incarnation)));
                pairs(&self.begun).into_iter().map(hold).collect()
            }
            Kind::Abort => {
                let abort = |(id, _)| self.command(id, step(abort()));
                pairs(&self.begun).into_iter().map(abort).collect()
            }
            Kind::SettleAbort => {
                let settle = |(id, incarnation)| self.command(id, step(settle_abort(incarnation)));
                pairs(&self.prepared).into_iter().map(settle).collect()
            }
            Kind::Acknowledge => {
                let ids = pairs(&self.begun).into_iter().map(|(id, _)| id);
                let all = ids.flat_map(|id| (0..3).map(move |version| acknowledgement(id, version)));
                let all = all.collect();
                vec![self.new_command(step(OrderStep::Acknowledge(all)))]
            }
            Kind::Again => self.sent.iter().rev().take(count).cloned().collect(),
        }
    }

    /// Applies an entry, and checks that the whole state is right and can be decoded from its bytes.
    fn entry(&mut self, commands: Vec<Command>) {
        self.index += 1;
        let entry = Entry {
            log_time_ms: self.now_ms,
            commands,
        };
        let applied = self.ledger.apply(self.index, &entry).unwrap();
        for (command, outcome) in entry.commands.iter().zip(applied.outcomes) {
            match outcome {
                Ok(Success::Reserved { replayed: false, .. }) => self.reserved.push(command.operation_id),
                Ok(Success::Stocked { replayed: false, .. }) => {
                    if matches!(command.action, Action::TransferOut { .. }) {
                        self.transferred.push(command.operation_id);
                    }
                }
                Ok(Success::Order { reply, .. }) => match reply {
                    OrderReply::Begun { part: Some(part), .. } => {
                        self.begun.push((command.operation_id, part.incarnation));
                    }
                    OrderReply::Prepared(part) => {
                        self.prepared.push((command.operation_id, part.incarnation));
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        self.sent.extend(entry.commands);
        self.ledger.check().unwrap();
        let bytes = self.ledger.encode();
        assert_eq!(Ledger::decode(&bytes).unwrap().digest(), self.ledger.digest());
    }
}

fn sku() -> Sku {
    Sku::new("tea").unwrap()
}

fn warehouse(name: &str) -> WarehouseId {
    WarehouseId::new(name).unwrap()
}

fn one() -> ReserveLine {
    ReserveLine {
        sku: sku(),
        quantity: 1,
        source: Source::Any,
    }
}

fn reserve() -> Action {
    Action::Reserve {
        storefront: StorefrontId::new("web").unwrap(),
        lines: vec![one()],
        ttl_ms: 5_000,
        mode: ReserveMode::AllOrNothing,
        sourcing: Sourcing::AsGiven,
    }
}

fn adjust() -> Action {
    Action::Adjust {
        sku: sku(),
        warehouse: warehouse("east"),
        delta: 1,
    }
}

fn transfer_out() -> Action {
    Action::TransferOut {
        lines: vec![TransferLine {
            sku: sku(),
            quantity: 1,
        }],
        from: warehouse("east"),
        to: warehouse("west"),
        expected_at_ms: START_MS,
    }
}

fn step(step: OrderStep) -> Action {
    Action::Order(step)
}

fn terms() -> OrderTerms {
    OrderTerms {
        storefront: StorefrontId::new("web").unwrap(),
        ttl_ms: 5_000,
        mode: ReserveMode::AllOrNothing,
        sourcing: Sourcing::AsGiven,
        fingerprint: 1,
    }
}

fn part() -> OrderPart {
    let line = OrderLine {
        number: 0,
        line: one(),
    };
    OrderPart { lines: vec![line] }
}

/// Builds a Begin whose home is this shard, number 0.
fn begin() -> OrderStep {
    OrderStep::Begin {
        attempt: 1,
        home: 0,
        participants: vec![0, 1],
        part: Some(part()),
        terms: terms(),
    }
}

fn prepare() -> OrderStep {
    OrderStep::Prepare {
        attempt: 1,
        home: 1,
        part: part(),
        terms: terms(),
    }
}

fn inquire() -> OrderStep {
    OrderStep::Inquire {
        shard: 1,
        attempt: 1,
        incarnation: 7,
    }
}

fn hold(incarnation: u64) -> OrderStep {
    let incarnations = [(0, incarnation), (1, 7)].into();
    OrderStep::Decide {
        attempt: 1,
        decision: Decision::Hold { incarnations },
    }
}

fn abort() -> OrderStep {
    OrderStep::Decide {
        attempt: 1,
        decision: Decision::Abort,
    }
}

fn settle_abort(incarnation: u64) -> OrderStep {
    let cause = Cause {
        operation_id: None,
        principal: None,
        reason: CallerReason::default(),
        reference: Reference::default(),
        occurred_at_ms: None,
    };
    OrderStep::Settle(Settlement::abort(1, cause).about(incarnation))
}

fn acknowledgement(reservation_id: OperationId, version: u32) -> Acknowledgement {
    Acknowledgement {
        reservation_id,
        shard: 1,
        attempt: 1,
        version,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn no_state_is_wrong_while_things_are_forgotten_after_a_leap_of_log_time(steps in steps()) {
        let mut log = Log::new();
        for step in steps {
            match step {
                Step::Many(kind, count) => {
                    let commands = log.many(kind, count);
                    log.entry(commands);
                }
                Step::Leap(ms) => {
                    log.now_ms += ms;
                    log.entry(Vec::new());
                }
                Step::Empty(count) => (0..count).for_each(|_| log.entry(Vec::new())),
            }
        }
    }
}
