//! The commands of the project, for people who build it or try it.
//!
//! `cargo xtask demo` shows the whole system at work, and `cargo xtask test` tests all of it. `cargo xtask
//! soak` and `cargo xtask chaos` look for faults that the tests do not find. `cargo xtask scale` adds and
//! removes nodes under load, `cargo xtask bench` measures the speed, and `cargo xtask image` builds and runs
//! the image. Each command installs what it needs by package name, says what it is doing, and can be run
//! again. Start reading in `demo.rs`.

mod acknowledged;
mod bench;
mod chaos;
mod cluster;
mod demo;
mod failover;
mod hostile;
mod image;
mod mutants;
mod needs;
mod report;
mod scale;
mod soak;
mod steps;
mod test;
mod view;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The commands of the Holdfast project", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Three nodes, a flash sale, a killed leader, a verified change stream and a warehouse, in one run.
    #[command(
        after_help = "Examples:\n  cargo xtask demo\n  cargo xtask demo --buyers 256 --sale-seconds 40\n  cargo xtask demo --orders orders.csv"
    )]
    Demo(demo::Args),
    /// Everything that proves Holdfast: unit, property, real-process, warehouse and chart tests.
    #[command(after_help = "Examples:\n  cargo xtask test\n  cargo xtask test --only rust")]
    Test(test::Args),
    /// Whole clusters in one thread, under crashes, partitions, bad disks and wrong clocks; a seed is a run.
    #[command(
        after_help = "Examples:\n  cargo xtask soak --minutes 60\n  cargo xtask soak --seed 17 --trace"
    )]
    Soak(soak::Args),
    /// Real processes under SIGKILL, SIGSTOP, partitions, full disks and damaged logs, while buyers go on.
    #[command(after_help = "Examples:\n  cargo xtask chaos --minutes 30\n  cargo xtask chaos --seed 7")]
    Chaos(chaos::Args),
    /// Leaders of real nodes are killed and paused again and again: how long do buyers wait each time?
    #[command(
        after_help = "Examples:\n  cargo xtask failover\n  cargo xtask failover --load 8 --json\n  cargo xtask failover --kind all-killed --times 10"
    )]
    Failover(failover::Args),
    /// Callers that send what no client should, while honest ones buy: what does it cost the nodes and the
    /// honest callers?
    #[command(
        after_help = "Examples:\n  cargo xtask hostile --minutes 5\n  cargo xtask hostile --minutes 1 --json"
    )]
    Hostile(hostile::Args),
    /// A cluster that grows, replaces a node, shrinks and is restarted while buyers go on: what do they
    /// notice of each step?
    #[command(after_help = "Examples:\n  cargo xtask scale\n  cargo xtask scale --buyers 64 --grants 20000")]
    Scale(scale::Args),
    /// Holdfast beside PostgreSQL, Redis, a gRPC echo and a data sync: the same work, the same callers, one
    /// run.
    #[command(
        after_help = "Examples:\n  cargo xtask bench --quick\n  cargo xtask bench --seconds 20 --json\n  cargo xtask bench --scale --cells 1000000"
    )]
    Bench(bench::Args),
    /// The image of cluster/Dockerfile, built without a Docker engine, and three nodes of it that hold a
    /// reservation.
    #[command(after_help = "Examples:\n  cargo xtask image\n  cargo xtask image --quick")]
    Image(image::Args),
    /// Makes the code wrong in one known way after the other. The test or the model that is named for it has
    /// to notice each.
    #[command(
        after_help = "Examples:\n  cargo xtask mutants --all\n  cargo xtask mutants --few 3\n  cargo xtask mutants --only shard_vote"
    )]
    Mutants(mutants::Args),
}

fn main() -> anyhow::Result<()> {
    match Cli::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Soak(args) => soak::run(&args),
        Command::Chaos(args) => chaos::run(&args),
        Command::Failover(args) => failover::run(&args),
        Command::Hostile(args) => hostile::run(&args),
        Command::Scale(args) => scale::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Image(args) => image::run(&args),
        Command::Mutants(args) => mutants::run(&args),
    }
}
