//! Seeded faults: known ways to get the order protocol wrong, compiled in only with the feature `faults`. Each is a claim that
//! the checks would notice: `cargo xtask mutants` switches them on one by one, and the model must find each.

/// One way to be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(feature = "faults"),
    expect(unreachable_pub, reason = "public only with the feature")
)]
#[repr(u8)]
pub enum Fault {
    /// A home that is asked about an unknown order says that it is aborted and writes nothing down (breaks R1).
    NoTombstone = 1,
    /// A participant ends the hold of an order by itself when its time is over (breaks R2).
    ParticipantExpires,
    /// An outcome applies to whatever incarnation is there (breaks R3 and R4).
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
    /// A home takes an order for acknowledged as soon as it is decided.
    NeverSettles,
    /// An expired order can still be committed.
    CommitsExpired,
    /// A held order can be begun again.
    BegunAgain,
    /// A Commit at the home is not passed on.
    CommitStaysHome,
    /// A home that is asked about an undecided order says that it is aborted.
    AnswersUndecided,
    /// A home that is asked about other units than those of its decision does not answer (breaks R4).
    NoStaleAnswer,
    /// An order that nobody decides waits for ever.
    NeverDecides,
    /// An acknowledgement of an older decision counts for a newer one.
    TakesOldAcknowledgement,
    /// A committed order can be released.
    ReleasesCommitted,
    /// The Prepare of a later attempt takes the place of an earlier one, whose units nobody gives back.
    OverwritesEarlierAttempt,
    /// A home prepares its lines for an attempt that is over.
    PreparesAtClosedHome,
    /// A home takes a decision to hold without looking whose units and which attempt it names.
    HoldsOtherUnits,
    /// A participant takes commits and releases from callers by itself (breaks R2).
    ParticipantDecides,
    /// A coordinator takes what it prepared in an earlier attempt for prepared in the next one.
    KeepsOldUnits,
    /// The abort of an order gives back the units of another one with the same id.
    AbortsAnyOrder,
    /// A shard that knows of an order under an id, or of an aborted attempt, takes no settlement for any other order with that id.
    SettlesById,
    /// A home begins an order under an id that is another request's there.
    ClaimsNothing,
    /// A home holds an order although the hold that it replaces has ended.
    ReplacesEnded,
    /// A home that holds an order leaves the hold that it replaces as it is, if it keeps none of its units there.
    LeavesReplaced,
    /// A participant follows the release of a replaced hold before it hears of the order that keeps its units.
    ReleasesReplacedAtOnce,
    /// The units that a replacement keeps are given back with the others.
    DropsKeptUnits,
    /// The abort of a replacement ends the old hold where the participant hears of it.
    AbortEndsReplaced,
    /// A participant has a replacement keep units of a part that it has not heard is held.
    KeepsUnheardUnits,
    /// A home begins an order whose reference another one has to itself.
    SharesReference,
    /// An aborted order keeps its reference to itself.
    NeverGivesUpReference,
}

/// All of them.
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

/// Switches one fault on for the whole process, or all off.
#[cfg(feature = "faults")]
pub fn seed_fault(fault: Option<Fault>) {
    SEEDED.store(
        fault.map_or(0, |fault| fault as u8),
        std::sync::atomic::Ordering::SeqCst,
    );
}

/// Is the ledger to be wrong here?
#[cfg(feature = "faults")]
pub(crate) fn is_seeded(fault: Fault) -> bool {
    SEEDED.load(std::sync::atomic::Ordering::Relaxed) == fault as u8
}

#[cfg(not(feature = "faults"))]
pub(crate) const fn is_seeded(_: Fault) -> bool {
    false
}
