//! Logs with a meaning: few names, small quantities, and ids and reservations that are used again.

mod details;
mod writer;

use holdfast_ledger::*;
use proptest::{collection::vec, option, prelude::*, sample::select};

pub(crate) use details::{DraftDetails, DraftPosition};
pub(crate) use writer::{Writer, id_at};

use details::{details, position};

/// Returns options with short times, so that everything expires and is forgotten in a log of a minute.
pub(crate) fn options() -> LedgerOptions {
    LedgerOptions {
        order_decision_ms: 10_000,
        operation_window_ms: 10_000,
        operation_lead_ms: 1_000,
        closed_retention_ms: 4_000,
        shipped_retention_ms: 25_000,
    }
}

/// A command before the existing reservations are known.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant, reason = "nearly every draft is a new command")]
pub(crate) enum Draft {
    New {
        /// The offset of the id from the entry's time. Mostly 0.
        id_offset_ms: i64,
        reason: &'static str,
        details: DraftDetails,
        action: DraftAction,
    },
    /// An earlier command again, counted from the last, with the same id.
    Again { back: usize, changed: Changed },
}

/// The part of a repeated command that differs from the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Changed {
    /// No part differs: it is a retry.
    Nothing,
    Reference,
    Quantity,
    /// The lines come in the opposite order.
    LineOrder,
    /// The command asks for something entirely different.
    Kind,
    /// The command has another business time, or one where it had none.
    Details,
}

#[derive(Debug, Clone)]
pub(crate) enum DraftAction {
    Ready(Action),
    /// A transition of a reservation, counted from the last. `usize::MAX` is one that never existed.
    On(usize, Transition),
    /// A count as of an earlier command.
    Count {
        sku: Sku,
        warehouse: WarehouseId,
        counted: i64,
        as_of: DraftPosition,
    },
    /// An advance of a consumer through an earlier command.
    Advance {
        name: ConsumerName,
        location: ConsumerLocation,
        through: DraftPosition,
    },
    /// A command on a transfer, counted from the last. `usize::MAX` is one that never existed.
    OnTransfer(usize, ToTransfer),
}

#[derive(Debug, Clone)]
pub(crate) enum ToTransfer {
    In(Vec<TransferLine>, Disposition),
    Close,
}

#[derive(Debug, Clone)]
pub(crate) enum Transition {
    Extend(u64),
    Commit,
    Release,
    Ship(Vec<LineQuantity>),
    Cancel(Vec<LineQuantity>),
    Return(Vec<LineQuantity>, Disposition),
}

#[derive(Debug, Clone)]
pub(crate) struct DraftEntry {
    pub(crate) later_ms: i64,
    pub(crate) drafts: Vec<Draft>,
}

/// The log time at which logs begin.
pub(crate) const START_MS: u64 = 1_800_000_000_000;

pub(crate) const SKUS: [&str; 3] = ["tea", "Größe-XL rot", "サイズ-M"];
pub(crate) const WAREHOUSES: [&str; 4] = ["north", "east", "west", "a"];
pub(crate) const STOREFRONTS: [&str; 3] = ["web", "app", "kiosk"];

fn sku() -> impl Strategy<Value = Sku> {
    select(&SKUS[..]).prop_map(|name| Sku::new(name).unwrap())
}

fn warehouse() -> impl Strategy<Value = WarehouseId> {
    select(&WAREHOUSES[..]).prop_map(|name| WarehouseId::new(name).unwrap())
}

fn storefront() -> impl Strategy<Value = StorefrontId> {
    select(&STOREFRONTS[..]).prop_map(|name| StorefrontId::new(name).unwrap())
}

fn quantity() -> impl Strategy<Value = i64> {
    prop_oneof![60 => 1..8_i64, 1 => -1..1_i64]
}

fn source() -> impl Strategy<Value = Source> {
    prop_oneof![
        4 => Just(Source::Any),
        2 => warehouse().prop_map(Source::Warehouse),
        2 => vec(warehouse(), 1..4).prop_map(Source::Preference),
    ]
}

