//! Several requests of every kind have one id, and their steps arrive in any order, late, twice or never.
//! Where two requests meet, one has an effect, and nothing is torn or lost.

use std::collections::BTreeMap;

use holdfast_ledger::*;
use proptest::prelude::*;

const SHARDS: u32 = 3;
const UNITS: i64 = 20;
const START_MS: u64 = 1_800_000_000_000;
const TTL_MS: u64 = 60_000;
/// A time longer than the hold of a transfer that nobody commits, in milliseconds.
const LONGEST_HOLD_MS: u64 = 700_000;

/// A request that is sent under the shared id.
#[derive(Debug, Clone)]
enum Draft {
    /// Reserves lines in these shards. In one shard it is a plain Reserve there.
    Reserve {
        shards: Vec<u32>,
        quantity: i64,
        is_best_effort: bool,
    },
    /// Transfers units out of these shards.
    Transfer {
        shards: Vec<u32>,
    },
    Adjust {
        shard: u32,
    },
    Receive {
        shard: u32,
    },
}

/// The next event. Its numbers pick one of the existing things.
#[derive(Debug, Clone)]
enum Event {
    /// A caller sends a request, for the first time or again.
    Send(usize),
    /// Several messages to a shard arrive in one entry. Messages that may arrive again stay.
    Arrive { shard: u32, picks: Vec<(usize, bool)> },
    /// A step counts as lost.
    Lose(usize),
    /// A coordinator gives up.
    GiveUp(usize),
    /// A caller that knows the id pays in a shard.
    Commit { shard: u32 },
    /// The resolvers run.
    Resolve,
    /// Time passes in a shard.
    Wait { shard: u32, ms: u64 },
}

fn some_shards(least: usize) -> impl Strategy<Value = Vec<u32>> {
    let all: Vec<u32> = (0..SHARDS).collect();
    Just(all)
        .prop_shuffle()
        .prop_flat_map(move |all| (least..=all.len()).prop_map(move |count| all[..count].to_vec()))
}

fn draft() -> impl Strategy<Value = Draft> {
    prop_oneof![
        8 => (some_shards(1), 1..3_i64, prop::bool::weighted(0.2)).prop_map(
            |(shards, quantity, is_best_effort)| Draft::Reserve { shards, quantity, is_best_effort }
        ),
        1 => some_shards(1).prop_map(|shards| Draft::Transfer { shards }),
        1 => (0..SHARDS).prop_map(|shard| Draft::Adjust { shard }),
        1 => (0..SHARDS).prop_map(|shard| Draft::Receive { shard }),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let picks = prop::collection::vec((any::<usize>(), prop::bool::weighted(0.3)), 1..4);
    prop_oneof![
        4 => any::<usize>().prop_map(Event::Send),
        16 => (0..SHARDS, picks).prop_map(|(shard, picks)| Event::Arrive { shard, picks }),
        1 => any::<usize>().prop_map(Event::Lose),
        1 => any::<usize>().prop_map(Event::GiveUp),
        2 => (0..SHARDS).prop_map(|shard| Event::Commit { shard }),
        1 => Just(Event::Resolve),
        1 => (0..SHARDS, prop_oneof![Just(1_u64), Just(10_000), Just(TTL_MS)])
            .prop_map(|(shard, ms)| Event::Wait { shard, ms }),
    ]
}

fn sku(shard: u32) -> Sku {
    Sku::new(format!("{shard}-a")).unwrap()
}

fn shard_of(sku: &Sku) -> u32 {
    u32::from(sku.as_str().as_bytes()[0] - b'0')
}

fn id(number: u64) -> OperationId {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&START_MS.to_be_bytes()[2..]);
    bytes[6] = 0x70;
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes[8] |= 0x80;
    OperationId::from_slice(&bytes).unwrap()
}

fn the_id() -> OperationId {
    id(1)
}

