//! Bounds of a run of the model: how many shards, which orders, who drives them, and how much may go wrong.

use std::collections::BTreeSet;

use holdfast_ledger::{
    Action, CallerReason, Command, Details, OperationId, OrderStep, Principal, Reference, ReservationId,
    ReserveLine, ReserveMode, Rules, ShardNumber, Sku, Source, StorefrontId, WarehouseId,
};

/// Log time at which a shard's log begins, in milliseconds since the Unix epoch.
pub(crate) const START_MS: u64 = 1_800_000_000_000;

/// The bounds of a run.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Name of the run in reports.
    pub name: &'static str,
    /// Rules by which the shards decide.
    pub rules: Rules,
    /// Units of each shard's one SKU.
    pub units: Vec<i64>,
    /// Orders of the run.
    pub orders: Vec<OrderScope>,
    /// Orders that are held at the beginning, one after the other.
    pub held: Vec<usize>,
    /// Whether every shard has heard that the last of `held` is held. All shards have heard it of the others.
    pub is_settled: bool,
    /// The order that each coordinator drives.
    pub coordinators: Vec<usize>,
    /// Last attempt of a coordinator: it dies before it begins a later one.
    pub attempts: u32,
    /// Whether each state is checked for this: does every coordinator come to an end from there?
    pub coordinators_end: bool,
    /// Wishes of callers about orders that are held. Each happens at most once.
    pub wishes: Vec<Wish>,
    /// Number of coordinators' steps, in all, that are assumed lost although they may still arrive.
    pub timeouts: u8,
    /// Number of messages, in all, that arrive twice. A resolver's messages are repeated in any case.
    pub redeliveries: u8,
    /// Number of leaps of each shard's log time to the next moment at which something is due.
    pub leaps: Vec<u8>,
}

/// An order: this many units of the SKU of each of these shards.
#[derive(Debug, Clone)]
pub struct OrderScope {
    /// Shards of the lines.
    pub shards: Vec<ShardNumber>,
    /// The shard that decides, if that is not the shard of the first line. An order that concerns no other
    /// shard than its home is a plain Reserve there.
    pub home: Option<ShardNumber>,
    /// Units of each SKU.
    pub quantity: i64,
    /// Mode of the reserve: all or nothing, or best effort.
    pub mode: ReserveMode,
    /// The order under whose id this one is sent too, by its place in the scope. None means that it has an id
    /// of its own.
    pub id_of: Option<usize>,
    /// The order that it replaces, by its place in the scope.
    pub replaces: Option<usize>,
    /// Whether it asks to have its reference to itself. All orders that ask have the same reference.
    pub is_unique: bool,
}

/// The wish of a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Pays for the order, at the home.
    Commit {
        /// The order, by its place in the scope.
        order: usize,
    },
    /// Gives the order back, at the home.
    Release {
        /// The order, by its place in the scope.
        order: usize,
    },
    /// Gives the order back at a participant, by mistake.
    ReleasePart {
        /// The order, by its place in the scope.
        order: usize,
        /// The participant.
        shard: ShardNumber,
    },
    /// Reserves an order that concerns its home alone.
    Reserve {
        /// The order, by its place in the scope.
        order: usize,
    },
    /// Reserves a unit in one shard alone, under the id of an order.
    Alone {
        /// The order whose id is used.
        order: usize,
        /// The shard of the unit.
        shard: ShardNumber,
    },
    /// Prolongs the hold, at the home.
    Extend {
        /// The order, by its place in the scope.
        order: usize,
    },
    /// Cancels the committed units of one shard.
    Cancel {
        /// The order, by its place in the scope.
        order: usize,
        /// The shard of the units.
        shard: ShardNumber,
    },
}

impl OrderScope {
    /// Makes an order of all its lines or none.
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

    /// Makes the order decided by this shard.
    #[must_use]
    pub fn at(mut self, home: ShardNumber) -> Self {
        self.home = Some(home);
        self
    }

    /// Makes the order one that replaces another.
    #[must_use]
    pub fn replacing(mut self, order: usize) -> Self {
        self.replaces = Some(order);
        self
    }

    /// Makes the order one that has the one reference to itself.
    #[must_use]
    pub fn unique(mut self) -> Self {
        self.is_unique = true;
        self
    }

    /// Makes the order a best-effort one. Where there is enough for everybody, it must be as whole as one of
    /// all or nothing.
    #[must_use]
    pub fn best_effort(mut self) -> Self {
        self.mode = ReserveMode::BestEffort;
        self
    }

    /// Makes the order one that is sent under the id of another.
    #[must_use]
    pub fn with_id_of(mut self, order: usize) -> Self {
        self.id_of = Some(order);
        self
    }

    /// Returns whether two orders want units of the same shard.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.shards.iter().any(|shard| other.shards.contains(shard))
    }

    pub(crate) fn home(&self) -> ShardNumber {
        self.home.or_else(|| self.shards.first().copied()).unwrap_or(0)
    }

    /// Returns the shards that take part: those with lines, and the home.
    pub(crate) fn participants(&self) -> BTreeSet<ShardNumber> {
        self.shards.iter().copied().chain([self.home()]).collect()
    }

    /// Returns the home that the order's parts name, or none for a plain Reserve.
    pub(crate) fn named_home(&self) -> Option<ShardNumber> {
        (self.participants().len() > 1).then(|| self.home())
    }
}

impl Scope {
    pub(crate) fn id(&self, order: usize) -> ReservationId {
        let other = self.orders.get(order).and_then(|order| order.id_of);
        operation_id(1 + other.unwrap_or(order) as u64)
    }

    /// Returns the Reserve of an order, which is the same from each of its coordinators.
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

    /// Returns a request that nobody else sends. It wants the one reference to itself, and a unit of this
    /// shard.
    pub(crate) fn stranger(&self, shard: ShardNumber) -> Option<Command> {
        let asks = self.orders.iter().position(|order| order.is_unique)?;
        let mut reserve = self.alone(asks, shard)?;
        reserve.operation_id = operation_id(200);
        reserve.details.replaces = None;
        Some(reserve)
    }

    /// Returns a Reserve of one unit of one shard, under the id of an order.
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

    /// Returns the shard that a wish is sent to, and its command.
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

/// Returns the shard of a SKU: the digit in front of it.
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

/// Returns a step of an order's protocol that a resolver takes.
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
        reason: CallerReason::default(),
        details: Details::default(),
        action,
    }
}

/// Returns a UUIDv7 with the time at which the logs begin.
fn operation_id(number: u64) -> OperationId {
    let mut bytes = [0; 16];
    bytes[..6].copy_from_slice(&START_MS.to_be_bytes()[2..]);
    bytes[6] = 0x70;
    bytes[8..].copy_from_slice(&number.to_be_bytes());
    bytes[8] |= 0x80;
    OperationId::from_slice(&bytes).expect("a UUIDv7")
}