fn reserve() -> impl Strategy<Value = Action> {
    let line = (sku(), quantity(), source()).prop_map(|(sku, quantity, source)| ReserveLine {
        sku,
        quantity,
        source,
    });
    let mode = prop_oneof![Just(ReserveMode::AllOrNothing), Just(ReserveMode::BestEffort)];
    (
        storefront(),
        vec(line, 1..5),
        prop_oneof![1 => 1..3_000_u64, 4 => 3_000..20_000_u64],
        mode,
        select(vec![
            Sourcing::AsGiven,
            Sourcing::AsGiven,
            Sourcing::FewestShipments,
            Sourcing::Balance,
        ]),
    )
        .prop_map(|(storefront, lines, ttl_ms, mode, sourcing)| Action::Reserve {
            storefront,
            lines,
            ttl_ms,
            mode,
            sourcing,
        })
}

fn supply_id() -> impl Strategy<Value = SupplyId> {
    select(vec!["po-1", "po-2"]).prop_map(|name| SupplyId::new(name).unwrap())
}

/// Generates dates around the times of a log.
fn date() -> impl Strategy<Value = u64> {
    prop_oneof![30 => (START_MS - 5_000)..(START_MS + 60_000), 1 => (1_u64 << 48)..(1 << 49)]
}

fn policy() -> impl Strategy<Value = Action> {
    let max = prop_oneof![12 => Just(0), 4 => 1..6_i64, 1 => Just(-1)];
    let limit = || prop_oneof![6 => Just(0), 24 => 1..16_i64, 1 => Just(-1)];
    (
        sku(),
        storefront(),
        proptest::bool::weighted(0.8),
        max,
        limit(),
        limit(),
        prop_oneof![2 => Just(0), 2 => date()],
    )
        .prop_map(
            |(
                sku,
                storefront,
                may_borrow,
                max_per_reservation,
                backorder_limit,
                preorder_limit,
                preorder_until_ms,
            )| {
                Action::SetPolicy {
                    sku,
                    storefront,
                    may_borrow,
                    max_per_reservation,
                    backorder_limit,
                    preorder_limit,
                    preorder_until_ms,
                }
            },
        )
}

fn transfer_lines(most: usize) -> impl Strategy<Value = Vec<TransferLine>> {
    let line = (sku(), quantity()).prop_map(|(sku, quantity)| TransferLine { sku, quantity });
    vec(line, 0..most)
}

fn planning() -> impl Strategy<Value = Action> {
    prop_oneof![
        (transfer_lines(4), warehouse(), warehouse(), date()).prop_map(
            |(lines, from, to, expected_at_ms)| {
                Action::TransferOut {
                    lines,
                    from,
                    to,
                    expected_at_ms,
                }
            }
        ),
        (
            sku(),
            warehouse(),
            supply_id(),
            prop_oneof![1 => Just(-1), 10 => 0..9_i64],
            date()
        )
            .prop_map(
                |(sku, warehouse, supply_id, quantity, expected_at_ms)| Action::ExpectSupply {
                    sku,
                    warehouse,
                    supply_id,
                    quantity,
                    expected_at_ms
                }
            ),
    ]
}

fn disposition() -> impl Strategy<Value = Disposition> {
    select(vec![
        Disposition::Restock,
        Disposition::Damaged,
        Disposition::QualityHold,
    ])
}

fn lines() -> impl Strategy<Value = Vec<LineQuantity>> {
    let line = (
        0..4_u32,
        prop_oneof![20 => 1..4_i64, 1 => Just(0)],
        option::weighted(0.3, warehouse()),
    )
        .prop_map(|(line, quantity, warehouse)| LineQuantity {
            line,
            quantity,
            warehouse,
        });
    prop_oneof![3 => Just(Vec::new()), 4 => vec(line, 1..3)]
}

