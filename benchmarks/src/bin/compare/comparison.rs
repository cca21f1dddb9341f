//! The run: every system under every workload, one system after another.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use holdfast_benchmarks::ledger_input::{Catalogue, reserve_and_commit};

use crate::buyers::{Fulfilling, Fulfilment, Reserving, Target};
use crate::load::{at_rate, closed};
use crate::report::{
    CHANGES_20K, ECHO, HOLDFAST, LIFECYCLE, ORDERS_OF_FIVE, ORDERS_OF_ONE, POSTGRES, RATE_2K, REDIS,
    RESERVE_COMMIT, Report, STREAM, USERS_1000,
};
use crate::sinks::Sinks;
use crate::usage::{Usage, UsageMeter};
use crate::workload::{self, Workload};
use crate::{floor, goals, holdfast, memory, postgres, redis, replay};

/// Numbers of callers of the closed loops.
const CALLERS: [usize; 3] = [1, 16, 256];
/// Numbers of callers that take a reservation through its life.
const LIFECYCLE_CALLERS: [usize; 2] = [16, 256];
/// Users of the design's goal for reserve and commit.
const USERS: usize = 1_000;
/// Callers that keep batched streams full.
const STREAM_CALLERS: usize = 16_384;
/// Commands that Redis may have under way in all.
const REDIS_PIPELINED: usize = 1024;
/// Connections that carry them.
const REDIS_CONNECTIONS: usize = 16;
/// The fixed rate of the design's goal for latency, in calls per second.
const RATE: u32 = 2_000;
/// The fixed rate at which the change stream's lag is measured, in calls per second.
const CHANGE_RATE: u32 = 20_000;

/// One part of the run, to measure the effect of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Part {
    /// `ledger.apply` alone
    Ledger,
    /// Holdfast, one call for each request
    Unary,
    /// Holdfast, batched streams and the change stream
    Streams,
    /// Restart of a node
    Replay,
    /// Memory of a cell
    Memory,
    /// Holdfast, changes at a fixed rate into Redis
    Sinks,
}

/// The extent of the measurements.
pub(crate) struct Plan {
    /// Duration of each measurement.
    duration: Duration,
    /// Reservations in the log of the node that is killed.
    replayed: usize,
    /// Cells whose memory is measured.
    cells: usize,
}

impl Plan {
    pub(crate) fn full(duration: Duration) -> Self {
        Self {
            duration,
            replayed: 1_000_000,
            cells: 10_000_000,
        }
    }

    /// Makes the plan of a quick run: some 45 measurements of this length, each with a quarter more to
    /// settle, and a minute to start and fill everything. That is less than five minutes.
    pub(crate) fn quick() -> Self {
        Self {
            duration: Duration::from_secs(3),
            replayed: 1_000_000,
            cells: 1_000_000,
        }
    }
}

/// Measures one part of Holdfast alone, without the other systems.
pub(crate) async fn run_part(
    binary: &Path,
    folder: &Path,
    base_port: u16,
    plan: &Plan,
    part: Part,
    report: &mut Report,
) -> Result<()> {
    let duration = plan.duration;
    match part {
        Part::Ledger => {
            report.figures.insert("apply_per_s", applied_per_second(duration));
        }
        Part::Unary => {
            let cluster = holdfast::Cluster::start(binary, folder, base_port).await?;
            measure_unary(&cluster, duration, report).await?;
            cluster.stop().await?;
        }
        Part::Streams => {
            let cluster = holdfast::Cluster::start(binary, folder, base_port).await?;
            measure_streams(&cluster, duration, report).await?;
            cluster.stop().await?;
        }
        Part::Replay => measure_replay(binary, folder, base_port, plan, report).await?,
        Part::Memory => measure_memory(plan, report).await?,
        Part::Sinks => {
            let cluster = holdfast::Cluster::start(binary, folder, base_port).await?;
            measure_sinks(&cluster, binary, folder, base_port + 101, duration, report).await?;
            cluster.stop().await?;
        }
    }
    goals::compute_figures(report);
    Ok(())
}

pub(crate) async fn run(
    binary: &Path,
    folder: &Path,
    base_port: u16,
    plan: &Plan,
    report: &mut Report,
) -> Result<()> {
    let duration = plan.duration;
    // This is first, so that the process has done nothing else yet.
    report.figures.insert("apply_per_s", applied_per_second(duration));
    let syncs = floor::data_syncs(folder, duration.min(Duration::from_secs(2)))?;
    let sync_ms = syncs.value_at_quantile(0.5) as f64 / 1000.0;
    report.figures.insert("data_sync_p50_ms", sync_ms);
    measure_echo(duration, report).await?;
    measure_holdfast(binary, folder, base_port, duration, report).await?;
    measure_postgres(folder, base_port + 100, duration, report).await?;
    measure_redis(folder, base_port + 101, duration, report).await?;
    measure_replay(binary, folder, base_port + 50, plan, report).await?;
    measure_memory(plan, report).await?;
    goals::compute_figures(report);
    Ok(())
}

