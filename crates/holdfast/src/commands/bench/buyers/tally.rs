//! Counts and measurements of a run, and their report.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use holdfast_client::v1::Reason;
use serde_json::{Value, json};

use crate::failure::reason_name;
use crate::output::Output;

/// A step of a buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Reserve,
    Commit,
    Ship,
    Release,
}

impl Step {
    const ALL: [Self; 4] = [Self::Reserve, Self::Commit, Self::Ship, Self::Release];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Reserve => "reserve",
            Self::Commit => "commit",
            Self::Ship => "ship",
            Self::Release => "release",
        }
    }
}

/// The outcome of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Done,
    /// An earlier attempt of the same call had done it, but its answer was lost.
    Replayed,
    Refused(Reason),
    Unknown,
    Unavailable,
    Failed(String),
}

/// Counts and latencies of one kind of step. Latencies are in microseconds, and only of calls that had an
/// answer.
#[derive(Debug)]
struct StepTally {
    done: u64,
    replayed: u64,
    refused: BTreeMap<String, u64>,
    unknown: u64,
    unavailable: u64,
    failed: BTreeMap<String, u64>,
    latency_us: Histogram<u64>,
}

/// The longest latency that is recorded, in microseconds: one hour.
const LONGEST_US: u64 = 3_600_000_000;

impl StepTally {
    fn new() -> anyhow::Result<Self> {
        Ok(Self {
            done: 0,
            replayed: 0,
            refused: BTreeMap::new(),
            unknown: 0,
            unavailable: 0,
            failed: BTreeMap::new(),
            latency_us: Histogram::new_with_bounds(1, LONGEST_US, 3)?,
        })
    }

    fn to_json(&self) -> Value {
        let at = |quantile| self.latency_us.value_at_quantile(quantile);
        json!({
            "done": self.done,
            "replayed": self.replayed,
            "refused": self.refused,
            "unknown": self.unknown,
            "unavailable": self.unavailable,
            "failed": self.failed,
            "latency_us": {
                "count": self.latency_us.len(),
                "p50": at(0.5),
                "p90": at(0.9),
                "p99": at(0.99),
                "p999": at(0.999),
                "max": self.latency_us.max(),
            },
        })
    }
}

/// Totals of all buyers.
#[derive(Debug)]
pub(super) struct Tally {
    steps: [StepTally; 4],
    units: i64,
}

impl Tally {
    pub(super) fn new() -> anyhow::Result<Self> {
        Ok(Self {
            steps: [
                StepTally::new()?,
                StepTally::new()?,
                StepTally::new()?,
                StepTally::new()?,
            ],
            units: 0,
        })
    }

    pub(super) fn add_units(&mut self, units: i64) {
        self.units = self.units.saturating_add(units);
    }

    pub(super) fn count(&mut self, step: Step, latency: Duration, answer: Answer) -> anyhow::Result<()> {
        let tally = &mut self.steps[step as usize];
        if matches!(answer, Answer::Done | Answer::Replayed | Answer::Refused(_)) {
            let latency_us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
            tally.latency_us.record(latency_us.clamp(1, LONGEST_US))?;
        }
        match answer {
            Answer::Done => tally.done += 1,
            Answer::Replayed => tally.replayed += 1,
            Answer::Refused(reason) => *tally.refused.entry(reason_name(reason)).or_default() += 1,
            Answer::Unknown => tally.unknown += 1,
            Answer::Unavailable => tally.unavailable += 1,
            Answer::Failed(why) => *tally.failed.entry(why).or_default() += 1,
        }
        Ok(())
    }

    pub(super) fn to_json(&self, buyers: u32, elapsed: Duration, shards: &[ShardClock]) -> Value {
        let reserve = &self.steps[Step::Reserve as usize];
        let mut steps = serde_json::Map::new();
        for step in Step::ALL {
            steps.insert(step.name().to_owned(), self.steps[step as usize].to_json());
        }
        let shards: Vec<Value> = shards
            .iter()
            .enumerate()
            .map(|(shard, clock)| {
                json!({
                    "shard": shard,
                    "done": clock.done,
                    "longest_without_success_ms": millis(clock.longest_without_success),
                    "longest_without_answer_ms": millis(clock.longest_without_answer),
                })
            })
            .collect();
        json!({
            "buyers": buyers,
            "elapsed_ms": millis(elapsed),
            "granted": reserve.done + reserve.replayed,
            "granted_units": self.units,
            "refused": reserve.refused.values().sum::<u64>(),
            "replayed": self.steps.iter().map(|step| step.replayed).sum::<u64>(),
            "unknown": self.steps.iter().map(|step| step.unknown).sum::<u64>(),
            "unavailable": self.steps.iter().map(|step| step.unavailable).sum::<u64>(),
            "failed": self.steps.iter().flat_map(|step| step.failed.values()).sum::<u64>(),
            "answers_per_second": self.answers_per_second(elapsed),
            "steps": steps,
            "shards": shards,
        })
    }

    fn answers_per_second(&self, elapsed: Duration) -> u64 {
        let answers: u64 = self.steps.iter().map(|step| step.latency_us.len()).sum();
        (answers as f64 / elapsed.as_secs_f64().max(1e-9)) as u64
    }