fn command(operation_id: OperationId, action: Action) -> Command {
    Command {
        operation_id,
        principal: Principal::new("tester").unwrap(),
        reference: Reference::default(),
        reason: CallerReason::new("test").unwrap(),
        details: Details::default(),
        action,
    }
}

impl Draft {
    fn shards(&self) -> Vec<u32> {
        match self {
            Self::Reserve { shards, .. } | Self::Transfer { shards } => shards.clone(),
            Self::Adjust { shard } | Self::Receive { shard } => vec![*shard],
        }
    }

    fn request(&self) -> Command {
        let warehouse = WarehouseId::new("w").unwrap();
        let action = match self {
            Self::Reserve {
                shards,
                quantity,
                is_best_effort,
            } => Action::Reserve {
                storefront: StorefrontId::new("web").unwrap(),
                lines: shards
                    .iter()
                    .map(|shard| ReserveLine {
                        sku: sku(*shard),
                        quantity: *quantity,
                        source: Source::Any,
                    })
                    .collect(),
                ttl_ms: TTL_MS,
                mode: match is_best_effort {
                    true => ReserveMode::BestEffort,
                    false => ReserveMode::AllOrNothing,
                },
                sourcing: Sourcing::AsGiven,
            },
            Self::Transfer { shards } => Action::TransferOut {
                lines: shards
                    .iter()
                    .map(|shard| TransferLine {
                        sku: sku(*shard),
                        quantity: 1,
                    })
                    .collect(),
                from: warehouse,
                to: WarehouseId::new("elsewhere").unwrap(),
                expected_at_ms: START_MS,
            },
            Self::Adjust { shard } => Action::Adjust {
                sku: sku(*shard),
                warehouse,
                delta: -1,
            },
            Self::Receive { shard } => Action::Receive {
                sku: sku(*shard),
                warehouse,
                quantity: 1,
                supply_id: None,
            },
        };
        command(the_id(), action)
    }

    /// Returns the coordinator of a request over several shards. None for other requests.
    fn coordinator(&self) -> Option<Coordinator> {
        match self {
            Self::Reserve { .. } => Coordinator::new(self.request(), None, shard_of).unwrap(),
            Self::Transfer { .. } => TransferOrder::new(self.request())
                .unwrap()
                .coordinator(shard_of)
                .unwrap(),
            Self::Adjust { .. } | Self::Receive { .. } => None,
        }
    }
}

/// A command on its way, with the coordinator and the step number that wait for the answer.
#[derive(Debug, Clone)]
struct Message {
    shard: u32,
    command: Command,
    draft: usize,
    waits: Option<(usize, u64)>,
}

struct World {
    drafts: Vec<Draft>,
    ledgers: Vec<Ledger>,
    index: u64,
    now_ms: Vec<u64>,
    coordinators: Vec<(usize, Coordinator)>,
    network: Vec<Message>,
    /// Whether each draft was granted.
    granted: Vec<bool>,
    /// Homes of orders that were paid, with the shards that have units of them.
    paid: BTreeMap<u32, Vec<u32>>,
    next_id: u64,
}

impl World {
    fn new(drafts: Vec<Draft>) -> Self {
        let mut world = Self {
            granted: vec![false; drafts.len()],
            drafts,
            ledgers: (0..SHARDS)
                .map(|_| Ledger::with_rules(LedgerOptions::default(), Rules::Second))
                .collect(),
            index: 0,
            now_ms: vec![START_MS; SHARDS as usize],
            coordinators: Vec::new(),
            network: Vec::new(),
            paid: BTreeMap::new(),
            next_id: 100,
        };
        for shard in 0..SHARDS {
            let receive = Action::Receive {
                sku: sku(shard),
                warehouse: WarehouseId::new("w").unwrap(),
                quantity: UNITS,
                supply_id: None,
            };
            world.act(shard, receive).unwrap();
        }
        world
    }

