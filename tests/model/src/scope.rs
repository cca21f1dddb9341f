//! What a run of the model covers: how many shards, which orders, who drives them, and how much may go wrong.

use std::collections::BTreeSet;

use holdfast_ledger::{
    Action, Command, Details, OperationId, OrderStep, Principal, Reason, Reference, ReservationId,
    ReserveLine, ReserveMode, Rules, ShardNumber, Sku, Source, StorefrontId, WarehouseId,
};

use crate::shard::START_MS;

/// The bounds of a run.
#[derive(Debug, Clone)]
pub struct Scope {
    /// For reports.
    pub name: &'static str,
    /// By which rules the shards decide.
    pub rules: Rules,
    /// Units of each shard's one SKU.
    pub units: Vec<i64>,
    /// The orders.
    pub orders: Vec<OrderScope>,
    /// Orders that are held when it begins, one after the other.
    pub held: Vec<usize>,
    /// Has every shard heard that the last of these is held? Of the others it has.
    pub is_settled: bool,
    /// Each coordinator, by the order that it drives.
    pub coordinators: Vec<usize>,
    /// A coordinator dies before it begins a later attempt than this.
    pub attempts: u32,
    /// Is it looked at from each state whether every coordinator comes to an end?
    pub coordinators_end: bool,
    /// What callers do to orders that are held, each at most once.
    pub wishes: Vec<Wish>,
    /// How many steps of coordinators are taken for lost although they may still arrive, in all.
    pub timeouts: u8,
    /// How many messages arrive twice, in all. What a resolver sends is sent again and again in any case.
    pub redeliveries: u8,
    /// How often each shard's log time leaps to the next moment at which something is due.
    pub leaps: Vec<u8>,
}

/// An order: this many units of the SKU of each of these shards.
#[derive(Debug, Clone)]
pub struct OrderScope {
    /// Where its lines are.
    pub shards: Vec<ShardNumber>,
    /// The shard that decides, if that is not the first of the lines. An order that concerns no other shard than its home is a plain
    /// Reserve there.
    pub home: Option<ShardNumber>,
    /// Of each SKU.
    pub quantity: i64,
    /// All or nothing, or best effort.
    pub mode: ReserveMode,
    /// The order whose id it was sent under too, by its place in the scope; None: it has an id of its own.
    pub id_of: Option<usize>,
    /// The order that it replaces, by its place in the scope.
    pub replaces: Option<usize>,
    /// Does it ask that no other order that asks has its reference? All that ask have the same one.
    pub is_unique: bool,
}

/// What a caller does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Pays, at the home.
    Commit {
        /// Which, by its place in the scope.
        order: usize,
    },
    /// Gives back, at the home.
    Release {
        /// Which.
        order: usize,
    },
    /// Gives back, at a participant by mistake.
    ReleasePart {
        /// Which.
        order: usize,
        /// Where.
        shard: ShardNumber,
    },
    /// Reserves an order that concerns its home alone.
    Reserve {
        /// Which.
        order: usize,
    },
    /// Reserves a unit in one shard alone, under the id of an order.
    Alone {
        /// Whose id.
        order: usize,
        /// Where.
        shard: ShardNumber,
    },
    /// Prolongs the hold, at the home.
    Extend {
        /// Which.
        order: usize,
    },
    /// Cancels the committed units of one shard.
    Cancel {
        /// Which.
        order: usize,
        /// Where.
        shard: ShardNumber,
    },
}

impl OrderScope {
    /// All of its lines or none.
    pub fn of(shards: &[ShardNumber], quantity: i64) -> Self {
        Self {
            shards: shards.to_vec(),
            home: None,
            quantity,
            mode: ReserveMode::AllOrNothing,
            id_of: None,
            replaces: None,
            is_unique: false,
        }
    }

    /// The same, decided by this shard.
    #[must_use]
    pub fn at(mut self, home: ShardNumber) -> Self {
        self.home = Some(home);
        self
    }

    /// The same, in place of another order.
    #[must_use]
    pub fn replacing(mut self, order: usize) -> Self {
        self.replaces = Some(order);
        self
    }

    /// The same, which has the one reference to itself.
    #[must_use]
    pub fn unique(mut self) -> Self {
        self.is_unique = true;
        self
    }

    /// The same, taking what it gets. Where there is enough for everybody it must be as whole as one of all or nothing.
    #[must_use]
    pub fn best_effort(mut self) -> Self {
        self.mode = ReserveMode::BestEffort;
        self
    }

    /// The same, sent under the id of another order.
    #[must_use]
    pub fn with_id_of(mut self, order: usize) -> Self {
        self.id_of = Some(order);
        self
    }

    /// Do two orders want units of the same shard?
    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.shards.iter().any(|shard| other.shards.contains(shard))
    }

    pub(crate) fn home(&self) -> ShardNumber {
        self.home.or_else(|| self.shards.first().copied()).unwrap_or(0)
    }

    /// The shards that take part: those with lines, and the home.
    pub(crate) fn participants(&self) -> BTreeSet<ShardNumber> {
        self.shards.iter().copied().chain([self.home()]).collect()
    }

    /// The home that its parts name. None: it is a plain Reserve.
    pub(crate) fn named_home(&self) -> Option<ShardNumber> {
        (self.participants().len() > 1).then(|| self.home())
    }
}

