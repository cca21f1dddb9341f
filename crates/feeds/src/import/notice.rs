//! Notices of an import, for whoever shows its progress.

/// A report of what happened in an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// There is no state file, so the whole change stream is searched for what earlier imports brought.
    NoStateFile,
    /// Earlier runs of this very file applied this many operations. At least 1.
    AppliedBefore(usize),
    /// The earlier run is so long ago that the operations which are left get new ids.
    NewIds,
    /// This many steps of the plan are done.
    StepsDone(u64),
}

/// A callback for notices.
pub type Tell<'a> = dyn Fn(Notice) + Sync + 'a;
