//! Each fault that the ledger can be given, and which claim it breaks.

use std::time::Duration;

use holdfast_ledger::{FAULTS, Fault, seed_fault};

use crate::{
    run::{Report, run},
    scopes,
};

/// How one fault fared.
#[derive(Debug)]
pub struct Mutant {
    /// Which.
    pub fault: Fault,
    /// What the model says of a ledger with it.
    pub report: Report,
}

impl Mutant {
    /// Did a claim break?
    pub fn is_caught(&self) -> bool {
        self.report.violation.is_some()
    }
}

/// Seeds one fault after the other of those with `only` in their name, for this whole process, and tells of each as it is known. `time`
/// is for each of them.
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
