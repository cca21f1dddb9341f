//! `cargo xtask test`: everything that proves Holdfast.

use anyhow::Result;
use clap::ValueEnum;

use crate::{needs, steps};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only this part.
    #[arg(long, value_enum)]
    only: Option<Part>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Unit, property and real-process tests.
    Rust,
    /// The dbt project on generated histories, and its SQL in Snowflake's dialect.
    Warehouse,
    /// The examples in Python, with a package that is generated from the contract, against three nodes and a
    /// Redis server; the product page also in TypeScript.
    Examples,
    /// An archive in a bucket with versions and object lock, on an independent S3.
    ObjectLock,
    /// The Helm chart, the alerts with their runbooks and the dashboard, against real nodes where that
    /// matters.
    Chart,
}

/// The feature that compiles in the defects. Tests can then switch one on; elsewhere they do nothing. Every
/// build here uses the same features, because other features would build everything again.
const FEATURES: [&str; 2] = ["--features", "holdfast-node/faults"];

/// Builds everything the same way, whichever part asks. With fewer targets some crates would be built again,
/// with other features.
pub(crate) fn build() -> Result<()> {
    steps::run(
        steps::cargo()
            .args(["build", "--workspace", "--all-targets"])
            .args(FEATURES),
    )
}

/// Returns one more than the number of processors, because many tests wait for elections and disks.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(2, |processors| processors.get() + 1)
}

/// Returns the binary that the real-process tests start.
pub(crate) fn binary() -> std::path::PathBuf {
    steps::target().join("debug").join("holdfast")
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let wanted = |part| args.only.is_none_or(|only| only == part);
    needs::python()?;
    needs::c_build_tools()?;
    if wanted(Part::Rust) || wanted(Part::Examples) || wanted(Part::Chart) {
        needs::redis_server()?;
    }
    if wanted(Part::Rust) {
        steps::say("building the tests and the holdfast binary they start");
        build()?;
        steps::say("unit, property and real-process tests, and the way out of a planted defect");
        let mut tests = steps::cargo();
        tests
            .args(["test", "--workspace", "--no-fail-fast"])
            .args(FEATURES)
            .env("RUST_TEST_THREADS", threads().to_string())
            .env("HOLDFAST_BINARY", binary());
        steps::run(&mut tests)?;
    }
    if wanted(Part::Warehouse) {
        steps::say("warehouse tests");
        steps::run(std::process::Command::new("python3").arg("warehouse/test.py"))?;
    }
    if wanted(Part::Examples) {
        steps::say("building the holdfast binary that the examples call");
        build()?;
        steps::say("examples in Python and TypeScript");
        steps::run(
            std::process::Command::new("python3")
                .arg("examples/test.py")
                .env("HOLDFAST_BINARY", binary()),
        )?;
    }
    if wanted(Part::ObjectLock) {
        steps::say("building the holdfast binary that writes the archive");
        build()?;
        steps::say("an archive in a bucket with object lock");
        steps::run(
            std::process::Command::new("python3")
                .arg("tests/object_lock/test.py")
                .env("HOLDFAST_BINARY", binary()),
        )?;
    }
    if wanted(Part::Chart) {
        needs::promtool()?;
        steps::say("building the holdfast binary whose configuration and metrics the chart has to fit");
        build()?;
        steps::say("tests of the chart, the alerts and the dashboard");
        steps::run(
            std::process::Command::new("python3")
                .arg("helm/test.py")
                .env("HOLDFAST_BINARY", binary()),
        )?;
    }
    steps::say("all tests passed");
    Ok(())
}