    fn entry(&mut self, shard: u32, commands: Vec<Command>) -> Vec<Outcome> {
        self.index += 1;
        let place = shard as usize;
        let entry = Entry {
            log_time_ms: self.now_ms[place],
            commands,
        };
        let ledger = &mut self.ledgers[place];
        let applied = ledger.apply(self.index, &entry).unwrap();
        ledger.check().unwrap();
        applied.outcomes
    }

    fn act(&mut self, shard: u32, action: Action) -> Outcome {
        self.next_id += 1;
        let command = command(id(self.next_id), action);
        self.entry(shard, vec![command]).remove(0)
    }

    fn step(&mut self, shard: u32, step: OrderStep) -> Outcome {
        let command = command(the_id(), Action::Order(step));
        self.entry(shard, vec![command]).remove(0)
    }

    fn part(&self, shard: u32) -> Option<ReservationView> {
        let query = Query::Reservation {
            reservation_id: the_id(),
        };
        match self.ledgers[shard as usize].query(&query).unwrap() {
            QueryReply::Reservation(view) => view,
            other => panic!("{other:?}"),
        }
    }

    fn send(&mut self, draft: usize) {
        let Some(mut coordinator) = self.drafts[draft].coordinator() else {
            let shard = self.drafts[draft].shards()[0];
            let command = self.drafts[draft].request();
            self.network.push(Message {
                shard,
                command,
                draft,
                waits: None,
            });
            return;
        };
        let seat = self.coordinators.len();
        for target in coordinator.start() {
            self.post(seat, draft, target);
        }
        self.coordinators.push((draft, coordinator));
    }

    fn post(&mut self, seat: usize, draft: usize, target: Target) {
        self.network.push(Message {
            shard: target.shard,
            command: target.command,
            draft,
            waits: Some((seat, target.number)),
        });
    }

    fn tell(&mut self, seat: usize, tell: impl FnOnce(&mut Coordinator) -> Progress) {
        let (draft, coordinator) = &mut self.coordinators[seat];
        let draft = *draft;
        let progress = tell(coordinator);
        for target in progress.send {
            self.post(seat, draft, target);
        }
        if let Some(End::Outcome(Ok(_))) = progress.end {
            self.granted[draft] = true;
        }
    }

    fn arrive(&mut self, shard: u32, picks: &[(usize, bool)]) {
        let mut arrived = Vec::new();
        for (pick, stays) in picks {
            let here: Vec<usize> = (0..self.network.len())
                .filter(|place| self.network[*place].shard == shard)
                .collect();
            let Some(place) = here.get(pick % here.len().max(1)) else {
                continue;
            };
            let message = match stays {
                true => self.network[*place].clone(),
                false => self.network.remove(*place),
            };
            arrived.push(message);
        }
        let commands = arrived.iter().map(|message| message.command.clone()).collect();
        let outcomes = self.entry(shard, commands);
        for (message, outcome) in arrived.into_iter().zip(outcomes) {
            match message.waits {
                Some((seat, number)) => self.tell(seat, |coordinator| coordinator.on_answer(number, outcome)),
                None => self.granted[message.draft] |= outcome.is_ok(),
            }
        }
    }

    fn commit(&mut self, shard: u32) {
        let reservation_id = the_id();
        if self.act(shard, Action::Commit { reservation_id }).is_err() {
            return;
        }
        let order = self.part(shard).and_then(|view| view.order);
        if let Some(order) = order {
            assert_eq!(order.home, shard);
            self.paid.insert(shard, order.participants);
        }
    }

