//! Holdfast beside PostgreSQL, Redis and the floor beneath them, in one run on one machine.
//!
//! - `comparison.rs` is the run: what is measured, in which order.
//! - `workload.rs` says what buyers want, and `buyers.rs` what one of them does. `load.rs` runs all of them,
//!   either in a closed loop or at a fixed rate; the two are never mixed. `latencies.rs` records how long
//!   their calls took.
//! - `holdfast.rs`, `postgres.rs`, `redis.rs`, `floor.rs` each start one system and call it.
//! - `replay.rs` kills a node and measures how fast it applies its log again; `memory.rs` measures the memory
//!   of a cell.
//! - `sinks.rs` measures how soon changes can be read outside the cluster.
//! - `scale.rs` is a run of its own (`--scale`): a cluster with a large catalogue.
//! - `goals.rs` has the goals of the design and the figures that decide about them, `report.rs` prints,
//!   `picture.rs` draws.
//! - `usage.rs` reads what processes use, `machine.rs` describes the machine.
//!
//! The systems run one after another, each alone. Only ratios can be compared with those of another machine.

mod buyers;
mod clock;
mod comparison;
mod floor;
mod goals;
mod holdfast;
mod latencies;
mod load;
mod machine;
mod memory;
mod picture;
mod postgres;
mod print;
mod redis;
mod replay;
mod report;
mod scale;
mod sinks;
mod usage;
mod workload;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, Subcommand};

use comparison::{Part, Plan};
use report::Report;

/// The nodes use the same allocator, and the ledger is measured in this process too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Compares Holdfast with what a user would pick instead
#[derive(Parser)]
#[command(
    after_help = "Examples:\n  cargo xtask bench\n  cargo xtask bench --quick --json\n  target/release/compare --seconds 5 --picture bench.svg\n  target/release/compare --quick --part streams\n  target/release/compare --scale --cells 1000000\n\n`cargo xtask bench` builds and installs what this needs, then runs it."
)]
struct Args {
    #[command(subcommand)]
    command: Option<Internal>,
    /// The `holdfast` binary to start the nodes with
    #[arg(long, default_value = "target/release/holdfast")]
    binary: PathBuf,
    /// 3 seconds for each measurement, 1M cells in memory instead of 10M: the whole run within five minutes
    #[arg(long, conflicts_with = "seconds")]
    quick: bool,
    /// How long each measurement takes, in seconds
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Folder for the data of the systems while they run
    #[arg(long, default_value = "target")]
    folder: PathBuf,
    /// First port of the nodes; the other systems take some of the 101 ports above
    #[arg(long, default_value_t = 7711, value_parser = clap::value_parser!(u16).range(1..=65_000))]
    base_port: u16,
    /// Draw throughput and p99 of all systems into this SVG file
    #[arg(long, value_name = "FILE", conflicts_with = "scale")]
    picture: Option<PathBuf>,
    /// Measure one part of Holdfast alone, without the other systems
    #[arg(long, value_enum, conflicts_with_all = ["scale", "picture"])]
    part: Option<Part>,
    /// Measure a cluster with a large catalogue instead of the comparison
    #[arg(long)]
    scale: bool,
    /// How many cells that catalogue has
    #[arg(long, default_value_t = 10_000_000, requires = "scale", value_parser = clap::value_parser!(u32).range(10_000..=100_000_000))]
    cells: u32,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Subcommand)]
enum Internal {
    /// Serves echoes for the floor; started by the comparison itself
    #[command(hide = true)]
    ServeEchoes,
    /// Fills a ledger and prints the memory it takes; started by the comparison itself
    #[command(hide = true)]
    MeasureMemory {
        #[arg(long)]
        cells: usize,
        /// Log time between two entries, in milliseconds
        #[arg(long)]
        entry_ms: u64,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let args = Args::parse();
    match args.command {
        Some(Internal::ServeEchoes) => return floor::serve_echoes().await,
        Some(Internal::MeasureMemory { cells, entry_ms }) => return memory::print(cells, entry_ms),
        None => {}
    }
    let folder = tempfile::Builder::new()
        .prefix("compare-")
        .tempdir_in(&args.folder)?;
    if args.scale {
        return large_catalogue(&args, folder.path()).await;
    }
    compare(&args, folder.path()).await
}

async fn compare(args: &Args, folder: &Path) -> Result<()> {
    let machine = machine::describe();
    let mut plan = Plan::full(Duration::from_secs(args.seconds));
    if args.quick {
        plan = Plan::quick();
    }
    let mut report = Report::default();
    match args.part {
        None => comparison::run(&args.binary, folder, args.base_port, &plan, &mut report).await?,
        Some(part) => {
            comparison::run_part(&args.binary, folder, args.base_port, &plan, part, &mut report).await?;
        }
    }
    if let Some(file) = &args.picture {
        std::fs::write(file, picture::draw(&report.rows)?)?;
    }
    if args.json {
        report.print_json(&machine);
    } else {
        report.print_table(&machine);
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "this is what the program is for")]
async fn large_catalogue(args: &Args, folder: &Path) -> Result<()> {
    let machine = machine::describe();
    let duration = Duration::from_secs(args.seconds);
    let scale = scale::run(
        &args.binary,
        folder,
        args.base_port,
        args.cells as usize,
        duration,
    )
    .await?;
    if args.json {
        println!("{}", scale.to_json(&machine));
    } else {
        println!("{machine:#}\n\n{scale}");
    }
    Ok(())
}
