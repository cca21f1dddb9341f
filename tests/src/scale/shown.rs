//! The results of a scaling run.

use std::fmt;
use std::time::Duration;

use super::Step;
use crate::judge::Judged;
use crate::load::Seen;
use crate::meter::Service;

/// The service of buyers in each step, and the judgement after all steps.
#[derive(Debug, Default)]
pub struct Shown {
    steps: Vec<(Step, Service)>,
    granted: usize,
    refused: u64,
    unknown: usize,
    judged: Judged,
    changes: u64,
}

impl Shown {
    pub(super) fn made(&mut self, step: Step, service: Service) {
        self.steps.push((step, service));
    }

    pub(super) fn bought(&mut self, seen: &Seen) {
        (self.granted, self.refused, self.unknown) = (seen.granted.len(), seen.refused, seen.unknown.len());
    }

    pub(super) fn judged(&mut self, judged: Judged, changes: u64) {
        (self.judged, self.changes) = (judged, changes);
    }

    /// Returns the steps that were made, in order, and how buyers were served in each.
    pub fn steps(&self) -> &[(Step, Service)] {
        &self.steps
    }

    /// Returns how much was judged.
    pub fn judgement(&self) -> Judged {
        self.judged
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let judged = &self.judged;
        writeln!(
            f,
            "orders: {} granted, {} refused, {} without an answer and settled by their id",
            self.granted, self.refused, self.unknown
        )?;
        writeln!(
            f,
            "judged: {} operations and {} reads in time, {} events of single SKUs in some order, {} changes the same on all nodes",
            judged.operations, judged.reads, judged.linearized, self.changes
        )?;
        writeln!(
            f,
            "{:<16}{:>9}{:>9}{:>9}{:>9}{:>12}{:>10}{:>12}",
            "", "took", "p50", "p99", "longest", "longest gap", "grants", "without"
        )?;
        writeln!(
            f,
            "{:<16}{:>9}{:>9}{:>9}{:>9}{:>12}{:>10}{:>12}",
            "step", "s", "ms", "ms", "ms", "ms", "/s", "an answer"
        )?;
        for (step, service) in &self.steps {
            let ms = |quantile: f64| service.latency_us.value_at_quantile(quantile) as f64 / 1_000.0;
            writeln!(
                f,
                "{:<16}{:>9.1}{:>9.1}{:>9.1}{:>9.0}{:>12.0}{:>10.0}{:>12}",
                format!("{step:?}"),
                service.took.as_secs_f64(),
                ms(0.5),
                ms(0.99),
                ms(1.0),
                millis(service.longest_gap),
                service.grants_per_second(),
                service.unanswered,
            )?;
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_a_line_of_its_own() -> anyhow::Result<()> {
        let mut service = Service::none()?;
        service.took = Duration::from_secs(2);
        service.grants = 100;
        service.longest_gap = Duration::from_millis(300);
        service.latency_us.record(5_000)?;
        let mut shown = Shown::default();
        shown.made(Step::Quiet, service.clone());
        shown.made(Step::ThreeToFive, Service::none()?);
        let text = shown.to_string();
        let line = text.lines().find(|line| line.starts_with("Quiet ")).unwrap_or("");
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words, ["Quiet", "2.0", "5.0", "5.0", "5", "300", "50", "0"]);
        assert!(
            text.lines().any(|line| line.starts_with("ThreeToFive ")),
            "{text}"
        );
        Ok(())
    }
}
