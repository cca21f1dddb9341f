//! Runs seeds and reports what they did. The first seed that fails ends it.

use std::collections::BTreeMap;
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use holdfast_simulation::faults::Fault;
use holdfast_simulation::plan::Plan;
use holdfast_simulation::run::{Report, run};
use serde_json::json;

#[derive(Parser)]
#[command(about = "Whole clusters under faults in one thread; one seed is one run")]
struct Args {
    /// Run only this seed
    #[arg(long)]
    seed: Option<u64>,
    /// Begin with this seed
    #[arg(long, default_value_t = 1)]
    first_seed: u64,
    /// Run this many seeds
    #[arg(long, conflicts_with = "minutes")]
    seeds: Option<u64>,
    /// Run seeds for this many minutes
    #[arg(long, default_value_t = 1)]
    minutes: u64,
    /// Print every event of the runs on standard error
    #[arg(long)]
    trace: bool,
    /// Print the sums as one JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let until = Instant::now() + Duration::from_secs(args.minutes * 60);
    let mut sum = Sum::default();
    let first = args.seed.unwrap_or(args.first_seed);
    let count = args.seed.map(|_| 1).or(args.seeds);
    let seed_under_way = say_the_seed_when_it_panics();
    for seed in first.. {
        let more = match count {
            Some(count) => seed < first + count,
            None => Instant::now() < until,
        };
        if !more {
            break;
        }
        seed_under_way.store(seed, Ordering::Relaxed);
        let run = run(Plan::new(seed), args.trace).with_context(|| how_to_repeat(seed))?;
        let report = run.report;
        if args.seed.is_some() || !args.json {
            println!(
                "seed {seed}: trace {:016x}, {} events",
                report.digest, report.events
            );
        }
        sum.add(&report);
    }
    sum.print(args.json);
    if args.seed.is_none() {
        sum.did_enough()?;
    }
    Ok(())
}

fn how_to_repeat(seed: u64) -> String {
    format!("seed {seed} failed; repeat it with: cargo xtask soak --seed {seed}")
}

/// Makes a panic print the seed, since it may end the process before anything else can name it.
fn say_the_seed_when_it_panics() -> Arc<AtomicU64> {
    let seed = Arc::new(AtomicU64::new(0));
    let (shared, print) = (Arc::clone(&seed), panic::take_hook());
    panic::set_hook(Box::new(move |panicked| {
        eprintln!("{}", how_to_repeat(shared.load(Ordering::Relaxed)));
        print(panicked);
    }));
    seed
}

/// Sums over all runs.
#[derive(Default)]
struct Sum {
    runs: u64,
    simulated_ms: u64,
    faults: BTreeMap<&'static str, u64>,
    counts: BTreeMap<&'static str, u64>,
}

impl Sum {
    fn add(&mut self, report: &Report) {
        self.runs += 1;
        self.simulated_ms += report.simulated_ms;
        for (name, count) in &report.faults {
            *self.faults.entry(name).or_default() += count;
        }
        let (checked, network) = (&report.checked, &report.network);
        let counts = [
            ("operations", report.operations),
            ("outcomes_checked", checked.outcomes),
            ("reads_checked", checked.reads),
            ("without_effect_checked", checked.without_effect),
            ("events_linearized", checked.linearized),
            ("expiries_checked", checked.expiries),
            ("orders_checked", checked.orders),
            ("expiries_by_true_time", checked.true_expiries),
            ("changes_checked", checked.changes),
            ("entries_applied", report.applied),
            ("messages_delivered", network.delivered),
            ("messages_lost", network.lost),
            ("messages_doubled", network.doubled),
            ("messages_overtaken", network.overtaken),
            ("snapshots_sent", network.snapshots),
            ("snapshots_broken", network.broken_snapshots),
            ("disk_deaths", report.disk_deaths),
            ("damaged_disks", report.damaged_disks),
        ];
        for (name, count) in counts {
            *self.counts.entry(name).or_default() += count;
        }
        let slowest = self.counts.entry("slowest_recovery_ms").or_default();
        *slowest = (*slowest).max(report.recovery_ms);
    }

    fn print(&self, as_json: bool) {
        if as_json {
            let all = json!({
                "runs": self.runs,
                "simulated_ms": self.simulated_ms,
                "faults": self.faults,
                "counts": self.counts,
            });
            println!("{all}");
            return;
        }
        println!("{} runs, {} s simulated", self.runs, self.simulated_ms / 1_000);
        println!("faults:");
        for (name, count) in &self.faults {
            println!("  {name:<26} {count:>9}");
        }
        println!("work:");
        for (name, count) in &self.counts {
            println!("  {name:<26} {count:>9}");
        }
    }

    /// Checks that the runs met everything that can go wrong, if there were several.
    fn did_enough(&self) -> Result<()> {
        ensure!(self.runs > 0, "there was no time for a single run");
        if self.runs >= 10 {
            for (name, count) in self.counts.iter().chain(&self.faults) {
                ensure!(*count > 0, "in {} runs there was no {name}", self.runs);
            }
            ensure!(
                self.faults.len() == Fault::ALL.len(),
                "some faults never happened: {:?}",
                self.faults
            );
        }
        Ok(())
    }
}
