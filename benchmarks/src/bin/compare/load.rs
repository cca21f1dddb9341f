//! The callers: either each waits for its answer, or calls come at a fixed rate whether answers have come or
//! not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use futures::future::try_join_all;
use hdrhistogram::Histogram;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::buyers::{Buyer, Target, expect};
use crate::latencies::{Latencies, histogram, microseconds};
use crate::usage::{Usage, UsageMeter};
use crate::workload::{Chooser, Workload};

/// The result of one measurement.
pub(crate) struct Measured {
    pub(crate) calls: u64,
    pub(crate) elapsed: Duration,
    /// Microseconds from the call, or from when it should have been made, to the answer.
    pub(crate) latency: Histogram<u64>,
    /// The servers' usage during the measurement; none when they did other work too.
    pub(crate) usage: Option<Usage>,
}

impl Measured {
    pub(crate) fn per_second(&self) -> f64 {
        self.calls as f64 / self.elapsed.as_secs_f64()
    }

    pub(crate) fn microseconds(&self, quantile: f64) -> u64 {
        self.latency.value_at_quantile(quantile)
    }

    pub(crate) fn milliseconds(&self, quantile: f64) -> f64 {
        self.microseconds(quantile) as f64 / 1000.0
    }
}

/// Share of the time that is not counted: connections, caches and batching settle in it.
pub(crate) const WARM_UP: f64 = 0.25;

/// Runs `callers` callers at once, each with one call at a time.
pub(crate) async fn closed<B: Buyer>(
    buyer: &B,
    meter: &UsageMeter,
    workload: Workload,
    callers: usize,
    duration: Duration,
) -> Result<Measured> {
    run_closed(buyer, workload, callers, duration.mul_f64(WARM_UP)).await?;
    let before = meter.read()?;
    let began = Instant::now();
    let latencies = run_closed(buyer, workload, callers, duration).await?;
    let elapsed = began.elapsed();
    let usage = meter.read()? - before;
    let latency = latencies.together()?;
    Ok(Measured {
        calls: latency.len(),
        elapsed,
        latency,
        usage: Some(usage),
    })
}

async fn run_closed<B: Buyer>(
    buyer: &B,
    workload: Workload,
    callers: usize,
    duration: Duration,
) -> Result<Arc<Latencies>> {
    let until = Instant::now() + duration;
    let latencies = Arc::new(Latencies::new()?);
    let tasks = (0..callers).map(|caller| {
        let (buyer, latencies) = (buyer.clone(), Arc::clone(&latencies));
        tokio::spawn(async move {
            let mut chooser = Chooser::new(workload, caller)?;
            while Instant::now() < until {
                buyer.buy(caller, chooser.next_sku(), &latencies).await?;
            }
            anyhow::Ok(())
        })
    });
    for ended in try_join_all(tasks).await? {
        ended?;
    }
    Ok(latencies)
}

/// Makes calls at a fixed rate. Latency counts from the moment when a call was due: a slow answer makes the
/// calls after it late, as buyers would see it (Gil Tene: coordinated omission).
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
            // Each call has another caller number, so connections are used in turn.
            let granted = target.reserve(number as usize, Uuid::now_v7(), sku).await;
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
        usage: Some(meter.read()? - before),
    })
}