    pub(super) fn print(
        &self,
        output: Output,
        elapsed: Duration,
        shards: &[ShardClock],
    ) -> std::io::Result<()> {
        let reserve = &self.steps[Step::Reserve as usize];
        output.line(format!(
            "{:.1} s, {} answers/s; {} reservations granted with {} units",
            elapsed.as_secs_f64(),
            self.answers_per_second(elapsed),
            reserve.done + reserve.replayed,
            self.units,
        ))?;
        output.line("")?;
        let rows: Vec<Vec<String>> = Step::ALL
            .iter()
            .map(|step| {
                let tally = &self.steps[*step as usize];
                let at = |quantile| milliseconds(tally.latency_us.value_at_quantile(quantile));
                let counts = [
                    tally.done,
                    tally.replayed,
                    tally.refused.values().sum(),
                    tally.unknown,
                    tally.unavailable + tally.failed.values().sum::<u64>(),
                ];
                let mut row = vec![step.name().to_owned()];
                row.extend(counts.map(|count| count.to_string()));
                row.extend([at(0.5), at(0.99), at(0.999), milliseconds(tally.latency_us.max())]);
                row
            })
            .collect();
        output.table(
            &[
                "STEP", "DONE", "REPLAYED", "REFUSED", "UNKNOWN", "FAILED", "P50 MS", "P99 MS", "P99.9 MS",
                "MAX MS",
            ],
            &rows,
        )?;
        output.line("")?;
        let reasons: Vec<Vec<String>> = Step::ALL
            .iter()
            .flat_map(|step| {
                let tally = &self.steps[*step as usize];
                let all = tally.refused.iter().chain(&tally.failed);
                all.map(|(reason, count)| vec![step.name().to_owned(), count.to_string(), reason.clone()])
            })
            .collect();
        if !reasons.is_empty() {
            output.table(&["STEP", "COUNT", "REASON"], &reasons)?;
            output.line("")?;
        }
        let rows: Vec<Vec<String>> = shards
            .iter()
            .enumerate()
            .map(|(shard, clock)| {
                vec![
                    shard.to_string(),
                    clock.done.to_string(),
                    millis(clock.longest_without_success).to_string(),
                    millis(clock.longest_without_answer).to_string(),
                ]
            })
            .collect();
        output.table(
            &["SHARD", "DONE", "LONGEST WITHOUT SUCCESS MS", "WITHOUT ANSWER MS"],
            &rows,
        )
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn milliseconds(micros: u64) -> String {
    format!("{}.{:02}", micros / 1000, micros % 1000 / 10)
}

/// The longest silence of each shard.
#[derive(Debug)]
pub(super) struct ShardClocks {
    shards: Vec<Mutex<ShardClock>>,
}

/// The times of one shard. A success is a mutation that took effect. An answer is a success or a refusal that
/// the shard itself decided.
#[derive(Debug, Clone)]
pub(super) struct ShardClock {
    done: u64,
    last_success: Instant,
    last_answer: Instant,
    longest_without_success: Duration,
    longest_without_answer: Duration,
}

impl ShardClocks {
    pub(super) fn start(shards: usize, now: Instant) -> Self {
        let clock = ShardClock {
            done: 0,
            last_success: now,
            last_answer: now,
            longest_without_success: Duration::ZERO,
            longest_without_answer: Duration::ZERO,
        };
        Self {
            shards: (0..shards).map(|_| Mutex::new(clock.clone())).collect(),
        }
    }

    pub(super) fn answered(&self, shard: u32, answer: &Answer) {
        let Some(clock) = usize::try_from(shard)
            .ok()
            .and_then(|shard| self.shards.get(shard))
        else {
            return;
        };
        // Each field is valid by itself, so a panic elsewhere leaves nothing broken.
        let mut clock = clock.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let now = Instant::now();
        let success = matches!(answer, Answer::Done | Answer::Replayed);
        if success {
            clock.done += 1;
            clock.longest_without_success = clock.longest_without_success.max(now - clock.last_success);
            clock.last_success = now;
        }
        if success || matches!(answer, Answer::Refused(_)) {
            clock.longest_without_answer = clock.longest_without_answer.max(now - clock.last_answer);
            clock.last_answer = now;
        }
    }

    /// Returns the clocks. The time since the last answer is included.
    pub(super) fn finish(&self) -> Vec<ShardClock> {
        let now = Instant::now();
        let finished = self.shards.iter().map(|clock| {
            let mut clock = clock
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .clone();
            clock.longest_without_success = clock.longest_without_success.max(now - clock.last_success);
            clock.longest_without_answer = clock.longest_without_answer.max(now - clock.last_answer);
            clock
        });
        finished.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up() {
        let mut total = Tally::new().unwrap();
        for _ in 0..2 {
            total
                .count(Step::Reserve, Duration::from_micros(100), Answer::Done)
                .unwrap();
            total
                .count(Step::Reserve, Duration::from_micros(300), Answer::Replayed)
                .unwrap();
            total
                .count(
                    Step::Reserve,
                    Duration::from_micros(200),
                    Answer::Refused(Reason::InsufficientStock),
                )
                .unwrap();
            total
                .count(Step::Commit, Duration::from_secs(9), Answer::Unknown)
                .unwrap();
            total.add_units(3);
        }
        let report = total.to_json(2, Duration::from_secs(1), &[]);
        assert_eq!(report["granted"], 4);
        assert_eq!(report["granted_units"], 6);
        assert_eq!(report["steps"]["reserve"]["refused"]["insufficient_stock"], 2);
        assert_eq!(report["steps"]["reserve"]["latency_us"]["max"], 300);
        assert_eq!(report["unknown"], 2);
        assert_eq!(report["steps"]["commit"]["latency_us"]["count"], 0);
        assert_eq!(report["answers_per_second"], 6);
    }

    #[test]
    fn a_shard_without_any_success_was_silent_all_the_time() {
        let start = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
        let clocks = ShardClocks::start(2, start);
        clocks.answered(0, &Answer::Refused(Reason::InsufficientStock));
        clocks.answered(7, &Answer::Done);
        let clocks = clocks.finish();
        assert!(clocks[0].longest_without_success >= Duration::from_secs(5));
        assert_eq!((clocks[0].done, clocks[1].done), (0, 0));
    }
}
