//! The results of rounds.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::Result;

use super::Fault;
use crate::judge::Judged;
use crate::load::Seen;
use crate::meter::Service;

/// Sums over all rounds.
#[derive(Debug, Default)]
pub struct Report {
    rounds: u64,
    granted: u64,
    refused: u64,
    unknown: u64,
    judged: Judged,
    changes: u64,
    faults: BTreeMap<Fault, Borne>,
    left_out: BTreeMap<Fault, String>,
}

/// The service while one fault, or all, happened.
#[derive(Debug)]
struct Borne {
    times: u64,
    /// Service over all these times together; the gap is the longest of all.
    service: Service,
    /// Grants per second in the worst of these times.
    fewest_per_second: f64,
}

impl Borne {
    fn nothing() -> Result<Self> {
        Ok(Self {
            times: 0,
            service: Service::none()?,
            fewest_per_second: f64::INFINITY,
        })
    }

    fn add(&mut self, times: u64, service: &Service, per_second: f64) -> Result<()> {
        let all = &mut self.service;
        all.took += service.took;
        all.grants += service.grants;
        all.unanswered += service.unanswered;
        all.longest_gap = all.longest_gap.max(service.longest_gap);
        all.latency_us.add(&service.latency_us)?;
        self.times += times;
        self.fewest_per_second = self.fewest_per_second.min(per_second);
        Ok(())
    }
}

impl Report {
    /// Notes that the cluster bore a fault once, and how buyers were served meanwhile.
    pub(super) fn bore(&mut self, fault: Fault, service: &Service) -> Result<()> {
        let borne = match self.faults.entry(fault) {
            std::collections::btree_map::Entry::Occupied(borne) => borne.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => place.insert(Borne::nothing()?),
        };
        borne.add(1, service, service.grants_per_second())
    }

    /// Notes that the machine does not allow a fault.
    pub(super) fn left_out(&mut self, fault: Fault, why: &anyhow::Error) {
        self.left_out.insert(fault, format!("{why:#}"));
    }

    pub(super) fn bought(&mut self, seen: &Seen) {
        self.granted += seen.granted.len() as u64;
        self.refused += seen.refused;
        self.unknown += seen.unknown.len() as u64;
    }

    pub(super) fn judged(&mut self, judged: &Judged, changes: u64) {
        self.judged.operations += judged.operations;
        self.judged.granted_after_refusal += judged.granted_after_refusal;
        self.judged.reads += judged.reads;
        self.judged.linearized += judged.linearized;
        self.changes += changes;
    }

    pub(super) fn round_is_over(&mut self) {
        self.rounds += 1;
    }

    /// Returns the sums over all faults.
    fn total(&self) -> Result<Borne> {
        let mut total = Borne::nothing()?;
        for borne in self.faults.values() {
            total.add(borne.times, &borne.service, borne.fewest_per_second)?;
        }
        Ok(total)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rounds,
            granted,
            refused,
            unknown,
            judged,
            changes,
            ..
        } = self;
        writeln!(
            f,
            "{rounds} rounds, {} kinds of fault; orders: {granted} granted, {refused} refused, \
             {unknown} without an answer and settled by their id",
            self.faults.len()
        )?;
        writeln!(
            f,
            "judged: {} operations and {} reads in time, {} events of single SKUs in some order, {changes} changes the same \
             on all nodes; {} refused and then granted by an attempt under way",
            judged.operations, judged.reads, judged.linearized, judged.granted_after_refusal
        )?;
        writeln!(
            f,
            "{:<31}{:>6}{:>9}{:>9}{:>9}{:>12}{:>10}{:>10}{:>12}",
            "", "", "p50", "p99", "longest", "longest gap", "grants", "fewest", "without"
        )?;
        writeln!(
            f,
            "{:<31}{:>6}{:>9}{:>9}{:>9}{:>12}{:>10}{:>10}{:>12}",
            "fault", "times", "ms", "ms", "ms", "ms", "/s", "/s", "an answer"
        )?;
        for (fault, borne) in &self.faults {
            row(f, &format!("{fault:?}"), borne)?;
        }
        if let Ok(total) = self.total()
            && total.times > 0
        {
            row(f, "all", &total)?;
        }
        for (fault, why) in &self.left_out {
            writeln!(f, "left out: {fault:?}: {why}")?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, borne: &Borne) -> fmt::Result {
    let service = &borne.service;
    let ms = |quantile: f64| {
        millis(Duration::from_micros(
            service.latency_us.value_at_quantile(quantile),
        ))
    };
    writeln!(
        f,
        "{name:<31}{:>6}{:>9.1}{:>9.1}{:>9.1}{:>12.0}{:>10.0}{:>10.0}{:>12}",
        borne.times,
        ms(0.5),
        ms(0.99),
        ms(1.0),
        millis(service.longest_gap),
        service.grants_per_second(),
        borne.fewest_per_second,
        service.unanswered,
    )
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(seconds: u64, grants: u64, gap_ms: u64, latencies_ms: &[u64]) -> Result<Service> {
        let mut service = Service::none()?;
        service.took = Duration::from_secs(seconds);
        service.grants = grants;
        service.longest_gap = Duration::from_millis(gap_ms);
        for latency_ms in latencies_ms {
            service.latency_us.record(latency_ms * 1_000)?;
        }
        Ok(service)
    }

    fn line(text: &str, name: &str) -> Vec<String> {
        let line = text.lines().find(|line| line.starts_with(name));
        line.unwrap_or_default()
            .split_whitespace()
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn latencies_are_of_all_times_and_gaps_and_throughput_of_the_worst() -> Result<()> {
        let mut report = Report::default();
        report.bore(Fault::DiskFull, &service(1, 300, 500, &[2, 2])?)?;
        report.bore(Fault::DiskFull, &service(1, 100, 250, &[2, 40])?)?;
        report.bore(Fault::AllKilled, &service(2, 100, 2_000, &[8])?)?;
        report.round_is_over();
        report.left_out(Fault::PacketsLost, &anyhow::anyhow!("no nft"));
        let text = report.to_string();
        assert!(text.starts_with("1 rounds, 2 kinds of fault;"), "{text}");
        let disk_full = ["DiskFull", "2", "2.0", "40.0", "40.0", "500", "200", "100", "0"];
        assert_eq!(line(&text, "DiskFull"), disk_full);
        let killed = ["AllKilled", "1", "8.0", "8.0", "8.0", "2000", "50", "50", "0"];
        assert_eq!(line(&text, "AllKilled"), killed);
        let all = ["all", "3", "2.0", "40.0", "40.0", "2000", "125", "50", "0"];
        assert_eq!(line(&text, "all "), all);
        assert!(text.contains("left out: PacketsLost: no nft"), "{text}");
        Ok(())
    }
}
