//! The faults that the ledger can be given, and the claim that each of them breaks.

use std::time::Duration;

use holdfast_ledger::{FAULTS, Fault, seed_fault};

use crate::{
    run::{Report, run},
    scopes,
};

/// The result of one fault.
#[derive(Debug)]
pub struct Mutant {
    /// The seeded fault.
    pub fault: Fault,
    /// The model's report of a ledger with it.
    pub report: Report,
}

impl Mutant {
    /// Returns whether a claim broke.
    pub fn is_caught(&self) -> bool {
        self.report.violation.is_some()
    }
}

/// Seeds one fault after the other, of those with `only` in their name, for this whole process. Reports each
/// result as soon as it is known. `time` is the time for each fault.
pub fn run_all(
    only: &str,
    time: Option<Duration>,
    threads: usize,
    mut tell: impl FnMut(&Mutant),
) -> Vec<Mutant> {
    let scope_of = |fault| match fault {
        Fault::AbortsAnyOrder => scopes::one_id_overlapping(),
        Fault::SettlesById | Fault::ClaimsNothing => scopes::one_id_in_another_order(),
        Fault::ReplacesEnded => scopes::growing(),
        Fault::LeavesReplaced => scopes::replaced(),
        Fault::ReleasesReplacedAtOnce
        | Fault::DropsKeptUnits
        | Fault::AbortEndsReplaced
        | Fault::KeepsUnheardUnits => scopes::replaced_unheard(),
        Fault::SharesReference | Fault::NeverGivesUpReference => scopes::one_reference(),
        _ => scopes::one_coordinator(),
    };
    let mut mutants = Vec::with_capacity(FAULTS.len());
    for fault in FAULTS
        .into_iter()
        .filter(|fault| format!("{fault:?}").contains(only))
    {
        seed_fault(Some(fault));
        let report = run(&scope_of(fault), time, threads);
        seed_fault(None);
        let mutant = Mutant { fault, report };
        tell(&mutant);
        mutants.push(mutant);
    }
    mutants
}