    /// Runs all resolvers until none has anything more to send.
    fn resolve(&mut self) {
        for _ in 0..20 {
            let mut is_busy = false;
            for shard in 0..SHARDS {
                let query = Query::OrderWork { limit: 100 };
                let QueryReply::OrderWork(work) = self.ledgers[shard as usize].query(&query).unwrap() else {
                    panic!("no work");
                };
                for due in work.settle {
                    is_busy = true;
                    let acknowledgement = Acknowledgement {
                        reservation_id: due.reservation_id,
                        shard: due.shard,
                        attempt: due.settlement.attempt,
                        version: due.settlement.version,
                    };
                    self.step(due.shard, OrderStep::Settle(due.settlement)).unwrap();
                    self.step(shard, OrderStep::Acknowledge(vec![acknowledgement]))
                        .unwrap();
                }
                for due in work.inquire {
                    let inquire = OrderStep::Inquire {
                        shard,
                        attempt: due.attempt,
                        incarnation: due.incarnation,
                    };
                    if let Ok(Success::Order {
                        reply: OrderReply::Answered(Some(settlement)),
                        ..
                    }) = self.step(due.home, inquire)
                    {
                        is_busy = true;
                        let settle = OrderStep::Settle(settlement.about(due.incarnation));
                        self.step(shard, settle).unwrap();
                    }
                }
            }
            if !is_busy {
                return;
            }
        }
        panic!("the resolvers never come to rest");
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Send(draft) => self.send(draft % self.drafts.len()),
            Event::Arrive { shard, picks } => self.arrive(*shard, picks),
            Event::Lose(pick) => {
                let waiting: Vec<(usize, u64)> = self.network.iter().filter_map(|m| m.waits).collect();
                if let Some((seat, number)) = waiting.get(pick % waiting.len().max(1)).copied() {
                    self.tell(seat, |one| one.on_failure(number, StepFailure::Unknown));
                }
            }
            Event::GiveUp(pick) => {
                if !self.coordinators.is_empty() {
                    self.tell(pick % self.coordinators.len(), Coordinator::give_up);
                }
            }
            Event::Commit { shard } => self.commit(*shard),
            Event::Resolve => self.resolve(),
            Event::Wait { shard, ms } => {
                self.now_ms[*shard as usize] += ms;
                self.entry(*shard, Vec::new());
            }
        }
    }

    /// Loses all coordinators and messages, and lets time pass. Afterwards everything is whole and nothing
    /// stays held.
    fn heal(&mut self) {
        for _ in 0..3 {
            self.resolve();
            for shard in 0..SHARDS {
                self.now_ms[shard as usize] += LONGEST_HOLD_MS;
                self.entry(shard, Vec::new());
            }
        }
        self.resolve();
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for shard in 0..SHARDS {
            let query = Query::Cells {
                sku: sku(shard),
                warehouse: None,
            };
            let QueryReply::Cells(cells) = self.ledgers[shard as usize].query(&query).unwrap() else {
                panic!("no cells");
            };
            prop_assert!(
                cells.iter().all(|cell| cell.held == 0),
                "shard {}: {:?}",
                shard,
                cells
            );
        }
        for (home, participants) in &self.paid {
            for shard in participants {
                let part = self.part(*shard);
                let is_paid = part.as_ref().is_some_and(|part| {
                    let is_empty = part.lines.iter().all(|line| line.granted == 0);
                    let order = part.order.as_ref();
                    (part.state == ReservationState::Committed || is_empty)
                        && order.is_some_and(|order| order.home == *home)
                });
                prop_assert!(is_paid, "paid at {}, and shard {} has {:?}", home, shard, part);
            }
        }
        let is_whole = |draft: &Draft| {
            !matches!(
                draft,
                Draft::Reserve {
                    is_best_effort: true,
                    ..
                }
            )
        };
        for (one, first) in self.drafts.iter().enumerate() {
            for (other, second) in self.drafts.iter().enumerate().skip(one + 1) {
                let meet = first.shards().iter().any(|shard| second.shards().contains(shard));
                let same = first.request() == second.request();
                if meet && !same && is_whole(first) && is_whole(second) {
                    let both = self.granted[one] && self.granted[other];
                    prop_assert!(!both, "two effects: {:?} and {:?}", first, second);
                }
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_an_id_meets_has_one_effect(
        drafts in prop::collection::vec(draft(), 2..5),
        events in prop::collection::vec(event(), 5..60),
    ) {
        let mut world = World::new(drafts);
        for event in &events {
            world.happen(event);
        }
        world.heal();
        world.check()?;
    }
}
