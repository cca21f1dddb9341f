//! Where a coordinator sits: on a node that runs it, or is done with it.
//!
//! A node that dies is one that nothing reaches any more, so there is no state of its own for that.

use holdfast_ledger::{Coordinator, End, Progress, StepFailure, Target};

use crate::packet::key_of;

/// One coordinator.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seat {
    pub(crate) order: usize,
    stage: Stage,
    /// Equal for coordinators that behave alike.
    pub(crate) digest: u64,
}

#[derive(Debug, Clone, PartialEq)]
enum Stage {
    Running {
        coordinator: Box<Coordinator>,
        /// The numbers of the steps that it waits for.
        waits_for: Vec<u64>,
    },
    Over,
}

impl Seat {
    /// A coordinator and its first steps. One whose steps have not arrived is as good as not started.
    pub(crate) fn start(order: usize, mut coordinator: Coordinator) -> (Self, Vec<Target>) {
        let send = coordinator.start();
        let mut seat = Self {
            order,
            stage: Stage::Over,
            digest: 0,
        };
        seat.run(coordinator, send.iter().map(|target| target.number).collect());
        (seat, send)
    }

    pub(crate) fn coordinator(&self) -> Option<&Coordinator> {
        match &self.stage {
            Stage::Running { coordinator, .. } => Some(coordinator),
            Stage::Over => None,
        }
    }

    pub(crate) fn waits_for(&self) -> &[u64] {
        match &self.stage {
            Stage::Running { waits_for, .. } => waits_for,
            Stage::Over => &[],
        }
    }

    /// It is never heard of again.
    pub(crate) fn die(&mut self) {
        self.stage = Stage::Over;
        self.digest = 0;
    }

    /// Lets the coordinator hear something. None: there is none, or it has no ears for it.
    pub(crate) fn hear(&mut self, tell: impl FnOnce(&mut Coordinator) -> Progress) -> Option<Progress> {
        let before = self.coordinator()?;
        let mut coordinator = before.clone();
        let progress = tell(&mut coordinator);
        if coordinator == *before {
            return None;
        }
        let numbers = self
            .waits_for()
            .iter()
            .copied()
            .chain(progress.send.iter().map(|target| target.number))
            .collect();
        self.run(coordinator, numbers);
        if progress.end.is_some() {
            self.die();
        }
        Some(progress)
    }

    fn run(&mut self, coordinator: Coordinator, mut numbers: Vec<u64>) {
        numbers.retain(|number| {
            let mut probe = coordinator.clone();
            probe.on_failure(*number, StepFailure::Unknown);
            probe != coordinator
        });
        self.digest = key_of(&coordinator);
        self.stage = Stage::Running {
            coordinator: Box::new(coordinator),
            waits_for: numbers,
        };
    }

    /// Was its caller told that nobody was granted this before?
    pub(crate) fn was_first(end: &End) -> bool {
        let End::Outcome(outcome) = end else {
            return false;
        };
        matches!(
            outcome,
            Ok(holdfast_ledger::Success::Reserved { replayed: false, .. })
        )
    }

    /// How its caller was answered.
    pub(crate) fn granted(end: &End) -> Option<Granted> {
        match end {
            End::Outcome(Ok(holdfast_ledger::Success::Reserved {
                position,
                expires_at_ms,
                lines,
                ..
            })) => Some(Granted {
                log_index: position.log_index,
                expires_at_ms: *expires_at_ms,
                lines: key_of(lines),
            }),
            _ => None,
        }
    }
}

/// What a caller was told of its hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Granted {
    /// Of the decision, in the home's log.
    pub(crate) log_index: u64,
    pub(crate) expires_at_ms: u64,
    pub(crate) lines: u64,
}
