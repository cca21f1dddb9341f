//! Runs of a model, and their reports.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use stateright::{Checker, HasDiscoveries, Model};

use crate::{moves::OrderModel, scope::Scope, world::Broken};

/// The findings of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// Name of the scope.
    pub name: &'static str,
    /// Different states that were explored.
    pub states: usize,
    /// States that were reached, each counted as often as it was reached.
    pub reached: usize,
    /// Length of the longest path from the beginning.
    pub depth: usize,
    /// Whether every reachable state was explored.
    pub is_complete: bool,
    /// Duration of the run.
    pub took: Duration,
    /// The claim that does not hold, if there is one.
    pub violation: Option<Violation>,
}

/// The way in which a claim is broken.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The broken claim.
    pub broken: Broken,
    /// The explanation in words.
    pub why: String,
    /// The moves that lead there.
    pub moves: Vec<String>,
}

/// The end of a run that does not explore every state.
#[derive(Debug, Clone, Copy)]
pub enum Limit {
    /// The time after which the run explores nothing more.
    Time(Duration),
    /// The number of states that are reached, each counted as often as it is reached. A run may go a little
    /// further.
    Reached(usize),
}

/// Explores the states of a scope, breadth first, until a claim is broken or the limit is reached.
pub fn run(scope: &Scope, limit: Option<Limit>, threads: usize) -> Report {
    let began = Instant::now();
    let was_cut = Arc::new(AtomicBool::new(false));
    let (deadline, most) = match limit {
        None => (None, usize::MAX),
        Some(Limit::Time(time)) => (Some(began + time), usize::MAX),
        Some(Limit::Reached(states)) => (None, states),
    };
    let model = OrderModel::new(scope.clone(), deadline, Arc::clone(&was_cut));
    let checker = model
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures)
        .target_state_count(most)
        .spawn_bfs()
        .join();
    let was_cut = was_cut.load(Ordering::Relaxed) || checker.state_count() >= most;
    let violation = checker.discoveries().into_values().next().map(|path| {
        let world = path.last_state();
        Violation {
            broken: world.broken.unwrap_or(Broken::NeverEnds),
            why: world.why.as_ref().map(ToString::to_string).unwrap_or_default(),
            moves: path
                .clone()
                .into_actions()
                .iter()
                .map(|step| format!("{step:?}"))
                .collect(),
        }
    });
    Report {
        name: scope.name,
        states: checker.unique_state_count(),
        reached: checker.state_count(),
        depth: checker.max_depth(),
        is_complete: !was_cut && violation.is_none(),
        took: began.elapsed(),
        violation,
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let extent = if self.is_complete { "all" } else { "the first" };
        write!(
            f,
            "{}: {extent} {} states, reached {} times, up to {} moves deep, in {:.1} s",
            self.name,
            self.states,
            self.reached,
            self.depth,
            self.took.as_secs_f64()
        )?;
        if let Some(violation) = &self.violation {
            write!(f, "\nBROKEN: {}: {}", violation.broken.claim(), violation.why)?;
            for step in &violation.moves {
                write!(f, "\n  {step}")?;
            }
        }
        Ok(())
    }
}
