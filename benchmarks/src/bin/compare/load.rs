//! The callers: each waits for its answer, or they come at a fixed rate whether answers have come or not.

use std::future::Future;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use tokio::sync::mpsc;

use crate::usage::{Usage, UsageMeter};
use crate::workload::{Chooser, Workload};

/// What takes reservations. Each caller has a number; a system may give each a connection of its own.
pub(crate) trait Target: Clone + Send + Sync + 'static {
    /// Reserves one unit: whether it was granted.
    fn reserve(&self, caller: usize, sku: usize) -> impl Future<Output = Result<bool>> + Send;
}

/// What was measured.
pub(crate) struct Measured {
    pub(crate) calls: u64,
    pub(crate) elapsed: Duration,
    /// Microseconds from the call, or from when it should have been made, to the answer.
    pub(crate) latency: Histogram<u64>,
    /// What the servers used meanwhile.
    pub(crate) usage: Usage,
}

impl Measured {
    pub(crate) fn per_second(&self) -> f64 {
        self.calls as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn microseconds(&self, quantile: f64) -> u64 {
        self.latency.value_at_quantile(quantile)
    }
}

/// Connections, caches and batching settle in this share of the time, which is not counted.
const WARM_UP: f64 = 0.25;

/// Whether an answer is what the workload has to bring about.
fn expect(workload: Workload, granted: bool) -> Result<()> {
    if granted == (workload == Workload::SoldOut) {
        bail!("a reservation of {} was granted: {granted}", workload.name());
    }
    Ok(())
}

/// `callers` at once, each with one call at a time.
pub(crate) async fn closed<T: Target>(
    target: &T,
    meter: &UsageMeter,
    workload: Workload,
    callers: usize,
    duration: Duration,
) -> Result<Measured> {
    run_closed(target, workload, callers, duration.mul_f64(WARM_UP)).await?;
    let before = meter.read()?;
    let began = Instant::now();
    let latency = run_closed(target, workload, callers, duration).await?;
    Ok(Measured {
        calls: latency.len(),
        elapsed: began.elapsed(),
        latency,
        usage: meter.read()? - before,
    })
}

async fn run_closed<T: Target>(
    target: &T,
    workload: Workload,
    callers: usize,
    duration: Duration,
) -> Result<Histogram<u64>> {
    let until = Instant::now() + duration;
    let tasks = (0..callers).map(|caller| {
        let target = target.clone();
        tokio::spawn(async move {
            let mut chooser = Chooser::new(workload, caller)?;
            let mut latency = histogram()?;
            while Instant::now() < until {
                let sku = chooser.next_sku();
                let began = Instant::now();
                expect(workload, target.reserve(caller, sku).await?)?;
                latency.saturating_record(microseconds(began.elapsed()));
            }
            anyhow::Ok(latency)
        })
    });
    let mut all = histogram()?;
    for latency in try_join_all(tasks).await? {
        all.add(latency?)?;
    }
    Ok(all)
}

/// A call every so often, counted from when it was due: a slow answer makes the ones behind it late, as buyers would see it
/// (Gil Tene: coordinated omission).
pub(crate) async fn at_rate<T: Target>(
    target: &T,
    meter: &UsageMeter,
    workload: Workload,
    calls_per_second: u32,
    duration: Duration,
) -> Result<Measured> {
    let calls = (f64::from(calls_per_second) * duration.as_secs_f64()) as u64;
    let warm_up = (calls as f64 * WARM_UP) as u64;
    let mut chooser = Chooser::new(workload, 0)?;
    let (finished, mut results) = mpsc::unbounded_channel();
    let mut before = meter.read()?;
    let (start, mut counted_from) = (Instant::now(), Instant::now());
    for number in 0..warm_up + calls {
        if number == warm_up {
            (before, counted_from) = (meter.read()?, Instant::now());
        }
        let due = start + Duration::from_secs_f64(number as f64 / f64::from(calls_per_second));
        if due > Instant::now() {
            tokio::time::sleep_until(due.into()).await;
        }
        let (target, sku) = (target.clone(), chooser.next_sku());
        let finished = finished.clone();
        tokio::spawn(async move {
            // Each call is another caller's: those who share connections take them in turn.
            let granted = target.reserve(number as usize, sku).await;
            finished
                .send(granted.map(|granted| (number, granted, due.elapsed())))
                .ok();
        });
    }
    drop(finished);
    let mut latency = histogram()?;
    while let Some(result) = results.recv().await {
        let (number, granted, took) = result?;
        expect(workload, granted)?;
        if number >= warm_up {
            latency.saturating_record(microseconds(took));
        }
    }
    Ok(Measured {
        calls: latency.len(),
        elapsed: counted_from.elapsed(),
        latency,
        usage: meter.read()? - before,
    })
}

pub(crate) fn histogram() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 600_000_000, 3).context("a histogram")
}

pub(crate) fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
