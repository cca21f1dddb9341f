//! Faults to seed: known mistakes in the order protocol, compiled in only with the feature `faults`. Each
//! fault is a claim that the checks would notice it. `cargo xtask mutants` switches the faults on one by one,
//! and the model must find each.

/// One seeded fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "faults"),
    expect(unreachable_pub, reason = "public only with the feature")
)]
#[repr(u8)]
pub enum Fault {
    /// A home that is asked about an unknown order answers that it is aborted, but writes nothing down
    /// (breaks R1).
    NoTombstone = 1,
    /// A participant ends the hold of an order by itself when the time of the hold is over (breaks R2).
    ParticipantExpires,
    /// An outcome applies to any incarnation (breaks R3 and R4).
    NoIncarnationCheck,
    /// A home forgets a closed order while its operation id is still accepted (breaks R5).
    ForgetsTooEarly,
    /// A repeated Prepare takes the units again.
    PrepareNotIdempotent,
    /// A later decision replaces the first one.
    LastDecisionWins,
    /// An order is held without one of its participants.
    HoldsWithoutAll,
    /// An abort of an earlier attempt gives back the units of a later one.
    AbortIgnoresAttempt,
    /// A participant's aborted units do not go back to the cell.
    AbortLosesUnits,
    /// A participant follows an older decision after a newer one.
    IgnoresVersion,
    /// A home counts an order as acknowledged as soon as it is decided.
    NeverSettles,
    /// An expired order can still be committed.
    CommitsExpired,
    /// A held order can be begun again.
    BegunAgain,
    /// A Commit at the home is not passed on.
    CommitStaysHome,
    /// A home that is asked about an undecided order answers that it is aborted.
    AnswersUndecided,
    /// A home does not answer a question about units that are not those of its decision (breaks R4).
    NoStaleAnswer,
    /// An order that nobody decides waits forever.
    NeverDecides,
    /// An acknowledgement of an older decision counts for a newer one.
    TakesOldAcknowledgement,
    /// A committed order can be released.
    ReleasesCommitted,
    /// The Prepare of a later attempt takes the place of an earlier one, whose units nobody gives back.
    OverwritesEarlierAttempt,
    /// A home prepares its lines for an attempt that is over.
    PreparesAtClosedHome,
    /// A home accepts a decision to hold without checking the units and the attempt that it names.
    HoldsOtherUnits,
    /// A participant carries out commits and releases from callers by itself (breaks R2).
    ParticipantDecides,
    /// A coordinator counts units that it prepared in an earlier attempt as prepared in the next one.
    KeepsOldUnits,
    /// The abort of an order gives back the units of another one with the same id.
    AbortsAnyOrder,
    /// A shard that knows an order or an aborted attempt under an id accepts no settlement for any other
    /// order with that id.
    SettlesById,
    /// A home begins an order under an id that another request has used there.
    ClaimsNothing,
    /// A home holds an order although the hold that it replaces has ended.
    ReplacesEnded,
    /// A home that holds an order leaves the replaced hold as it is, if the order keeps none of its units
    /// there.
    LeavesReplaced,
    /// A participant follows the release of a replaced hold before it hears of the order that keeps its
    /// units.
    ReleasesReplacedAtOnce,
    /// The units that a replacement keeps are given back with the others.
    DropsKeptUnits,
    /// The abort of a replacement ends the old hold where the participant hears of it.
    AbortEndsReplaced,
    /// A participant lets a replacement keep units of a part although it has not heard that the part is held.
    KeepsUnheardUnits,
    /// A home begins an order whose reference must be unique and is taken by another.
    SharesReference,
    /// An aborted order keeps its claim on a unique reference.
    NeverGivesUpReference,
}

/// Every fault, in order.
#[cfg(feature = "faults")]
pub const FAULTS: [Fault; 35] = [
    Fault::NoTombstone,
    Fault::ParticipantExpires,
    Fault::NoIncarnationCheck,
    Fault::ForgetsTooEarly,
    Fault::PrepareNotIdempotent,
    Fault::LastDecisionWins,
    Fault::HoldsWithoutAll,
    Fault::AbortIgnoresAttempt,
    Fault::AbortLosesUnits,
    Fault::IgnoresVersion,
    Fault::NeverSettles,
    Fault::CommitsExpired,
    Fault::BegunAgain,
    Fault::CommitStaysHome,
    Fault::AnswersUndecided,
    Fault::NoStaleAnswer,
    Fault::NeverDecides,
    Fault::TakesOldAcknowledgement,
    Fault::ReleasesCommitted,
    Fault::OverwritesEarlierAttempt,
    Fault::PreparesAtClosedHome,
    Fault::HoldsOtherUnits,
    Fault::ParticipantDecides,
    Fault::KeepsOldUnits,
    Fault::AbortsAnyOrder,
    Fault::SettlesById,
    Fault::ClaimsNothing,
    Fault::ReplacesEnded,
    Fault::LeavesReplaced,
    Fault::ReleasesReplacedAtOnce,
    Fault::DropsKeptUnits,
    Fault::AbortEndsReplaced,
    Fault::KeepsUnheardUnits,
    Fault::SharesReference,
    Fault::NeverGivesUpReference,
];

#[cfg(feature = "faults")]
static SEEDED: std::sync::atomic::AtomicU8 = std::sync::atomic::AtomicU8::new(0);

/// Switches one fault on for the whole process, or switches all off.
#[cfg(feature = "faults")]
pub fn seed_fault(fault: Option<Fault>) {
    SEEDED.store(
        fault.map_or(0, |fault| fault as u8),
        std::sync::atomic::Ordering::SeqCst,
    );
}

/// Returns whether a fault is switched on.
#[cfg(feature = "faults")]
pub(crate) fn is_seeded(fault: Fault) -> bool {
    SEEDED.load(std::sync::atomic::Ordering::Relaxed) == fault as u8
}

#[cfg(not(feature = "faults"))]
pub(crate) const fn is_seeded(_: Fault) -> bool {
    false
}