fn transition() -> impl Strategy<Value = Transition> {
    prop_oneof![
        2 => (0..9_000_u64).prop_map(Transition::Extend),
        7 => Just(Transition::Commit),
        2 => Just(Transition::Release),
        7 => lines().prop_map(Transition::Ship),
        4 => lines().prop_map(Transition::Cancel),
        6 => (lines(), disposition()).prop_map(|(lines, to)| Transition::Return(lines, to)),
    ]
}

fn movement() -> impl Strategy<Value = Action> {
    let bucket = || {
        select(vec![
            Bucket::Free,
            Bucket::Free,
            Bucket::Safety,
            Bucket::Damaged,
            Bucket::QualityHold,
            Bucket::Held,
        ])
    };
    prop_oneof![
        8 => (sku(), warehouse(), prop_oneof![50 => 1..25_i64, 1 => -1..1_i64], option::weighted(0.4, supply_id()))
            .prop_map(|(sku, warehouse, quantity, supply_id)| Action::Receive { sku, warehouse, quantity, supply_id }),
        2 => (sku(), warehouse(), -9..9_i64)
            .prop_map(|(sku, warehouse, delta)| Action::Adjust { sku, warehouse, delta }),
        2 => (sku(), warehouse(), prop_oneof![1 => Just(-1), 12 => 0..3_i64, 12 => 3..20_i64]).prop_map(|(sku, warehouse, counted)| Action::Count {
            sku, warehouse, counted, as_of_seq: None
        }),
        3 => (sku(), warehouse(), bucket(), bucket(), quantity()).prop_map(
            |(sku, warehouse, from, to, quantity)| Action::MoveBucket { sku, warehouse, from, to, quantity }
        ),
        3 => policy(),
        3 => (sku(), warehouse(), storefront(), -1..7_i64).prop_map(|(sku, warehouse, storefront, target)| {
            Action::AllocatePool { sku, warehouse, storefront, target }
        }),
        1 => (sku(), warehouse(), quantity(), disposition()).prop_map(|(sku, warehouse, quantity, disposition)| {
            Action::Return { of: ReturnOf::Unreferenced { sku, warehouse, quantity }, disposition }
        }),
    ]
}

fn to_transfer() -> impl Strategy<Value = ToTransfer> {
    prop_oneof![
        6 => (transfer_lines(3), disposition()).prop_map(|(lines, to)| ToTransfer::In(lines, to)),
        1 => Just(ToTransfer::Close),
    ]
}

fn draft() -> impl Strategy<Value = Draft> {
    let action = prop_oneof![
        8 => reserve().prop_map(DraftAction::Ready),
        12 => (prop_oneof![30 => 0..5_usize, 1 => Just(usize::MAX)], transition()).prop_map(|(back, what)| DraftAction::On(back, what)),
        8 => movement().prop_map(DraftAction::Ready),
        3 => planning().prop_map(DraftAction::Ready),
        2 => consumer(),
        1 => select(Rules::KNOWN.to_vec())
            .prop_map(|rules| DraftAction::Ready(Action::AdoptRules { rules })),
        2 => (prop_oneof![30 => 0..3_usize, 1 => Just(usize::MAX)], to_transfer())
            .prop_map(|(back, what)| DraftAction::OnTransfer(back, what)),
        4 => (sku(), warehouse(), 0..12_i64, position()).prop_map(|(sku, warehouse, counted, as_of)| {
            DraftAction::Count { sku, warehouse, counted, as_of }
        }),
    ];
    let offset = prop_oneof![40 => Just(0), 3 => -1_000..1_500_i64, 1 => -12_000..-9_000_i64];
    let reason = prop_oneof![9 => Just("test"), 1 => Just("")];
    prop_oneof![
        9 => (offset, reason, details(), action)
            .prop_map(|(id_offset_ms, reason, details, action)| Draft::New { id_offset_ms, reason, details, action }),
        1 => (0..30_usize, changed()).prop_map(|(back, changed)| Draft::Again { back, changed }),
    ]
}

