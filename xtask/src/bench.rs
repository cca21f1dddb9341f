//! `cargo xtask bench`: compares Holdfast in one run with what a user would pick instead, or measures a large
//! catalogue.

use std::process::Command;

use anyhow::Result;

use crate::{needs, steps};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Shorter measurements of 3 seconds, 1M cells in memory instead of 10M: the whole run within five
    /// minutes, without the build
    #[arg(long, conflicts_with_all = ["seconds", "scale"])]
    quick: bool,
    /// How long each measurement takes, in seconds
    #[arg(long, default_value_t = 8)]
    seconds: u64,
    /// Instead of the comparison: three nodes with ten million cells, the memory they take, their
    /// reservations beside those with few cells, and the restart of a node
    #[arg(long)]
    scale: bool,
    /// How many cells that catalogue has
    #[arg(long, default_value_t = 10_000_000, requires = "scale")]
    cells: u32,
    /// Only one part: `sinks` measures how soon changes can be read in Redis; `target/release/compare --help`
    /// has the others
    #[arg(long, value_name = "PART", conflicts_with_all = ["scale"])]
    part: Option<String>,
    /// Print one JSON object on standard output
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    if !args.scale {
        needs::database_servers()?;
    }
    steps::say("building Holdfast and the comparison, optimized");
    let mut build = steps::cargo();
    build.args(["build", "--release", "--bins"]);
    build.args(["--package", "holdfast", "--package", "holdfast-benchmarks"]);
    steps::run(&mut build)?;
    let target = steps::target();
    let mut compare = Command::new(target.join("release/compare"));
    compare.arg("--binary").arg(target.join("release/holdfast"));
    compare.arg("--folder").arg(&target);
    if args.json {
        compare.arg("--json");
    }
    if args.quick {
        compare.arg("--quick");
    } else {
        compare.args(["--seconds", &args.seconds.to_string()]);
    }
    if args.scale {
        steps::say("measuring: three nodes with a large catalogue");
        compare.args(["--scale", "--cells", &args.cells.to_string()]);
        return steps::run(&mut compare);
    }
    if let Some(part) = &args.part {
        steps::say(&format!("measuring: {part}"));
        return steps::run(compare.args(["--part", part]));
    }
    steps::say("measuring: each system alone, one after another");
    let picture = target.join("bench.svg");
    steps::run(compare.arg("--picture").arg(&picture))?;
    steps::say(&format!("the picture is {}", picture.display()));
    Ok(())
}
