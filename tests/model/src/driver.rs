//! The driver of a coordinator, on a node that runs it or is done with it.
//!
//! Nothing reaches a node that has died, so there is no separate state for that.

use holdfast_ledger::{Coordinator, End, Progress, StepFailure, Target};

use crate::packet::key_of;

/// One coordinator of an order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Driver {
    pub(crate) order: usize,
    stage: Stage,
    /// A number that is equal for coordinators that behave alike.
    pub(crate) digest: u64,
}

#[derive(Debug, Clone, PartialEq)]
enum Stage {
    Running {
        coordinator: Box<Coordinator>,
        /// Numbers of the steps that it waits for.
        waits_for: Vec<u64>,
    },
    Over,
}

impl Driver {
    /// Starts a coordinator. Returns it with its first steps. While these have not arrived, it has no effect.
    pub(crate) fn start(order: usize, mut coordinator: Coordinator) -> (Self, Vec<Target>) {
        let send = coordinator.start();
        let mut driver = Self {
            order,
            stage: Stage::Over,
            digest: 0,
        };
        driver.run(coordinator, send.iter().map(|target| target.number).collect());
        (driver, send)
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

    /// Ends the coordinator, which is never heard of again.
    pub(crate) fn die(&mut self) {
        self.stage = Stage::Over;
        self.digest = 0;
    }

    /// Tells the coordinator something. Returns none when there is no coordinator, or when what it hears does
    /// not change it.
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

    /// Returns whether the caller was told that this had not been granted before.
    pub(crate) fn was_first(end: &End) -> bool {
        let End::Outcome(outcome) = end else {
            return false;
        };
        matches!(
            outcome,
            Ok(holdfast_ledger::Success::Reserved { replayed: false, .. })
        )
    }

    /// Returns the grant that the caller was told of.
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

/// The hold that a caller was told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Granted {
    /// Log index of the decision, in the home's log.
    pub(crate) log_index: u64,
    pub(crate) expires_at_ms: u64,
    pub(crate) lines: u64,
}