impl Scope {
    pub(crate) fn id(&self, order: usize) -> ReservationId {
        let other = self.orders.get(order).and_then(|order| order.id_of);
        operation_id(1 + other.unwrap_or(order) as u64)
    }

    /// The Reserve of an order: the same from each of its coordinators.
    pub(crate) fn request(&self, order: usize) -> Option<Command> {
        let scope = self.orders.get(order)?;
        let line = |shard: &ShardNumber| ReserveLine {
            sku: sku(*shard),
            quantity: scope.quantity,
            source: Source::Any,
        };
        let action = Action::Reserve {
            storefront: storefront(),
            lines: scope.shards.iter().map(line).collect(),
            ttl_ms: 60_000,
            sourcing: holdfast_ledger::Sourcing::AsGiven,
            mode: scope.mode,
        };
        let details = Details {
            replaces: scope.replaces.map(|of| self.id(of)),
            unique_reference: scope.is_unique,
            ..Details::default()
        };
        Some(Command {
            operation_id: self.id(order),
            reference: if scope.is_unique {
                document()
            } else {
                Reference::default()
            },
            details,
            ..command(0, action)
        })
    }

    /// A request that has the one reference to itself, for a unit of this shard, which nobody else sends.
    pub(crate) fn stranger(&self, shard: ShardNumber) -> Option<Command> {
        let asks = self.orders.iter().position(|order| order.is_unique)?;
        let mut reserve = self.alone(asks, shard)?;
        reserve.operation_id = operation_id(200);
        reserve.details.replaces = None;
        Some(reserve)
    }

    /// A Reserve of one unit of one shard, under the id of an order.
    fn alone(&self, order: usize, shard: ShardNumber) -> Option<Command> {
        let mut reserve = self.request(order)?;
        if let Action::Reserve { lines, .. } = &mut reserve.action {
            *lines = vec![ReserveLine {
                sku: sku(shard),
                quantity: 1,
                source: Source::Any,
            }];
        }
        Some(reserve)
    }

    /// Where a wish goes, and its command.
    pub(crate) fn wish(&self, number: usize) -> Option<(ShardNumber, Command)> {
        let wish = *self.wishes.get(number)?;
        let order = wish.order();
        let reservation_id = self.id(order);
        let home = self.orders.get(order)?.home();
        let (shard, action) = match wish {
            Wish::Reserve { .. } => return Some((home, self.request(order)?)),
            Wish::Alone { shard, .. } => return Some((shard, self.alone(order, shard)?)),
            Wish::Commit { .. } => (home, Action::Commit { reservation_id }),
            Wish::Release { .. } => (home, Action::Release { reservation_id }),
            Wish::ReleasePart { shard, .. } => (shard, Action::Release { reservation_id }),
            Wish::Extend { .. } => (
                home,
                Action::Extend {
                    reservation_id,
                    ttl_ms: 90_000,
                },
            ),
            Wish::Cancel { shard, .. } => {
                let cancel = Action::Cancel {
                    reservation_id,
                    lines: Vec::new(),
                };
                (shard, Action::OfPart(Box::new(cancel)))
            }
        };
        Some((shard, command(100 + number as u64, action)))
    }
}

impl Wish {
    pub(crate) fn order(self) -> usize {
        match self {
            Self::Commit { order }
            | Self::Release { order }
            | Self::Extend { order }
            | Self::ReleasePart { order, .. }
            | Self::Reserve { order }
            | Self::Alone { order, .. }
            | Self::Cancel { order, .. } => order,
        }
    }
}

/// The digit in front of a SKU is its shard.
pub(crate) fn shard_of(sku: &Sku) -> ShardNumber {
    let digits = sku.as_str().split('-').next().unwrap_or_default();
    digits.parse().unwrap_or(0)
}

pub(crate) fn sku(shard: ShardNumber) -> Sku {
    Sku::new(format!("{shard}-a")).expect("a SKU of digits and a letter")
}

pub(crate) fn warehouse() -> WarehouseId {
    WarehouseId::new("w").expect("a name of one letter")
}

fn storefront() -> StorefrontId {
    StorefrontId::new("web").expect("a name of three letters")
}

fn document() -> Reference {
    Reference::new("document").expect("a short word")
}

/// A step of an order's protocol that a resolver takes.
pub(crate) fn step(id: ReservationId, step: OrderStep) -> Command {
    Command {
        operation_id: id,
        ..command(0, Action::Order(step))
    }
}

pub(crate) fn command(number: u64, action: Action) -> Command {
    Command {
        operation_id: operation_id(number),
        principal: Principal::new("model").expect("a name of five letters"),
        reference: Reference::default(),
        reason: Reason::default(),
        details: Details::default(),
        action,
    }
}

/// A UUIDv7 of the moment at which the logs begin.
fn operation_id(number: u64) -> OperationId {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&START_MS.to_be_bytes()[2..]);
    bytes[6] = 0x70;
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes[8] |= 0x80;
    OperationId::from_slice(&bytes).expect("a UUIDv7")
}
