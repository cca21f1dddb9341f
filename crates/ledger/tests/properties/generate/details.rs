//! Details of commands: business time, late goods, unique references, and replacements.

use holdfast_ledger::limits::MAX_OCCURRED_AGO_MS;
use proptest::{option, prelude::*, sample::select};

/// The draft of a command's details, before the earlier commands are known.
#[derive(Debug, Clone, Default)]
pub(crate) struct DraftDetails {
    /// Business time, relative to the entry's time.
    pub(crate) occurred_ms: Option<i64>,
    /// The position of the goods, for a command that moves goods.
    pub(crate) as_of: Option<DraftPosition>,
    /// Whether a Reserve wants its reference for itself.
    pub(crate) unique_reference: bool,
    /// The hold that a Reserve replaces.
    pub(crate) replaces: Option<Replaced>,
    /// A reference that other commands have too. None: the command has its own.
    pub(crate) reference: Option<&'static str>,
    /// Whether every kind of command gets the details, even one that they do not fit, and even under rules
    /// that do not know them.
    pub(crate) is_misfit: bool,
}

/// The change that a command names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum DraftPosition {
    /// The last change of an earlier command that made any, counted from the last.
    Back(usize),
    /// A change long after the last one. It is never a change of the same entry, because the model does not
    /// number those.
    Future(u64),
    /// The first state of the ledger.
    Beginning,
}

/// The hold that a Reserve replaces, counted from the last.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Replaced {
    /// A hold that was held in its last known state, for its own storefront.
    Held(usize),
    /// Any hold, for any storefront.
    Any(usize),
    /// A hold that never existed.
    Unknown,
}

pub(super) fn position() -> impl Strategy<Value = DraftPosition> {
    prop_oneof![
        20 => (0..10_usize).prop_map(DraftPosition::Back),
        10 => (0..60_usize).prop_map(DraftPosition::Back),
        1 => select(vec![1_000, 100_000, u64::MAX / 2]).prop_map(DraftPosition::Future),
        1 => Just(DraftPosition::Beginning),
    ]
}

fn occurred_ms() -> impl Strategy<Value = i64> {
    let most_ago = MAX_OCCURRED_AGO_MS as i64;
    prop_oneof![
        8 => -100_000..500_i64,
        1 => 990..1_010_i64,
        1 => select(vec![1_000, 1_001, -most_ago, -most_ago - 1, i64::MIN]),
    ]
}

fn replaced() -> impl Strategy<Value = Replaced> {
    prop_oneof![
        16 => (0..4_usize).prop_map(Replaced::Held),
        3 => (0..6_usize).prop_map(Replaced::Any),
        1 => Just(Replaced::Unknown),
    ]
}

pub(super) fn details() -> impl Strategy<Value = DraftDetails> {
    (
        option::weighted(0.15, occurred_ms()),
        option::weighted(0.3, position()),
        proptest::bool::weighted(0.25),
        option::weighted(0.3, replaced()),
        option::weighted(
            0.5,
            select(vec!["cart-1", "cart-2", "cart-3", "cart-1", "cart-2", ""]),
        ),
        proptest::bool::weighted(0.04),
    )
        .prop_map(
            |(occurred_ms, as_of, unique_reference, replaces, reference, is_misfit)| DraftDetails {
                occurred_ms,
                as_of,
                unique_reference,
                replaces,
                reference,
                is_misfit,
            },
        )
}