fn consumer() -> impl Strategy<Value = DraftAction> {
    let name = || select(vec!["archive", "redis"]).prop_map(|name| ConsumerName::new(name).unwrap());
    let location =
        || select(vec!["", "/archive"]).prop_map(|location| ConsumerLocation::new(location).unwrap());
    let ready = |action| DraftAction::Ready(action);
    prop_oneof![
        3 => (name(), any::<bool>(), location()).prop_map(move |(name, required, location)| {
            ready(Action::RegisterConsumer { name, required, location })
        }),
        5 => (name(), location(), position())
            .prop_map(|(name, location, through)| DraftAction::Advance { name, location, through }),
        1 => name().prop_map(move |name| ready(Action::RemoveConsumer { name })),
    ]
}

fn changed() -> impl Strategy<Value = Changed> {
    prop_oneof![
        4 => Just(Changed::Nothing),
        1 => Just(Changed::Reference),
        1 => Just(Changed::Quantity),
        2 => Just(Changed::LineOrder),
        2 => Just(Changed::Kind),
        2 => Just(Changed::Details),
    ]
}

/// Generates a log. `writer` makes its entries one by one.
pub(crate) fn log(entries: usize) -> impl Strategy<Value = Vec<DraftEntry>> {
    let later = prop_oneof![16 => 0..400_i64, 3 => 400..4_000_i64, 1 => -500..0_i64, 1 => 9_000..30_000_i64];
    let entry = (later, vec(draft(), 0..7)).prop_map(|(later_ms, drafts)| DraftEntry { later_ms, drafts });
    (deliveries(), vec(entry, 1..entries)).prop_map(|(first, rest)| [vec![first], rest].concat())
}

/// Generates a log whose entries hold up to `commands` commands, like those of a busy leader.
pub(crate) fn log_of_large_entries(
    entries: usize,
    commands: usize,
) -> impl Strategy<Value = Vec<DraftEntry>> {
    let later = prop_oneof![4 => 0..2_000_i64, 1 => 9_000..30_000_i64];
    let entry = (later, vec(draft(), commands / 2..commands));
    let entry = entry.prop_map(|(later_ms, drafts)| DraftEntry { later_ms, drafts });
    (vec(deliveries(), 4), vec(entry, 1..entries)).prop_map(|(first, rest)| [first, rest].concat())
}

/// Generates goods to sell, in two warehouses for each SKU. In one of them, some units are for one
/// storefront. Some units may be sold before they are there.
fn deliveries() -> impl Strategy<Value = DraftEntry> {
    let pools = vec((storefront(), 0..6_i64), SKUS.len());
    let policies = vec(policy(), 0..5);
    let few_or_many = prop_oneof![2 => 4..30_i64, 1 => 1..6_i64];
    (vec(few_or_many, 2 * SKUS.len()), pools, policies).prop_map(|(quantities, pools, policies)| {
        let place = |number: usize| {
            let sku = Sku::new(SKUS[number % SKUS.len()]).unwrap();
            (sku, WarehouseId::new(WAREHOUSES[number / SKUS.len()]).unwrap())
        };
        let receive = |(number, quantity)| {
            let (sku, warehouse) = place(number);
            Action::Receive {
                sku,
                warehouse,
                quantity,
                supply_id: None,
            }
        };
        let allocate = |(number, (storefront, target))| {
            let (sku, warehouse) = place(number);
            Action::AllocatePool {
                sku,
                warehouse,
                storefront,
                target,
            }
        };
        let actions = quantities.into_iter().enumerate().map(receive);
        let actions = actions.chain(pools.into_iter().enumerate().map(allocate));
        let actions = actions.chain(policies);
        let draft = |action| Draft::New {
            id_offset_ms: 0,
            reason: "test",
            details: DraftDetails::default(),
            action: DraftAction::Ready(action),
        };
        DraftEntry {
            later_ms: 0,
            drafts: actions.map(draft).collect(),
        }
    })
}