async fn measure_echo(duration: Duration, report: &mut Report) -> Result<()> {
    let (target, server) = floor::Echoes::start().await?;
    let meter = UsageMeter::new(server.id().unwrap_or_default());
    let workload = Workload::Spread;
    let echoes = Reserving { target, workload };
    for callers in CALLERS {
        let measured = closed(&echoes, &meter, workload, callers, duration).await?;
        report.add(ECHO, workload.name(), &callers.to_string(), measured);
    }
    Ok(())
}

async fn measure_holdfast(
    binary: &Path,
    folder: &Path,
    base_port: u16,
    duration: Duration,
    report: &mut Report,
) -> Result<()> {
    let cluster = holdfast::Cluster::start(binary, folder, base_port).await?;
    measure_unary(&cluster, duration, report).await?;
    measure_streams(&cluster, duration, report).await?;
    cluster.stop().await
}

async fn measure_unary(cluster: &holdfast::Cluster, duration: Duration, report: &mut Report) -> Result<()> {
    let meter = cluster.meter()?;
    // This comes before the load that the machine cannot bear. That load may cause elections that scatter the
    // leaders, and then an order needs a few calls more.
    let orders = holdfast::Orders::new(cluster.client()).await?;
    let (single, five) = orders.measure(duration).await?;
    report.add(HOLDFAST, ORDERS_OF_ONE, "1", single);
    report.add(HOLDFAST, ORDERS_OF_FIVE, "1", five);

    let unary = holdfast::Unary::new(cluster.client()).await?;
    for callers in CALLERS {
        measure_workloads(HOLDFAST, &unary, &meter, callers, duration, report).await?;
    }
    measure_rate(HOLDFAST, &unary, &meter, duration, report).await?;
    for callers in LIFECYCLE_CALLERS {
        measure_lifecycle(HOLDFAST, &unary, &meter, callers, duration, report).await?;
    }
    Ok(())
}

async fn measure_streams(cluster: &holdfast::Cluster, duration: Duration, report: &mut Report) -> Result<()> {
    let meter = cluster.meter()?;
    let target = holdfast::Batched::new(cluster.client()).await?;
    let users = Fulfilling {
        target: target.clone(),
        ships: false,
    };
    let measured = closed(&users, &meter, Workload::Spread, USERS, duration).await?;
    report.add(HOLDFAST, RESERVE_COMMIT, USERS_1000, measured);

    for workload in [Workload::Hot, Workload::Spread] {
        let target = target.clone();
        let buyer = Reserving { target, workload };
        let measured = closed(&buyer, &meter, workload, STREAM_CALLERS, duration).await?;
        report.add(HOLDFAST, workload.name(), STREAM, measured);
    }
    let (measured, lag) = tokio::try_join!(
        at_rate(&target, &meter, Workload::Spread, CHANGE_RATE, duration),
        cluster.change_lag(duration),
    )?;
    report.add(HOLDFAST, Workload::Spread.name(), CHANGES_20K, measured);
    let lag_ms = lag.value_at_quantile(0.99) as f64 / 1000.0;
    report.figures.insert("change_lag_p99_ms", lag_ms);
    Ok(())
}

async fn measure_sinks(
    cluster: &holdfast::Cluster,
    binary: &Path,
    folder: &Path,
    port: u16,
    duration: Duration,
    report: &mut Report,
) -> Result<()> {
    let client = cluster.client();
    let sinks = Sinks::start(binary, folder, port, client, &cluster.endpoints()).await?;
    let (runner, redis) = sinks.meters()?;
    let meter = cluster.meter()?;
    let target = holdfast::Batched::new(client).await?;
    let (runner_before, redis_before, began) = (runner.read()?, redis.read()?, Instant::now());
    let load = at_rate(&target, &meter, Workload::Spread, CHANGE_RATE, duration);
    let (measured, lag) = sinks.lag(client, load).await?;
    let elapsed = began.elapsed().as_secs_f64();
    let cores = |meter: &UsageMeter, before: Usage| -> Result<f64> {
        Ok((meter.read()? - before).cpu_seconds / elapsed)
    };
    report
        .figures
        .insert("sinks_runner_cores", cores(&runner, runner_before)?);
    report
        .figures
        .insert("sinks_redis_cores", cores(&redis, redis_before)?);
    report.add(HOLDFAST, Workload::Spread.name(), CHANGES_20K, measured);
    for (name, quantile) in [
        ("sinks_redis_p50_ms", 0.5),
        ("sinks_redis_p99_ms", 0.99),
        ("sinks_redis_p999_ms", 0.999),
    ] {
        report
            .figures
            .insert(name, lag.value_at_quantile(quantile) as f64 / 1_000.0);
    }
    Ok(())
}

async fn measure_postgres(folder: &Path, port: u16, duration: Duration, report: &mut Report) -> Result<()> {
    let server = postgres::Server::start(folder, port).await?;
    let meter = server.meter()?;
    for callers in CALLERS {
        let target = server.callers(callers).await?;
        measure_workloads(POSTGRES, &target, &meter, callers, duration, report).await?;
        if LIFECYCLE_CALLERS.contains(&callers) {
            measure_lifecycle(POSTGRES, &target, &meter, callers, duration, report).await?;
        }
    }
    let target = server.callers(32).await?;
    measure_rate(POSTGRES, &target, &meter, duration, report).await
}

async fn measure_redis(folder: &Path, port: u16, duration: Duration, report: &mut Report) -> Result<()> {
    let server = redis::Server::start(folder, port).await?;
    let meter = server.meter()?;
    for callers in CALLERS {
        let target = server.callers(callers).await?;
        measure_workloads(REDIS, &target, &meter, callers, duration, report).await?;
        if LIFECYCLE_CALLERS.contains(&callers) {
            measure_lifecycle(REDIS, &target, &meter, callers, duration, report).await?;
        }
    }
    let target = server.callers(REDIS_CONNECTIONS).await?;
    for workload in [Workload::Hot, Workload::Spread] {
        let target = target.clone();
        let buyer = Reserving { target, workload };
        let measured = closed(&buyer, &meter, workload, REDIS_PIPELINED, duration).await?;
        report.add(REDIS, workload.name(), "pipelined", measured);
    }
    measure_rate(REDIS, &target, &meter, duration, report).await
}

async fn measure_workloads<T: Target>(
    system: &'static str,
    target: &T,
    meter: &UsageMeter,
    callers: usize,
    duration: Duration,
    report: &mut Report,
) -> Result<()> {
    for workload in [Workload::Hot, Workload::Spread, Workload::SoldOut] {
        let target = target.clone();
        let buyer = Reserving { target, workload };
        let measured = closed(&buyer, meter, workload, callers, duration).await?;
        report.add(system, workload.name(), &callers.to_string(), measured);
    }
    Ok(())
}

async fn measure_lifecycle<T: Fulfilment>(
    system: &'static str,
    target: &T,
    meter: &UsageMeter,
    callers: usize,
    duration: Duration,
    report: &mut Report,
) -> Result<()> {
    let buyer = Fulfilling {
        target: target.clone(),
        ships: true,
    };
    let measured = closed(&buyer, meter, Workload::Spread, callers, duration).await?;
    report.add(system, LIFECYCLE, &callers.to_string(), measured);
    Ok(())
}

async fn measure_rate<T: Target>(
    system: &'static str,
    target: &T,
    meter: &UsageMeter,
    duration: Duration,
    report: &mut Report,
) -> Result<()> {
    let measured = at_rate(target, meter, Workload::Spread, RATE, duration).await?;
    report.add(system, Workload::Spread.name(), RATE_2K, measured);
    Ok(())
}

async fn measure_replay(
    binary: &Path,
    folder: &Path,
    first_port: u16,
    plan: &Plan,
    report: &mut Report,
) -> Result<()> {
    let replay = replay::measure(binary, folder, first_port, plan.replayed).await?;
    report.figures.extend([
        ("replay_per_s", replay.commands as f64 / replay.took.as_secs_f64()),
        ("replay_commands", replay.commands as f64),
        ("replay_s", replay.took.as_secs_f64()),
        ("restart_of_an_empty_node_s", replay.took_empty.as_secs_f64()),
    ]);
    Ok(())
}

async fn measure_memory(plan: &Plan, report: &mut Report) -> Result<()> {
    let memory = memory::measure(plan.cells).await?;
    report.figures.extend([
        ("bytes_per_cell", memory.stock_alone),
        ("bytes_per_cell_with_operation_ids", memory.with_operation_ids),
        ("bytes_per_cell_cells", plan.cells as f64),
        ("bytes_per_committed_reservation", memory.reservation),
    ]);
    Ok(())
}

/// Returns how many commands per second the ledger alone applies on one core.
fn applied_per_second(duration: Duration) -> f64 {
    const ENTRIES: usize = 64;
    const ENTRY_COMMANDS: usize = 1024;
    let catalogue = Catalogue::new(workload::SKUS);
    let mut ledger = catalogue.stocked();
    let mut index = catalogue.next_index();
    let (mut applied, mut took) = (0, Duration::ZERO);
    for part in 0.. {
        let entries = reserve_and_commit(&catalogue, part, ENTRIES, ENTRY_COMMANDS);
        let began = Instant::now();
        for entry in &entries {
            applied += ledger
                .apply(index, entry)
                .map_or(0, |applied| applied.outcomes.len());
            index += 1;
        }
        took += began.elapsed();
        if took >= duration {
            break;
        }
    }
    applied as f64 / took.as_secs_f64()
}
